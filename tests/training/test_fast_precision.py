from typing import Any

import pytest
import torch

from fasthebb.study import StudyOptions
from fasthebb.study.options import resolved
from fasthebb.training import fast_precision


@pytest.mark.parametrize(
    ("has", "precision"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16-mixed"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16-mixed"),
        ({"bf16": True}, "bf16-mixed"),  # ARM
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, "32-true"),
        ({}, "32-true"),
    ],
)
def test_bfloat16_is_taken_where_the_processor_has_units_for_it(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, Any], precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert fast_precision() == precision
    assert resolved(StudyOptions(preset="best-cifar10")).precision == precision
    assert resolved(StudyOptions(preset="best-cifar10", precision="32-true")).precision == "32-true"
    assert resolved(StudyOptions()).precision == "32-true"


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_goes_before_the_processor(monkeypatch: pytest.MonkeyPatch, native: bool, precision: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native and not including_emulation)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": not native})
    assert fast_precision() == precision
