"""Config: what is in force and where it came from, what the file says by now, changes with a backup first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from basilica_tui.config_table import CONFIG, ConfigRow, config_rows
from basilica_tui.format import Line, Look, age, plural
from basilica_tui.screens.chooser import Choice, Chooser
from basilica_tui.screens.menus import confirm
from basilica_tui.screens.selected_words import SelectedWords
from basilica_tui.text import clean
from basilica_tui.widgets.prompt import Prompt
from engine.errors import BasilicaError

MASK = "********"


class ConfigScreen(SelectedWords[ConfigRow]):
    """Asked of the engine on each visit and after each change, because nothing tells when the file changes."""

    SCREEN_ID = "config"
    TABLE = CONFIG
    WORDS_ROWS = 2

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, ConfigRow] = {}
        self._trouble = "Asking the engine."
        self._path, self._sha256 = "", ""
        self._problems: tuple[str, ...] = ()
        self._warnings: tuple[str, ...] = ()
        self._editing = ""

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
            answer = await self.desk.link.act("config.show", {})
        except BasilicaError as error:
            self._trouble = f"The configuration cannot be read: {error}"
        else:
            self._take(answer)
        if self.is_mounted:
            self.flush(None)

    def _take(self, answer: Mapping[str, object]) -> None:
        self._rows = config_rows(answer)
        self._trouble = "Every setting has its default."
        self._path, self._sha256 = str(answer.get("path") or ""), str(answer.get("sha256") or "")
        problems, warnings = answer.get("problems"), answer.get("warnings")
        self._problems = tuple(str(p) for p in problems) if isinstance(problems, list) else ()
        self._warnings = tuple(str(w) for w in warnings) if isinstance(warnings, list) else ()

    def lookup(self, row_id: str) -> ConfigRow | None:
        """A setting by its key."""
        return self._rows.get(row_id)

    def rows(self) -> Iterable[tuple[str, ConfigRow]]:
        """All settings."""
        return self._rows.items()

    def total(self) -> int:
        """How many settings there are."""
        return len(self._rows)

    def empty_text(self, look: Look) -> str:
        """Why there is nothing to see."""
        if self._rows and self.view_query.problems_only and not self.view_query.filter:
            return "The file says what is in force. ! shows all settings."
        return super().empty_text(look) if self._rows else self._trouble

    def words(self, row: ConfigRow, look: Look) -> Line:
        """What the file's warnings are, else the selected value in full."""
        if self._warnings:
            return ((f" {'; '.join(self._warnings)}", "warn"),)
        return ((f" {row.id} = ", "dim"), (row.value, ""))

    def more_title(self, look: Look) -> list[Line]:
        """Whether the file is good, and whether it says something else by now."""
        parts: list[Line] = []
        if self._problems:
            parts.append(((f"the file has {plural(len(self._problems), 'problem')}: {self._problems[0]}", "bad"),))
        elif self._path:
            warned = f", {plural(len(self._warnings), 'warning')}" if self._warnings else ""
            parts.append(((f"file valid{warned}", "warn" if self._warnings else "good"),))
        differing = sum(bool(r.file) for r in self._rows.values())
        if differing:
            parts.append(((f"{plural(differing, 'setting')} not in force, R reloads", "warn"),))
        note = self.desk.store.engine.config_note
        return [*parts, ((note, "warn"),)] if note else parts

    # --- keys -------------------------------------------------------------------------------------------------

    def perform(self, binding_id: str) -> bool:
        """Change the selected setting, restore a backup, reload."""
        row = self.lookup(self.table.cursor_id or "")
        if binding_id == "open":
            if row is not None:
                self._edit(row)
        elif binding_id in {"describe", "actions", "item.logs"}:
            if row is not None:
                said = f"   (the file says {row.file})" if row.file else ""
                self.desk.say(f"{row.id} = {row.value}   ({row.source or 'origin not known'}){said}", seconds=15.0)
        elif binding_id == "config.restore":
            self.desk.start(self._choose_backup())
        elif binding_id == "config.reload":
            self.desk.do("engine.reload")
        else:
            return super().perform(binding_id)
        return True

    def command(self, binding_id: str, argument: str) -> bool:
        """``:config restore NAME`` and ``:set KEY VALUE``."""
        if binding_id == "config.set":
            key, _, value = argument.partition(" ")
            row = self._rows.get(key)
            if row is None:
                self.desk.say(f"there is no setting {key}", "warn")
            else:
                self._ask(row, value)
            return True
        return super().command(binding_id, argument)

    def _edit(self, row: ConfigRow) -> None:
        if self.desk.read_only or not self._can("config.set"):
            self.desk.say(f"{row.id} = {row.value}" + (f"   ({row.source})" if row.source else ""))
            return
        self._editing = row.id
        now = row.file or row.value
        self.desk.say(f"{row.id}: a TOML value; empty means the default", seconds=30.0)
        self.open_prompt("=", "" if now in {MASK, "-"} else now)

    def on_prompt_typed(self, event: Prompt.Typed) -> None:
        """A value is not a filter; the base class leaves a prevented message alone."""
        if event.kind == "=":
            event.stop()
            event.prevent_default()

    def on_prompt_done(self, event: Prompt.Done) -> None:
        """A new value was typed."""
        row = self._rows.get(self._editing)
        if event.kind == "=" and row is not None:
            self._editing = ""
            self._ask(row, event.text)

    def _ask(self, row: ConfigRow, value: str) -> None:
        before = row.file or row.value
        lines = [
            f"file   {self._path or 'the one that the engine was started with'}",
            f"from   {before}",
            f"to     {value.strip() or 'the default'}",
            "",
            "The file is backed up first; comments and order stay. A reload or a restart puts it in force.",
        ]
        args = {"key": row.id, "value": value, "sha256": self._sha256}
        confirm(self.desk, f"Change {row.id}?", lines, "save", lambda: self._act("config.set", args, f"set {row.id}"))

    async def _choose_backup(self) -> None:
        if not self._can("config.restore"):
            self.desk.say("this engine restores no configuration", "warn")
            return
        try:
            answer = await self.desk.link.act("config.backups", {})
        except BasilicaError as error:
            self.desk.say(str(error), "bad")
            return
        found = answer.get("backups")
        entries = [e for e in found if isinstance(e, dict)] if isinstance(found, list) else []
        look = self.desk.look()
        choices = [Choice(str(e.get("name")), clean(str(e.get("name"))), f"{_age(e, look)} old") for e in entries]
        if not choices:
            self.desk.say("there is no backup yet; every change from here makes one")
            return

        def chosen(name: str | None) -> None:
            if name is not None:
                lines = [
                    clean(name),
                    "",
                    "The file as it is now is backed up first. A reload puts the change in force.",
                ]
                confirm(self.desk, "Put this backup in place?", lines, "restore",
                        lambda: self._act("config.restore", {"name": name}, f"restore {name}"))  # fmt: skip

        self.desk.push_screen(Chooser("Backups of the configuration", choices), chosen)

    def _act(self, verb: str, args: Mapping[str, object], words: str) -> None:
        self.desk.act(verb, args, words, then=self.read)

    def _can(self, verb: str) -> bool:
        verbs = self.desk.store.verbs
        return not self.desk.read_only and (verbs is None or verb in verbs)


def _age(entry: Mapping[str, object], look: Look) -> str:
    at = entry.get("at")
    return age(float(at), look) if isinstance(at, (int, float)) else "?"
