from pathlib import Path

import pytest
from image_files import load, refused, write_classes, write_images, write_table

from fasthebb.data.items import Item
from fasthebb.data.labels import apply_label_file
from fasthebb.data.sources import open_source


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Twelve images in a flat folder."""
    return write_images(tmp_path / "flat", 12)[0].parent


def items(data: Path, text: str | bytes, group: str | None = None) -> dict[str, Item]:
    """Items of the data by name, once a label file of this content is applied."""
    path = data.parent / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return {item.name: item for item in apply_label_file(open_source(data), path, data, group).items}


def labels(data: Path, text: str | bytes) -> dict[str, str]:
    return {name: item.label for name, item in items(data, text).items() if item.label is not None}


@pytest.mark.parametrize("comma", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_tables_of_every_program_are_read(flat: Path, comma: str, newline: str, start: str) -> None:
    text = start + newline.join(
        comma.join(row) for row in [(" File", "LABEL "), ("0.png", '"a, b; c"'), ("1.png", "d")]
    )
    assert labels(flat, text) == {"0.png": "a, b; c", "1.png": "d"}


def test_images_without_a_label_are_unlabelled(flat: Path) -> None:
    text = "file,label\n0.png,\n1.png,-1\n2.png,-1.0\n3.png,NaN\n4.png,none\n5.png,2.0\n6.png,-2\n"
    assert labels(flat, text) == {"4.png": "none", "5.png": "2", "6.png": "-2"}


def test_lines_of_empty_cells_are_passed_over(flat: Path) -> None:
    assert labels(flat, "file,label,note\n0.png,a,\n,,\n\n1.png,b\n , ,\n") == {"0.png": "a", "1.png": "b"}


def test_the_file_replaces_the_labels_of_folders(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", {"a": 6, "b": 6})
    rows = [(f"{folder}/{n}.png", ["even", "odd"][n % 2]) for folder in "ab" for n in range(5)]
    loaded = load(data, label_file=write_table(tmp_path / "l.csv", ["file", "label"], rows))
    assert loaded.classes == ["even", "odd"]
    assert {"a/5.png", "b/5.png"} <= set(loaded.unlabelled.names)
    assert not {"a/5.png", "b/5.png"} & {*loaded.train.names, *loaded.validation.names, *loaded.test.names}
    for part in (loaded.train, loaded.validation, loaded.test):
        assert [int(name[2]) % 2 for name in part.names] == part.labels.tolist()


def test_files_are_found_by_path_base_name_and_absolute_path(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", {"a": 1, "b/deep": 3})
    (tmp_path / "link").symlink_to(data)
    text = f"file,label\na/0.png,p\n1.png,q\n{data}/b/deep/0.png,r\n.\\b\\deep\\2.png,s\n"
    expected = {"a/0.png": "p", "b/deep/1.png": "q", "b/deep/0.png": "r", "b/deep/2.png": "s"}
    assert labels(data, text) == expected
    assert labels(tmp_path / "link", text) == expected
    with refused("'0.png', which 2 images are called (a/0.png, b/deep/0.png)", "give its path"):
        labels(data, "file,label\n0.png,a\n")


def test_files_that_are_missing_are_named(flat: Path) -> None:
    with refused("names 2 files not among the 12 images", str(flat), "(99.png, x/0.png)", "relative to that folder"):
        labels(flat, "file,label\n0.png,a\n99.png,a\nx/0.png,b\n")
    with refused("1 file not among", "an empty name"):
        labels(flat, "file,label\n,a\n")


@pytest.mark.parametrize("again", ["0.png", "./0.png", "{flat}/0.png"])
def test_a_file_named_twice_is_refused(flat: Path, again: str) -> None:
    with refused("names", again.format(flat=flat), "twice", "keep one line an image"):
        labels(flat, f"file,label\n0.png,a\n{again.format(flat=flat)},a\n")


def test_a_labelled_set_needs_two_classes_of_two_images(flat: Path, tmp_path: Path) -> None:
    def label(*given: str) -> Path:
        return write_table(tmp_path / "l.csv", ["file", "label"], [(f"{n}.png", one) for n, one in enumerate(given)])

    with refused("a single class (a)", str(flat), "at least two"):
        load(flat, label_file=label("a", "a", "a"))
    with refused("2 classes with a single image", "(b, c)", "at least two a class"):
        load(flat, label_file=label("a", "a", "a", "b", "c"))
    with refused("4 labelled images", "hold some out for validation", "at least three images a class"):
        load(flat, label_file=label("a", "a", "b", "b"))
    with refused("12 images and no labels"):
        load(flat, label_file=label("-1", ""))
    data = load(flat, label_file=label("a", "a", "a", "b", "b", "b"))
    assert (len(data.train), len(data.validation), len(data.test)) == (2, 2, 2)


def test_a_column_of_splits_decides(flat: Path, tmp_path: Path) -> None:
    rows = [
        *(("0.png", "a", "train"), ("1.png", "b", ""), ("2.png", "a", "Val"), ("3.png", "b", "validation")),
        *(("4.png", "a", "TEST"), ("5.png", "b", "test"), ("6.png", "", "test"), ("7.png", "", "train")),
    ]
    data = load(flat, label_file=write_table(tmp_path / "l.csv", ["file", "label", "split"], rows))
    assert data.train.names == ["0.png", "1.png"]
    assert data.validation.names == ["2.png", "3.png"]
    assert data.test.names == ["4.png", "5.png"]
    assert sorted(data.unlabelled.names) == sorted(f"{n}.png" for n in (0, 1, 7, 8, 9, 10, 11))
    assert "left out 1 image of validation or test: without a label" in data.summary()
    with refused("the split 'tset'", "expected train, validation or test"):
        items(flat, "file,label,split\n0.png,a,tset\n")


def test_without_that_column_the_splits_of_the_folders_stay(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", {"train/a": 4, "validation/a": 2, "test/a": 2})
    rows = [(item.name, "pq"[n % 2]) for n, item in enumerate(open_source(data).items)]
    loaded = load(data, label_file=write_table(tmp_path / "l.csv", ["file", "label"], rows))
    for split in ("train", "validation", "test"):
        names = getattr(loaded, split).names
        assert len(names) == (4 if split == "train" else 2)
        assert all(name.startswith(f"{split}/") for name in names)
    assert loaded.classes == ["p", "q"]


def test_classes_only_seen_in_test_are_refused(flat: Path, tmp_path: Path) -> None:
    rows = [(f"{n}.png", "ab"[n % 2], "") for n in range(8)] + [("8.png", "c", "test"), ("9.png", "c", "test")]
    with refused("1 class without a training image", "(c)"):
        load(flat, label_file=write_table(tmp_path / "l.csv", ["file", "label", "split"], rows))


def test_groups_are_a_column_by_name_or_called_group(flat: Path) -> None:
    text = "file,label,group,patient\n0.png,a,g, p \n1.png,a,,\n"
    assert [item.group for item in items(flat, text).values()] == ["g"] + [""] * 11
    assert [item.group for item in items(flat, text, group="patient").values()] == ["p"] + [""] * 11


def test_an_unknown_column_of_groups_lists_those_there_are(flat: Path, tmp_path: Path) -> None:
    rows = [(f"{n}.png", "ab"[n % 2], n) for n in range(8)]
    table = write_table(tmp_path / "l.csv", ["file", "label", "Patient"], rows)
    with refused("no column 'patient'", "found file, label, Patient"):
        load(flat, label_file=table, group="patient")
    with refused("no column 'patient'", "groups come from a label file or a table"):
        load(write_classes(tmp_path / "c", {"a": 5, "b": 5}), group="patient")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["no lines", "expected one an image"]),
        ("file,label\n", ["no lines", "expected one an image"]),
        ("0.png,a\n1.png,b\n", ["the columns 0.png, a", "at least file and label", "first line"]),
        ("name,label\n0.png,a\n", ["the columns name, label", "expected at least file and label"]),
        ("file,label\n0.png,a\n\n1.png,b,c,d\n", ["line 4", "more cells than the header", "quote"]),
        ('file,label\n0.png,"a\n', ["no table of comma-separated values"]),
        ("file,label\n0.png,ä\n".encode("latin-1"), ["not UTF-8", "save it as CSV UTF-8"]),
        ("file,label\n0.png,a\n".encode("utf-16"), ["not UTF-8"]),
    ],
)
def test_what_is_no_label_file_is_one_clear_line(flat: Path, content: str | bytes, words: list[str]) -> None:
    with refused("labels.csv", *words):
        items(flat, content)


def test_a_label_file_that_is_not_there_names_the_nearest(flat: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "labels.csv", ["file", "label"], [])
    with refused("no label file", "did you mean", "labels.csv"):
        load(flat, label_file=tmp_path / "label.csv")
    with refused("a folder", "expected the label file itself"):
        load(flat, label_file=flat)
