"""Files that were damaged, or made to do harm, are read or refused in one line, quickly, and do nothing else.

``FASTHEBB_FUZZ_INPUTS`` is how many of each kind are read (of those that go through a whole command, an eighth).
``benchmarks/fuzz.py`` reads a hundred thousand.
"""

import os
import random

import pytest

from .fuzzing import Found, fuzz
from .kinds import COSTLY, KINDS
from .mutation import mutated, mutated_header, mutated_json, mutated_text
from .samples import configuration, table

INPUTS = int(os.environ.get("FASTHEBB_FUZZ_INPUTS", "20"))
SEED = int(os.environ.get("FASTHEBB_FUZZ_SEED", "0"))


@pytest.fixture(scope="module")
def found() -> dict[str, Found]:
    """All kinds in one process, as it takes seconds to start."""
    print(f"{INPUTS} files of a kind from number {SEED} on (FASTHEBB_FUZZ_INPUTS, FASTHEBB_FUZZ_SEED)")
    return fuzz({kind: count(kind) for kind in KINDS}, SEED)


def count(kind: str) -> int:
    return max(5, INPUTS // 8) if kind in COSTLY else INPUTS


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_does_harm(found: dict[str, Found], kind: str) -> None:
    assert found[kind].inputs == count(kind)
    assert not found[kind].findings, found[kind].findings[:3]
    assert found[kind].grown_mib < 2000


@pytest.mark.parametrize(("kind", "number"), [("parquet with masks", 4872), ("tiff", 501)])
def test_what_was_found_is_mended(kind: str, number: int) -> None:
    """A table whose row groups and columns disagree, and a TIFF nearly all of whose 84 million pixels are missing."""
    found = fuzz({kind: 1}, number)[kind]
    assert found.findings == []


def test_a_mutation_is_known_by_its_number() -> None:
    content = configuration()
    for change in (mutated, mutated_text):
        assert change(content, random.Random(7)) == change(content, random.Random(7))
        assert len({change(content, random.Random(number)) for number in range(50)}) > 30
    assert mutated_json(b'{"a": [1, 2]}', random.Random(1)) == mutated_json(b'{"a": [1, 2]}', random.Random(1))


def test_mutations_of_a_header_are_mostly_whole_files() -> None:
    import json
    import struct

    header = json.dumps({"__metadata__": {"classes": '["ant"]'}}).encode()
    content = struct.pack("<Q", len(header)) + header
    whole = 0
    for number in range(60):
        changed = mutated_header(content, random.Random(number))
        (length,) = struct.unpack("<Q", changed[:8].ljust(8, b"\0"))
        try:
            json.loads(changed[8 : 8 + min(length, 10**6)])
        except ValueError:
            continue
        whole += 1
    assert whole > 30


def test_a_label_file_stays_text() -> None:
    content = table(["a.png", "b.png"])
    changed = [mutated_text(content, random.Random(number)) for number in range(50)]
    assert sum(one.startswith(b"file,label") for one in changed) > 20
