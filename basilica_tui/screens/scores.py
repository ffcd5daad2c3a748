"""Scores: the ramp and what it makes of each node, and the cost of the next failure."""

from __future__ import annotations

from textual.app import ComposeResult

from basilica_tui.format import Line, Look
from basilica_tui.panels.formula import node_formula
from basilica_tui.panels.scores import score_line, what_if_lines
from basilica_tui.scores_table import SCORES
from basilica_tui.screens.node_actions import NodeTableScreen
from basilica_tui.store import Dirty
from basilica_tui.widgets.lines import Lines


class ScoresScreen(NodeTableScreen):
    """One row per node, figures of the whole miner above, the what-if of the selected node below."""

    SCREEN_ID = "scores"
    plot_chart = "score"
    TABLE = SCORES

    def body(self) -> ComposeResult:
        """Title and figures, table, two lines."""
        yield Lines(1, id="title")
        yield Lines(1, id="figures")
        yield self.make_table()
        yield Lines(2, id="what-if")

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """The figures change with the engine, the rows with the nodes."""
        super().draw(look, dirty)
        line = score_line(self.desk.store, look, self.size.width)
        self.query_one("#figures", Lines).set_lines([line], faded=self.is_faded)
        self._draw_what_if(look)

    def _draw_what_if(self, look: Look) -> None:
        node = self.desk.store.nodes.get(self.table.cursor_id or "")
        lines, below = what_if_lines(node, look, self.size.width), self.query_one("#what-if", Lines)
        below.set_rows(len(lines))
        below.set_lines(lines, faded=self.is_faded)

    def formula(self, look: Look) -> list[Line]:
        """The selected node's arithmetic, for the help screen."""
        node = self.desk.store.nodes.get(self.table.cursor_id or "")
        return [] if node is None else node_formula(node, look)

    def perform(self, binding_id: str) -> bool:
        """The sentence below follows the cursor."""
        done = super().perform(binding_id)
        self._draw_what_if(self.desk.look())
        return done
