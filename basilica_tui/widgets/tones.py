"""Tones to styles: a small mixin for widgets that draw spans themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.widget import Widget

from basilica_tui.format import Span
from basilica_tui.lines import safe
from basilica_tui.themes import TONES

_FADED = Style(dim=True)


class Toned(Widget):
    """Looks tones up in the style sheet; ``is_faded`` dims everything because it may be out of date."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"tone--{name}" for name in TONES}

    is_faded: bool = False
    ascii_only: bool = False

    def tone_style(self, tone: str, *, over: Style | None = None) -> Style:
        """The style of a tone on this widget; ``over`` adds a background such as the cursor's."""
        style = self.rich_style
        if tone:
            style += self.get_component_rich_style(f"tone--{tone}", partial=True)
        if over is not None:
            style += over
        return style + _FADED if self.is_faded else style

    def segments(self, spans: Iterable[Span], *, over: Style | None = None) -> list[Segment]:
        """Spans as segments, neighbours of one tone joined; all text passes through ``clean`` here."""
        merged: list[Span] = []
        for span in spans:
            text, tone = safe(span, ascii_only=self.ascii_only)
            if merged and (merged[-1][1] == tone or not text.strip(" ")):
                merged[-1] = (merged[-1][0] + text, merged[-1][1])
            else:
                merged.append((text, tone))
        return [Segment(text, self.tone_style(tone, over=over)) for text, tone in merged if text]
