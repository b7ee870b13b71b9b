"""Names of files for anything that has a name, and texts that scripts read."""

import json
import re
from collections.abc import Iterable
from itertools import count
from typing import Any

_LONGEST = 80


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Name a file for each of several names, safe in addresses and on every file system.

    Args:
        names: Any texts; their order decides which of two alike gets a number.

    Returns:
        Name -> letters, digits and `. _ @ + -`; no two alike, whatever the case of their letters.
    """
    found: dict[str, str] = {}
    taken = set[str]()
    for name in dict.fromkeys(names):
        base = re.sub(r"[^A-Za-z0-9._@+-]+", "-", name).strip("-.")[:_LONGEST] or "unnamed"
        free = next(one for n in count(1) if (one := base if n == 1 else f"{base}-{n}").lower() not in taken)
        taken.add(free.lower())
        found[name] = free
    return found


def script(name: str, value: Any) -> bytes:
    """Write a value as a script that sets `UNIBENCH[name]`; no text in it can end the script or start markup."""
    return f"(window.UNIBENCH ??= {{}})[{_json(name)}] = {_json(value)};\n".encode()


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
