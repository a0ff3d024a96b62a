"""The examples run, say what they are, and are the same as their notebooks."""

import ast
import re
import runpy
import warnings
import wave
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

from .make_notebooks import EXAMPLES, SCRIPTS, notebook_file, notebook_of

BY_NAME = [pytest.param(script, id=script.stem) for script in SCRIPTS]


def run(script: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What a script prints."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # small runs leave neurons idle
        runpy.run_path(str(script), run_name="__main__")
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EXAMPLE_SMALL", "1")
    monkeypatch.delenv("EXAMPLE_DATA", raising=False)
    monkeypatch.delenv("EXAMPLE_WEIGHTS", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("script", BY_NAME)
def test_an_example_runs_as_it_is_and_compares_with_a_control(
    script: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    printed = run(script, capsys)
    compared = [line for line in printed.splitlines() if re.search(r"\d+\.\d", line)]
    assert sum("control" in line for line in compared) >= 1
    assert sum("control" not in line for line in compared) >= 1
    assert "nan" not in printed
    assert not list(tmp_path.iterdir())  # what it made is gone


@pytest.mark.parametrize("script", BY_NAME)
def test_an_example_says_what_it_is_within_150_lines(script: Path) -> None:
    text = script.read_text()
    assert len(text.splitlines()) <= 150
    said = ast.get_docstring(ast.parse(text)) or ""
    assert said.startswith("# ")
    assert all(f"**{word}.**" in said for word in ("What", "For whom", "What to change"))
    assert f"]({script.name})" in (EXAMPLES / "README.md").read_text()


@pytest.mark.parametrize("script", BY_NAME)
def test_a_notebook_is_its_script(script: Path) -> None:
    kept = nbformat.read(notebook_file(script), as_version=4)
    made = notebook_of(script)
    assert [(c.cell_type, c.source) for c in kept.cells] == [(c.cell_type, c.source) for c in made.cells], (
        "run python tests/examples/make_notebooks.py"
    )
    assert kept.cells[0].cell_type == "markdown"
    assert all(c.outputs == [] and c.execution_count is None for c in kept.cells if c.cell_type == "code")


def test_there_is_no_notebook_without_a_script() -> None:
    assert sorted((EXAMPLES / "notebooks").iterdir()) == [notebook_file(script) for script in SCRIPTS]


# --- on what a reader has -----------------------------------------------------------------------------------------


def noise_with_a_bright_quarter(kind: int, number: int, side: int = 24) -> np.ndarray:
    pixels = np.random.default_rng([kind, number]).integers(0, 100, (side, side, 3), dtype=np.uint8)
    half = side // 2
    pixels[kind // 2 * half :][:half, kind % 2 * half :][:, :half] += 150
    return pixels


@pytest.fixture
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of images."""
    folder = tmp_path_factory.mktemp("images")
    for kind, name in enumerate(("ant", "bee")):
        (folder / name).mkdir()
        for number in range(24):
            Image.fromarray(noise_with_a_bright_quarter(kind, number)).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize("name", ["image_classification", "retrieval", "pretrained_weights"])
def test_images_of_the_reader_are_taken(
    name: str, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXAMPLE_DATA", str(images))
    printed = run(EXAMPLES / f"{name}.py", capsys)
    assert re.search(r"48 images|29 train|28 train", printed), printed
    assert "control" in printed


def test_unlabelled_images_are_listed_without_a_score(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXAMPLE_DATA", str(images / "ant"))
    printed = run(EXAMPLES / "retrieval.py", capsys)
    assert "24 images" in printed
    assert ".png" in printed
    assert "precision" not in printed


def test_weights_of_the_reader_are_taken(
    images: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torchvision

    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(num_classes=7).state_dict(), tmp_path / "weights.pth")
    monkeypatch.setenv("EXAMPLE_DATA", str(images))
    monkeypatch.setenv("EXAMPLE_WEIGHTS", str(tmp_path / "weights.pth"))
    assert "control" in run(EXAMPLES / "pretrained_weights.py", capsys)


def test_masks_of_the_reader_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(15):
        pixels = noise_with_a_bright_quarter(number % 4, number, side=40)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray((pixels.min(2) > 120).astype(np.uint8)).save(tmp_path / "masks" / f"{number}.png")
    monkeypatch.setenv("EXAMPLE_DATA", str(tmp_path))
    printed = run(EXAMPLES / "segmentation.py", capsys)
    assert "3 channels, 40 x 40 pixels" in printed
    assert "HPCA, then masks" in printed


@pytest.mark.parametrize(("width", "rate", "channels"), [(1, 8000, 1), (2, 22050, 2), (4, 16000, 1)])
def test_recordings_of_the_reader_are_taken(
    width: int,
    rate: int,
    channels: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    time = np.arange(rate // 4) / rate
    for name, hertz in (("low", 300), ("high", 1500)):
        (tmp_path / name).mkdir()
        for number in range(9):
            sound = 0.8 * np.sin(2 * np.pi * hertz * time + number)[:, None].repeat(channels, 1)
            scaled = sound * 127 + 128 if width == 1 else sound * (2 ** (8 * width - 1) - 1)
            with wave.open(str(tmp_path / name / f"{number}.wav"), "wb") as file:
                file.setnchannels(channels)
                file.setsampwidth(width)
                file.setframerate(rate)
                file.writeframes(scaled.astype({1: "u1", 2: "<i2", 4: "<i4"}[width]).tobytes())
    monkeypatch.setenv("EXAMPLE_DATA", str(tmp_path))
    printed = run(EXAMPLES / "audio.py", capsys)
    assert "18 sounds of 0.25 s in 2 classes: high, low" in printed
    scores = [float(line.split()[-1]) for line in printed.splitlines() if "HPCA" in line or "control" in line]
    assert scores == [100.0, 100.0]  # pure tones: whatever is wrong with the reading makes them noise


def test_a_folder_without_recordings_is_refused_in_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXAMPLE_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match="found no WAV files"):
        run(EXAMPLES / "audio.py", capsys)
