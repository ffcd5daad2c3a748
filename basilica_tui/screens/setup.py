"""The setup wizard: six pages that check themselves, do their work when told to, and go on where they were left."""

# ruff: noqa: PLC0415 - engine.setup brings SSH and the doctor, which only the pages' work needs

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.timer import Timer
from textual.widgets import Input

from basilica_tui.screens.answering import AnswersOnce
from basilica_tui.screens.setup_form import ChoiceField, TextField, steps_line
from basilica_tui.screens.setup_hosts import with_hosts
from basilica_tui.screens.setup_output import SetupOutput
from basilica_tui.screens.setup_page import SetupPage
from basilica_tui.screens.setup_typed import PAGE, read_typed
from basilica_tui.screens.setup_work import check_words, do_work, look_ahead
from basilica_tui.widgets.lines import Lines
from engine.setup.answers import with_text
from engine.setup.phases import ORDER, Phase, Setup, answer, finish, go_back, titles_of
from engine.setup.questions import QUESTIONS, problems_of
from engine.setup.state_file import save_state

TALL = 20
"""Rows from which on there is room for empty lines."""
CHECK_AFTER_S = 0.5
SAVE_AFTER_S = 0.5
"""After the last key: a setup that is killed loses no more than that."""
HELP: dict[Phase, str] = {
    Phase.KEYS: "enter next · ctrl+o ssh config · ctrl+n make, place key",
    Phase.CONFIG: "enter next · left right choose · ctrl+n done · esc back",
    Phase.VERIFY: "enter check · ctrl+n go on · ctrl+f in spite of it · esc",
    Phase.INSTALL: "ctrl+n write these files · pgdn read on · esc back",
    Phase.DEPLOY: "left right choose · ctrl+n do this · esc back",
    Phase.START: "ctrl+n start and wait until it serves · esc back",
}
VALIDATOR_HELP = {**HELP, Phase.KEYS: "enter next · left right choose · ctrl+n open hotkey"}


