"""A screen around one table: title line, filter, problems only, sorting, marks, copy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar, cast

from textual.app import ComposeResult

from basilica_tui.columns import Query, Table, next_sort, select
from basilica_tui.filters import Filter, parse_filter
from basilica_tui.format import Line, Look, plural
from basilica_tui.lines import join, spread
from basilica_tui.panels.sentences import empty_table
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.store import Dirty
from basilica_tui.widgets.line_table import LineTable
from basilica_tui.widgets.lines import Lines
from basilica_tui.widgets.prompt import Prompt

V = TypeVar("V")

_MOVES = {"nav.down": 1, "nav.up": -1}


class TableScreen(ConsoleScreen, Generic[V]):
    """Shows one collection. The query survives leaving the screen and every toggle."""

    TABLE: ClassVar[Table[Any]]
    TITLE_WORD: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__()
        self.view_query = Query()
        self._filter_history: list[str] = []

    def body(self) -> ComposeResult:
        """A title line and the table."""
        yield Lines(1, id="title")
        yield self.make_table()

    def make_table(self) -> LineTable[V]:
        """The table widget over this screen's collection."""
        return LineTable(self.TABLE, self.lookup, self.desk.look, id="table")

    @property
    def table(self) -> LineTable[V]:
        """The table widget."""
        return cast("LineTable[V]", self.query_one("#table", LineTable))

    def lookup(self, row_id: str) -> V | None:
        """A row by its id."""
        return cast("V | None", self.desk.store.collection(self.TABLE.collection).get(row_id))

    def rows(self) -> Iterable[tuple[str, V]]:
        """All rows with their ids."""
        return cast("Iterable[tuple[str, V]]", self.desk.store.collection(self.TABLE.collection).items())

    def select_rows(self, look: Look) -> list[str]:
        """The ids that pass the query, in its order."""
        return select(self.TABLE, self.rows(), self.view_query, look)

    def on_mount(self) -> None:
        """The table learns whether it may use more than ASCII."""
        self.table.ascii_only = self.desk.symbols.is_ascii
        super().on_mount()

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """Order the rows again if one of them changed; the table paints the cells that differ."""
        table = self.table
        touched = dirty is None or self.TABLE.collection in dirty.ids
        table.set_empty_text(self._empty_text(look))
        if touched:
            table.set_rows(self.select_rows(look), self.view_query)
        table.repaint(faded=self.is_faded)
        self.draw_title(look)

    def draw_title(self, look: Look) -> None:
        """``NODES 3 of 12 · filter h100 · problems only``."""
        width = self.size.width
        self.query_one("#title", Lines).set_lines([self.title_line(look, width)], faded=self.is_faded)

    def title_line(self, look: Look, width: int) -> Line:
        """The table's name, how many rows, and everything that hides some of them."""
        total, shown = self.total(), len(self.table.order)
        word = (self.TITLE_WORD or self.SCREEN_ID).upper()
        count = f"{shown:,} of {total:,}" if shown != total else f"{total:,}"
        parts: list[Line] = [((f" {word} ", "title"), (count, ""))]
        if self.view_query.filter:
            parts.append((("filter ", "dim"), (self.view_query.filter.source, "accent")))
        if self.view_query.problems_only:
            parts.append((("problems only", "warn"),))
        if self.table.marks:
            parts.append(((f"{plural(len(self.table.marks), 'row')} marked", "key"),))
        if self.table.is_wide:
            parts.append((("all columns, h l move", "dim"),))
        parts += self.more_title(look)
        return spread(join(parts, (f"  {look.symbols.dot}  ", "dim")), (), width, look.symbols.ellipsis)

    def more_title(self, look: Look) -> list[Line]:
        """What a screen adds to its title."""
        return []

    def total(self) -> int:
        """Rows before filtering."""
        return len(self.desk.store.collection(self.TABLE.collection))

    def _empty_text(self, look: Look) -> str:
        if self.total() and not self.table.order:
            if self.view_query.filter:
                return f"Nothing matches {self.view_query.filter.source}. esc clears the filter."
            return f"No {self.TABLE.noun} has a problem. ! shows all of them."
        return empty_table(self.desk.store, self.TABLE.collection, look)

    def set_query(self, query: Query) -> None:
        """Another filter, sorting or toggle."""
        self.view_query = query
        look = self.desk.look()
        self.table.set_rows(self.select_rows(look), query)
        self.table.set_empty_text(self._empty_text(look))
        self.draw_title(look)

    # --- keys -------------------------------------------------------------------------------------------------

    def perform(self, binding_id: str) -> bool:
        """Moving, marking, filtering, sorting; the rest is the subclass's or the app's."""
        table = self.table
        if binding_id in _MOVES:
            table.move(_MOVES[binding_id])
        elif binding_id.startswith("nav."):
            self._jump(binding_id)
        elif binding_id == "mark":
            table.toggle_mark()
            self.draw_title(self.desk.look())
        elif binding_id == "filter":
            self._open_filter()
        elif binding_id == "problems":
            self.set_query(replace(self.view_query, problems_only=not self.view_query.problems_only))
        elif binding_id.startswith("sort."):
            self._sort(binding_id)
        elif binding_id == "wide":
            table.toggle_wide()
            self.draw_title(self.desk.look())
        elif binding_id == "copy":
            self._copy()
        else:
            return super().perform(binding_id)
        return True

    def step_back(self) -> bool:
        """Prompt, then filter, then problems only, then marks."""
        if super().step_back():
            return True
        if self.view_query.filter or self.view_query.problems_only:
            self.set_query(replace(self.view_query, filter=Filter(), problems_only=False))
            return True
        if self.table.clear_marks():
            self.draw_title(self.desk.look())
            return True
        return False

    def _jump(self, binding_id: str) -> None:
        table = self.table
        half = max(table.page // 2, 1)
        steps = {
            "nav.page_down": table.page,
            "nav.page_up": -table.page,
            "nav.half_down": half,
            "nav.half_up": -half,
            "nav.top": -len(table.order),
            "nav.bottom": len(table.order),
        }
        if binding_id in steps:
            table.move(steps[binding_id])
        else:
            table.scroll_columns(1 if binding_id == "nav.right" else -1)

    def _sort(self, binding_id: str) -> None:
        if binding_id == "sort.reverse":
            self.set_query(replace(self.view_query, reverse=not self.view_query.reverse))
            return
        column = next_sort(self.TABLE, self.table.placed, self.view_query, 1 if binding_id == "sort.right" else -1)
        self.set_query(replace(self.view_query, sort=column, reverse=False))

    def _copy(self) -> None:
        rows = [row for row_id in self.table.targets() if (row := self.lookup(row_id)) is not None]
        if rows:
            self.desk.copy_text("\n".join(self.TABLE.copy_text(row) for row in rows), plural(len(rows), "row"))

    def _open_filter(self) -> None:
        self.query_one("#footer", Lines).display = False
        self.query_one(Prompt).open("/", self.view_query.filter.source, self._filter_history)

    def on_prompt_typed(self, event: Prompt.Typed) -> None:
        """Filter while typing."""
        event.stop()
        if event.kind == "/":
            self.set_query(replace(self.view_query, filter=parse_filter(event.text)))
