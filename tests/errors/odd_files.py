"""Files that are damaged, or of a kind that is not read, and sets that contradict themselves."""

import gzip
import json
import struct
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

NOISE = np.random.default_rng(0).integers(0, 256, (24, 24), dtype=np.uint8)


def png(pixels: NDArray[Any]) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def raw_png(data: bytes, *, size: tuple[int, int] = (4, 4), depth: int = 16, colour: int = 0) -> bytes:
    """A PNG with these rows, whatever its head says."""
    head = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(one)) + kind + one + struct.pack(">I", zlib.crc32(kind + one)) for kind, one in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    stream = BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def dicom(**attributes: Any) -> bytes:
    """A DICOM image of 4 x 4 pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    for name, value in attributes.items():
        setattr(data, name, value)
    stream = BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def nifti(values: NDArray[Any], *, axes: Sequence[float] = (1, 1, 1, 1)) -> bytes:
    content: bytes = nibabel.Nifti1Image(values, np.diag(axes)).to_bytes()
    return content


def idx(values: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def tar(members: Mapping[str, bytes]) -> bytes:
    stream = BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as shard:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            shard.addfile(entry, BytesIO(content))
    return stream.getvalue()


def table(path: Path, images: int = 4, **columns: Any) -> None:
    """A parquet file of images, with further columns, or with these alone."""
    cells = [{"bytes": png(NOISE + number), "path": None} for number in range(images)]
    shown = {"image": pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))} if images else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**shown, **columns}), path)


def _changed(content: bytes, old: bytes, new: bytes) -> bytes:
    assert content.count(old) == 1
    return content.replace(old, new)


def odd_images() -> dict[str, bytes]:
    """Files of which none is read."""
    rows = zlib.compress(bytes(4 * 9))
    return {
        "empty.png": b"",
        "text.png": b"<html>not found</html>",
        "cut.jpg": b"\xff\xd8\xff\xe0" + bytes(20),
        "bomb.png": raw_png(rows, size=(40_000, 40_000), depth=8),
        "deep-cut.png": raw_png(rows[:-3]),
        "deep-none.png": raw_png(rows, size=(4, 0)),
        "deep-huge.png": raw_png(rows, size=(40_000, 40_000)),
        "text.tif": b"II*\0not found",
        "rows.tif": _changed(
            tiff(NOISE, rowsperstrip=8), struct.pack("<HHIH", 257, 4, 1, 24), struct.pack("<HHIH", 257, 4, 1, 4000)
        ),
        "complex.tif": tiff(np.ones((4, 4), np.complex64)),
        "nan.tif": tiff(np.full((4, 4), np.nan, np.float32)),
        "stack.tif": tiff(np.zeros((80, 5, 5), np.uint8), photometric="minisblack"),
        "report.dcm": dicom(),
        "palette.dcm": dicom(Rows=4, Columns=4, PhotometricInterpretation="PALETTE COLOR"),
        "none.dcm": dicom(Rows=0, Columns=4, PhotometricInterpretation="MONOCHROME2"),
    }


def odd_volumes() -> dict[str, bytes]:
    """Volumes of which none is read."""
    whole = nifti(np.zeros((4, 5, 6), np.uint8))
    huge = whole[:42] + np.array([30_000] * 3, "<i2").tobytes() + whole[48:]
    none = whole[:42] + np.array([0] * 3, "<i2").tobytes() + whole[48:]
    return {
        "empty.png": b"",
        "cut.nii": whole[:-9],
        "cut.nii.gz": gzip.compress(nifti(NOISE))[:-40],
        "huge.nii": huge,
        "none.nii": none,
        "axes.nii": nifti(np.zeros((2, 2, 2, 70), np.uint8)),
        "complex.nii": nifti(np.ones((2, 2, 2), np.complex64)),
        "cut.tif": tiff(np.zeros((4, 5, 6), np.uint8), photometric="minisblack", metadata=None)[:-40],
        "axes.tif": tiff(np.zeros((2, 3, 5, 6), np.uint8), photometric="minisblack"),
        "channels.tif": tiff(np.zeros((2, 70, 5, 6), np.uint8), imagej=True, metadata={"axes": "ZCYX"}),
    }


def odd_masks() -> dict[str, bytes]:
    """Files that do not say what class a pixel of an image of 24 x 24 has."""
    colours = np.stack([NOISE, NOISE // 2, NOISE // 3], 2)
    return {
        "empty.png": b"",
        "deep.png": raw_png(zlib.compress(bytes(4 * 25)), colour=2),
        "colours.png": png(colours),
        "axes.tif": tiff(np.stack([NOISE] * 4), imagej=True, metadata={"axes": "TYX"}),
        "complex.tif": tiff(np.ones((24, 24), np.complex64)),
        "half.tif": tiff(np.full((24, 24), 0.5, np.float32)),
        "negative.tif": tiff(np.full((24, 24), -1, np.int16)),
        "cut.tif": tiff(NOISE)[:6],
    }


def make_odd_files(here: Path) -> None:
    """Fill a folder with them."""
    for kind, files in (("images", odd_images()), ("volumes", odd_volumes())):
        (here / kind).mkdir(parents=True)
        for name, content in files.items():
            (here / kind / name).write_bytes(content)
    for name, content in odd_masks().items():
        for kind, own in (("images", png(NOISE)), ("masks", content)):
            (here / f"mask-{name}" / kind).mkdir(parents=True)
            (here / f"mask-{name}" / kind / (f"n{Path(name).suffix}" if kind == "masks" else "n.png")).write_bytes(own)
    _folders(here)
    _tables(here)
    _shards(here)
    _idx(here)
    _masked(here)


def _images(folder: Path, names: Sequence[str], content: bytes | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).write_bytes(png(NOISE + number) if content is None else content)


def _folders(here: Path) -> None:
    four = ["0.png", "1.png", "2.png", "3.png"]
    _images(here / "texts", ["a.txt", "b.txt", "c.md"], b"")
    _images(here / "phone", ["0.png", "1.heic"])
    for kind in ("ant", "bee"):
        _images(here / "tested" / "test" / kind, four)
        _images(here / "twice" / kind, four)
        _images(here / "unread" / kind, four, png(NOISE) if kind == "ant" else b"GIF89a")
        for split in ("train", "val", "test"):
            _images(here / "untested" / split / kind, four, b"" if split == "test" else None)
            _images(here / "untaught" / split / kind, four if (kind, split) != ("bee", "train") else [])
    (here / "twice" / "ant" / "4.png").symlink_to(here / "twice" / "bee" / "0.png")
    _images(here / "pair" / "ant", four[:2])
    _images(here / "pair" / "bee", four[:2])
    _images(here / "sizes", ["0.png", "1.png"])
    (here / "sizes" / "2.tif").write_bytes(tiff(np.zeros((5, 24, 24), np.uint8), imagej=True, metadata={"axes": "CYX"}))
    rows = [
        f"{kind}/{number}.png,{kind},{('train', 'test')[number % 2]},{number // 2}"
        for kind in ("ant", "bee")
        for number in range(4)
    ]
    (here / "groups.csv").write_text("\n".join(["file,label,split,group", *rows]))
    (here / "alike.csv").write_text("file,label\n0.png,ant\n")
    (here / "quote.csv").write_text('file,label\n"0.png,ant\n')


def _tables(here: Path) -> None:
    table(here / "columns.parquet", 0, picture=["a", "b"], kind=["ant", "bee"])
    table(here / "labels.parquet", label=[[0], [1], [0], [1]])
    table(here / "rows.parquet", 0, image=pa.array([], pa.struct([("bytes", pa.binary()), ("path", pa.string())])))
    names = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["ant", "bee"]}}}}
    table(here / "names.parquet", label=[0, 1, 0, 2])
    whole = pq.read_table(here / "names.parquet")
    pq.write_table(whole.replace_schema_metadata({"huggingface": json.dumps(names)}), here / "names.parquet")
    cells = [{"bytes": None, "path": path} for path in ("../flat/f0.png", None)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table(here / "leads-out.parquet", 0, image=pa.array(cells[:1], kind))
    table(here / "no-cell.parquet", 0, image=pa.array(cells[1:], kind))
    table(here / "test.parquet", label=[0, 1, 0, 1])
    table(here / "mask-text.parquet", mask=["a", "b", "c", "d"])
    masks = [{"bytes": png(NOISE // 128), "path": None}] * 4
    table(here / "test-masks.parquet", mask=pa.array(masks, kind))
    table(here / "mask-alone.parquet", 0, mask=pa.array([{"bytes": png(NOISE), "path": None}], kind))


def _shards(here: Path) -> None:
    for name, members in {
        "captions": {"0.txt": b"an ant"},
        "labels": {"0.png": png(NOISE), "0.cls": b"7"},
        "latin": {"0.png": png(NOISE), "0.cls": b"0"},
    }.items():
        (here / f"shards-{name}").mkdir()
        (here / f"shards-{name}" / "0.tar").write_bytes(tar(members))
    (here / "shards-labels" / "classes.txt").write_text("ant\nbee\n")
    (here / "shards-latin" / "classes.txt").write_bytes("K\u00e4fer\n".encode("latin-1"))
    whole = tar({"0.png": png(NOISE)})
    (here / "shards-cut").mkdir()
    (here / "shards-cut" / "0.tar").write_bytes(whole[: 512 + 100])
    (here / "shards-more").mkdir()
    (here / "shards-more" / "0.tar").write_bytes(whole[:1024] + bytes(512) + b"more" * 128)
    (here / "shards-zipped").mkdir()
    (here / "shards-zipped" / "0.tar").write_bytes(gzip.compress(whole))


def _idx(here: Path) -> None:
    images, labels = idx(np.stack([NOISE] * 6)), idx(np.arange(6, dtype=np.uint8) % 2)
    for name, pair in {
        "alone": (None, labels),
        "fewer": (images, idx(np.zeros(4, np.uint8))),
        "none": (idx(np.zeros((0, 4, 4), np.uint8)), None),
        "cut": (images[:-1], labels),
        "longer": (images + b"x", labels),
        "page": (images, b"<html>not found</html>"),
        "head": (images[:6], labels),
    }.items():
        (here / f"idx-{name}").mkdir()
        for file, content in zip(("train-images-idx3-ubyte", "train-labels-idx1-ubyte"), pair, strict=True):
            if content is not None:
                (here / f"idx-{name}" / file).write_bytes(content)
    (here / "idx-gzip").mkdir()
    (here / "idx-gzip" / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images)[:-40])


def _masked(here: Path) -> None:
    def pairs(name: str, values: Sequence[NDArray[Any] | bytes], suffix: str = ".png", split: str = "") -> None:
        for kind in ("images", "masks"):
            (here / name / split / kind).mkdir(parents=True, exist_ok=True)
        for number, value in enumerate(values):
            (here / name / split / "images" / f"{number}{suffix}").write_bytes(png(NOISE))
            content = value if isinstance(value, bytes) else png(value)
            (here / name / split / "masks" / f"{number}{suffix}").write_bytes(content)

    two, blank = NOISE // 128, np.zeros_like(NOISE)
    pairs("masks-255", [NOISE // 127 * 127 + NOISE % 2] * 4)
    pairs("masks-many", [np.arange(24 * 24, dtype=np.uint16).reshape(24, 24)] * 4)
    pairs("masks-blank", [blank] * 4)
    pairs("masks-two", [two] * 2)
    pairs("masks-three", [NOISE // 100] * 4)
    pairs("masks-tested", [two] * 4, split="test")
    for split, content in (("train", two), ("val", two), ("test", b"GIF89a")):
        pairs("masks-unread", [content] * 2, split=split)
    pairs("masks-alike", [two])
    (here / "masks-alike" / "images" / "0.bmp").write_bytes(png(NOISE))
    (here / "masks-alone" / "masks").mkdir(parents=True)
    (here / "masks-alone" / "masks" / "0.png").write_bytes(png(two))
    pairs("masks-phone", [two])
    (here / "masks-phone" / "images" / "1.heic").write_bytes(b"")
    pairs("masks-kinds", [two])
    for kind in ("images", "masks"):
        (here / "masks-kinds" / kind / "1.tif").write_bytes(tiff(np.stack([two] * 3), photometric="minisblack"))
    for kind, axes in (("images", (1, 1, 1, 1)), ("masks", (-1, 1, 1, 1))):
        (here / "masks-axes" / kind).mkdir(parents=True)
        (here / "masks-axes" / kind / "0.nii").write_bytes(nifti(np.zeros((4, 5, 6), np.uint8), axes=axes))
