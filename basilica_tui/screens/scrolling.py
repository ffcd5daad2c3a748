"""A block of lines that may be longer than the screen."""

from __future__ import annotations

from collections.abc import Sequence

from basilica_tui.format import Line
from basilica_tui.lines import fold_line
from basilica_tui.widgets.lines import Lines


class ScrollingLines(Lines):
    """Takes the height it gets and shows a window onto its lines; what is longer than the screen goes on below."""

    def __init__(self, *, id: str) -> None:
        super().__init__(None, id=id)
        self._all: tuple[Line, ...] = ()
        self._top = 0

    def show(self, lines: Sequence[Line], *, faded: bool = False, in_sight: int | None = None) -> None:
        """Show these lines from where the window stands, moved so far that the line ``in_sight`` is seen."""
        width, height = self.size.width, max(self.size.height, 1)
        folded = [fold_line(line, width) if width else [line] for line in lines]
        self._all = tuple(part for parts in folded for part in parts)
        if in_sight is not None:
            place = sum(len(parts) for parts in folded[:in_sight])
            self._top = max(min(self._top, place), place - height + 1)
        self._top = min(self._top, max(len(self._all) - self.size.height, 0))
        self.set_lines(self._all[self._top : self._top + height], faded=faded)

    def perform(self, binding_id: str) -> bool:
        """Move the window; False for keys that do not move."""
        page = max(self.size.height - 1, 1)
        steps = {
            "nav.down": 1, "nav.up": -1, "nav.page_down": page, "nav.page_up": -page, "nav.half_down": page // 2,
            "nav.half_up": -page // 2, "nav.top": -len(self._all), "nav.bottom": len(self._all),
        }  # fmt: skip
        if binding_id not in steps:
            return False
        self._top = max(min(self._top + steps[binding_id], len(self._all) - self.size.height), 0)
        self.show(self._all, faded=self.is_faded)
        return True
