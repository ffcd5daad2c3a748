"""Tables as data: which columns a collection has, how a cell reads, how it sorts, what fits. Pure, no Textual.

The console's tables and ``basilica-tui show`` draw from the same columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from basilica_tui.filters import Filter, matches
from basilica_tui.format import Look, Span
from basilica_tui.text import Align

V = TypeVar("V")
SortValue = tuple[int, float, str]
"""(0 known / 1 not known, number, text): figures and words compare within their column, unknown comes last."""

GAP = 2
SPARE = 5
"""Columns of this priority and beyond are shown only where the others have room to be read."""
_DIGITS = re.compile(r"\d+")
"""Padded for sorting, so that node-9 comes before node-10."""


@dataclass(frozen=True, slots=True)
class Column(Generic[V]):
    """``width`` cells at least; ``priority`` 1 is dropped last; ``grow`` shares what is left over.

    ``sort`` returns a number, text or None (not known). ``value`` is what ``field:`` filters compare,
    the cell's text by default.
    """

    id: str
    title: str
    width: int
    cell: Callable[[V, Look], Span]
    sort: Callable[[V], float | str | None]
    priority: int = 1
    align: Align = "left"
    grow: int = 0
    value: Callable[[V], str] | None = None
    number: Callable[[V], float | None] | None = None
    """What ``field:<14`` compares: the figure that is shown; by default what it sorts by."""
    descending: bool = False
    """Whether the first look at this column wants the largest on top."""
    comfort: int = 0
    """Cells that it gets before columns of priority 5 and beyond are shown at all."""


@dataclass(frozen=True, slots=True)
class Table(Generic[V]):
    """A collection's columns, what counts as a problem there, and how it is sorted at first."""

    collection: str
    noun: str
    columns: tuple[Column[V], ...]
    is_problem: Callable[[V], bool]
    first_sort: str
    copy_text: Callable[[V], str]
    watched: frozenset[str] = frozenset()
    """Columns whose change stands out for some seconds: no times, and nothing that moves at every check."""

    def column(self, column_id: str) -> Column[V]:
        """The column of that id."""
        return next(c for c in self.columns if c.id == column_id)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a column stands: its index in the table, its first cell and its width."""

    index: int
    x: int
    width: int


def place_columns(columns: Sequence[Column[V]], width: int, *, everything: bool = False) -> tuple[Placed, ...]:
    """Fit columns into ``width`` cells: the least important go first, then growing ones share the rest."""
    chosen = list(range(len(columns)))
    if not everything:
        while len(chosen) > 1:
            worst = max(columns[i].priority for i in chosen)
            if _needed(columns, chosen, comfortably=worst >= SPARE) <= width:
                break
            chosen.remove(max(i for i in chosen if columns[i].priority == worst))
    spare = max(width - _needed(columns, chosen), 0)
    shares = sum(columns[i].grow for i in chosen)
    placed, x = [], 0
    for i in chosen:
        extra = spare * columns[i].grow // shares if shares else 0
        placed.append(Placed(i, x, columns[i].width + extra))
        x += columns[i].width + extra + GAP
    return tuple(placed)


def _needed(columns: Sequence[Column[V]], chosen: Sequence[int], *, comfortably: bool = False) -> int:
    widths = (max(columns[i].width, columns[i].comfort if comfortably else 0) for i in chosen)
    return sum(widths) + GAP * (len(chosen) - 1)


def sort_value(value: float | str | None) -> SortValue:
    """A sortable form of what a column's ``sort`` returned."""
    if value is None:
        return (1, 0.0, "")
    return (
        (0, 0.0, _DIGITS.sub(lambda found: found[0].zfill(12), value.lower()))
        if isinstance(value, str)
        else (0, float(value), "")
    )


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows of a table, in which order. Immutable: every toggle derives a new one."""

    filter: Filter = field(default_factory=Filter)
    problems_only: bool = False
    sort: str = ""
    reverse: bool = False


def select(table: Table[V], rows: Iterable[tuple[str, V]], query: Query, look: Look) -> list[str]:
    """The ids of the rows that pass, sorted; ties go by the first column, then by id, so that nothing jumps."""
    passing = [
        (row_id, row)
        for row_id, row in rows
        if not (query.problems_only and not table.is_problem(row)) and _passes(table, row, query.filter, look)
    ]
    passing.sort(key=lambda item: item[0])
    column, first = table.column(query.sort or table.first_sort), table.columns[0]
    if column is not first:
        passing.sort(key=lambda item: sort_value(first.sort(item[1])))
    known = [i for i in passing if column.sort(i[1]) is not None]
    unknown = [i for i in passing if column.sort(i[1]) is None]
    known.sort(key=lambda item: sort_value(column.sort(item[1])), reverse=query.reverse != column.descending)
    return [row_id for row_id, _ in known + unknown]


def _passes(table: Table[V], row: V, wanted: Filter, look: Look) -> bool:
    if not wanted:
        return True

    def value_of(name: str) -> str | None:
        for column in table.columns:
            if name in {column.id, column.title.lower()}:
                return column.value(row) if column.value else column.cell(row, look)[0]
        value = getattr(row, name, None)
        return None if value is None or name.startswith("_") or callable(value) else str(value)

    def number_of(name: str) -> float | None:
        for column in table.columns:
            if name in {column.id, column.title.lower()}:
                found = column.number(row) if column.number else column.sort(row)
                return float(found) if isinstance(found, (int, float)) else None
        value = getattr(row, name, None)
        return float(value) if isinstance(value, (int, float)) else None

    shown = " ".join(f"{c.cell(row, look)[0]} {c.value(row) if c.value else ''}" for c in table.columns)
    return matches(wanted, f"{shown} {getattr(row, 'id', '')}", value_of, number_of, look.now)


def named_column(table: Table[V], word: str) -> Column[V] | None:
    """The column of that id or that title, without regard to upper and lower case."""
    lower = word.lower()
    exact = (c for c in table.columns if c.id == lower)
    return next(exact, None) or next((c for c in table.columns if c.title.lower() == lower), None)


def next_sort(table: Table[V], visible: Sequence[Placed], query: Query, step: int) -> str:
    """The column beside the one that is sorted by, among those that are shown; ``table`` is as it is drawn."""
    ids = [table.columns[p.index].id for p in visible]
    current = query.sort or table.first_sort
    position = ids.index(current) if current in ids else 0
    return ids[(position + step) % len(ids)]
