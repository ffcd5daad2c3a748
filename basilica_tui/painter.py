"""Writes to the terminal only the cells that differ from what it shows already.

Textual repaints whole regions, often twice, and a new screen is blank before it is drawn. Over a slow link each of
those is a second of waiting. The painter keeps a copy of the terminal's cells and sends the difference, with the
shortest change of colours that leads from one cell to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.color import Color, ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.geometry import Size
from textual.strip import Strip

NEAR = 4
"""Unchanged cells that are cheaper written again than jumped over."""


class Ink(NamedTuple):
    """What of a style can be seen."""

    attributes: int = 0
    colour: Color | None = None
    ground: Color | None = None


Cell = tuple[str, Ink]
"""A character and its ink; the second half of a wide character is an empty text."""

_NO_INK = Ink()
_UNKNOWN: Cell = ("\0", _NO_INK)
_ON_BLANKS = sum(1 << bit for bit in (3, 6, 8, 9, 12))
"""Attributes that a blank shows too: underlines, reverse, strike, overline."""


class Painter:
    """The terminal as it is, cell by cell."""

    def __init__(self) -> None:
        self._size = Size(0, 0)
        self._rows: list[list[Cell]] = []

    def forget(self) -> None:
        """Whatever the terminal shows is not known any more: the next frame is written in full."""
        self._rows = [[_UNKNOWN] * self._size.width for _ in range(self._size.height)]

    def difference(self, update: CompositorUpdate, size: Size, console: Console) -> str | None:
        """The text that brings the terminal up to date; None for a kind of update that cannot be compared."""
        if not isinstance(update, LayoutUpdate | ChopsUpdate):
            self.forget()
            return None
        if size != self._size:
            self._size = size
            self.forget()
        out: list[str] = []
        pen = _Pen(console._color_system)
        changed: dict[int, list[tuple[int, list[Cell]]]] = {}
        for y, x, strips in _pieces(update):
            if 0 <= y < size.height:
                changed.setdefault(y, []).append((x, list(_cells(strips))))
        for y in sorted(changed):
            self._write_line(y, changed[y], pen, out)
        if out:
            out.append(pen.reset())
        return "".join(out)

    def _write_line(self, y: int, pieces: list[tuple[int, list[Cell]]], pen: _Pen, out: list[str]) -> None:
        shown = self._rows[y]
        wanted = list(shown)
        for x, cells in pieces:
            room = max(len(wanted) - x, 0)
            wanted[x : x + min(len(cells), room)] = cells[:room]
        for start, end in _runs(shown, wanted):
            out.append(f"\x1b[{y + 1};{start + 1}H")
            for text, ink in wanted[start:end]:
                if text:
                    out.append(pen.change(ink, is_blank=text == " "))
                    out.append(text)
        self._rows[y] = wanted


def is_held_back(app: App[Any]) -> bool:
    """Whether Textual would drop a frame now: in a batch of changes, and before and after it runs.

    Such a frame must not count as shown, or its cells would never be written.
    """
    return bool(app._batch_count) or not app._running or app._closed


class Written(CompositorUpdate):
    """An update that is text for the terminal already."""

    def __init__(self, text: str) -> None:
        self._text = text

    def render_segments(self, console: Console) -> str:
        """The text."""
        return self._text


class _Pen:
    """The ink that the terminal writes with now."""

    def __init__(self, system: ColorSystem | None) -> None:
        self._system = system
        self._ink = _NO_INK
        self._is_plain = True

    def change(self, ink: Ink, *, is_blank: bool) -> str:
        """The sequence that changes to this ink; a blank needs its ground only."""
        if ink is self._ink or self._system is None:
            return ""
        if is_blank and not ink.attributes and not self._ink.attributes & _ON_BLANKS:
            ink = self._ink._replace(ground=ink.ground)
        codes = _change(self._ink, ink, self._system)
        self._ink, self._is_plain = ink, False
        return f"\x1b[{codes}m" if codes else ""

    def reset(self) -> str:
        """Back to what the terminal writes with by itself."""
        return "" if self._is_plain else "\x1b[0m"


@lru_cache(maxsize=8192)
def _change(old: Ink, new: Ink, system: ColorSystem) -> str:
    """The shortest SGR parameters from one ink to another."""
    parts: list[str] = []
    if new.attributes != old.attributes:
        parts = ["0", *(code for bit, code in Style._style_map.items() if new.attributes & (1 << bit))]
        old = _NO_INK
    if new.colour != old.colour:
        parts.append(_codes(new.colour, system, foreground=True))
    if new.ground != old.ground:
        parts.append(_codes(new.ground, system, foreground=False))
    return ";".join(parts)


@lru_cache(maxsize=8192)
def _ink(style: Style | None, *, is_blank: bool) -> Ink:
    if style is None:
        return _NO_INK
    attributes = style._attributes & style._set_attributes
    if is_blank and not attributes & _ON_BLANKS:
        return Ink(0, None, style.bgcolor)
    return Ink(attributes, style.color, style.bgcolor)


def _codes(colour: Color | None, system: ColorSystem, *, foreground: bool) -> str:
    if colour is None:
        return "39" if foreground else "49"
    return ";".join(colour.downgrade(system).get_ansi_codes(foreground=foreground))


def _pieces(update: LayoutUpdate | ChopsUpdate) -> Iterator[tuple[int, int, Iterable[Strip]]]:
    """Line, first cell and strips of everything that an update writes."""
    if isinstance(update, LayoutUpdate):
        for y, strips in enumerate(update.strips, update.region.y):
            yield y, update.region.x, strips
        return
    for y, left, right in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x <= right and end > left:
                yield y, x, (strip.crop(0, max(min(end, right) - x, 0)),)


def _cells(strips: Iterable[Iterable[Segment]]) -> Iterator[Cell]:
    for strip in strips:
        for text, style, control in strip:
            if control:
                continue
            ink, blank = _ink(style, is_blank=False), _ink(style, is_blank=True)
            for cell in text if text.isascii() else _clusters(text):
                yield cell, blank if cell == " " else ink
                if cell >= "\u0080":
                    yield from ((("", ink),) * (cell_len(cell) - 1))


def _clusters(text: str) -> Iterator[str]:
    """Characters, each with the marks that take no cell of their own."""
    cluster = ""
    for char in text:
        if cluster and cell_len(char):
            yield cluster
            cluster = ""
        cluster += char
    if cluster:
        yield cluster


def _runs(shown: list[Cell], wanted: list[Cell]) -> Iterator[tuple[int, int]]:
    """Stretches that must be written, with short gaps between them closed."""
    start = end = -1
    for x, (old, new) in enumerate(zip(shown, wanted, strict=True)):
        if old == new:
            continue
        first = x
        while first > 0 and not wanted[first][0]:
            first -= 1  # a wide character is written whole
        if start >= 0 and first - end <= NEAR and _UNKNOWN not in wanted[end:first]:
            end = x + 1
            continue
        if start >= 0:
            yield start, end
        start, end = first, x + 1
    if start >= 0:
        yield start, end
