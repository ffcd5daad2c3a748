"""Dialogs: the first answer counts."""

from __future__ import annotations

from textual.screen import Screen, ScreenResultType


class AnswersOnce(Screen[ScreenResultType]):
    """What is typed faster than the dialog closes still reaches it; a second answer would close what is below."""

    def answer(self, result: ScreenResultType) -> None:
        """Close with that result, unless it is closed already."""
        if self.is_current:
            self.dismiss(result)
