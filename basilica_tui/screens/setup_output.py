"""What a page of the setup shows below its form: its checks, its files, or how its work goes."""

from __future__ import annotations

from collections.abc import Iterable

from basilica_tui.format import Line
from basilica_tui.screens.scrolling import ScrollingLines
from basilica_tui.text import clean, wrap

KEPT_LINES = 400
NARROWEST = 20
_TONES = {"ok": "good", "!!": "bad", "! ": "warn"}
"""By what a line begins with."""


class SetupOutput(ScrollingLines):
    """The last lines that were told, by others too: everything is cleaned, long sentences go on below."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._told: list[tuple[str, str]] = []
        self._end = "nav.top"

    @property
    def told(self) -> tuple[str, ...]:
        """Every line that is kept, in view or not."""
        return tuple(text for _, text in self._told)

    def say(self, text: str, tone: str = "") -> None:
        """One more line; the last ones are in view."""
        self._told.append((tone or _tone_of(text), clean(text)))
        self._draw("nav.bottom")

    def tell(self, lines: Iterable[tuple[str, str]]) -> None:
        """These lines, tone and text, instead of all others; the first ones are in view."""
        self._told = [(tone or "dim", clean(text)) for tone, text in lines]
        self._draw("nav.top")

    def conclude(self, texts: Iterable[str]) -> None:
        """What came out, instead of how it went; the first lines are in view, each in the tone of its mark."""
        self.tell((_tone_of(text), text) for text in texts)

    def on_resize(self) -> None:
        """Another size, and the first one: what was told before the first layout had none."""
        super().on_resize()
        self._draw(self._end)

    def _draw(self, end: str) -> None:
        del self._told[:-KEPT_LINES]
        self._end = end
        self.show([line for tone, text in self._told for line in self._wrapped(text, tone)])
        self.perform(end)

    def _wrapped(self, text: str, tone: str) -> list[Line]:
        # What is indented is a file's text, whose shape says more than its end.
        is_text = text.startswith("  ")
        lines = [text] if is_text else wrap(text, max(self.size.width - 2, NARROWEST))
        return [((f" {line}", tone),) for line in lines]


def _tone_of(text: str) -> str:
    return _TONES.get(text[:2], "")
