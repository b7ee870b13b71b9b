"""Whatever a file holds, a reader gives a record or a UnibenchError of one line: never another library's exception.

A few inputs of each reader, always the same, by default; UNIBENCH_FUZZ=100000 spreads so many over all of them.
"""

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.corpus.readers import READERS, Reader
from unibench.errors import UnibenchError

TOTAL = int(os.environ.get("UNIBENCH_FUZZ", "0"))
EXAMPLES = TOTAL // len(READERS) + 1 if TOTAL else 60


@pytest.mark.timeout(0 if TOTAL else 60)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_only_our_own_errors_come_out(reader: Reader, tmp_path: Path) -> None:
    file = reader.prepare(tmp_path)
    valid = file.read_bytes()
    reader.read(tmp_path)
    seen: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES, derandomize=not TOTAL, database=None, deadline=None,
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip
    @given(st.sampled_from(reader.mutations), st.integers(0, 2**64))
    def read(mutation, seed: int) -> None:
        file.write_bytes(mutation(valid, random.Random(seed)))
        try:
            reader.read(tmp_path)
        except UnibenchError as error:
            message = str(error)
            assert len(message.encode().splitlines()) == 1, message
            seen["refused"] += 1
        else:
            seen["read"] += 1

    read()
    print(f"FUZZ {reader.name}: {dict(seen)}")
    assert seen["refused"] > 0
