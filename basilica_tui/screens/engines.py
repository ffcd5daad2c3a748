"""Engines: one row per profile of console.toml; enter attaches to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import replace

from basilica_tui.engine_rows import ENGINES, EngineRow
from basilica_tui.engine_watch import EngineWatch
from basilica_tui.format import Line, Look
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.store import Dirty

HOW = """No engine has a name yet. In console.toml:   [engines.home]   socket = "/run/basilica/miner/engine.sock"
or   ssh = "user@host"   ; then   :@home   attaches to it."""


class EnginesScreen(TableScreen[EngineRow]):
    """Asks only while it is visible."""

    SCREEN_ID = "engines"
    TABLE = ENGINES

    def __init__(self) -> None:
        super().__init__()
        self._watch: EngineWatch | None = None
        self._asking: asyncio.Task[None] | None = None

    def on_screen_resume(self) -> None:
        """Begin to ask."""
        if self._watch is None:
            self._watch = EngineWatch(self.desk.ways, self.desk.clock)
        if self._asking is None:
            self._asking = asyncio.create_task(self._watch.run())
        super().on_screen_resume()

    def on_screen_suspend(self) -> None:
        """Out of sight: ask no more, and hang up."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def on_unmount(self) -> None:
        """The console ends."""
        if self._asking is not None:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking

    def _known(self) -> dict[str, EngineRow]:
        rows = self._watch.rows if self._watch is not None else {}
        here = self.desk.store.profile
        return {name: replace(row, is_here=name == here) for name, row in rows.items()}

    def lookup(self, row_id: str) -> EngineRow | None:
        """A row by its profile's name."""
        return self._known().get(row_id)

    def rows(self) -> Iterable[tuple[str, EngineRow]]:
        """All of them."""
        return self._known().items()

    def total(self) -> int:
        """How many have a name."""
        return len(self.desk.ways)

    def empty_text(self, look: Look) -> str:
        """How to name one."""
        return super().empty_text(look) if self.total() else HOW

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """The store knows nothing of these rows; there are few of them."""
        self.table.set_rows(self.select_rows(look), self.view_query)
        super().draw(look, Dirty(link=True) if dirty is not None else None)

    @property
    def is_faded(self) -> bool:
        """Each row says itself how old it is."""
        return False

    def more_title(self, look: Look) -> list[Line]:
        """How many answer."""
        rows = self._known().values()
        live = sum(r.state == "live" for r in rows)
        alerts = sum(r.alerts for r in rows)
        parts: list[Line] = [((f"{live} answer", "good" if live == len(self._known()) else "warn"),)]
        return [*parts, ((f"{alerts} alerts", "warn"),)] if alerts else parts

    def perform(self, binding_id: str) -> bool:
        """Enter attaches."""
        if binding_id == "open":
            if self.table.cursor_id is not None:
                self.desk.switch_engine(self.table.cursor_id)
        elif binding_id in {"describe", "item.logs", "actions"}:
            row = self.lookup(self.table.cursor_id or "")
            if row is not None:
                self.desk.say(f"@{row.id}: {row.where}   {row.error}")
        else:
            return super().perform(binding_id)
        return True
