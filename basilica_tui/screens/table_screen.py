"""A screen around one table: title line, filter, problems only, sorting, columns, marks, copy, export."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar, cast

from textual.app import ComposeResult

from basilica_tui.columns import Query, Table, named_column, next_sort, select
from basilica_tui.exports import export_problem, parse_export, table_text
from basilica_tui.filters import Filter, parse_filter
from basilica_tui.format import Line, Look, plural
from basilica_tui.lines import join, spread
from basilica_tui.panels.sentences import empty_table
from basilica_tui.preferences import ViewPreferences
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.menus import choose_action, choose_columns, choose_sorting
from basilica_tui.screens.record import RecordScreen
from basilica_tui.store import Dirty
from basilica_tui.tables import item_name, item_words
from basilica_tui.text import clean
from basilica_tui.widgets.line_table import LineTable
from basilica_tui.widgets.lines import Lines
from basilica_tui.widgets.prompt import Prompt

V = TypeVar("V")

_MOVES = {"nav.down": 1, "nav.up": -1}
_TOOLS = {
    "describe": "describe",
    "item.logs": "show_item_logs",
    "item.tree": "show_item_tree",
    "columns": "_choose_columns",
    "actions": "_choose_action",
    "copy": "_copy_name",
    "copy.row": "_copy_row",
    "export": "export",
    "zoom": "zoom",
}


class TableScreen(ConsoleScreen, Generic[V]):
    """Shows one collection. The query survives leaving the screen and every toggle."""

    TABLE: ClassVar[Table[Any]]
    TITLE_WORD: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__()
        self.view_query = Query()
        self.view_columns: tuple[str, ...] = ()
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
        self.recall()
        super().on_mount()

    # --- what is remembered -----------------------------------------------------------------------------------

    @property
    def preference_key(self) -> str:
        """Under which name this table is remembered."""
        return self.SCREEN_ID

    def recall(self) -> None:
        """Begin as the operator left this table."""
        kept = self.desk.preferences.of(self.preference_key)
        known = {c.id for c in self.TABLE.columns}
        self.view_query = Query(
            parse_filter(kept.filter), kept.problems_only, kept.sort if kept.sort in known else "", kept.reverse
        )
        self.view_columns = tuple(c for c in kept.columns if c in known)
        self.table.set_columns(self.view_columns)
        if kept.wide != self.table.is_wide:
            self.table.toggle_wide()

    def remember(self) -> None:
        """Keep how this table is looked at."""
        query = self.view_query
        chosen = ViewPreferences(
            query.sort, query.reverse, self.view_columns, query.filter.source, query.problems_only, self.table.is_wide
        )
        self.desk.preferences.keep(self.preference_key, chosen)

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """Order the rows again if one of them changed; the table paints the cells that differ."""
        table = self.table
        touched = dirty is None or self.TABLE.collection in dirty.ids
        table.set_empty_text(self.empty_text(look))
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
            if problem := self.view_query.filter.problem:
                parts.append(((problem, "bad"),))
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

    def empty_text(self, look: Look) -> str:
        """The sentence in place of rows."""
        if self.total() and not self.table.order:
            if problem := self.view_query.filter.problem:
                return f"The filter is wrong: {problem}. esc clears it."
            if self.view_query.filter:
                return f"Nothing matches {self.view_query.filter.source}. esc clears the filter."
            return f"No {self.TABLE.noun} has a problem. ! shows all of them."
        return empty_table(self.desk.store, self.TABLE.collection, look)

    def set_query(self, query: Query, *, keep: bool = True) -> None:
        """Another filter, sorting or toggle; ``keep`` remembers it."""
        self.view_query = query
        look = self.desk.look()
        self.table.set_rows(self.select_rows(look), query)
        self.table.set_empty_text(self.empty_text(look))
        self.draw_title(look)
        if keep:
            self.remember()

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
        elif binding_id == "mark.range":
            table.mark_range()
            self.draw_title(self.desk.look())
        elif binding_id == "filter":
            self.open_prompt("/", self.view_query.filter.source)
        elif binding_id == "problems":
            self.set_query(replace(self.view_query, problems_only=not self.view_query.problems_only))
        elif binding_id.startswith("sort."):
            self._sort(binding_id)
        elif binding_id == "wide":
            table.toggle_wide()
            self.draw_title(self.desk.look())
            self.remember()
        elif binding_id in _TOOLS:
            getattr(self, _TOOLS[binding_id])()
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
        if binding_id == "sort.menu":
            choose_sorting(self)
            return
        if binding_id == "sort.reverse":
            self.set_query(replace(self.view_query, reverse=not self.view_query.reverse))
            return
        column = next_sort(
            self.table.table, self.table.placed, self.view_query, 1 if binding_id == "sort.right" else -1
        )
        self.set_query(replace(self.view_query, sort=column, reverse=False))

    def command(self, binding_id: str, argument: str) -> bool:
        """A command with words after it; False when it means nothing here."""
        if binding_id == "filter":
            self.set_query(replace(self.view_query, filter=parse_filter(argument)))
        elif binding_id == "sort.menu":
            self._sort_by(argument)
        elif binding_id == "columns":
            self._show_columns(argument.replace(",", " ").split())
        elif binding_id == "export":
            self.export(argument)
        else:
            return False
        return True

    def _sort_by(self, argument: str) -> None:
        """``:sort COLUMN``, ``:sort COLUMN reverse``."""
        wanted, _, order = argument.partition(" ")
        column = named_column(self.TABLE, wanted)
        if column is None:
            self.desk.say(self._no_column(wanted), "warn")
        elif order.strip() not in {"", "reverse"}:
            self.desk.say(f"{order.strip()} is no order; reverse turns it round:   :sort {wanted} reverse", "warn")
        else:
            self.set_query(replace(self.view_query, sort=column.id, reverse=bool(order.strip())))

    def _show_columns(self, words: Sequence[str]) -> None:
        """``:columns node util temp``; a word that names none changes nothing."""
        columns = [named_column(self.TABLE, word) for word in words]
        unknown = next((w for w, c in zip(words, columns, strict=True) if c is None), "")
        if unknown:
            self.desk.say(self._no_column(unknown), "warn")
        else:
            self.set_columns(list(dict.fromkeys(c.id for c in columns if c is not None)))

    def _no_column(self, word: str) -> str:
        return f"there is no column {word}; there are {', '.join(c.id for c in self.TABLE.columns)}"

    def set_columns(self, ids: Sequence[str]) -> None:
        """Show these columns in this order; none means the table's own."""
        known = [c.id for c in self.TABLE.columns]
        self.view_columns = tuple(i for i in ids if i in known)
        if tuple(known) == self.view_columns:
            self.view_columns = ()
        self.table.set_columns(self.view_columns)
        self.remember()

    def describe(self) -> None:
        """Every field of the row."""
        if self.table.cursor_id is not None:
            self.desk.push_screen(RecordScreen(self.TABLE.collection, self.table.cursor_id))

    def show_item_logs(self) -> None:
        """The log lines about the row."""
        row = self.lookup(self.table.cursor_id or "")
        if row is not None:
            self.desk.show_logs_of(item_words(row))

    def show_item_tree(self) -> None:
        """What belongs to the row, and what it belongs to."""
        row = self.lookup(self.table.cursor_id or "")
        if row is not None:
            self.desk.show_tree_of(item_words(row))

    def export(self, argument: str = "") -> None:
        """The rows that are shown, as a file."""
        if problem := export_problem(argument):
            self.desk.say(problem, "warn")
            return
        form, path = parse_export(argument)
        look = self.desk.look()
        rows = [row for row_id in self.table.order if (row := self.lookup(row_id)) is not None]
        self.desk.save_text(self.TABLE.collection, table_text(self.TABLE, rows, look, form), form, path, len(rows))

    def zoom(self) -> None:
        """A table has the screen already."""
        self.desk.say("this table has the whole screen already", "dim")

    def _choose_columns(self) -> None:
        choose_columns(self)

    def _choose_action(self) -> None:
        choose_action(self.desk, self.TABLE.collection, self.table.targets())

    def _copy_name(self) -> None:
        rows = [row for row_id in self.table.targets() if (row := self.lookup(row_id)) is not None]
        if rows:
            names = [clean(item_name(row)) for row in rows]
            self.desk.copy_text("\n".join(names), names[0] if len(names) == 1 else plural(len(names), "name"))

    def _copy_row(self) -> None:
        rows = [row for row_id in self.table.targets() if (row := self.lookup(row_id)) is not None]
        if rows:
            self.desk.copy_text("\n".join(self.TABLE.copy_text(row) for row in rows), plural(len(rows), "row"))

    def open_prompt(self, kind: str, text: str) -> None:
        """Open the line for a filter or a search."""
        self.query_one("#footer", Lines).display = False
        self.query_one(Prompt).open(kind, text, self._filter_history)

    def on_prompt_typed(self, event: Prompt.Typed) -> None:
        """Filter while typing."""
        event.stop()
        if event.kind == "/":
            self.set_query(replace(self.view_query, filter=parse_filter(event.text)), keep=False)

    def on_prompt_done(self, event: Prompt.Done) -> None:
        """What was typed stays; closing the line is the base class's own handler, which Textual calls too."""
        self.remember()
