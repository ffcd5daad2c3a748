"""Rows that scroll under a heading, with a cursor that stays in sight."""

from __future__ import annotations

from collections.abc import Sequence

from textual.scroll_view import ScrollView

from basilica_tui.widgets.selection import Selection


class Selecting(ScrollView):
    """Moves and marks; how rows look, and painting what differs, is the subclass's."""

    can_focus = False

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._selection = Selection()

    def repaint(self) -> None:
        """Paint the lines that differ from what they should show."""
        raise NotImplementedError

    @property
    def order(self) -> Sequence[str]:
        """The ids that are shown, in their order."""
        return self._selection.order

    @property
    def cursor_id(self) -> str | None:
        """The id of the row under the cursor; None without rows."""
        return self._selection.cursor_id

    @property
    def marks(self) -> set[str]:
        """The ids that are marked."""
        return self._selection.marks

    def move(self, step: int) -> None:
        """Move the cursor by rows."""
        self.move_to(self.cursor_index + step)

    def move_to(self, index: int) -> None:
        """Put the cursor on the row at this place; beyond the ends means the ends."""
        if self._selection.move_to(index):
            self.show_cursor()
            self.repaint()

    def select_id(self, row_id: str) -> bool:
        """Put the cursor on this row; False when it is not shown."""
        index = self._selection.index_of(row_id)
        if index is None:
            return False
        self.move_to(index)
        return True

    @property
    def cursor_index(self) -> int:
        """The place of the cursor's row."""
        return self._selection.cursor_index

    @property
    def rows_below(self) -> int:
        """Rows after the last visible one."""
        return max(len(self.order) - round(self.scroll_y) - self.page, 0)

    @property
    def page(self) -> int:
        """Rows on one page."""
        return max(self.size.height - 1, 1)

    @property
    def is_at_end(self) -> bool:
        """Whether the cursor stands on the last row, or there is none."""
        return self._selection.is_at_end

    def toggle_mark(self) -> None:
        """Mark the row under the cursor, or unmark it, and go on to the next."""
        if self._selection.toggle_mark():
            self.move(1)
            self.repaint()

    def mark_range(self) -> None:
        """Mark everything from the last mark to the cursor."""
        if self._selection.mark_range():
            self.repaint()

    def clear_marks(self) -> bool:
        """Forget the marks; False when there were none."""
        had = bool(self.marks)
        self.marks.clear()
        self.repaint()
        return had

    def targets(self) -> list[str]:
        """The ids that an action is meant for: the marked ones in their order, else the one under the cursor."""
        return self._selection.targets()

    def show_cursor(self) -> None:
        """Scroll just so far that the cursor's row is visible."""
        top, page = round(self.scroll_y), self.page
        if self.cursor_index < top:
            self._scroll_rows(self.cursor_index)
        elif self.cursor_index >= top + page:
            self._scroll_rows(self.cursor_index - page + 1)

    def _scroll_rows(self, top: int) -> None:
        self.scroll_to(y=top, animate=False, immediate=True, force=True)
