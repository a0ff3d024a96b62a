"""Every mistake with images and masks that the tables name, with all that is said of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest

from fasthebb.data import DataError, load_for_segmentation, load_images, load_masked

from .conftest import NAMES, says
from .data import IMAGES, MASKS, SETS, VOLUMES
from .odd_files import make_odd_files


@pytest.fixture(scope="module")
def odd_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("odd")
    make_odd_files(here)
    return here


@pytest.fixture
def refusal(odd_files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What is said among these files, in one line and nowhere else."""
    monkeypatch.chdir(odd_files)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("FASTHEBB_CACHE", str(odd_files / ".cache"))

    def said(act: Callable[[], Any]) -> str:
        with pytest.raises(DataError) as caught:
            act()
        assert capfd.readouterr().err == ""
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(f"{odd_files}/", "")

    return said


def _cannot_be_read(name: str, reason: str) -> str:
    return f"cannot read '{name}': {reason}; mend or remove it, or leave out strict (--strict), which skips it"


@pytest.mark.parametrize(("name", "reason"), IMAGES.items(), ids=list(IMAGES))
def test_an_image_that_cannot_be_read_is_named(name: str, reason: str, refusal: Callable[..., str]) -> None:
    said = refusal(lambda: load_images(f"images/{name}", need_labels=False, strict=True))
    assert said == _cannot_be_read(name, reason)


@pytest.mark.parametrize(("name", "reason"), VOLUMES.items(), ids=list(VOLUMES))
def test_a_volume_that_cannot_be_read_is_named(name: str, reason: str, refusal: Callable[..., str]) -> None:
    said = refusal(lambda: load_for_segmentation(f"volumes/{name}", channels=1, strict=True))
    assert said == _cannot_be_read(name, reason)


@pytest.mark.parametrize(("name", "message"), MASKS.items(), ids=list(MASKS))
def test_a_mask_without_classes_is_named(name: str, message: str, refusal: Callable[..., str]) -> None:
    assert refusal(lambda: load_masked(f"mask-{name}", testing=False, strict=True)) == message


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("call", "message"), SETS.items(), ids=list(SETS))
def test_a_mistake_is_said_as_the_table_says(call: str, message: str, refusal: Callable[..., str]) -> None:
    said = refusal(lambda: eval(call, dict(NAMES)))
    assert says(said, message), said
