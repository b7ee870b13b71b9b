"""The tables of a device, in small and on the CPU: all are there, and what fails is one line of them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import __main__, gpu, sections
from tests.benchmarks.sections import Cell, Row, Section

FIGURE = re.compile(r"-?\d+(\.\d+)?(e[-+]\d+)?%?")


def tables(path: Path) -> dict[str, list[list[str]]]:
    """Title -> rows of cells, without the head."""
    parts = path.read_text().split("\n## ")[1:]
    return {
        part.splitlines()[0]: [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in part.splitlines()
            if line.startswith("| ")
        ][1:]
        for part in parts
    }


def test_every_table_is_written_with_finite_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = gpu.QUICK
    mot = replace(small.precision[4], frames=1)
    small = replace(
        small,
        runs=small.runs[:1],
        precision=(["random-resnet18"], (64, 96), 4, 4, mot),
        batches=("random-resnet18", (64, 96), (1,)),
        joint=small.joint[:1] + small.joint[-3:],
    )
    monkeypatch.setattr(gpu, "QUICK", small)
    out = tmp_path / "gpu.md"
    assert __main__.main(["--device", "cpu", "--quick", "-o", str(out)]) == 0
    text, found = out.read_text(), tables(out)
    assert list(found) == [one.title for one in gpu.sections("cpu", gpu.QUICK)]
    assert all(
        f"| {name} |" in text for name in ("device", "torch", "processor", "commit", "date", "command")
    )
    wanted = {one.title: one for one in gpu.sections("cpu", gpu.QUICK)}
    for title, rows in found.items():
        assert [row[0] for row in rows] == [one.name for one in wanted[title].rows()]
        for row in rows:
            assert len(row) == len(wanted[title].columns)
            assert sum(bool(FIGURE.fullmatch(cell)) for cell in row[1:]) >= 1, row
    (run,) = found["Whole runs"]
    rate, whole, *parts = (float(cell) for cell in run[1:8])
    assert rate == pytest.approx(1000 / whole, rel=0.02)
    assert all(part > 0 for part in parts)
    joint = found["Joint trackers"]
    assert all(float(row[3]) > 0 and float(row[2]) > 0 for row in joint)


def test_what_fails_is_one_line_and_the_rest_is_measured(tmp_path: Path) -> None:
    out, said = tmp_path / "new" / "gpu.md", []

    def fail() -> Sequence[Cell]:
        raise RuntimeError("out of\nmemory | here")

    def no_rows() -> Sequence[Row]:
        raise ValueError("no such card")

    def read() -> Sequence[Cell]:
        said.append(out.read_text())
        return [2.0]

    made = [
        Section(
            "first", ("what", "figure"), 9, lambda: [Row("a", fail), Row("b", lambda: [1.5]), Row("c", read)]
        ),
        Section("second", ("what", "figure"), 9, no_rows),
        Section("third", ("what", "figure"), 9, lambda: [Row("nan", lambda: [float("nan")])]),
        Section("late", ("what", "figure"), -1, lambda: [Row("d", lambda: [1.0])]),
        Section("last", ("what", "figure", "none"), 9, lambda: [Row("e", lambda: [12345.6, None])]),
    ]
    assert sections.measure(made, "# head", out, lambda line: None) == 3
    assert tables(out) == {
        "first": [["a", "failed: RuntimeError: out of memory / here"], ["b", "1.5"], ["c", "2"]],
        "second": [["all", "failed: ValueError: no such card"]],
        "third": [["nan", "failed: ValueError: a figure is nan, expected a finite one"]],
        "late": [["d", "not measured: the section's -1 s are over"]],
        "last": [["e", "12346", "-"]],
    }
    assert "| b | 1.5 |" in said[0]  # on disk while the next row is measured
    assert [path.name for path in out.parent.iterdir()] == ["gpu.md"]
