"""Alerts: what is wrong now, and what was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from basilica_tui.actions import find_action
from basilica_tui.format import Line, Look
from basilica_tui.node_table import node_name
from basilica_tui.screens.menus import act_on_rows, choose_silence
from basilica_tui.screens.record import RecordScreen
from basilica_tui.screens.selected_words import SelectedWords
from basilica_tui.tables import ALERTS
from engine.control.models import AlertView


class AlertsScreen(SelectedWords[AlertView]):
    """Active alerts first; a node is called by its name, and what is said of the selected one stands below in full."""

    SCREEN_ID = "alerts"
    TABLE = ALERTS
    WORDS_ROWS = 2

    def lookup(self, row_id: str) -> AlertView | None:
        """An alert; where it is about a node, about its name."""
        alert = super().lookup(row_id)
        node = self.desk.store.nodes.get(alert.subject) if alert is not None else None
        return alert if alert is None or node is None else replace(alert, subject=node_name(node))

    def rows(self) -> Iterable[tuple[str, AlertView]]:
        """All of them, by those names."""
        return [(row_id, row) for row_id, _ in super().rows() if (row := self.lookup(row_id)) is not None]

    def words(self, row: AlertView, look: Look) -> Line:
        """Its message and what to do."""
        return ((f" {row.message}", "warn" if row.active else "dim"), (f"; {row.hint}" if row.hint else "", "dim"))

    def more_title(self, look: Look) -> list[Line]:
        """How many are active."""
        active = sum(a.active for a in self.desk.store.alerts.values())
        return [((f"{active} active", "warn" if active else "good"),)] if self.total() else []

    def perform(self, binding_id: str) -> bool:
        """Open the record or what it is about, acknowledge, silence."""
        if binding_id == "open":
            self._open()
        elif binding_id == "alert.acknowledge":
            self._acknowledge()
        elif binding_id == "alert.silence":
            choose_silence(self.desk, self.table.targets())
        else:
            return super().perform(binding_id)
        return True

    def _open(self) -> None:
        alert = self.desk.store.alerts.get(self.table.cursor_id or "")
        if alert is None:
            return
        node = next((n.id for n in self.desk.store.nodes.values() if alert.subject in {n.id, n.label}), None)
        if node is not None:
            self.desk.open_node(node)
        else:
            self.desk.push_screen(RecordScreen("alerts", alert.id))

    def _acknowledge(self) -> None:
        action = find_action("alert.acknowledge")
        known = self.desk.store.alerts
        fresh = [i for i in self.table.targets() if i in known and known[i].active and not known[i].acknowledged]
        if not fresh:
            self.desk.say("nothing to acknowledge: it is over or acknowledged already")
        elif action is not None:
            act_on_rows(self.desk, action, "alerts", fresh)
