"""Config: the settings in force, secrets masked by the engine. Looking only; the file is changed with an editor."""

from __future__ import annotations

from collections.abc import Iterable

from basilica_tui.config_table import CONFIG, ConfigRow, config_rows
from basilica_tui.format import Line, Look
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.store import Dirty
from engine.errors import BasilicaError


class ConfigScreen(TableScreen[ConfigRow]):
    """Asked of the engine on each visit, because nothing tells when it changes."""

    SCREEN_ID = "config"
    TABLE = CONFIG

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, ConfigRow] = {}
        self._trouble = "Asking the engine."

    def on_screen_resume(self) -> None:
        """Another visit, another question."""
        self.read()

    def read(self) -> None:
        """Ask for the configuration in force."""
        if self.desk.read_only:
            self._trouble = "The engine shows its configuration to operators only; this console looks on."
        elif self.desk.store.verbs is not None and "config.show" not in self.desk.store.verbs:
            self._trouble = "This engine does not show its configuration. Look into the file it was started with."
        else:
            self.desk.start(self._read())

    async def _read(self) -> None:
        try:
            self._rows = config_rows(await self.desk.link.act("config.show", {}))
            self._trouble = "Every setting has its default."
        except BasilicaError as error:
            self._trouble = f"The configuration cannot be read: {error}"
        if self.is_mounted:
            self.flush(None)

    def lookup(self, row_id: str) -> ConfigRow | None:
        """A setting by its key."""
        return self._rows.get(row_id)

    def rows(self) -> Iterable[tuple[str, ConfigRow]]:
        """All settings."""
        return self._rows.items()

    def total(self) -> int:
        """How many settings differ from their default."""
        return len(self._rows)

    def empty_text(self, look: Look) -> str:
        """Why there is nothing to see."""
        return super().empty_text(look) if self._rows else self._trouble

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """Only a new answer changes it."""
        super().draw(look, dirty)

    def more_title(self, look: Look) -> list[Line]:
        """What a reload would have to say."""
        note = self.desk.store.engine.config_note
        parts: list[Line] = [(("what differs from the defaults", "dim"),)]
        return [*parts, ((note, "warn"),)] if note else parts

    def perform(self, binding_id: str) -> bool:
        """Nothing to open behind a setting; the row says it all."""
        if binding_id in {"open", "describe", "actions", "item.logs"}:
            row = self.lookup(self.table.cursor_id or "")
            if row is not None:
                self.desk.say(f"{row.id} = {row.value}" + (f"   ({row.source})" if row.source else ""))
            return True
        return super().perform(binding_id)
