"""Every mistake in the use of the library that the table names, with all that is said of it."""

from pathlib import Path

import pytest

from .conftest import NAMES, says
from .library import ERRORS


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("call", "kind", "message"), [(call, *said) for call, said in ERRORS.items()], ids=list(ERRORS)
)
def test_a_mistake_is_said_as_the_table_says(call: str, kind: str, message: str, there: Path) -> None:
    with pytest.raises(Exception) as caught:
        eval(call, dict(NAMES))
    said = str(caught.value).replace(f"{there}/", "")
    assert type(caught.value).__name__ == kind
    assert says(said, message), said
