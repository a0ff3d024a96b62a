"""Checkpoints: whole or not there, checked when they are read, the one before the last kept."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from fasthebb import HPCA
from fasthebb.models import Network
from fasthebb.training import CheckpointError, Classifier, HebbianPretraining, fit, last_checkpoint, make_trainer
from fasthebb.training.checkpoints import LAST, PREVIOUS, AtomicCheckpointIO, damage

Model = Callable[..., Network]


def trained(make_model: Model, loader: Any, folder: Path, epochs: int = 2) -> Classifier:
    module = Classifier(make_model(), classes=3, epochs=epochs)
    fit(make_trainer(epochs=epochs, out=folder, progress=False), module, loader)
    return module


def resumed(make_model: Model, loader: Any, folder: Path, epochs: int) -> Classifier:
    module = Classifier(make_model(), classes=3, epochs=epochs)
    trainer = make_trainer(epochs=epochs, out=folder, progress=False)
    fit(trainer, module, loader, None, last_checkpoint(folder / "checkpoints"))
    return module


def epoch_of(path: Path) -> int:
    epoch: int = torch.load(path, weights_only=True)["epoch"]
    return epoch


def test_the_checkpoint_before_the_last_is_kept(make_model: Model, loader: Any, tmp_path: Path) -> None:
    trained(make_model, loader, tmp_path, epochs=3)
    folder = tmp_path / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == [LAST, PREVIOUS]
    assert (epoch_of(folder / LAST), epoch_of(folder / PREVIOUS)) == (2, 1)
    assert last_checkpoint(folder) == folder / LAST


def test_every_flipped_bit_of_what_is_restored_is_noticed(make_model: Model, loader: Any, tmp_path: Path) -> None:
    trained(make_model, loader, tmp_path)
    path = tmp_path / "checkpoints" / LAST
    content, whole = path.read_bytes(), torch.load(path, weights_only=True)
    assert damage(path) is None
    generator = torch.Generator().manual_seed(0)
    noticed = 0
    for place in torch.randint(len(content), (60,), generator=generator).tolist():
        broken = bytearray(content)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        if damage(path) is not None:
            noticed += 1
        else:  # padding, or what only the archive's own tables need
            same = torch.load(path, weights_only=True)
            assert all(torch.equal(same["state_dict"][name], whole["state_dict"][name]) for name in whole["state_dict"])
    assert noticed > 40


@pytest.mark.parametrize("harm", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_costs_an_epoch_and_nothing_else(
    make_model: Model, make_loader: Any, tmp_path: Path, harm: str
) -> None:
    whole = trained(make_model, make_loader(), tmp_path / "whole", epochs=4)
    out = tmp_path / "parts"
    fit(make_trainer(epochs=3, out=out, progress=False), Classifier(make_model(), classes=3, epochs=4), make_loader())
    path = out / "checkpoints" / LAST
    content = bytearray(path.read_bytes())
    weights = torch.load(path, weights_only=True)["state_dict"]["model.features.dense5.weight"]
    content[content.index(weights.numpy().tobytes()) + 1000] ^= 16
    path.write_bytes({"cut": content[: len(content) // 2], "flip": content, "empty": b""}[harm])
    with pytest.warns(UserWarning, match=r"last\.ckpt is damaged \(.+\): the training goes on from previous\.ckpt"):
        module = resumed(make_model, make_loader(), out, epochs=4)
    for one, other in zip(module.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)


def test_where_all_are_damaged_the_training_begins_anew(make_model: Model, loader: Any, tmp_path: Path) -> None:
    trained(make_model, loader, tmp_path)
    for path in (tmp_path / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="no other is left, and the training starts from its beginning"):
        assert last_checkpoint(tmp_path / "checkpoints") is None


def test_a_whole_checkpoint_is_taken_without_a_word(make_model: Model, loader: Any, tmp_path: Path) -> None:
    trained(make_model, loader, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert last_checkpoint(tmp_path / "checkpoints") == tmp_path / "checkpoints" / LAST


def test_a_compressed_archive_is_no_checkpoint(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / LAST, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**8))
    assert "compressed" in str(damage(tmp_path / LAST))


@contextmanager
def largest_file(room: int) -> Iterator[None]:
    """The system writes no file beyond so many bytes."""
    resource = pytest.importorskip("resource", reason="the limit on the size of files is one of POSIX systems")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 5000, 200_000, 400_000])
def test_where_there_is_no_room_the_last_checkpoint_stays(tmp_path: Path, room: int) -> None:
    path, writer = tmp_path / LAST, AtomicCheckpointIO()
    writer.save_checkpoint({"weight": torch.zeros(1000), "epoch": 1}, path)
    with largest_file(room), pytest.raises(OSError, match="cannot write") as error:
        writer.save_checkpoint({"weight": torch.zeros(100_000), "epoch": 2}, path)
    assert str(error.value) == (
        f"cannot write the checkpoint {path} (File too large); the last one is still there: make room and give the "
        "same command"
    )
    assert torch.load(path, weights_only=True)["epoch"] == 1
    assert [file.name for file in tmp_path.iterdir()] == [LAST]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or sys.platform != "linux",
    reason="a disk that is full can only be made by root, on Linux",
)
@pytest.mark.parametrize("moment", [1, 2, 3, 8, 13])
def test_ctrl_c_while_a_checkpoint_is_written_is_no_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    io, written = AtomicCheckpointIO(), []
    io.save_checkpoint({"epoch": 1, "weights": torch.zeros(1000)}, tmp_path / LAST)
    save = torch.save

    class Interrupted:
        def __init__(self, file: Any) -> None:
            self.file = file

        def write(self, content: bytes) -> int:
            written.append(len(content))
            if len(written) == moment:
                raise KeyboardInterrupt
            return self.file.write(content)  # type: ignore[no-any-return]

        def flush(self) -> None:
            self.file.flush()

    monkeypatch.setattr(torch, "save", lambda what, file: save(what, Interrupted(file)))
    with pytest.raises(KeyboardInterrupt):
        io.save_checkpoint({"epoch": 2, "weights": torch.zeros(1000)}, tmp_path / LAST)
    assert len(written) >= moment
    assert [path.name for path in tmp_path.iterdir()] == [LAST]
    assert epoch_of(tmp_path / LAST) == 1


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be made here: {mounted.stderr.strip()}")
    try:
        AtomicCheckpointIO().save_checkpoint({"epoch": 1}, disk / LAST)
        with pytest.raises(OSError, match="No space left on device"):
            AtomicCheckpointIO().save_checkpoint({"epoch": 2, "weight": torch.zeros(10**6)}, disk / LAST)
        assert torch.load(disk / LAST, weights_only=True) == {"epoch": 1}
        assert [file.name for file in disk.iterdir()] == [LAST]
        AtomicCheckpointIO().save_checkpoint({"epoch": 3}, disk / LAST)
        assert torch.load(disk / LAST, weights_only=True) == {"epoch": 3}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def other_width(make_model: Model) -> Any:
    return Classifier(make_model(hidden=64), classes=3, epochs=3)


def other_layers(make_model: Model) -> Any:
    return Classifier(make_model(hebbian=False), classes=3, epochs=3)


def other_training(make_model: Model) -> Any:
    return HebbianPretraining(make_model(), HPCA(max_lr=0.1), epochs=3)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (other_width, r"classifier\.1\.weight \(3, 32\), the network of this run \(3, 64\)"),
        (other_layers, r"has no model\.features\.\S+bias, which the network of this run does"),
        (other_training, "is of a Classifier, expected a HebbianPretraining"),
    ],
)
def test_a_checkpoint_of_another_network_or_training_is_refused(
    make_model: Model, loader: Any, tmp_path: Path, other: Callable[..., Any], words: str
) -> None:
    trained(make_model, loader, tmp_path)
    module = other(make_model)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(CheckpointError, match=words) as error:
        path = last_checkpoint(tmp_path / "checkpoints")
        fit(make_trainer(epochs=3, out=tmp_path, progress=False), module, loader, None, path)
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 1}, "has the format 1, this version of fasthebb goes on from format 2"),
        (None, "has the format an older one"),
        ({"processes": 4}, "is of 4 processes, expected 1: go on with as many"),
    ],
)
def test_a_checkpoint_of_another_version_or_number_of_processes_is_refused(
    make_model: Model, loader: Any, tmp_path: Path, change: dict[str, Any] | None, words: str
) -> None:
    trained(make_model, loader, tmp_path)
    path = tmp_path / "checkpoints" / LAST
    content = torch.load(path, weights_only=True)
    if change is None:
        del content["fasthebb"]
    else:
        content["fasthebb"].update(change)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=words):
        resumed(make_model, loader, tmp_path, epochs=3)


def test_another_version_of_torch_is_warned_of(make_model: Model, loader: Any, tmp_path: Path) -> None:
    trained(make_model, loader, tmp_path)
    path = tmp_path / "checkpoints" / LAST
    content = torch.load(path, weights_only=True)
    content["fasthebb"]["versions"]["torch"] = "1.0"
    torch.save(content, path)
    with pytest.warns(UserWarning, match=r"begun with torch 1\.0 and goes on with .*: it will not be the same bit"):
        resumed(make_model, loader, tmp_path, epochs=3)