class SetupScreen(AnswersOnce[bool]):
    """Returns whether the engine serves. ``state_file`` keeps the answers; secrets are never among them."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n,f10", "next", show=False, priority=True),
        Binding("escape,ctrl+b", "back", show=False, priority=True),
        Binding("ctrl+f", "force", show=False, priority=True),
        Binding("ctrl+o", "hosts", show=False, priority=True),
        Binding("ctrl+q,ctrl+c", "leave", show=False, priority=True),
        Binding("enter", "enter", show=False, priority=True),
        Binding("down,tab", "field(1)", show=False, priority=True),
        Binding("up,shift+tab", "field(-1)", show=False, priority=True),
        Binding("pageup", "scroll('nav.page_up')", show=False, priority=True),
        Binding("pagedown", "scroll('nav.page_down')", show=False, priority=True),
    ]

    def __init__(self, setup: Setup, state_file: Path, *, ascii_only: bool = False) -> None:
        super().__init__()
        self.VERTICAL_BREAKPOINTS = [(0, "-low"), (TALL, "-tall")]
        self.setup = setup
        self._state_file = state_file
        self._ascii = ascii_only
        self._busy = ""
        self._blocked = False
        self._note = ""
        self.unkept = ""
        """Why the answers of now are in no file, where that is so."""
        self._unread: dict[str, str] = {}
        self._timer: Timer | None = None
        self._save_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """Head, form, price, output, keys."""
        yield Lines(1, id="setup-head")
        yield SetupPage(id="setup-page")
        yield SetupOutput(id="setup-output")
        yield Lines(1, id="setup-keys")

    async def on_mount(self) -> None:
        """Show the page where the setup stands."""
        for widget in self.query(Lines):
            widget.ascii_only = self._ascii
        await self.show_page()

    async def show_page(self, *, focus: str = "") -> None:
        """The present phase's page; the cursor is in the named or the first field."""
        from engine.setup.perform import with_defaults

        if self.setup.phase is Phase.DEPLOY:
            self.setup = with_defaults(self.setup)
        self._blocked = False
        self._note = ""
        self._unread.clear()
        self.query_one(SetupOutput).tell(())
        await self.query_one(SetupPage).ask(self.setup.fields, self.setup.answers, focus=focus)
        self.draw()
        self._preview()

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self) -> None:
        """Head, price and keys; the output draws itself."""
        setup = self.setup
        titles, done = list(titles_of(setup.answers.role).values()), [phase in setup.done for phase in ORDER]
        width = self.size.width
        self.query_one("#setup-head", Lines).set_lines(
            steps_line(setup.number, titles, done, width, ascii_only=self._ascii)
        )
        self.query_one(SetupPage).price(setup.answers, self._unread, width - 2)
        words = self._busy or (VALIDATOR_HELP if setup.answers.is_validator else HELP)[setup.phase]
        tone = "accent" if self._busy else "dim"
        keys = self.query_one("#setup-keys", Lines)
        keys.set_lines([((f" {words}", tone), ("  ctrl+q leave (kept)", "dim"))])

    def say(self, text: str, tone: str = "") -> None:
        """One more line of output."""
        with suppress(NoMatches):  # on the way out
            self.query_one(SetupOutput).say(text, tone)

    def on_resize(self) -> None:
        """Another width."""
        self.call_after_refresh(self.draw)

    def on_descendant_focus(self) -> None:
        """The price of the field that one is in."""
        self.draw()

    # --- answers ----------------------------------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        """Take it over at once, and look at it soon."""
        if isinstance(event.input, TextField) and event.input.is_news(event.value):
            self._take(event.input.key, event.value)

    def on_choice_field_changed(self, event: ChoiceField.Changed) -> None:
        """Take it over at once; another role has other questions."""
        self._take(event.key, event.value)
        if event.key == "role":
            self.run_worker(self.show_page(focus="role"), group=PAGE, exclusive=True)
        if self.setup.phase is Phase.DEPLOY:
            self._preview()

    def _take(self, key: str, text: str) -> None:
        try:
            answers = with_text(self.setup.answers, key, text)
        except ValueError as error:
            self._unread[key] = str(error)
            self.draw()
            return
        self._unread.pop(key, None)
        if answers == self.setup.answers:
            return
        self.setup = answer(self.setup, answers)
        self.draw()
        if self._save_timer is not None:
            self._save_timer.stop()
        self._save_timer = self.set_timer(SAVE_AFTER_S, self._save)
        if self.setup.phase in (Phase.KEYS, Phase.CONFIG):
            if self._timer is not None:
                self._timer.stop()
            self._timer = self.set_timer(CHECK_AFTER_S, self._preview)

    # --- what a page shows before its work ---------------------------------------------------------------------

    def _preview(self) -> None:
        if not self._busy:
            self.run_worker(self._look(), group="look", exclusive=True)

    async def _look(self) -> None:
        phase = self.setup.phase
        if phase is Phase.VERIFY:
            self._start_work(stay=True)
            return
        mine = [
            f"{QUESTIONS[key].label}: {text}"
            for key, text in self._problems()
            if key in self._unread or getattr(self.setup.answers, key)
        ]
        lines = await look_ahead(self.setup, mine)
        if phase is self.setup.phase and not self._busy:
            note = [("warn", self._note)] if self._note else []
            with suppress(NoMatches):  # on the way out
                self.query_one(SetupOutput).tell([*note, *lines])

    # --- keys -------------------------------------------------------------------------------------------------

    async def _has_read(self) -> bool:
        if await read_typed(self):
            return True
        self.say("!! this machine is too busy to read what was typed; press that key again")
        return False

    async def action_enter(self) -> None:
        """The next field; on the last one, or without any: check again, or do the page's work."""
        if not await self._has_read():
            return
        if not self.query_one(SetupPage).is_at_end:
            self.focus_next()
        elif self.setup.phase is Phase.VERIFY:
            self._start_work(stay=True)
        else:
            self._go_on()

    async def action_field(self, step: int) -> None:
        """Another field."""
        if not await self._has_read():
            return
        self.focus_next() if step > 0 else self.focus_previous()

    async def action_next(self) -> None:
        """Do the page's work and go on; a check that was made is not made twice."""
        if not await self._has_read():
            return
        self._go_on()

    def _go_on(self) -> None:
        if self._busy:
            return
        if self.setup.is_complete:
            self.answer(True)
            return
        phase, mine = self.setup.phase, self._problems()
        if self._timer is not None:
            self._timer.stop()  # it would wipe away what is said now
        if mine:
            for key, text in mine:
                self.say(f"!! {QUESTIONS[key].label}: {text}")
            self.query_one(SetupPage).go_to(mine[0][0])
            return
        if phase is Phase.VERIFY and not self._blocked and phase in self.setup.done:
            self.run_worker(self._advance(), group="work")
            return
        if phase is Phase.VERIFY and self._blocked:
            self.say("!! not yet: correct this (esc), check again (enter), or go on all the same (ctrl+f)")
            return
        self._start_work()

    def _problems(self) -> list[tuple[str, str]]:
        """Of this page's answers: key and sentence; also of what was typed and is no answer at all."""
        found = {**problems_of(self.setup.answers), **self._unread}
        return [one for one in found.items() if one[0] in self.setup.fields]

    async def action_force(self) -> None:
        """Go on in spite of what the check says."""
        if not await self._has_read():
            return
        if self.setup.phase is Phase.VERIFY and not self._busy:
            self.run_worker(self._advance(), group="work")

    async def action_back(self) -> None:
        """The page before."""
        if not await self._has_read():
            return
        if not self._busy and self.setup.phase is not ORDER[0]:
            self.setup = go_back(self.setup)
            self.run_worker(self.show_page(), group="work")

    async def action_hosts(self) -> None:
        """Hosts of the operator's SSH configuration as nodes."""
        if not await self._has_read():
            return
        if "nodes" in self.setup.fields:
            self._add_hosts(Path.home() / ".ssh/config")

    def _add_hosts(self, file: Path) -> None:
        field = self.query_one("#field-nodes", TextField)
        try:
            field.value, self._note = with_hosts(file, field.value, self.setup.answers.node_user)
        except OSError as error:
            self.say(f"!! {file}: {error.strerror}")
            return
        field.cursor_position = len(field.value)
        self._preview()

    def action_scroll(self, binding_id: str) -> None:
        """Look back in the output."""
        self.query_one(SetupOutput).perform(binding_id)

    async def action_leave(self) -> None:
        """Keep the answers and go."""
        await read_typed(self)  # whoever wants to go, goes
        self.workers.cancel_node(self)  # nobody is left to be told
        self._save()
        self.answer(self.setup.is_complete)

    # --- work -------------------------------------------------------------------------------------------------

    def _start_work(self, *, stay: bool = False) -> None:
        if not self._busy:
            self._busy = f"{self.setup.title} ..."
            self.draw()
            self.run_worker(self._work(stay), group="work")

    async def _work(self, stay: bool) -> None:
        self.query_one(SetupOutput).tell(())
        before, found = self.setup.answers, list[str]()
        is_check = self.setup.phase is Phase.VERIFY
        refusal = await do_work(self.setup, found.append if is_check else self.say, self.app, passing=self.say)
        if not refusal and self.setup.answers != before:
            refusal = "the answers were changed meanwhile; do it again with these"
        self._busy = ""
        self._blocked = bool(refusal)
        if is_check:
            self.query_one(SetupOutput).conclude([check_words(refusal, found), *found])
        elif refusal:
            self.say(f"!! {refusal}")
        if refusal:
            self.draw()
        elif stay:
            self.setup = replace(self.setup, done=self.setup.done | {self.setup.phase})
            self._save()
            self.draw()
        else:
            await self._advance()

    async def _advance(self) -> None:
        self.setup = finish(self.setup)
        self._save()
        if self.setup.is_complete:
            self.say("ok the engine serves; ctrl+n leaves the setup")
            self.draw()
        else:
            await self.show_page()

    def _save(self) -> None:
        try:
            save_state(self._state_file, self.setup)
        except OSError as error:
            self.unkept = f"{self._state_file}: {error.strerror}"
            self.say(f"!! the setup cannot be kept in {self.unkept}")
        else:
            self.unkept = ""
