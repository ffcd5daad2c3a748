"""What every screen shares: header, footer, prompt, and the flush that hands it what changed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.css.query import NoMatches
from textual.screen import Screen

from basilica_tui.bindings import NO_VERBS
from basilica_tui.commands import completions
from basilica_tui.format import Line, Look
from basilica_tui.pace import pace_words
from basilica_tui.panels.footer import footer_line, notice_line
from basilica_tui.panels.header import CLOCK_WIDTH, clock_line, header_line
from basilica_tui.panels.timebar import timebar_lines
from basilica_tui.store import Dirty
from basilica_tui.widgets.lines import Lines
from basilica_tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp

TIMEKEYS_HEIGHT = 20
"""Lower terminals keep the line for what they show."""
EVERYTHING = Dirty(counters=True, logs=True, link=True)
"""Stands for "draw all of it": a screen that was not visible knows nothing of what changed meanwhile."""


class ConsoleScreen(Screen[None], inherit_bindings=False):
    """One view of the engine. Subclasses fill ``body``, ``draw`` and ``perform``."""

    SCREEN_ID: ClassVar[str] = ""
    AUTO_FOCUS = ""

    def __init__(self) -> None:
        super().__init__()
        self.is_paused = False
        self.is_drawn = False
        """False before the first flush: until then the terminal keeps what it shows."""
        self.typed_ahead: list[tuple[str, str]] = []
        """Keys and commands that came before it was drawn."""

    @property
    def desk(self) -> ConsoleApp:
        """The app with its store, link and clock."""
        return cast("ConsoleApp", self.app)

    @property
    def crumb(self) -> str:
        """Its place in the path from the view that was left."""
        return self.SCREEN_ID

    def compose(self) -> ComposeResult:
        """Header, body, prompt, footer."""
        with Horizontal(id="top"):
            yield Lines(1, id="skin")
            yield Lines(1, id="header")
            yield Lines(1, id="clock")
        yield Lines(1, id="timebar")
        yield Lines(1, id="timekeys")
        yield from self.body()
        yield Prompt()
        yield Lines(1, id="footer")

    def body(self) -> ComposeResult:
        """The widgets between header and footer."""
        raise NotImplementedError

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """Bring the body up to date; ``dirty`` None means everything."""
        raise NotImplementedError

    def formula(self, look: Look) -> list[Line]:
        """The arithmetic behind the selected row, with which help begins; nothing where there is none."""
        del look
        return []

    def perform(self, binding_id: str) -> bool:
        """Do what a key or command means here; False when it means nothing here."""
        if binding_id == "pause":
            self.is_paused = not self.is_paused
            self.flush(None)
            return True
        return False

    def command(self, binding_id: str, argument: str) -> bool:
        """A command with words after it; False when it means nothing here."""
        return False

    def step_back(self) -> bool:
        """Undo one step of ``esc`` (prompt, filter, marks); False when there is none."""
        prompt = self.query_one(Prompt)
        if prompt.is_open:
            self.close_prompt()
            return True
        return False

    # --- drawing ----------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Draw for the first time when the size is known."""
        for widget in self.query(Lines):
            widget.ascii_only = self.desk.symbols.is_ascii
        self.call_after_refresh(self.flush, None)

    def on_screen_resume(self) -> None:
        """Visible again: what changed meanwhile is not known, so compare everything."""
        self.call_after_refresh(self.flush, None)

    def on_resize(self) -> None:
        """Another size, another layout."""
        self.call_after_refresh(self.flush, None)

    def flush(self, dirty: Dirty | None) -> None:
        """Draw what changed, at most a few times per second."""
        if not self.is_mounted or not self.query("#footer"):
            return
        look = self.desk.look()
        dirty = dirty if self.is_drawn else None  # the first picture is of everything, whoever asks for it
        with contextlib.suppress(NoMatches):  # a flush may meet a screen that is half taken down
            self.draw_frame(look)
            if not self.is_paused or dirty is None:
                self.draw(look, dirty)
            if not self.is_drawn:
                self.is_drawn = True
                self.refresh()
                waiting, self.typed_ahead = self.typed_ahead, []
                for binding_id, argument in waiting:
                    self.desk.do(binding_id, argument)
                self.desk.call_later(self.desk.typed.go_on)

    def flush_frame(self) -> None:
        """Bring the first and the last line up to date, and nothing else: something lies over the rest."""
        with contextlib.suppress(NoMatches):  # it may be half taken down
            self.draw_frame(self.desk.look())

    def draw_frame(self, look: Look) -> None:
        """Header and footer."""
        desk = self.desk
        width = self.size.width
        room = width - CLOCK_WIDTH - self._draw_skin()
        header = header_line(
            desk.store, look, room, read_only=desk.read_only, paused=self.is_paused, path=desk.path(),
            pace=pace_words(desk.pace_s) if desk.store.replay is None else "",
        )  # fmt: skip
        self.query_one("#header", Lines).set_lines([header])
        self.query_one("#clock", Lines).set_lines([clock_line(look)])
        self._draw_timebar(look)
        notice = desk.notice_now()
        if notice is not None:
            line: Line = notice_line(notice[0], notice[1], look, width)
        else:
            line = footer_line(
                desk.bindings_table,
                self.SCREEN_ID,
                look,
                width,
                read_only=desk.read_only,
                is_validator=desk.store.is_validator,
                verbs=desk.store.verbs or NO_VERBS,
            )
        self.query_one("#footer", Lines).set_lines([line])

    def _draw_skin(self) -> int:
        """The engine's name on its own colour, if it has one; returns its width."""
        desk = self.desk
        if not desk.edge:
            return 0
        name = f" @{desk.store.profile} "
        skin = self.query_one("#skin", Lines)
        skin.styles.width, skin.display = len(name), True
        skin.set_lines([((name, ""),)])
        return len(name)

    def _draw_timebar(self, look: Look) -> None:
        place = self.desk.store.replay
        if place is None:
            return
        self.add_class("-replay")
        self.set_class(self.size.height < TIMEKEYS_HEIGHT, "-low")
        bar, keys = timebar_lines(place, self.desk.bindings_table, look, self.size.width)
        self.query_one("#timebar", Lines).set_lines([bar])
        self.query_one("#timekeys", Lines).set_lines([keys])

    @property
    def is_faded(self) -> bool:
        """Whether what is shown may be out of date."""
        return self.desk.store.is_stale and self.desk.store.has_data

    # --- prompt -----------------------------------------------------------------------------------------------

    def open_command(self) -> None:
        """Open the ``:`` line."""
        desk = self.desk
        self.query_one("#footer", Lines).display = False
        self.query_one(Prompt).open(
            ":",
            "",
            desk.command_history,
            lambda text: completions(text, desk.bindings_table, read_only=desk.read_only, vocabulary=desk.vocabulary()),
        )

    def close_prompt(self) -> None:
        """Close whatever prompt is open."""
        behind, lost = self.query_one(Prompt).close()
        self.query_one("#footer", Lines).display = True
        self.desk.typed.put_first(behind)
        if lost:
            self.desk.call_later(
                self.desk.say, f"{lost:,} keys came at once behind enter; none of them was used", "warn"
            )

    def on_prompt_done(self, event: Prompt.Done) -> None:
        """A command line was entered."""
        event.stop()
        self.close_prompt()
        if event.kind == ":":
            self.desk.run_command(event.text)
