"""A block of lines that repaints only the cells that changed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.geometry import Region
from textual.strip import Strip

from basilica_tui.format import Line
from basilica_tui.lines import safe
from basilica_tui.widgets.tones import Toned


class Lines(Toned):
    """Draws lines of spans, ``rows`` high or (None) as high as there is room; setting equal lines costs nothing."""

    def __init__(self, rows: int | None = 1, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.styles.height = rows if rows is not None else "1fr"
        self._lines: tuple[Line, ...] = ()
        self._strips: dict[int, Strip] = {}
        self.repainted_cells = 0

    @property
    def lines(self) -> tuple[Line, ...]:
        """What is shown."""
        return self._lines

    def set_lines(self, lines: Sequence[Line], *, faded: bool | None = None) -> None:
        """Show these lines; only cells that differ are painted."""
        new = tuple(lines)
        if faded is not None and faded != self.is_faded:
            self.is_faded = faded
            self._lines = new
            self._forget()
            self.refresh()
            return
        old, self._lines = self._lines, new
        regions = []
        for y in range(max(len(old), len(new))):
            before = old[y] if y < len(old) else ()
            after = new[y] if y < len(new) else ()
            if before != after and (span := _difference(before, after, self.ascii_only)) is not None:
                self._strips.pop(y, None)
                regions.append(Region(span[0], y, span[1] - span[0], 1))
        if regions:
            self.repainted_cells += sum(r.width for r in regions)
            self.refresh(*regions)

    def set_rows(self, rows: int) -> None:
        """Change the height; a layout, so only when the terminal's size changed."""
        if self.styles.height is None or self.styles.height.value != rows:
            self.styles.height = rows

    def render_line(self, y: int) -> Strip:
        """Textual's line API."""
        strip = self._strips.get(y)
        if strip is None:
            line = self._lines[y] if y < len(self._lines) else ()
            strip = Strip(self.segments(line)).adjust_cell_length(self.size.width, self.rich_style)
            self._strips[y] = strip
        return strip

    def on_resize(self) -> None:
        """Another width: every strip is padded anew."""
        self._forget()

    def notify_style_update(self) -> None:
        """Another theme: every strip is coloured anew."""
        super().notify_style_update()
        self._forget()

    def _forget(self) -> None:
        self._strips.clear()


def _cells(line: Line, ascii_only: bool) -> list[tuple[str, str]]:
    cells: list[tuple[str, str]] = []
    for span in line:
        text, tone = safe(span, ascii_only=ascii_only)
        for char in text:
            cells.append((char, tone if char != " " else ""))
            cells.extend([("", tone)] * (cell_len(char) - 1))
    return cells


def _difference(before: Line, after: Line, ascii_only: bool) -> tuple[int, int] | None:
    """The first and one past the last cell that differ; None when both look the same."""
    old, new = _cells(before, ascii_only), _cells(after, ascii_only)
    width = max(len(old), len(new))
    old += [(" ", "")] * (width - len(old))
    new += [(" ", "")] * (width - len(new))
    different = [x for x in range(width) if old[x] != new[x]]
    return (different[0], different[-1] + 1) if different else None
