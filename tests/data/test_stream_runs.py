"""The commands on a stream: they do what they do on the same images in memory."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from fasthebb import HPCA, SWTA
from fasthebb.cli import main
from fasthebb.data import DataError
from fasthebb.runs import FinetuneOptions, PretrainOptions, finetune, pretrain
from fasthebb.runs.folder import RunError
from fasthebb.runs.presets import PRESETS, with_preset
from fasthebb.runs.streamed import PREPARED, STREAMED
from fasthebb.study.options import PRESETS as OF_STUDIES
from tests.data.stream_sets import write_shard

SMALL: dict[str, Any] = {"width": 0.05, "hidden": 8, "image_size": 32, "batch_size": 8}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTHEBB_CACHE", str(tmp_path / "cache"))


def _shards(folder: Path, damaged: int | None = None) -> str:
    """Shards of PNGs, which both ways decode alike; two classes told by their colour."""
    generator = np.random.default_rng(0)
    for shard in range(3):
        entries = []
        for row in range(shard * 12, shard * 12 + 12):
            pixels = generator.integers(0, 200, (36, 36, 3), dtype=np.uint8)
            pixels[:, :, row % 2] += 55
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "PNG")
            content = stream.getvalue()[: 99 if row == damaged else None]
            entries += [(f"{row}.png", content), (f"{row}.cls", b"%d" % (row % 2))]
        write_shard(folder / f"{shard}.tar", entries)
    return str(folder)


@pytest.fixture
def data(tmp_path: Path) -> str:
    return _shards(tmp_path / "data")


def _pretrained(data: str, out: Path, **more: Any) -> dict[str, Any]:
    return pretrain(PretrainOptions(data=data, epochs=2, logger="none", **{**SMALL, **more}), out, progress=False)


@pytest.mark.parametrize("rule", [HPCA(max_lr=0.1), SWTA()])
def test_pretrain_gives_the_same_encoder(rule: Any, data: str, tmp_path: Path) -> None:
    held = _pretrained(data, tmp_path / "held", rule=rule, whiten=False)
    streamed = _pretrained(data, tmp_path / "streamed", rule=rule, whiten=False, stream=True, workers=1)
    assert streamed["images"] == held["images"]
    one, other = (load_file(tmp_path / name / "encoder.safetensors") for name in ("held", "streamed"))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], atol=1e-5, rtol=1e-4)


def test_what_cannot_be_read_is_counted_as_in_memory(tmp_path: Path) -> None:
    data = _shards(tmp_path / "data", damaged=4)
    with pytest.warns(UserWarning, match="skipped 1 file") as told:
        held = _pretrained(data, tmp_path / "held")
        streamed = _pretrained(data, tmp_path / "streamed", stream=True, workers=0)
    assert sum("4.png" in str(one.message) for one in told) == 2
    assert streamed["skipped"] == held["skipped"] == 1
    assert streamed["images"] == held["images"] + 1  # only reading shows which is damaged


@pytest.mark.filterwarnings("ignore:after the first epoch")
def test_a_run_that_has_ended_in_between_goes_on_with_its_own_preprocessing(data: str, tmp_path: Path) -> None:
    _pretrained(data, tmp_path / "out", stream=True, workers=0)
    kept = (tmp_path / "out" / PREPARED).read_bytes()
    encoder = load_file(tmp_path / "out" / "encoder.safetensors")
    for name in ("result.json", "encoder.safetensors"):
        (tmp_path / "out" / name).unlink()
    _pretrained(data, tmp_path / "out", stream=True, workers=0)
    assert (tmp_path / "out" / PREPARED).read_bytes() == kept
    again = load_file(tmp_path / "out" / "encoder.safetensors")
    assert all(torch.equal(encoder[name], again[name]) for name in encoder)
    (tmp_path / "out" / "result.json").unlink()
    (tmp_path / "out" / PREPARED).write_bytes(kept[:20])
    with pytest.raises(RunError, match="cannot be read"):
        _pretrained(data, tmp_path / "out", stream=True, workers=0)


@pytest.mark.filterwarnings("ignore:after the first epoch")
def test_finetune_gives_the_same_classifier(data: str, tmp_path: Path) -> None:
    _pretrained(data, tmp_path / "encoder", stream=True, workers=0)
    found = []
    for stream in (False, True):
        options = FinetuneOptions(
            data=data,
            init=str(tmp_path / "encoder"),
            labels="6/class",
            epochs=2,
            batch_size=4,
            seed=3,
            select="validation",
            augment="none",
            logger="none",
            stream=stream,
            workers=0 if stream else None,
        )
        found.append(finetune(options, tmp_path / f"classifier{stream}", progress=False))
    assert (tmp_path / "classifierTrue" / STREAMED).is_file()
    assert not (tmp_path / "classifierFalse" / STREAMED).exists()
    assert found[0]["labels"] == found[1]["labels"] == 12
    assert found[0]["test_images"] == found[1]["test_images"]
    one, other = (load_file(tmp_path / f"classifier{stream}" / "classifier.safetensors") for stream in (False, True))
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:after the first epoch")
def test_what_does_not_fit_into_memory_becomes_a_stream(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fasthebb.data.reading.available_memory", lambda: 100_000)
    with pytest.warns(
        UserWarning, match=r"36 images of 3 x 32 x 32 need .* as with --stream|images of 3 x 32 x 32 need"
    ):
        result = _pretrained(data, tmp_path / "out")
    assert result["images"] > 0
    assert (tmp_path / "out" / STREAMED).is_file()
    # With more memory free it goes on as it began.
    monkeypatch.setattr("fasthebb.data.reading.available_memory", lambda: None)
    (tmp_path / "out" / "result.json").unlink()
    assert _pretrained(data, tmp_path / "out")["images"] == result["images"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"workers": 2}, "give --stream too"),
        ({"stream": True, "label_file": "labels.csv"}, "leave out --label-file"),
        ({"stream": True, "group": "patient"}, "leave out --label-file and --group"),
        ({"stream": True, "workers": -1}, "found -1 workers"),
        ({"stream": True, "task": "segmentation"}, "--task segmentation has not"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    more: dict[str, Any], words: str, data: str, tmp_path: Path
) -> None:
    options = {"data": data, "logger": "none", **more}
    with pytest.raises((RunError, DataError), match=words):
        pretrain(PretrainOptions(**options), tmp_path / "out", progress=False)


@pytest.mark.parametrize(
    ("more", "words"),
    [({"ridge": True}, "--ridge and --student need the images in memory"), ({"cv": 2}, "--stream has no --cv")],
)
def test_fine_tunings_that_need_memory_are_refused(more: dict[str, Any], words: str, data: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=words):
        finetune(
            FinetuneOptions(data=data, stream=True, workers=0, image_size=32, logger="none", **more),
            tmp_path / "out",
            progress=False,
        )


def test_a_mistake_is_one_line_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["pretrain", "--data", "digits", "--stream", "--out", str(tmp_path / "out")])
    lines = capsys.readouterr().err.splitlines()
    assert status == 2
    assert len(lines) == 1
    assert "leave out --stream" in lines[0]


def test_presets_give_way_to_what_is_given_beside_them() -> None:
    plain = with_preset(PretrainOptions(preset="paper-imagenet"))
    assert (plain.model, plain.batch_size, plain.lr, plain.epochs) == ("cnn10", 32, 1e-3, 20)
    assert (plain.rule, plain.fold, plain.norms) == (HPCA(), False, "relative")
    own = with_preset(PretrainOptions(preset="paper-vgg", model="vgg16", rule=SWTA(), lr=0.5, epochs=1))
    assert (own.model, own.rule, own.lr, own.epochs, own.batch_size) == ("vgg16", SWTA(), 0.5, 1, 32)
    assert with_preset(PretrainOptions(batch_size=5)) == PretrainOptions(batch_size=5)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_that_of_studies(name: str) -> None:
    one, other = with_preset(PretrainOptions(preset=name)), OF_STUDIES[name]  # type: ignore[arg-type]
    assert one.lr == other["pretrain_lr"]
    assert one.epochs == other["pretrain_epochs"]
    assert one.batch_size == other["batch_size"]
    assert (one.model or "cnn6") == other["model"]


@pytest.mark.filterwarnings("ignore:after the first epoch")
def test_a_study_may_be_of_a_stream(data: str, tmp_path: Path) -> None:
    arguments = ["study", "--data", data, "--stream", "--workers", "0", "--methods", "none,hpca", "--labels", "4,1.0"]
    arguments += ["--seeds", "1", "--epochs", "1", "--pretrain-epochs", "1", "--batch-size", "8", "--image-size", "32"]
    arguments += ["--width", "0.05", "--hidden", "8", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert (tmp_path / "out" / "summary.json").read_text().count('"top1"') == 4
    assert main([*arguments[:-2], "--search", "2", "--out", str(tmp_path / "other")]) == 2
