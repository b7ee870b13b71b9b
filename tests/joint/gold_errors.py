"""The largest difference from the authors' own modules, part by part: a Markdown table.

uv run python -m tests.joint.gold_errors
"""

import subprocess
import sys
from pathlib import Path

import pytest
from torch import Tensor

from tests.joint import known

HERE = Path(__file__).parent


class Differences:
    """A plug-in of pytest: test -> largest absolute difference, largest value that was expected."""

    def __init__(self) -> None:
        self.of: dict[str, tuple[float, float]] = {}
        self._test = ""

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        known_answer = "gold" in getattr(item, "fixturenames", ())
        self._test = item.nodeid.partition("tests/joint/")[2] if known_answer else ""

    def close(self, found: Tensor, expected: Tensor) -> None:
        """Note the difference, then compare as the tests do."""
        compare(found, expected)
        if self._test and expected.numel():
            before = self.of.get(self._test, (0.0, 0.0))
            now = (found - expected).abs().max().item(), expected.abs().max().item()
            self.of[self._test] = (max(before[0], now[0]), max(before[1], now[1]))


compare = known.close


def main() -> int:
    """Run the tests that compare with the authors' modules, and print what they found."""
    files = subprocess.run(
        ["git", "grep", "-l", "from tests.joint.known import", "--", f"{HERE}/**/test_*.py"],
        capture_output=True, text=True, check=True, cwd=HERE.parent.parent,
    ).stdout.split()  # fmt: skip
    differences = Differences()
    known.close = differences.close
    code = pytest.main(["-n", "0", "-q", "--no-header", *files], plugins=[differences])
    print("| test | largest difference | largest value |\n|---|---|---|")
    for test, (difference, value) in sorted(differences.of.items()):
        print(f"| `{test}` | {difference:.1g} | {value:.3g} |")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
