"""The console as a Textual program: one store, one link, one screen at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from rich.console import RenderableType
from textual._compositor import CompositorUpdate
from textual.app import App
from textual.binding import BindingType
from textual.css.query import NoMatches
from textual.events import Event, Key, Paste
from textual.screen import Screen
from textual.theme import Theme
from textual.timer import Timer

from basilica_tui import bindings as keys
from basilica_tui import outbox
from basilica_tui.acts import Acts, Call
from basilica_tui.bell import AlertEar, Bell, ring
from basilica_tui.bindings import KeyBinding, binding_of
from basilica_tui.command_line import run_command, vocabulary_of
from basilica_tui.commands import Vocabulary
from basilica_tui.dispatch import own_commands, run_binding
from basilica_tui.exports import ExportFormat
from basilica_tui.format import Look, plural
from basilica_tui.link import Connect, Feed, Link
from basilica_tui.pace import NORMAL_S
from basilica_tui.painter import Painter, Written, is_held_back
from basilica_tui.paths import styles_folder
from basilica_tui.preferences import Preferences
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.node_detail import NodeScreen
from basilica_tui.screens.session_detail import SessionScreen
from basilica_tui.setup_opening import open_setup
from basilica_tui.store import ConsoleStore
from basilica_tui.symbols import ASCII, UNICODE
from basilica_tui.terminal import EXIT_CODE, TerminalWatch, guard_terminal
from basilica_tui.text import clean
from basilica_tui.themes import THEME_NAMES, THEMES
from basilica_tui.thresholds import USUAL, Thresholds
from basilica_tui.typed import Typed
from basilica_tui.views import FIRST, Views
from basilica_tui.ways import Way
from engine.clock import Clock
from engine.errors import BasilicaError

SOON_S = 0.25
NOTICE_S = 5.0
GREETING_S = 15.0
HURRY_S = 5.0
"""For so long after an operator's action changes are shown at the quick rate."""


