"""Where the files are: the console's, and those of the engine that it is attached to."""

from __future__ import annotations

import os

from textual.app import ComposeResult

from basilica_tui.config_table import config_rows
from basilica_tui.format import Line, Look
from basilica_tui.places import Spot, console_spots, engine_spots, spot, spot_lines
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.scrolling import ScrollingLines
from basilica_tui.store import Dirty
from engine.errors import BasilicaError


class InfoScreen(ConsoleScreen):
    """Asked for once: places do not move."""

    SCREEN_ID = "info"

    def __init__(self) -> None:
        super().__init__()
        self._engine: list[Spot] = [Spot("", "asking the engine")]
        self._own: list[Spot] | None = None

    def body(self) -> ComposeResult:
        """A list of places."""
        yield ScrollingLines(id="info")

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """All of it again; only what differs is painted."""
        if self._own is None:
            self._own = [spot("attached to", self.desk.socket, ""), *console_spots(os.environ)]
            self.desk.start(self._read())
        groups = {"console": self._own, "engine": self._engine}
        wrong = self.desk.greetings
        head: list[Line] = [(), ((" MISTAKES IN THE SETTINGS", "title"),)] if wrong else []
        lines = [*head, *(((f"   {text}", "warn"),) for text in wrong), *spot_lines(groups, look)]
        self.query_one(ScrollingLines).show(lines, faded=self.is_faded)

    async def _read(self) -> None:
        try:
            answer = await self.desk.link.act("config.show", {})
        except BasilicaError as error:
            self._engine = [Spot("", f"{error.message}; basilica-tui info --config FILE tells it without an engine")]
        else:
            rows = config_rows(answer).values()
            config = [Spot("configuration", str(answer.get("path") or "none: every setting has its default"))]
            self._engine = [*config, *engine_spots((row.id, row.value, row.source) for row in rows)]
        if self.is_mounted:
            self.flush(None)

    def perform(self, binding_id: str) -> bool:
        """Scrolling."""
        return self.query_one(ScrollingLines).perform(binding_id) or super().perform(binding_id)
