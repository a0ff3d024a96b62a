"""Every mistake in the use of the library that the table names, with all that is said of it."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fasthebb
from fasthebb import data, evaluation, exported, hub, models, sklearn, training

from . import situations
from .conftest import says
from .library import ERRORS

NAMES: dict[str, Any] = {"deepcopy": deepcopy, "fasthebb": fasthebb, "nn": nn, "np": np, "torch": torch}
for module in (data, evaluation, exported, hub, models, sklearn, training):
    NAMES |= {name: getattr(module, name) for name in module.__all__}
NAMES |= vars(situations)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("call", "kind", "message"), [(call, *said) for call, said in ERRORS.items()], ids=list(ERRORS)
)
def test_a_mistake_is_said_as_the_table_says(call: str, kind: str, message: str, there: Path) -> None:
    with pytest.raises(Exception) as caught:
        eval(call, NAMES)
    said = str(caught.value).replace(f"{there}/", "")
    assert type(caught.value).__name__ == kind
    assert says(said, message), said
