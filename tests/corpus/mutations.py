"""Valid files spoilt in the ways in which real ones are: wrong types, huge numbers, missing, doubled and torn parts."""

import json
import random
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 1.5, -0.0, 1e308, -1e308, 1e-320, 2**31, 2**53, 2**53 + 1, 2**63, -(2**63) - 1,
    10**30, 10**400, float("nan"), float("inf"), -float("inf"), "", "x", "1", "0", "nan", "\0", "../../x", "/etc",
    "\ud800", "x" * 300, "é\u2028", [], {}, [[]], [None], [0], ["x"], {"a": 1}, {"": {}}, [[1, 2], [3]], [[[[[[1]]]]]],
)  # fmt: skip
TOKENS = (
    "", "0", "-1", "1.5", "1_0", "0x10", "1e308", "-1e308", "1e400", "nan", "inf", "-inf", "infinity", "NaN", "9" * 20,
    "9" * 400, "9" * 5000, "9007199254740993", "1e30", "٣", "½", "x", "\0", "true", "[1]", "[[[[1]]]]", "'x'", '"', "[",
    "=", "#", ",", ",,", " ", "\t", "\u00a0", "\u2028", "\ufeff", "\r", "{", "1;2", "2026-01-01", "..", "é",
)  # fmt: skip


def torn(data: bytes, chance: random.Random) -> bytes:
    """Bytes cut off, flipped, doubled or put in."""
    spoilt = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(spoilt) + 1)
        match chance.randrange(4):
            case 0:
                del spoilt[place:]
            case 1 if place < len(spoilt):
                spoilt[place] = chance.randrange(256)
            case 2:
                spoilt[place:place] = chance.randbytes(chance.randint(1, 8))
            case _:
                spoilt[place:place] = spoilt[place : place + chance.randint(1, 40)]
    return bytes(spoilt)


def noise(data: bytes, chance: random.Random) -> bytes:
    """Random bytes, or random characters of those that the file has."""
    length = chance.choice([0, 1, 2, 7, 40, 200])
    if chance.random() < 0.5 and data:
        return bytes(chance.choices(data, k=length))
    return chance.randbytes(length)


def lines(data: bytes, chance: random.Random) -> bytes:
    """Lines lost, doubled and moved, and words of them replaced."""
    rows = data.decode().split("\n")
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(rows))
        match chance.randrange(6):
            case 0:
                rows.insert(chance.randrange(len(rows)), rows[place])
            case 1 if len(rows) > 1:
                del rows[place]
            case 2:
                rows[place] = rows[place].replace(
                    chance.choice(",= ;"), chance.choice([" ", "\t", ",", ";", "=", ""])
                )
            case _:
                rows[place] = _word(rows[place], chance)
    return "\n".join(rows).encode(errors="surrogatepass")


def _word(row: str, chance: random.Random) -> str:
    separator = chance.choice([",", " ", "=", '"', "\t"])
    words = row.split(separator)
    words[chance.randrange(len(words))] = chance.choice(TOKENS)
    return separator.join(words)


def tree(data: bytes, chance: random.Random) -> bytes:
    """Values of a JSON file replaced, lost and doubled, at any depth."""
    value = json.loads(data)
    for _ in range(chance.randint(1, 3)):
        value = _spoil(value, chance)
    text = json.dumps(value, ensure_ascii=chance.random() < 0.5)
    if chance.random() < 0.05:  # json.dumps cannot write a key twice
        text = text.replace('": ', '": 1, "x": 2, "x": ', 1)
    if chance.random() < 0.02:
        text = text.replace("[", "[" * chance.choice([50, 2000]), 1)
    return text.encode(errors="surrogatepass")


def json_lines(data: bytes, chance: random.Random) -> bytes:
    """The same in one of the lines of a file that holds a JSON object a line."""
    rows = data.split(b"\n")
    place = chance.randrange(len(rows))
    rows[place] = tree(rows[place] or b"{}", chance)
    return b"\n".join(rows)


def _spoil(value: Any, chance: random.Random) -> Any:
    inner = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    if not inner or chance.random() < 0.05:
        return chance.choice(VALUES)
    key, item = chance.choice(inner)
    spoilt = dict(value) if isinstance(value, dict) else list(value)
    if chance.random() < 0.7:
        spoilt[key] = _spoil(item, chance)
    elif isinstance(spoilt, list):
        match chance.randrange(3):
            case 0:
                del spoilt[key]
            case 1:
                spoilt.append(item)
            case _:
                spoilt[key] = chance.choice(VALUES)
    else:
        match chance.randrange(3):
            case 0:
                del spoilt[key]
            case 1:
                spoilt[chance.choice(["x", "", "\ud800", "id"])] = item
            case _:
                spoilt[key] = chance.choice(VALUES)
    return spoilt
