"""Dashboard: reach, what to fix first, the four boxes, the fleet, alerts and services."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult

from basilica_tui.columns import Table
from basilica_tui.fix_first import Fix, rank_fixes
from basilica_tui.format import Line, Look
from basilica_tui.node_table import NODES
from basilica_tui.panels.boxes import box_lines
from basilica_tui.panels.fixes import fix_lines
from basilica_tui.panels.reach import reach_line
from basilica_tui.panels.sentences import all_is_well, connection_sentences
from basilica_tui.panels.services import status_line
from basilica_tui.screens.fixes import apply_fix
from basilica_tui.screens.node_actions import act_on_nodes
from basilica_tui.screens.record import RecordScreen
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.store import Dirty
from basilica_tui.text import wrap
from basilica_tui.validator_tables import MINERS
from basilica_tui.widgets.lines import Lines

TALL = 32
TINY_WIDTH, TINY_HEIGHT = 60, 15


class DashboardScreen(TableScreen[Any]):
    """The first glance."""

    SCREEN_ID = "dashboard"
    TABLE: Table[Any] = NODES  # type: ignore[misc]  # the validator's dashboard lists miners instead

    def __init__(self) -> None:
        super().__init__()
        self._fixes: list[Fix] = []
        self._chosen: tuple[str, str] | None = None
        self._has_moved = False

    def body(self) -> ComposeResult:
        """Panels of fixed height around the table, and the sentences for when there is no engine."""
        yield Lines(1, id="reach")
        yield Lines(4, id="fixes")
        yield Lines(4, id="boxes")
        yield self.make_table()
        yield Lines(1, id="status")
        yield Lines(None, id="splash")

    @property
    def preference_key(self) -> str:
        """Apart from the screen that lists the same rows."""
        return f"dashboard.{self.TABLE.collection}"

    def zoom(self) -> None:
        """Everything, the table alone, the problems alone, and round again."""
        states = ["", "-zoom-table", "-zoom-fixes"]
        now = next((s for s in states[1:] if self.has_class(s)), "")
        wanted = states[(states.index(now) + 1) % len(states)]
        self.remove_class(*states[1:])
        if wanted:
            self.add_class(wanted)
        self.call_after_refresh(self.flush, None)

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """Every panel compares before it paints."""
        store, width, height = self.desk.store, self.size.width, self.size.height
        is_tiny = width < TINY_WIDTH or height < TINY_HEIGHT
        self.set_class(not store.has_data, "-no-data")
        self.set_class(height >= TALL, "-tall")
        self.set_class(is_tiny, "-tiny")
        if not store.has_data:
            self._draw_splash(look, width)
            return
        self._choose_table()
        self._fixes = rank_fixes(
            store.engine, store.nodes, store.sessions, store.services, store.alerts, look=look, miners=store.miners
        )
        faded, rows = self.is_faded, self._fix_rows(height, is_tiny=is_tiny)
        self.query_one("#reach", Lines).set_lines([reach_line(store, look, width)], faded=faded)
        fixes = self.query_one("#fixes", Lines)
        fixes.set_rows(rows + 1)
        nothing = all_is_well(store, look)
        chosen = self._chosen_index()
        fixes.set_lines(fix_lines(self._fixes, look, width, rows, nothing=nothing, chosen=chosen), faded=faded)
        self.query_one("#boxes", Lines).set_lines(box_lines(store, look, width), faded=faded)
        self.query_one("#status", Lines).set_lines([status_line(store, look, width)], faded=faded)
        super().draw(look, dirty)
        if not self._has_moved and self._fixes:
            self.table.select_id(self._fixes[0].target[1])

    def draw_title(self, look: Look) -> None:
        """The boxes say how many there are; a filter shows in the table's first sentence and in the footer."""
        if self.view_query.filter or self.view_query.problems_only:
            self.desk.say(self._hidden_sentence(), "warn" if self.view_query.filter.problem else "accent")

    def _hidden_sentence(self) -> str:
        words = [f"filter {self.view_query.filter.source}"] if self.view_query.filter else []
        words += [self.view_query.filter.problem] if self.view_query.filter.problem else []
        words += ["problems only"] if self.view_query.problems_only else []
        return f"{len(self.table.order):,} of {self.total():,} shown: {', '.join(words)}   (esc shows all)"

    def _draw_splash(self, look: Look, width: int) -> None:
        lines: list[Line] = [()]
        for number, sentence in enumerate(connection_sentences(self.desk.store, str(self.desk.socket), look)):
            lines += [((f"  {part}", "title" if number == 0 else ""),) for part in wrap(sentence, max(width - 4, 20))]
        self.query_one("#splash", Lines).set_lines(lines)

    def _choose_table(self) -> None:
        table = MINERS if self.desk.store.is_validator else NODES
        if self.TABLE is not table:
            self.TABLE = table
            self.table.set_table(table)
            self.recall()

    def _fix_rows(self, height: int, *, is_tiny: bool) -> int:
        if is_tiny or self.has_class("-zoom-fixes"):
            return max(height - 4, 1)
        return 3 if height < TALL or len(self._fixes) <= 3 else 5

    # --- keys -------------------------------------------------------------------------------------------------

    def perform(self, binding_id: str) -> bool:
        """Walk the problems; act on the selected node."""
        if binding_id == "fix.apply":
            self._apply_fix()
        elif binding_id.startswith("fix."):
            self._walk(1 if binding_id == "fix.next" else -1)
        elif binding_id == "open":
            self._open()
        elif not self.desk.store.is_validator and act_on_nodes(self.desk, binding_id, self.table.targets()):
            return True
        else:
            if binding_id.startswith("nav."):
                self._has_moved, self._chosen = True, None
            done = super().perform(binding_id)
            self._draw_fixes()
            return done
        return True

    def _chosen_index(self) -> int:
        for index, fix in enumerate(self._fixes):
            if self._chosen == (fix.subject, fix.message.split(" ")[0]):
                return index
        return -1

    def _walk(self, step: int) -> None:
        if not self._fixes:
            self.desk.say("there is nothing to fix", "good")
            return
        index = self._chosen_index()
        index = (index + step) % len(self._fixes) if index >= 0 else 0
        fix = self._fixes[index]
        self._has_moved, self._chosen = True, (fix.subject, fix.message.split(" ")[0])
        self.table.select_id(fix.target[1])
        self._draw_fixes()

    def _apply_fix(self) -> None:
        """The problem that is chosen, else the first one of the row under the cursor, else the first of all."""
        chosen = self._chosen_index()
        own = [f for f in self._fixes if f.target[1] == self.table.cursor_id]
        fixes = [self._fixes[chosen]] if chosen >= 0 else [*own, *self._fixes]
        if fixes:
            apply_fix(self.desk, fixes[0])
        else:
            self.desk.say("there is nothing to fix", "good")

    def _draw_fixes(self) -> None:
        look, rows = self.desk.look(), len(self.query_one("#fixes", Lines).lines) - 1
        if rows > 0:
            lines = fix_lines(
                self._fixes,
                look,
                self.size.width,
                rows,
                nothing=all_is_well(self.desk.store, look),
                chosen=self._chosen_index(),
            )
            self.query_one("#fixes", Lines).set_lines(lines)

    def _open(self) -> None:
        index = self._chosen_index()
        collection, target = self._fixes[index].target if index >= 0 else (self.TABLE.collection, self.table.cursor_id)
        if not target:
            return
        if collection == "nodes":
            self.desk.open_node(target)
        else:
            self.desk.push_screen(RecordScreen(collection, target))
