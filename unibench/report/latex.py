"""A board as a LaTeX table: `leaderboard.tex`, for a document that loads `booktabs`."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from unibench.metrics import catalogue
from unibench.metrics.catalogue import show
from unibench.report.boards import Board, titles
from unibench.report.leaderboard import MARK, NO_TIES, Cell, Standing, Ties, headline_cells, notes, rows
from unibench.results.atomic import replace_file

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "†": r"$^{\dagger}$",
    "[": "{[}", "*": "{*}",  # the last two would be taken for options of the \\ before them
}  # fmt: skip
_BREAK = r"\\"
_TIED = rf"$^{{{MARK}}}$"
_ARROWS = {1: r" $\uparrow$", -1: r" $\downarrow$", 0: ""}


def write(
    board: Board,
    out: Path,
    ties: Ties = NO_TIES,
    *,
    intervals: bool = False,
) -> Path:
    """Write `leaderboard.tex`.

    Args:
        board: Scores of own runs or of papers.
        out: Folder to write to.
        ties: How rows stand to the best of their columns, where that was tested.
        intervals: Print the 95 % interval over clips below each number.

    Returns:
        The path.

    Raises:
        OutputError: The file cannot be written.
    """
    text = table(board, ties, intervals=intervals)
    return replace_file(Path(out, "leaderboard.tex"), text.encode())


def table(board: Board, ties: Ties = NO_TIES, *, intervals: bool = False) -> str:
    """Lay out the headline scores as LaTeX: the best of each column bold, the second underlined, ties marked.

    Args:
        board: As for `write`.
        ties: As for `write`.
        intervals: As for `write`.

    Returns:
        A `table` environment.
    """
    heads = ["model", "layer", _stack(["ImageNet", "top-1"], "b")]
    for title, setting in zip(titles(board), board.settings, strict=True):
        head = [escape(line) for line in title.split("\n")]
        heads.append(
            _stack([*head[:-1], head[-1] + _ARROWS[catalogue.find(board.metrics[setting][0]).direction]], "b")
        )
    body = []
    for (model, layer), cells in zip(rows(board), headline_cells(board, ties), strict=True):
        top1 = show("top-1", model.imagenet_top1)
        body.append([escape(model.label), escape(layer), top1, *(_cell(cell, intervals) for cell in cells)])
    lines = [_row(cells) for cells in body]
    for place, (before, after) in enumerate(pairwise(model.group for model, _ in rows(board))):
        if before != after:
            lines[place] += r" \addlinespace"
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{' '.join(_caption(board, ties, intervals))}}}",
            r"\label{tab:leaderboard}",
            rf"\begin{{tabular}}{{ll{'r' * (1 + len(board.settings))}}}",
            r"\toprule",
            _row(heads),
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )  # fmt: skip


def escape(text: str) -> str:
    """Make plain text print as it is in LaTeX.

    Args:
        text: One line.

    Returns:
        The text with every character that LaTeX would read as a command in another spelling.
    """
    return re.sub(r"[\\&%$#_{}~^<>|†\[*]", lambda found: _ESCAPES[found[0]], text)


def _caption(board: Board, ties: Ties, intervals: bool) -> list[str]:
    said = [r"Headline scores; fractions $\times$ 100. Best in bold, second underlined."]
    for note in notes(board, ties):
        said.append(_TIED + escape(note.removeprefix(MARK)) if note.startswith(MARK) else escape(note))
    return [*said, *([r"Small: 95\,\% interval over clips, where there are enough."] if intervals else [])]


def _cell(cell: Cell, intervals: bool) -> str:
    number = _number(cell.text)
    number = {0: number, 1: rf"\textbf{{{number}}}", 2: rf"\underline{{{number}}}"}[cell.place]
    if cell.standing == Standing.TIED:
        number += rf"\rlap{{{_TIED}}}"  # takes no room: the digits stay below each other
    low, to, high = cell.interval.partition(" to ")
    return _stack([number, rf"\tiny {_number(low)} to {_number(high)}"], "t") if intervals and to else number


def _number(text: str) -> str:
    return text.replace("-", "$-$")


def _stack(lines: Sequence[str], anchor: str) -> str:
    """Lines in one cell; `t` or `b`: the first or the last of them stands on the row's line."""
    return rf"\begin{{tabular}}[{anchor}]{{@{{}}r@{{}}}}{_BREAK.join(lines)}\end{{tabular}}"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