class ConsoleApp(App[int], inherit_bindings=False):
    """Attaches to the engine behind ``socket``; ``clock`` and ``connect`` are injected for tests."""

    ENABLE_COMMAND_PALETTE = False
    CSS_PATH = None
    BINDINGS: ClassVar[list[BindingType]] = []
    TITLE = "basilica-tui"
    is_read_again = False
    """Whether a console with the settings of now takes this one's place."""

    def __init__(
        self,
        socket: Path,
        *,
        clock: Clock,
        connect: Connect,
        read_only: bool = False,
        theme: str = "dark",
        ascii_only: bool = False,
        bindings: tuple[KeyBinding, ...] = keys.BINDINGS,
        greetings: tuple[str, ...] = (),
        themes: tuple[Theme, ...] = (),
        themes_folder: Path | None = None,
        preferences: Preferences | None = None,
        files: Path | None = None,
        watch_terminal: bool = False,
        feed: Callable[[ConsoleStore, Callable[[], None]], Feed] | None = None,
        ways: Mapping[str, Way] | None = None,
        profile: str = "",
        limits: Thresholds = USUAL,
        refusal: str = "this console is read-only; the engine would refuse",
        bell: Bell = "off",
        pace_s: float = NORMAL_S,
        edge: str = "",
        is_remote: bool = False,
        first: str = FIRST,
        command_history: Sequence[str] = (),
        settings_problem: Callable[[], str] | None = None,
    ) -> None:
        """``feed`` makes what fills the store where that is no engine; ``refusal`` is what a read-only console says.

        ``first`` names the screen to begin with. ``settings_problem`` says why ``console.toml`` cannot be read; without
        it the file is not read again.
        """
        self.edge = edge  # read by the style sheet, which super's constructor makes
        super().__init__(css_path=styles_folder() / "console.tcss")
        self.animation_level = "none"
        self.socket = socket
        self.clock = clock
        self.read_only = read_only
        self.symbols = ASCII if ascii_only else UNICODE
        self.bindings_table = bindings
        self.store = ConsoleStore()
        self.painter = Painter()
        self.refusal = refusal
        self.ways: Mapping[str, Way] = ways or {}
        """The engines that have a name."""
        self.store.profile = profile
        self._is_read_only = read_only
        self.crash: Exception | None = None
        """What ended the console, if that was a mistake of its own."""
        self._link_task: asyncio.Task[None] | None = None
        self.link: Feed
        if feed is not None:
            self.link = feed(self.store, self._on_store_changed)
        else:
            self.link = Link(
                self.store, socket, clock=clock, connect=connect, read_only=read_only, on_change=self._on_store_changed
            )
        self.command_history: list[str] = [*command_history]
        self._theme_wanted = theme
        self.preferences = preferences or Preferences()
        self._files = files or Path.cwd()
        self.greetings, self._limits, self._first, self._settings_problem = greetings, limits, first, settings_problem
        self._watch_terminal = watch_terminal
        self._watch: TerminalWatch | None = None
        self._notice: tuple[str, str, float] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_remote = is_remote
        """Whether the engine's files are on another host."""
        self._is_aside = False
        self._acts = Acts(self)
        self._opening: asyncio.Task[None] | None = None
        self._bell, self._ear = bell, AlertEar()
        self.pace_s = pace_s
        """Between two looks at what changed; what the operator does is shown sooner."""
        self._ticks: Timer | None = None
        self.views, self.typed = Views(self), Typed(self, super().on_event)
        self._is_flush_due = False
        self._hurry_until = 0.0
        self.themes_folder = themes_folder
        """Where the operator's own are, to be read again when colours are chosen."""
        self.theme_names: tuple[str, ...] = THEME_NAMES
        self.add_themes((*THEMES, *themes))
        for key in dict.fromkeys(key for binding in bindings for key in binding.keys):
            self.bind(key, f"press('{key}')", show=False)

    # --- life -------------------------------------------------------------------------------------------------

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Values for the style sheet's own variables under themes that do not name them."""
        dark = next(t for t in THEMES if t.name == "dark")
        return dict(dark.variables)

    def on_mount(self) -> None:
        """Show the dashboard, start the link, tick."""
        self.theme = self._theme_wanted if self._theme_wanted in self.theme_names else "dark"
        self.push_screen(self.views.get(FIRST))
        if self._first != FIRST:
            self.call_after_refresh(self.show_view, self._first)
        self._link_task = self.start(self.link.run())
        self._ticks = self.set_interval(self.pace_s, self.flush)
        self.app_resume_signal.subscribe(self, lambda _: self.redraw())
        if self.greetings:
            count = len(self.greetings)
            several = f"{count} mistakes, :info lists them: " if count > 1 else ""
            self.say(f"{several}{self.greetings[0]}", "warn", GREETING_S)
        if self._watch_terminal:
            self._watch = guard_terminal(self.detach)

    def on_unmount(self) -> None:
        """The console ends; the engine does not."""
        if self._watch is not None and self.return_code != EXIT_CODE:
            self._watch.stop()
        for task in self._tasks:
            task.cancel()

    def _handle_exception(self, error: Exception) -> None:
        """Who leaves while a screen opens takes it down half made: that it misses its parts then is no mistake."""
        if not (self._exit and isinstance(error, NoMatches)):
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Textual would print a traceback with the values of local variables; ``run`` makes a report instead."""
        self.crash = self._exception if isinstance(self._exception, Exception) else None
        self._close_messages_no_wait()

    def detach(self, code: int = 0) -> None:
        """Leave; the engine keeps running."""
        self.exit(code, return_code=code)

    def read_settings_again(self) -> None:
        """Begin anew with what ``console.toml`` says now: keys, colours, engines, everything."""
        if self._settings_problem is None:
            self.say("the settings of this console are read once, at its start", "warn")
        elif problem := self._settings_problem():
            self.say(f"nothing was changed: {problem}", "warn")
        else:
            self.is_read_again = True
            self.exit()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the screen until it ends or the console does; what goes wrong in it is a crash."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._handle_exception(error)

    def set_pace(self, seconds: float) -> None:
        """Look at what changed so often from now on."""
        self.pace_s = seconds
        if self._ticks is not None:
            self._ticks.stop()
        self._ticks = self.set_interval(seconds, self.flush)
        self.say(f"drawn every {seconds:g} s; + more often, _ less")

    @property
    def can_step_aside(self) -> bool:
        """Whether the terminal can be given to somebody else; a browser cannot."""
        return self._driver is not None and self._driver.can_suspend

    @contextlib.contextmanager
    def stepping_aside(self) -> Iterator[None]:
        """The terminal belongs to another program for the block; what the engine tells is taken in and not drawn."""
        self._is_aside = True
        try:
            with self.suspend():
                yield
        finally:
            self._is_aside = False
        self.redraw()

    def suspend_to_shell(self) -> None:
        """Give the terminal back to the shell until ``fg``; a console in a browser has no shell."""
        if not self.can_step_aside:
            self.say("there is no shell to go back to here", "warn")
            return
        self.action_suspend_process()

    def add_themes(self, themes: Sequence[Theme]) -> None:
        """Know these themes beside those known; one that is in use is drawn with its colours of now."""
        self.theme_names = tuple(dict.fromkeys([*self.theme_names, *(t.name for t in themes)]))
        for theme in themes:
            self.register_theme(theme)
        if self.is_running and self.theme in {t.name for t in themes}:
            self.refresh_css(animate=False)

    def get_css_variables(self) -> dict[str, str]:
        """The theme's, with the engine's own colour for every frame."""
        return super().get_css_variables() | ({"edge": self.edge} if self.edge else {})

    # --- what screens ask for ---------------------------------------------------------------------------------

    def look(self) -> Look:
        """Time and marks for drawing."""
        return Look(self.clock.now(), self.symbols, self._limits)

    def path(self) -> list[str]:
        """How the operator came here: the view, then what was opened from it."""
        return [clean(s.crumb) for s in self.screen_stack if isinstance(s, ConsoleScreen)]

    def say(self, text: str, tone: str = "accent", seconds: float = NOTICE_S) -> None:
        """One line in the footer's place for a few seconds; an empty one takes away what stands there."""
        self._notice = (clean(text), tone, self.clock.monotonic() + seconds) if text else None
        screen = self.screen
        if isinstance(screen, ConsoleScreen) and screen.is_mounted and screen.query("#footer"):
            screen.draw_frame(self.look())

    def notice_now(self) -> tuple[str, str] | None:
        """The notice while it stands."""
        if self._notice is not None and self.clock.monotonic() < self._notice[2]:
            return self._notice[0], self._notice[1]
        self._notice = None
        return None

    def copy_text(self, text: str, what: str) -> None:
        """Put text on the clipboard of the terminal, through SSH and tmux."""
        outbox.copy_text(self, text, what)

    def save_text(self, name: str, text: str, form: ExportFormat, path: Path | None, rows: int) -> None:
        """Write what a table shows to a file, and say where it is."""
        self.save_file(name, text, form, path, plural(rows, "row"))

    def save_file(self, name: str, content: str | bytes, form: str, path: Path | None, what: str) -> None:
        """Write something to a file, and say where it is."""
        outbox.save_file(self, self._files, name, content, form, path, what)

    def act(self, verb: str, args: Mapping[str, object], words: str, then: Callable[[], None] | None = None) -> None:
        """Ask the engine for an action; progress and outcome appear in the footer. ``then`` follows a success."""
        self._acts.one(verb, args, words, then)

    def act_each(self, verb: str, calls: Sequence[Call]) -> None:
        """The same action on several objects, a few at a time; the footer counts, and names what did not work."""
        self._acts.each(verb, calls)

    # --- painting ---------------------------------------------------------------------------------------------

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Textual's way to the terminal, narrowed to the cells that differ; a screen not drawn yet is not shown."""
        if self._is_aside or (isinstance(screen, ConsoleScreen) and not screen.is_drawn):
            return
        update: object = renderable
        if isinstance(update, CompositorUpdate) and not is_held_back(self):
            text = self.painter.difference(update, self.size, self.console)
            if text == "" and self.cursor_position == self._previous_cursor_position:
                self.post_display_hook()
                return
            if text is not None:
                super()._display(screen, cast("Any", Written(text)))
                return
        super()._display(screen, renderable)

    def redraw(self) -> None:
        """Write the whole screen again, for terminals that something else has written to."""
        self.painter.forget()
        self.screen.refresh()

    def write_raw(self, sequence: str) -> None:
        """A control sequence for the terminal that shows nothing."""
        if self._driver is not None and sequence and not self._is_aside:
            self._driver.write(sequence)

    # --- flushing ---------------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """The operator did something: what changes in the next seconds is shown at the quick rate."""
        self._hurry_until = self.clock.monotonic() + HURRY_S
        self._on_store_changed()

    def _on_store_changed(self) -> None:
        if self._bell != "off" and self.store.has_data:
            self.write_raw(ring(self._bell, self._ear.fresh(self.store.alerts), os.environ))
        is_urgent = self.store.is_link_dirty or self.clock.monotonic() < self._hurry_until
        if is_urgent and not self._is_flush_due and self.is_running:
            self._is_flush_due = True
            self.set_timer(SOON_S, self.flush)

    def flush(self) -> None:
        """Hand the visible screen what changed since the last time."""
        self._is_flush_due = False
        if not self.screen_stack:
            return  # on the way out
        screen = self.screen
        if isinstance(screen, ConsoleScreen):
            screen.flush(self.store.take_dirty())
        elif (
            below := next((s for s in reversed(self.screen_stack) if isinstance(s, ConsoleScreen)), None)
        ) is not None:
            # Under a dialog nothing moves but the first line: a yes may depend on whether the engine is there.
            below.flush_frame()

    # --- screens ----------------------------------------------------------------------------------------------

    def show_view(self, name: str) -> None:
        """Go to one of the numbered screens."""
        self.views.show(name)

    def switch_engine(self, name: str) -> None:
        """Leave this engine alone and attach to another one that has a name."""
        way = self.ways.get(name)
        if way is None:
            known = ", ".join(f"@{n}" for n in self.ways)
            hint = f"there is {known}" if known else "console.toml gives names, under [engines.NAME]"
            self.say(f"there is no engine called {name}; {hint}" if name else f"engines: {hint}", "warn")
            return
        if name == self.store.profile:
            self.say(f"@{name} is the one that is shown")
            return
        if self._link_task is not None:
            self._link_task.cancel()
        self.store = ConsoleStore()
        self.store.profile = name
        self.socket, self.read_only = way.where, self._is_read_only or way.read_only
        self._ear, self.edge, self.is_remote = AlertEar(), way.edge, way.is_remote
        self.theme = way.theme or self._theme_wanted
        self.refresh_css(animate=False)
        self.link = Link(
            self.store, way.where, clock=self.clock, connect=way.connect, read_only=self.read_only,
            on_change=self._on_store_changed,
        )  # fmt: skip
        self.views.forget()
        self._link_task = self.start(self.link.run())
        self.say(f"attaching to @{name}")

    def open_setup(self) -> None:
        """The wizard over the present view; what it keeps is the same as for ``basilica-tui setup``."""
        if self.read_only:
            self.say("this console is read-only", "warn")
            return
        if self._opening is None or self._opening.done():
            self._opening = self.start(open_setup(self))

    def open_node(self, node_id: str) -> None:
        """Show one node."""
        self.push_screen(NodeScreen(node_id))

    def open_session(self, hotkey: str) -> None:
        """Show one validator's access and what became of it."""
        self.push_screen(SessionScreen(hotkey))

    def show_logs_of(self, words: str) -> None:
        """The log, filtered by these words."""
        self.show_view("logs")
        self.do("log.filter", words)

    def show_tree_of(self, words: str) -> None:
        """The tree, around what these words name."""
        self.show_view("tree")
        self.do("filter", words)

    # --- keys and commands ------------------------------------------------------------------------------------

    async def on_event(self, event: Event) -> None:
        """What is typed acts in its order; everything else goes Textual's way."""
        if isinstance(event, Key | Paste) and not event.is_forwarded:
            await self.typed.take(event)
        else:
            await super().on_event(event)

    async def action_press(self, key: str) -> None:
        """What every key leads to: on each screen the binding that means something there."""
        binding = binding_of(key, getattr(self.screen, "SCREEN_ID", ""), self.bindings_table)
        if binding is not None:
            self.do(binding.id)

    def do(self, binding_id: str, argument: str = "") -> None:
        """Run a binding: the console's own, else the screen's."""
        run_binding(self, binding_id, argument)

    def own_commands(self, screen: ConsoleScreen, argument: str) -> Mapping[str, Callable[[], object]]:
        """What the console does itself, whatever the screen, by binding id."""
        return own_commands(self, screen, argument)

    def leave(self) -> None:
        """One step back; at the root detach."""
        if self.views.is_over:
            self.pop_screen()
        elif self.views.now != FIRST:
            self.show_view(FIRST)
        else:
            self.detach()

    def vocabulary(self) -> Vocabulary:
        """What commands may name now."""
        return vocabulary_of(self)

    def run_command(self, text: str) -> None:
        """Run a line of the command prompt."""
        run_command(self, text)

    async def refresh_all(self) -> None:
        """Read everything again and redraw the screen; without an engine try to connect at once."""
        try:
            await self.link.resync()
        except BasilicaError as error:
            self.say(str(error), "bad")
            return
        self.redraw()
        self.say("read again" if not self.store.is_stale else "trying to connect now")
        self.flush()
