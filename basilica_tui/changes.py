"""Which cells say something else than a moment ago, by row and column, so that the eye finds them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

SHOWN_S = 8.0
ROWS_LIMIT = 4096
NOTHING: frozenset[str] = frozenset()


class Changes:
    """Compares with what was seen before; a row that is seen for the first time has no change."""

    def __init__(self) -> None:
        self._seen: dict[str, Mapping[str, str]] = {}
        self._until: dict[str, dict[str, float]] = {}

    def of(self, row_id: str, cells: Mapping[str, str], now: float) -> frozenset[str]:
        """The columns of ``cells`` (texts by column id) that changed within the last seconds."""
        before = self._seen.get(row_id)
        if before is not None and before != cells:
            until = self._until.setdefault(row_id, {})
            until.update(
                (column, now + SHOWN_S) for column in cells if before.get(column, cells[column]) != cells[column]
            )
        if len(self._seen) > ROWS_LIMIT:
            self.forget()
        self._seen[row_id] = cells
        until = self._until.get(row_id, {})
        if not until:
            return NOTHING
        # A clock that was set back, or a jump in a recording, must not keep a mark for ever.
        live = {column: end for column, end in until.items() if now < end <= now + SHOWN_S}
        if live:
            self._until[row_id] = live
        else:
            del self._until[row_id]
        return frozenset(live)

    def forget(self) -> None:
        """Begin anew, with nothing seen."""
        self._seen.clear()
        self._until.clear()
