"""SSH check: one ladder per node, climbed by the engine, with what decided it and what repairs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from basilica_tui.format import Line, Look
from basilica_tui.node_table import node_name
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.login import AskLogin, NodeLogin
from basilica_tui.screens.repair import ask_plan
from basilica_tui.screens.scrolling import ScrollingLines
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.ssh_table import (
    SSH,
    Rung,
    SshRow,
    ladder_lines,
    report_text,
    row_of,
    row_of_progress,
    rungs_of,
)
from basilica_tui.store import Dirty
from basilica_tui.text import wrap
from basilica_tui.widgets.lines import Lines
from engine.errors import BasilicaError


class SshScreen(TableScreen[SshRow]):
    """Nodes above, the ladder of the selected one below. Results stay until the next check."""

    SCREEN_ID = "ssh"
    TITLE_WORD = "SSH check"
    TABLE = SSH

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, SshRow] = {}
        self._ladders: dict[str, tuple[Rung, ...]] = {}
        self._asked: set[str] = set()
        self._admin = "root"
        """Whom the login dialog proposes: the name that was typed last."""
        self._is_changed = True

    def body(self) -> ComposeResult:
        """Title, table, ladder."""
        yield Lines(1, id="title")
        yield self.make_table()
        yield Lines(None, id="ladder")

    def lookup(self, row_id: str) -> SshRow | None:
        """A node's newest climb, or that there was none."""
        node = self.desk.store.nodes.get(row_id)
        if node is None:
            return None
        row = self._rows.get(row_id, SshRow(row_id))
        return replace(row, label=node_name(node))

    def rows(self) -> Iterable[tuple[str, SshRow]]:
        """All nodes of the engine."""
        return [(node_id, row) for node_id in self.desk.store.nodes if (row := self.lookup(node_id)) is not None]

    def total(self) -> int:
        """As many as the engine has."""
        return len(self.desk.store.nodes)

    def empty_text(self, look: Look) -> str:
        """Why there is nothing to see."""
        is_known_empty = self.desk.store.has_data and not self.total()
        return "No node is configured." if is_known_empty else super().empty_text(look)

    def more_title(self, look: Look) -> list[Line]:
        """What to press first, and how many have a finding."""
        checked = [row for row in self._rows.values() if row.verdict not in ("", "checking")]
        if not checked:
            return [(("t", "key"), (" checks the node, ", "dim"), ("T", "key"), (" all", "dim"))]
        bad = sum(row.verdict == "failed" for row in checked)
        return [((f"{len(checked)} checked", ""),), ((f"{bad} failed", "bad" if bad else "good"),)]

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """Another answer, another node, another cursor."""
        if self._is_changed or dirty is None or "nodes" in dirty.ids:
            self._is_changed = False
            self.table.set_rows(self.select_rows(look), self.view_query)
        super().draw(look, dirty)
        self._draw_ladder(look)

    def _draw_ladder(self, look: Look) -> None:
        node_id = self.table.cursor_id or ""
        lines = ladder_lines(self._ladders.get(node_id, ()), look, self.size.width)
        row = self._rows.get(node_id)
        if not lines and row is not None and row.verdict == "checking":
            lines = [((" climbing the ladder ...", "accent"),)]
        elif not lines and node_id and row is not None and row.rungs:
            lines = [((" reading the ladder ...", "dim"),)]
        elif not lines and node_id:
            text = "Not checked yet. t climbs this node's ladder, from its address to its clock."
            lines = [((f" {part}", "dim"),) for part in wrap(text, self.size.width - 2)]
        self.query_one("#ladder", Lines).set_lines([(), *lines], faded=self.is_faded)

    # --- keys -------------------------------------------------------------------------------------------------

    def perform(self, binding_id: str) -> bool:
        """Check, open the whole ladder, repair, copy the report."""
        if binding_id == "node.test":
            for node_id in self.table.targets():
                self.check(node_id)
        elif binding_id == "ssh.all":
            self.check("")
        elif binding_id == "ssh.fix":
            self.desk.start(self._show_fix(self.table.cursor_id or ""))
        elif binding_id in ("open", "describe"):
            node_id = self.table.cursor_id or ""
            row = self.lookup(node_id)
            if self._ladders.get(node_id) and row is not None:
                self.desk.push_screen(LadderScreen(row.label, self._ladders[node_id]))
            elif row is not None:
                self.check(node_id)
        elif binding_id == "copy.row":
            self._copy_report()
        else:
            done = super().perform(binding_id)
            self._draw_ladder(self.desk.look())
            return done
        return True

    def check(self, node_id: str) -> None:
        """Ask the engine to climb one node's ladder, or all (empty id)."""
        if self.desk.read_only:
            self.desk.say("this console is read-only; the engine would refuse", "warn")
            return
        busy = {node_id} if node_id else set(self.desk.store.nodes)
        for each in busy:
            self._rows[each] = replace(self._rows.get(each, SshRow(each)), verdict="checking")
        self._changed()
        self.desk.start(self._check(node_id, busy))

    async def _check(self, node_id: str, busy: set[str], login: NodeLogin | None = None) -> None:
        done = 0

        def told(text: str) -> None:
            nonlocal done
            row = row_of_progress(text)
            if row is not None:
                done += 1
                self._rows[row.id] = row
                self.desk.say(f"SSH check: {done} of {len(busy)}")
                self._changed()

        try:
            args = {**({"node_id": node_id} if node_id else {}), **_login_args(login)}
            answer = await self.desk.link.act("ssh.check", args, told)
        except BasilicaError as error:
            self.desk.say(f"SSH check: {error}", "bad")
        else:
            listed = answer.get("nodes")
            for item in listed if isinstance(listed, list) else ():
                row = row_of(item) if isinstance(item, dict) else None
                if row is not None:
                    self._rows[row.id] = row
            self.desk.say(f"SSH check: {answer.get('message', 'done')}", "good")
        for each in busy:
            if self._rows.get(each, SshRow(each)).verdict == "checking":
                self._rows.pop(each, None)
        for each in busy if len(busy) == 1 else ():
            await self._fetch(each)
        self._ladders = {key: value for key, value in self._ladders.items() if key not in busy or len(busy) == 1}
        self._changed()
        if len(busy) > 1 and self.table.cursor_id:
            await self._fetch(self.table.cursor_id)

    async def _fetch(self, node_id: str) -> None:
        try:
            answer = await self.desk.link.act("ssh.ladder", {"node_id": node_id})
        except BasilicaError as error:
            self.desk.say(f"the ladder cannot be read: {error}", "bad")
            return
        self._ladders[node_id] = rungs_of(answer)
        self._changed()

    def flush(self, dirty: Dirty | None) -> None:
        """A ladder that is looked at for the first time is asked for."""
        super().flush(dirty)
        if not self.is_mounted or not self.query("#table"):
            return
        node_id = self.table.cursor_id or ""
        row = self._rows.get(node_id)
        if row is not None and row.rungs and node_id not in self._ladders and node_id not in self._asked:
            self._asked.add(node_id)
            self.desk.start(self._fetch_once(node_id))

    async def _fetch_once(self, node_id: str) -> None:
        await self._fetch(node_id)
        self._asked.discard(node_id)

    def _changed(self) -> None:
        self._is_changed = True
        if self.is_mounted and self.is_current:
            self.flush(None)

    # --- repair -----------------------------------------------------------------------------------------------

    async def _show_fix(self, node_id: str, login: NodeLogin | None = None) -> None:
        row = self._rows.get(node_id)
        if row is None or not row.check or row.verdict not in ("failed", "warning"):
            self.desk.say("there is no finding to repair; t checks the node", "warn")
            return
        args = {"node_id": node_id, "check": row.check, **_login_args(login)}
        try:
            plan = await self.desk.link.act("ssh.plan", {**args, "password": ""} if login else args)
        except BasilicaError as error:
            self.desk.say(f"{row.check}: {error}", "warn")
            return
        if login is None and (plan.get("needs_admin") or plan.get("needs_password")):
            self._ask_login(node_id, row, plan)
            return
        self._confirm_fix(node_id, row, args, plan)

    def _ask_login(self, node_id: str, row: SshRow, plan: Mapping[str, object]) -> None:
        account = str(plan.get("account", "")) if plan.get("needs_password") and not plan.get("needs_admin") else ""
        lines = [
            "This needs a login on the node that this miner does not have. The password is used for this one repair "
            "and kept nowhere."
        ]

        def answered(login: NodeLogin | None) -> None:
            if login is None:
                return
            self._admin = login.admin or self._admin
            self.desk.start(self._look_again(node_id, login) if login.admin else self._show_fix(node_id, login))

        title = f"{(self.lookup(node_id) or row).label or node_id}: {plan.get('title', '')}"
        self.desk.push_screen(AskLogin(title, lines, admin="" if account else self._admin, account=account), answered)

    async def _look_again(self, node_id: str, login: NodeLogin) -> None:
        """An administrator sees why, which may be another cause than the one that was known."""
        await self._check(node_id, {node_id}, login)
        await self._show_fix(node_id, login)

    def _confirm_fix(self, node_id: str, row: SshRow, args: Mapping[str, object], plan: Mapping[str, object]) -> None:
        label = (self.lookup(node_id) or row).label or node_id
        ask_plan(
            self.desk,
            f"Repair {label}: {plan.get('title', '')}?",
            str(plan.get("text", "")),
            lambda: self.desk.start(self._fix({**args, "fix": str(plan.get("fix", ""))})),
            is_reversible=bool(plan.get("is_reversible")),
        )

    async def _fix(self, args: dict[str, object]) -> None:
        try:
            answer = await self.desk.link.act("ssh.fix", args, lambda text: self.desk.say(f"repair: {text}"))
        except BasilicaError as error:
            self.desk.say(str(error), "bad", 15.0)
        else:
            self.desk.say(str(answer.get("message", "done")), "good", 15.0)
        self.check(str(args["node_id"]))

    def _copy_report(self) -> None:
        node_id = self.table.cursor_id or ""
        row, rungs = self.lookup(node_id), self._ladders.get(node_id)
        if row is None or not rungs:
            self.desk.say("there is no ladder to copy; t checks the node", "warn")
            return
        self.desk.copy_text(report_text(row.label, rungs), f"the report of {row.label}")


def _login_args(login: NodeLogin | None) -> dict[str, object]:
    return {} if login is None else {"admin": login.admin, "password": login.password}


class LadderScreen(ConsoleScreen):
    """Every rung of one node with its evidence."""

    SCREEN_ID = "ladder"
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, label: str, rungs: tuple[Rung, ...]) -> None:
        super().__init__()
        self._label, self._rungs = label, rungs

    def body(self) -> ComposeResult:
        """Lines that may be longer than the screen."""
        yield ScrollingLines(id="node")

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """It does not change."""
        lines = ladder_lines(self._rungs, look, self.size.width, full=True)
        self.query_one(ScrollingLines).show([((f" {self._label}", "title"),), (), *lines])

    def perform(self, binding_id: str) -> bool:
        """Scroll, copy."""
        if binding_id in ("copy", "copy.row"):
            self.desk.copy_text(report_text(self._label, self._rungs), f"the report of {self._label}")
            return True
        return self.query_one(ScrollingLines).perform(binding_id) or super().perform(binding_id)
