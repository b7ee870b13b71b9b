"""Tables that fit the terminal: columns that have no room go into further tables with the same rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

WIDTH = 160
"""Characters of a line that goes to a file or a pipe."""
_LONG = 14
"""Lines of a head that are longer may be broken between words."""
_NO_GROUPS: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table."""

    head: str
    cells: Sequence["Text | str"]
    """One a row."""
    justify: Literal["left", "right"] = "right"

    @property
    def width(self) -> int:
        """Characters that it needs."""
        lines = self.head.split("\n")
        words = [word for line in lines for word in (line.split() if len(line) > _LONG else [line])]
        return max(
            len(line) for line in [*words, *(line for cell in self.cells for line in str(cell).split("\n"))]
        )


def fit(
    names: Sequence[Column],
    columns: Sequence[Column],
    width: int,
    *,
    title: str = "",
    groups: Mapping[int, str] = _NO_GROUPS,
) -> list["Table"]:
    """Share columns among as few tables as have lines of a width.

    Args:
        names: Columns that tell what a row is; they stand in every table.
        columns: The others.
        width: Characters of a line.
        title: Above the first table.
        groups: Index of a row -> name of the group that begins with it.

    Returns:
        Tables that `rich` prints.
    """
    first = max([names[0].width, *map(len, groups.values())])
    room = width - 1 - (3 + first) - sum(3 + one.width for one in names[1:])
    shared: list[list[Column]] = [[]]
    left = room
    for one in columns:
        if 3 + one.width > left and shared[-1]:
            shared.append([])
            left = room
        shared[-1].append(one)
        left -= 3 + one.width
    return [_table([*names, *some], "" if index else title, groups) for index, some in enumerate(shared)]


def _table(columns: Sequence[Column], title: str, groups: Mapping[int, str]) -> "Table":
    from rich.table import Table  # only a terminal needs it
    from rich.text import Text

    laid = Table(title=Text(title) if title else None, title_justify="left")
    for index, one in enumerate(columns):  # a name that is cut short is another name
        most = one.width if index else max([one.width, *map(len, groups.values())])
        laid.add_column(Text(one.head), justify=one.justify, overflow="fold", max_width=most)
    for row, cells in enumerate(zip(*(one.cells for one in columns), strict=True)):
        if row in groups:
            laid.add_section()
            laid.add_row(Text(groups[row], style="italic"))
        laid.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))
    return laid
