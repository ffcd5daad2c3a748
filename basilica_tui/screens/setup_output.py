"""What a page of the setup shows below its form: its checks, its files, or how its work goes."""

from __future__ import annotations

from collections.abc import Iterable

from basilica_tui.format import Line
from basilica_tui.screens.scrolling import ScrollingLines
from basilica_tui.text import clean, wrap

KEPT_LINES = 400
NARROWEST = 20


class SetupOutput(ScrollingLines):
    """The last lines that were told, by others too: everything is cleaned, long sentences go on below."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._told: list[Line] = []

    def say(self, text: str, tone: str = "") -> None:
        """One more line; the last ones are in view."""
        if not tone:
            tone = "good" if text.startswith("ok") else "bad" if text.startswith("!!") else ""
        self._add(text, tone)
        self._draw("nav.bottom")

    def tell(self, lines: Iterable[tuple[str, str]]) -> None:
        """These lines, tone and text, instead of all others; the first ones are in view."""
        self._told.clear()
        for tone, text in lines:
            self._add(text, tone or "dim")
        self._draw("nav.top")

    def _add(self, text: str, tone: str) -> None:
        # What is indented is a file's text, whose shape says more than its end.
        is_text = text.startswith("  ")
        width = self.size.width or self.screen.size.width  # before the first layout it has none
        lines = [clean(text)] if is_text else wrap(clean(text), max(width - 2, NARROWEST))
        self._told += [((f" {line}", tone),) for line in lines]
        del self._told[:-KEPT_LINES]

    def _draw(self, end: str) -> None:
        self.show(self._told)
        self.perform(end)
