"""Node detail: identity, checks, GPUs, keys, sshd, what happened."""

from __future__ import annotations

from textual.app import ComposeResult

from basilica_tui.format import Line, Look
from basilica_tui.key_inventory import KeyOnNode, key_lines, keys_of
from basilica_tui.node_table import NODES, node_name
from basilica_tui.panels.node_card import node_lines
from basilica_tui.screens.asking import Asking
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.key_actions import remove_key
from basilica_tui.screens.menus import choose_action
from basilica_tui.screens.node_actions import act_on_nodes
from basilica_tui.screens.record import RecordScreen
from basilica_tui.screens.scrolling import ScrollingLines
from basilica_tui.store import Dirty
from basilica_tui.tables import item_words
from basilica_tui.text import clean
from basilica_tui.timeline import NODE_EVENTS, Record, timeline_lines
from engine.errors import BasilicaError

_KEYS_HEAD: Line = (
    (" KEYS ON THE NODE", "title"),
    ("   tab selects, enter opens whose it is, X takes off, i reads them now", "dim"),
)
READ_EVERY_S = 30.0
TIMELINE_LINES = 40


class NodeScreen(ConsoleScreen):
    """One node, kept up to date."""

    SCREEN_ID = "node"

    def __init__(self, node_id: str) -> None:
        super().__init__()
        self._node_id = node_id
        self._chosen = -1
        self._is_key_sought = False
        """Whether the selected key has to be brought into sight."""
        self._records: list[Record] | None = None
        self._note = "asking the engine"
        self._asking = Asking(READ_EVERY_S)

    @property
    def plot_subject(self) -> str:
        """What a plot opened from here is about."""
        return self._node_id

    @property
    def crumb(self) -> str:
        """Its place in the path."""
        node = self.desk.store.nodes.get(self._node_id)
        return node_name(node) if node is not None else self._node_id

    def body(self) -> ComposeResult:
        """Lines that may be longer than the screen."""
        yield ScrollingLines(id="node")

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """All of it again; only what differs is painted."""
        self._ask_when_due()
        node = self.desk.store.nodes.get(self._node_id)
        lines: list[Line] = [(), ((" This node is not in the configuration any more.", "warn"),)]
        in_sight: int | None = None
        if node is not None:
            keys = keys_of(node)
            self._chosen = min(self._chosen, len(keys) - 1)
            lines = [*node_lines(node, look, self.size.width), (), _KEYS_HEAD]
            in_sight = len(lines) + self._chosen if self._is_key_sought and self._chosen >= 0 else None
            lines += [((" ", ""), *line) for line in key_lines(keys, self._chosen, look)]
        self._is_key_sought = False
        lines += [(), ((" TIMELINE", "title"),), *(((" ", ""), *line) for line in self._timeline(look))]
        self.query_one(ScrollingLines).show(lines, faded=self.is_faded, in_sight=in_sight)

    def _timeline(self, look: Look) -> list[Line]:
        if self._records is None:
            return [((self._note, "dim"),)]
        lines = timeline_lines(self._records, NODE_EVENTS, look, self.size.width, limit=TIMELINE_LINES)
        return lines or [(("nothing on record", "dim"),)]

    def _ask_when_due(self) -> None:
        if self._asking.starts(self.desk.clock.monotonic(), self.desk.store.replay):
            self.desk.start(self._read())

    async def _read(self) -> None:
        try:
            self._records = list(await self.desk.link.events(self._node_id, list(NODE_EVENTS), 200))
        except BasilicaError as error:
            self._note = f"the timeline cannot be read: {error}"
        self._asking.ends()
        if self.is_mounted:
            self.flush(None)

    # --- keys -------------------------------------------------------------------------------------------------

    @property
    def chosen_key(self) -> KeyOnNode | None:
        """The key line that is selected."""
        node = self.desk.store.nodes.get(self._node_id)
        keys = keys_of(node) if node is not None else ()
        return keys[self._chosen] if 0 <= self._chosen < len(keys) else None

    def perform(self, binding_id: str) -> bool:
        """Test, accept a host key, take keys off, copy, scroll."""
        node = self.desk.store.nodes.get(self._node_id)
        if binding_id == "describe":
            self.desk.push_screen(RecordScreen("nodes", self._node_id))
        elif binding_id == "open":
            self._open_holder()
        elif binding_id == "actions":
            choose_action(self.desk, "nodes", [self._node_id])
        elif binding_id == "item.logs" and node is not None:
            self.desk.show_logs_of(item_words(node))
        elif binding_id == "item.tree" and node is not None:
            self.desk.show_tree_of(item_words(node))
        elif binding_id == "copy" and node is not None:
            command = f"ssh -p {node.port} {node.username}@{node.host}"
            self.desk.copy_text(clean(command), clean(command))
        elif binding_id == "copy.row" and node is not None:
            self.desk.copy_text(NODES.copy_text(node), node_name(node))
        elif binding_id.startswith("key.") and node is not None:
            self._key(binding_id)
        elif not act_on_nodes(self.desk, binding_id, [self._node_id]):
            return self.query_one(ScrollingLines).perform(binding_id) or super().perform(binding_id)
        return True

    def _open_holder(self) -> None:
        key = self.chosen_key
        if key is not None and key.hotkey:
            self.desk.open_session(key.hotkey)
        else:
            self.desk.say("tab selects a key; enter opens the validator whose it is", "dim")

    def _key(self, binding_id: str) -> None:
        node = self.desk.store.nodes[self._node_id]
        count = len(keys_of(node))
        if binding_id == "key.read":
            self.desk.act("node.inventory", {"node_id": node.id}, f"read the keys of {node_name(node)}")
        elif binding_id == "key.remove":
            remove_key(self.desk, node, self.chosen_key)
        elif count:
            step = 1 if binding_id == "key.next" else -1
            self._chosen = (self._chosen + step) % count if self._chosen >= 0 or step > 0 else count - 1
            self._is_key_sought = True
            self.flush(None)
