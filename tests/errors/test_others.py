"""Every mistake in a command that the table of others names, with the line that is said of it."""

from collections.abc import Callable

import pytest

from .conftest import says
from .others import ERRORS


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("command", "message"), ERRORS.items(), ids=list(ERRORS))
def test_a_mistake_is_said_as_the_table_says(command: str, message: str, mistake: Callable[[str], str]) -> None:
    said = mistake(command)
    assert says(said, message), said
