"""A table whose last line says the selected row's longest words in full: the column that ends where the screen does."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.app import ComposeResult

from basilica_tui.format import Line, Look
from basilica_tui.lines import fold_line, join, spread
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.store import Dirty
from basilica_tui.widgets.lines import Lines

V = TypeVar("V")


class SelectedWords(TableScreen[V]):
    """Title, table, one line, or ``WORDS_ROWS``. A subclass says what stands there."""

    WORDS_ROWS: ClassVar[int] = 1

    def body(self) -> ComposeResult:
        """The line is there when it is empty too: nothing moves while the cursor does."""
        yield from super().body()
        yield Lines(self.WORDS_ROWS, id="words")

    def words(self, row: V, look: Look) -> Line:
        """What is said of this row."""
        raise NotImplementedError

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """Another row or another cursor."""
        super().draw(look, dirty)
        self._draw_words(look)

    def perform(self, binding_id: str) -> bool:
        """The line follows the cursor."""
        done = super().perform(binding_id)
        self._draw_words(self.desk.look())
        return done

    def _draw_words(self, look: Look) -> None:
        row = self.lookup(self.table.cursor_id or "")
        line = () if row is None else self.words(row, look)
        width, rows = self.size.width, self.WORDS_ROWS
        lines = [line] if rows == 1 else fold_line(line, width)
        if len(lines) > rows:
            lines[rows - 1] = join(lines[rows - 1 : rows + 1], (" ", ""))
        fitted = [spread(part, (), width, look.symbols.ellipsis) for part in lines[:rows]]
        self.query_one("#words", Lines).set_lines(fitted, faded=self.is_faded)


class PlottedRows(SelectedWords[V]):
    """Rows that a plot may be about."""

    plot_chart = "node-score"

    @property
    def plot_subject(self) -> str:
        """What a plot opened from here is about."""
        return self.table.cursor_id or ""
