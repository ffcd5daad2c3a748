"""Lines made of toned spans: measured, cut, padded and set side by side in terminal cells. Pure, no Textual."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from basilica_tui.format import Line, Span
from basilica_tui.text import clean, cut, fit, to_ascii


def safe(span: Span, *, ascii_only: bool = False) -> Span:
    """The span with its text made harmless."""
    text = clean(span[0])
    return (to_ascii(text) if ascii_only else text), span[1]


def line_width(line: Line) -> int:
    """Cells that the line takes."""
    return sum(cell_len(clean(text)) for text, _ in line)


def plain(line: Line) -> str:
    """The line's text without tones."""
    return "".join(clean(text) for text, _ in line)


def fit_line(line: Line, width: int, ellipsis: str = "…") -> Line:
    """The line in exactly ``width`` cells: cut at its end or padded with blanks."""
    used, kept = 0, []
    for raw, tone in line:
        text = clean(raw)
        size = cell_len(text)
        if used + size > width:
            kept.append((cut(text, width - used, ellipsis), tone))
            used += cell_len(kept[-1][0])
            break
        kept.append((text, tone))
        used += size
    if used < width:
        kept.append((" " * (width - used), ""))
    return tuple(kept)


def fold_line(line: Line, width: int) -> list[Line]:
    """The line as one or more that fit; what goes on is set in to where the part that did not fit began."""
    if line_width(line) <= width:
        return [line]
    lines: list[Line] = []
    now: list[Span] = []
    used, indent = 0, -1
    for raw, tone in line:
        text = clean(raw)
        if used + cell_len(text) <= width:
            now.append((text, tone))
            used += cell_len(text)
            continue
        if indent < 0:
            indent = used if used <= width // 2 else 4
        first, *rest = _broken(text, width - used, width - indent)
        now.append((first, tone))
        for part in rest:
            lines.append(tuple(now))
            now = [(" " * indent, ""), (part, tone)]
        used = sum(cell_len(text) for text, _ in now)
    return [*lines, tuple(now)]


def _broken(text: str, first: int, others: int) -> list[str]:
    """Pieces of the text: the first of at most ``first`` cells, which may be none, the rest of at most ``others``."""
    pieces: list[str] = []
    room = first
    while cell_len(text) > room:
        kept = _kept(text, room, others)
        pieces.append(kept.rstrip())
        text = text[len(kept) :].lstrip()
        room = max(others, 1)
        if not kept and room == 1 and pieces[-2:] == ["", ""]:
            break  # a wide character in one cell
    return [*pieces, text]


def _kept(text: str, room: int, others: int) -> str:
    """The text's beginning up to a space; a word is broken only if a line of its own would not hold it either."""
    kept = cut(text, room, "") if room > 0 else ""
    if text[len(kept) : len(kept) + 1] == " ":
        return kept
    at = kept.rfind(" ") + 1
    word = text[at:].partition(" ")[0]
    return kept[:at] if cell_len(word) <= others else kept


def spread(left: Line, right: Line, width: int, ellipsis: str = "…") -> Line:
    """One line with ``left`` at its start and ``right`` at its end; the left one is cut where both do not fit."""
    room = width - line_width(right)
    if room <= 0:
        return fit_line(right, width, ellipsis)
    return (*fit_line(left, room, ellipsis), *right)


def join(parts: Iterable[Line], separator: Span = ("  ", "")) -> Line:
    """Lines one after the other; empty ones leave no gap."""
    joined: list[Span] = []
    for part in parts:
        if not part:
            continue
        if joined:
            joined.append(separator)
        joined.extend(part)
    return tuple(joined)


def join_fitting(parts: Sequence[Line], width: int, separator: Span = ("  ", "")) -> Line:
    """As many of the parts as fit, the first ones first."""
    chosen: list[Line] = []
    for part in parts:
        if line_width(join([*chosen, part], separator)) <= width:
            chosen.append(part)
    return join(chosen, separator)


def beside(blocks: Sequence[tuple[Sequence[Line], int]], gap: int = 2, ellipsis: str = "…") -> list[Line]:
    """Blocks of lines next to each other, each in its own width."""
    height = max((len(lines) for lines, _ in blocks), default=0)
    rows: list[Line] = []
    for y in range(height):
        row: list[Span] = []
        for index, (lines, width) in enumerate(blocks):
            if index:
                row.append((" " * gap, ""))
            row.extend(fit_line(lines[y] if y < len(lines) else (), width, ellipsis))
        rows.append(tuple(row))
    return rows


def field(name: str, value: Line, width: int = 10) -> Line:
    """A dim name in its column, then the value."""
    return ((fit(name, width), "dim"), *value)
