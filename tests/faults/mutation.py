"""Files that were damaged, or made to do harm: small changes of valid ones."""

import json
import random
import struct
from typing import Any

_ODD_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 3, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e300, float("nan"), float("inf"),
    "", "x", "../../etc/passwd", "/etc/passwd", "\0", "é" * 300, "[[[[", [], [[]], {}, {"a": 1}, [None], [0] * 99,
)  # fmt: skip


def mutated(content: bytes, rng: random.Random) -> bytes:
    """One to eight changes, each of a few bytes or of a stretch."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        _CHANGES[rng.randrange(len(_CHANGES))](changed, rng)
    return bytes(changed)


def mutated_text(content: bytes, rng: random.Random) -> bytes:
    """As `mutated`, or lines and words that change places, or odd ones that come in."""
    if rng.random() < 0.3:
        return mutated(content, rng)
    lines = content.decode("utf-8", "replace").split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        row = rng.randrange(len(lines))
        kind = rng.randrange(5)
        if kind == 0:
            lines.insert(row, rng.choice(lines))
        elif kind == 1:
            del lines[row]
            lines = lines or [""]
        elif kind == 2:
            lines[row] = lines[row] + rng.choice((",", ",,x", '"', ": ", ": [", "\t", "\r", " #", "- ", "&a *a", "!!"))
        else:
            parts = lines[row].replace(":", ",").split(",")
            parts[rng.randrange(len(parts))] = _text(rng.choice(_ODD_VALUES))
            lines[row] = (": " if ":" in lines[row] else ",").join(parts)
    return "\n".join(lines).encode("utf-8", "replace")


def mutated_header(content: bytes, rng: random.Random) -> bytes:
    """Of a safetensors file: as `mutated`, or its header stays JSON and says something else."""
    if rng.random() < 0.3:
        return mutated(content, rng)
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    description = header.get("__metadata__", {})
    if rng.random() < 0.7 and description:  # texts that are JSON themselves
        name = rng.choice(sorted(description))
        try:
            value: Any = json.loads(description[name])
        except ValueError:
            value = description[name]
        changed = mutated_value(value, rng)
        description[name] = _text(changed) if isinstance(changed, str) else json.dumps(changed)
        if rng.random() < 0.1:
            del description[name]
    else:
        header = mutated_value(header, rng)
    encoded = json.dumps(header).encode("utf-8", "replace")
    encoded += b" " * (-len(encoded) % 8)
    return struct.pack("<Q", len(encoded)) + encoded + content[8 + length :]


def mutated_json(content: bytes, rng: random.Random) -> bytes:
    """As `mutated`, or JSON that says something else."""
    if rng.random() < 0.3:
        return mutated(content, rng)
    return json.dumps(mutated_value(json.loads(content), rng)).encode("utf-8", "replace")


def mutated_value(value: Any, rng: random.Random) -> Any:
    """JSON with one of its values, or all of it, replaced, removed or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.95:
        name = rng.choice(sorted(value))
        other = {key: one for key, one in value.items() if key != name}
        if rng.random() < 0.1:
            return other
        if rng.random() < 0.1:
            return {**other, _text(rng.choice(_ODD_VALUES)): value[name]}
        return {**other, name: mutated_value(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        row = rng.randrange(len(value))
        return [*value[:row], mutated_value(value[row], rng), *value[row + rng.randrange(2) :]]
    if isinstance(value, int) and rng.random() < 0.3:
        return value + rng.choice((-1, 1, 10**6))
    return rng.choice(_ODD_VALUES)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _place(content: bytearray, rng: random.Random) -> int:
    """Anywhere, or near the beginning, where headers are."""
    most = len(content) if rng.random() < 0.5 else min(len(content), 128)
    return rng.randrange(most) if most else 0


def _flip(content: bytearray, rng: random.Random) -> None:
    if content:
        content[_place(content, rng)] ^= 1 << rng.randrange(8)


def _replace(content: bytearray, rng: random.Random) -> None:
    if content:
        content[_place(content, rng)] = rng.randrange(256)


def _number(content: bytearray, rng: random.Random) -> None:
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    place = _place(content, rng)
    number = rng.choice(_ODD_NUMBERS) & (256**size - 1)
    content[place : place + size] = number.to_bytes(size, order)  # type: ignore[arg-type]


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[_place(content, rng) :]


def _remove(content: bytearray, rng: random.Random) -> None:
    place = _place(content, rng)
    del content[place : place + rng.randrange(1, 64)]


def _insert(content: bytearray, rng: random.Random) -> None:
    place = _place(content, rng)
    content[place:place] = rng.randbytes(rng.randrange(1, 16))


def _copy(content: bytearray, rng: random.Random) -> None:
    start, place = _place(content, rng), _place(content, rng)
    part = content[start : start + rng.randrange(1, 64)]
    content[place : place + len(part)] = part


def _noise(content: bytearray, rng: random.Random) -> None:
    place, size = _place(content, rng), rng.randrange(1, 32)
    content[place : place + size] = rng.randbytes(size)


_CHANGES = (_flip, _flip, _replace, _number, _number, _cut, _remove, _insert, _copy, _noise)
