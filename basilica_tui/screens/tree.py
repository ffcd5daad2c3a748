"""Tree: what belongs to what; l unfolds, h folds, enter opens what the line is about."""

from __future__ import annotations

from collections.abc import Iterable

from basilica_tui.columns import Query
from basilica_tui.format import Look
from basilica_tui.screens.record import RecordScreen
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.store import Dirty
from basilica_tui.tree import FEW, TREE, Branch, miner_branches, related, unfolded, validator_branches

_COLLECTIONS = frozenset({"nodes", "sessions", "miners", "verifications"})


class TreeScreen(TableScreen[Branch]):
    """Built anew when one of its parts changed; what is folded stays so."""

    SCREEN_ID = "tree"
    TABLE = TREE

    def __init__(self) -> None:
        super().__init__()
        self._branches: dict[str, Branch] = {}
        self._turned: set[str] = set()
        """Lines that are not as they are at first."""
        self._folded: set[str] = set()
        """Lines that were folded while a filter shows everything unfolded."""

    def lookup(self, row_id: str) -> Branch | None:
        """A line by its id."""
        return self._branches.get(row_id)

    def rows(self) -> Iterable[tuple[str, Branch]]:
        """The lines that are to be seen."""
        return self._branches.items()

    def total(self) -> int:
        """Before filtering."""
        return len(self._branches)

    @property
    def _is_narrowed(self) -> bool:
        return bool(self.view_query.filter) or self.view_query.problems_only

    def select_rows(self, look: Look) -> list[str]:
        """What is found stays on its branch: with what it hangs on, and for a filter with what hangs on it."""
        found = super().select_rows(look)
        if not self._is_narrowed:
            return found
        return related(found, self._branches, with_below=bool(self.view_query.filter))

    def set_query(self, query: Query, *, keep: bool = True) -> None:
        """A filter looks into folds too."""
        if query.filter != self.view_query.filter:
            self._folded.clear()
        self.view_query = query
        self._build()
        super().set_query(query, keep=keep)

    def empty_text(self, look: Look) -> str:
        """Why there is nothing to see."""
        return super().empty_text(look) if self._branches else "Nothing is known yet of nodes or miners."

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """Again from the store, if it has something new for the tree."""
        if dirty is None or _COLLECTIONS & dirty.ids.keys():
            self._build()
            self.table.set_rows(self.select_rows(look), self.view_query)
        super().draw(look, dirty)

    def perform(self, binding_id: str) -> bool:
        """Fold, unfold, open; sorting would tear the tree apart."""
        branch = self.lookup(self.table.cursor_id or "")
        if binding_id in ("nav.left", "nav.right") and not self.table.is_wide:
            if branch is not None:
                self._fold(branch, is_open=binding_id == "nav.right")
        elif binding_id in ("open", "describe"):
            if branch is not None:
                self._go_to(*branch.target, in_full=binding_id == "describe")
        else:
            return super().perform(binding_id)
        return True

    def _build(self) -> None:
        store = self.desk.store
        is_small = len(store.nodes) + len(store.miners) <= FEW
        if store.is_validator:
            found = validator_branches(store.miners.values(), store.verifications.values())
        else:
            found = miner_branches(store.nodes.values())
        if self._is_narrowed:
            self._branches = unfolded(found, lambda row_id: row_id not in self._folded)
        else:
            self._branches = unfolded(found, lambda row_id: is_small != (row_id in self._turned))

    def _fold(self, branch: Branch, *, is_open: bool) -> None:
        if branch.has_more and branch.is_open != is_open:
            turned = self._folded if self._is_narrowed else self._turned
            turned ^= {branch.id}
            self._build()
            self.table.set_rows(self.select_rows(self.desk.look()), self.view_query)
            self.draw_title(self.desk.look())
        elif branch.parent and not is_open:
            self.table.select_id(branch.parent)

    def _go_to(self, collection: str, row_id: str, *, in_full: bool) -> None:
        if in_full:
            self.desk.push_screen(RecordScreen(collection, row_id))
        elif collection == "nodes":
            self.desk.open_node(row_id)
        elif collection == "sessions":
            self.desk.open_session(row_id)
        else:
            self.desk.push_screen(RecordScreen(collection, row_id))
