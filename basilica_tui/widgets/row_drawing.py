"""How one line of a table is drawn, and which of its cells differ from what stands there. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region

from basilica_tui.changes import NOTHING
from basilica_tui.columns import GAP, Placed, Query, Table
from basilica_tui.format import Span
from basilica_tui.symbols import Symbols
from basilica_tui.text import fit

GUTTER = 3
Draw = Callable[[Sequence[Span], Style | None], list[Segment]]
"""Spans to segments, with a style over their tones."""


@dataclass(frozen=True, slots=True)
class Painted:
    """What a screen line shows now."""

    row_id: str
    is_cursor: bool
    is_marked: bool
    cells: tuple[Span, ...]
    changed: frozenset[str] = NOTHING
    """Ids of the columns that stand out because they say something new."""


def changed_regions(
    y: int,
    shown: Painted | None,
    wanted: Painted | None,
    table: Table[Any],
    placed: Sequence[Placed],
    left: int,
    width: int,
) -> list[Region]:
    """The cells of line ``y`` that have to be painted; ``left`` is how far the view is moved sideways."""
    line = Region(0, y, width, 1)
    if shown is None or wanted is None or len(shown.cells) != len(wanted.cells):
        return [line]
    if (shown.is_cursor, shown.is_marked) != (wanted.is_cursor, wanted.is_marked):
        return [line]
    regions = []
    for place, before, after in zip(placed, shown.cells, wanted.cells, strict=True):
        column = table.columns[place.index].id
        if before != after or (column in shown.changed) != (column in wanted.changed):
            regions.append(Region(GUTTER + place.x - left, y, place.width, 1).intersection(line))
    return [r for r in regions if r.width > 0]


def header_text(table: Table[Any], placed: Sequence[Placed], query: Query, symbols: Symbols) -> str:
    """The columns' titles; an arrow stands at the one that the rows are sorted by."""
    sorted_by = query.sort or table.first_sort
    text = " " * GUTTER
    for place in placed:
        column = table.columns[place.index]
        title = column.title
        if column.id == sorted_by:
            arrow = symbols.down if query.reverse != column.descending else symbols.up
            title = f"{title}{arrow}" if len(title) < place.width else title[: place.width - 1] + arrow
        text += fit(title, place.width, column.align, symbols.ellipsis) + " " * GAP
    return text


def gutter_spans(painted: Painted, symbols: Symbols) -> tuple[Span, Span]:
    """Cursor and mark at the row's start."""
    return (
        (symbols.cursor if painted.is_cursor else " ", "accent"),
        (f"{symbols.mark if painted.is_marked else ' '} ", "key"),
    )


def cell_spans(painted: Painted, table: Table[Any], placed: Sequence[Placed], symbols: Symbols) -> list[Span]:
    """The cells in their widths."""
    spans: list[Span] = []
    for place, (text, tone) in zip(placed, painted.cells, strict=True):
        padding = "" if place is placed[-1] else " " * GAP
        spans.append((fit(text, place.width, table.columns[place.index].align, symbols.ellipsis) + padding, tone))
    return spans


def with_changes(
    spans: Sequence[Span], is_new: Sequence[bool], draw: Draw, over: Style | None, new: Style
) -> list[Segment]:
    """Cells that say something new stand out; their padding does not."""
    segments: list[Segment] = []
    for (text, tone), stands_out in zip(spans, is_new, strict=True):
        if not stands_out:
            segments += draw([(text, tone)], over)
            continue
        word = text.strip(" ")
        left, right = text[: len(text) - len(text.lstrip(" "))], text[len(text.rstrip(" ")) :]
        segments += draw([(left, tone)], over)
        segments += draw([(word, tone)], new if over is None else over + new)
        segments += draw([(right, tone)], over)
    return segments


def with_matches(spans: Sequence[Span], wanted: str, draw: Draw, over: Style | None, match: Style) -> list[Segment]:
    """Wherever ``wanted``, in lower case, occurs, it stands out."""
    segments: list[Segment] = []
    for text, tone in spans:
        lowered, start = text.lower(), 0
        while len(lowered) == len(text) and (found := lowered.find(wanted, start)) >= 0:
            end = found + len(wanted)
            segments += draw([(text[start:found], tone)], over)
            segments += draw([(text[found:end], tone)], match if over is None else over + match)
            start = end
        segments += draw([(text[start:], tone)], over)
    return segments
