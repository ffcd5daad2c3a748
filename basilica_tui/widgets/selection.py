"""Which row the cursor is on and which ones are marked: ids, so that a new order never moves them to another row."""

from __future__ import annotations

from collections.abc import Sequence


class Selection:
    """The ids that a table shows in their order, one of them under the cursor, any of them marked."""

    def __init__(self) -> None:
        self.order: Sequence[str] = ()
        self.cursor_id: str | None = None
        self.cursor_index = 0
        self.marks: set[str] = set()
        self._index: dict[str, int] = {}
        self._anchor: str | None = None

    def forget(self) -> None:
        """Begin anew: other rows."""
        self.order, self._index, self.cursor_id = (), {}, None
        self.marks.clear()

    def set_order(self, order: Sequence[str]) -> bool:
        """Another order: cursor and marks stay with their ids, vanished ids lose theirs. True if the cursor moved."""
        self.order = order
        self._index = {row_id: i for i, row_id in enumerate(order)}
        self.marks &= self._index.keys()
        if not order:
            self.cursor_id, self.cursor_index = None, 0
        elif self.cursor_id in self._index:
            self.cursor_index = self._index[self.cursor_id]
            return True
        else:
            self.cursor_index = min(self.cursor_index, len(order) - 1)
            self.cursor_id = order[self.cursor_index]
        return False

    def index_of(self, row_id: str) -> int | None:
        """The place of a row; None when it is not shown."""
        return self._index.get(row_id)

    def move_to(self, index: int) -> bool:
        """Put the cursor on the row at this place; beyond the ends means the ends. False when there are no rows."""
        if not self.order:
            return False
        self.cursor_index = min(max(index, 0), len(self.order) - 1)
        self.cursor_id = self.order[self.cursor_index]
        return True

    @property
    def is_at_end(self) -> bool:
        """Whether the cursor stands on the last row, or there is none."""
        return not self.order or self.cursor_index == len(self.order) - 1

    def toggle_mark(self) -> bool:
        """Mark the row under the cursor, or unmark it; False when there is none."""
        if self.cursor_id is None:
            return False
        self._anchor = self.cursor_id
        self.marks ^= {self.cursor_id}
        return True

    def mark_range(self) -> bool:
        """Mark everything from the last mark to the cursor; False when there are no rows."""
        if self.cursor_id is None:
            return False
        start = self._index.get(self._anchor or "", self.cursor_index)
        first, last = sorted((start, self.cursor_index))
        self.marks |= set(self.order[first : last + 1])
        self._anchor = self.cursor_id
        return True

    def targets(self) -> list[str]:
        """The ids that an action is meant for: the marked ones in their order, else the one under the cursor."""
        marked = [row_id for row_id in self.order if row_id in self.marks]
        return marked or ([self.cursor_id] if self.cursor_id is not None else [])
