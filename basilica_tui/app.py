"""The console as a Textual program: one store, one link, one screen at a time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from rich.console import Console, RenderableType
from textual._compositor import CompositorUpdate
from textual.app import App
from textual.binding import BindingType
from textual.screen import Screen
from textual.theme import Theme

from basilica_tui import bindings as keys
from basilica_tui.actions import parse_args
from basilica_tui.bindings import (
    MINER_SCREENS,
    REPLAY,
    SCREEN_IDS,
    VALIDATOR_TITLES,
    KeyBinding,
    binding_of,
    key_face,
)
from basilica_tui.charts import CHARTS, SPANS, charts_for, find_chart
from basilica_tui.clipboard import osc52
from basilica_tui.commands import ActionCall, Vocabulary, command_list, parse_command
from basilica_tui.exports import ExportFormat, export_path, write_export
from basilica_tui.format import Look, plural
from basilica_tui.link import Connect, Feed, Link
from basilica_tui.painter import Painter
from basilica_tui.paths import styles_folder
from basilica_tui.preferences import Preferences
from basilica_tui.screens.alerts import AlertsScreen
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.chooser import Choice, Chooser
from basilica_tui.screens.config import ConfigScreen
from basilica_tui.screens.confirm import Confirm
from basilica_tui.screens.dashboard import DashboardScreen
from basilica_tui.screens.engines import EnginesScreen
from basilica_tui.screens.help import HelpScreen
from basilica_tui.screens.logs import LogsScreen
from basilica_tui.screens.menus import act_on_rows, confirm
from basilica_tui.screens.miners import MinersScreen
from basilica_tui.screens.node_detail import NodeScreen
from basilica_tui.screens.nodes import NodesScreen
from basilica_tui.screens.plot import PlotScreen
from basilica_tui.screens.scores import ScoresScreen
from basilica_tui.screens.session_detail import SessionScreen
from basilica_tui.screens.sessions import SessionsScreen
from basilica_tui.screens.ssh import SshScreen
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.screens.verifications import VerificationsScreen
from basilica_tui.screens.weights import WeightsScreen
from basilica_tui.store import ConsoleStore
from basilica_tui.symbols import ASCII, UNICODE
from basilica_tui.tables import item_name
from basilica_tui.terminal import EXIT_CODE, TerminalWatch
from basilica_tui.text import clean
from basilica_tui.themes import THEME_NAMES, THEMES
from basilica_tui.ways import Way
from engine.clock import Clock
from engine.errors import BasilicaError

TICK_S = 1.0
SOON_S = 0.25
NOTICE_S = 5.0
GREETING_S = 15.0
ACTIONS_AT_ONCE = 8
"""Of one bulk action; the engine takes 32 requests of a console."""
HURRY_S = 5.0
"""For so long after an operator's action changes are shown at the quick rate."""

_ALWAYS = frozenset({"leave", "detach"})
"""Keys that need nothing on the screen; the others wait until it is drawn."""

SCREENS: Mapping[str, Callable[[], ConsoleScreen]] = {
    "dashboard": DashboardScreen,
    "nodes": NodesScreen,
    "sessions": SessionsScreen,
    "scores": ScoresScreen,
    "config": ConfigScreen,
    "ssh": SshScreen,
    "logs": LogsScreen,
    "alerts": AlertsScreen,
    "engines": EnginesScreen,
    "miners": MinersScreen,
    "verifications": VerificationsScreen,
    "weights": WeightsScreen,
}


class _Written(CompositorUpdate):
    """An update that is text for the terminal already."""

    def __init__(self, text: str) -> None:
        self._text = text

    def render_segments(self, console: Console) -> str:
        """The text."""
        return self._text


class ConsoleApp(App[int], inherit_bindings=False):
    """Attaches to the engine behind ``socket``; ``clock`` and ``connect`` are injected for tests."""

    ENABLE_COMMAND_PALETTE = False
    CSS_PATH = None
    BINDINGS: ClassVar[list[BindingType]] = []
    TITLE = "basilica-tui"

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
        preferences: Preferences | None = None,
        files: Path | None = None,
        watch_terminal: bool = False,
        feed: Callable[[ConsoleStore, Callable[[], None]], Feed] | None = None,
        ways: Mapping[str, Way] | None = None,
        profile: str = "",
        refusal: str = "this console is read-only; the engine would refuse",
    ) -> None:
        """``feed`` makes what fills the store where that is no engine; ``refusal`` is what a read-only console says."""
        super().__init__(css_path=styles_folder() / "console.tcss")
        self.animation_level = "none"
        self.socket = socket
        self.clock = clock
        self.read_only = read_only
        self.symbols = ASCII if ascii_only else UNICODE
        self.bindings_table = bindings
        self.store = ConsoleStore()
        self.painter = Painter()
        self._refusal = refusal
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
        self.command_history: list[str] = []
        self._theme_wanted = theme
        self.preferences = preferences or Preferences()
        self._files = files or Path.cwd()
        self._greetings = greetings
        self._watch_terminal = watch_terminal
        self._watch: TerminalWatch | None = None
        self._notice: tuple[str, str, float] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._views: dict[str, ConsoleScreen] = {}
        self._generation = 0
        self._view, self._last_view = "dashboard", "dashboard"
        self._is_flush_due = False
        self._hurry_until = 0.0
        self.theme_names = (*THEME_NAMES, *(t.name for t in themes))
        for theme_ in (*THEMES, *themes):
            self.register_theme(theme_)
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
        self.push_screen(self._view_of("dashboard"))
        self._link_task = self.start(self.link.run())
        self.set_interval(TICK_S, self.flush)
        if self._greetings:
            self.say("; ".join(self._greetings), "warn", GREETING_S)
        if self._watch_terminal:
            self._guard_terminal()

    def _guard_terminal(self) -> None:
        loop = asyncio.get_running_loop()

        def leave() -> None:
            loop.call_soon_threadsafe(self.detach, EXIT_CODE)

        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.detach, 128 + number)
        self._watch = TerminalWatch(sys.__stdin__.fileno() if sys.__stdin__ else 0, leave)
        self._watch.start()

    def on_unmount(self) -> None:
        """The console ends; the engine does not."""
        if self._watch is not None and self.return_code != EXIT_CODE:
            self._watch.stop()
        for task in self._tasks:
            task.cancel()

    def _fatal_error(self) -> None:
        """Textual would print a traceback with the values of local variables; ``run`` makes a report instead."""
        self.crash = self._exception if isinstance(self._exception, Exception) else None
        self._close_messages_no_wait()

    def detach(self, code: int = 0) -> None:
        """Leave; the engine keeps running."""
        self.exit(code, return_code=code)

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

    # --- what screens ask for ---------------------------------------------------------------------------------

    def look(self) -> Look:
        """Time and marks for drawing."""
        return Look(self.clock.now(), self.symbols)

    def path(self) -> list[str]:
        """How the operator came here: the view, then what was opened from it."""
        return [clean(s.crumb) for s in self.screen_stack if isinstance(s, ConsoleScreen)]

    def say(self, text: str, tone: str = "accent", seconds: float = NOTICE_S) -> None:
        """One line in the footer's place for a few seconds."""
        self._notice = (clean(text), tone, self.clock.monotonic() + seconds)
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
        sequence = osc52(text, os.environ)
        if sequence is None:
            self.say("too much to copy: terminals take 74,994 encoded bytes", "warn")
            return
        if self._driver is not None:
            self._driver.write(sequence)
        self.say(
            f"{what} sent to the terminal's clipboard (OSC 52{', through tmux' if os.environ.get('TMUX') else ''})"
        )

    def save_text(self, name: str, text: str, form: ExportFormat, path: Path | None, rows: int) -> None:
        """Write what a table shows to a file, and say where it is."""
        self.save_file(name, text, form, path, plural(rows, "row"))

    def save_file(self, name: str, content: str | bytes, form: str, path: Path | None, what: str) -> None:
        """Write something to a file, and say where it is."""
        target = path or export_path(self._files, name, form, self.clock.now())
        try:
            if path is None:
                target.parent.mkdir(parents=True, exist_ok=True)
            write_export(target, content)
        except OSError as error:
            self.say(f"{target} cannot be written: {error.strerror or error}", "bad")
        else:
            self.say(f"{what} written to {target}", "good", GREETING_S)

    def act(self, verb: str, args: Mapping[str, object], words: str, then: Callable[[], None] | None = None) -> None:
        """Ask the engine for an action; progress and outcome appear in the footer. ``then`` follows a success."""
        if self.read_only:
            self.say(self._refusal, "warn")
            return
        self._hurry_until = self.clock.monotonic() + HURRY_S
        self.say(f"{words} ...")
        self.start(self._act(verb, args, words, then))

    def act_each(self, verb: str, calls: Sequence[tuple[Mapping[str, object], str]]) -> None:
        """The same action on several objects, a few at a time; the footer counts, and names what did not work."""
        if len(calls) == 1:
            self.act(verb, *calls[0])
        elif self.read_only:
            self.say("this console is read-only; the engine would refuse", "warn")
        elif calls:
            self._hurry_until = self.clock.monotonic() + HURRY_S
            self.start(self._act_each(verb, calls))

    async def _act_each(self, verb: str, calls: Sequence[tuple[Mapping[str, object], str]]) -> None:
        slots, done, failed = asyncio.Semaphore(ACTIONS_AT_ONCE), 0, list[str]()

        async def one(args: Mapping[str, object], words: str) -> None:
            nonlocal done
            async with slots:
                try:
                    await self.link.act(verb, args)
                except BasilicaError as error:
                    failed.append(f"{words}: {error}")
            done += 1
            self.say(f"{verb} {done} of {len(calls)} ...")

        async with asyncio.TaskGroup() as group:
            for args, words in calls:
                group.create_task(one(args, words))
        said = f"{verb}: {len(calls) - len(failed)} of {len(calls)} done"
        self.say(f"{said}; {failed[0]}" if failed else said, "bad" if failed else "good", GREETING_S)
        self._hurry_until = self.clock.monotonic() + HURRY_S
        self._on_store_changed()

    async def _act(self, verb: str, args: Mapping[str, object], words: str, then: Callable[[], None] | None) -> None:
        try:
            result = await self.link.act(verb, args, lambda text: self.say(f"{words}: {text}"))
        except BasilicaError as error:
            self.say(f"{words}: {error}", "bad")
        else:
            outcome = result.get("message") or result.get("outcome") or "done"
            self.say(f"{words}: {outcome}", "good")
            if then is not None:
                then()
        self._hurry_until = self.clock.monotonic() + HURRY_S
        self._on_store_changed()

    # --- painting ---------------------------------------------------------------------------------------------

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Textual's way to the terminal, narrowed to the cells that differ; a screen not drawn yet is not shown."""
        if isinstance(screen, ConsoleScreen) and not screen.is_drawn:
            return
        update: object = renderable
        if isinstance(update, CompositorUpdate):
            text = self.painter.difference(update, self.size, self.console)
            if text == "" and self.cursor_position == self._previous_cursor_position:
                self.post_display_hook()
                return
            if text is not None:
                super()._display(screen, cast("Any", _Written(text)))
                return
        super()._display(screen, renderable)

    def redraw(self) -> None:
        """Write the whole screen again, for terminals that something else has written to."""
        self.painter.forget()
        self.screen.refresh()

    # --- flushing ---------------------------------------------------------------------------------------------

    def _on_store_changed(self) -> None:
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

    # --- screens ----------------------------------------------------------------------------------------------

    def _view_of(self, name: str) -> ConsoleScreen:
        actual = VALIDATOR_TITLES.get(name, name) if self.store.is_validator else name
        if actual not in self._views:
            screen = SCREENS[actual]()
            self.install_screen(screen, f"{actual}.{self._generation}")
            self._views[actual] = screen
        return self._views[actual]

    def show_view(self, name: str) -> None:
        """Go to one of the numbered screens."""
        if name in MINER_SCREENS and self.store.is_validator:
            self.say("the SSH check is a miner's; a validator's own logins are under 3", "warn")
            return
        while len(self.screen_stack) > 2:
            self.pop_screen()
        if name == "setup":
            self._open_setup()
            return
        target = self._view_of(name)
        if self.screen is not target:
            if name != self._view:
                self._last_view, self._view = self._view, name
            self.switch_screen(target)

    def switch_engine(self, name: str) -> None:
        """Leave this engine alone and attach to another one that has a name."""
        way = self.ways.get(name)
        if way is None:
            known = ", ".join(f"@{n}" for n in self.ways) or "none; console.toml names them under [engines.NAME]"
            self.say(f"there is no engine called {name}; there is {known}" if name else f"engines: {known}", "warn")
            return
        if name == self.store.profile:
            self.say(f"@{name} is the one that is shown")
            return
        if self._link_task is not None:
            self._link_task.cancel()
        self.store = ConsoleStore()
        self.store.profile = name
        self.socket, self.read_only = way.where, self._is_read_only or way.read_only
        self.link = Link(
            self.store, way.where, clock=self.clock, connect=way.connect, read_only=self.read_only,
            on_change=self._on_store_changed,
        )  # fmt: skip
        self._forget_views()
        self._link_task = self.start(self.link.run())
        self.say(f"attaching to @{name}")

    def _forget_views(self) -> None:
        """Selections, marks and logs belong to the engine that they were made on."""
        while len(self.screen_stack) > 2:
            self.pop_screen()
        old, self._views = self._views, {}
        self._view = self._last_view = "dashboard"
        self._generation += 1
        self.switch_screen(self._view_of("dashboard"))
        for screen in old.values():
            self.uninstall_screen(screen)
            if screen.is_running:
                screen.remove()

    def _open_setup(self) -> None:
        """The wizard over the present view; what it keeps is the same as for ``basilica-tui setup``."""
        if self.read_only:
            self.say("this console is read-only", "warn")
            return
        # Imported here: it brings the doctor and SSH, which a console needs for nothing else.
        from basilica_tui.screens.setup import SetupScreen  # noqa: PLC0415
        from engine.setup.phases import Setup  # noqa: PLC0415
        from engine.setup.state_file import default_state_file, load_state  # noqa: PLC0415

        file = default_state_file(Path.home())
        self.push_screen(SetupScreen(load_state(file) or Setup(), file, ascii_only=self.symbols.is_ascii))

    def open_node(self, node_id: str) -> None:
        """Show one node."""
        self.push_screen(NodeScreen(node_id))

    def open_plot(self, argument: str = "") -> None:
        """Plot what is selected; the words of ``:plot`` name a chart, a span and a node in any order."""
        screen, words = self.screen, argument.split()
        subject = getattr(screen, "plot_subject", "")
        names = self.vocabulary().names.get("nodes", {})
        role = self.store.engine.role
        chart, span = getattr(screen, "plot_chart", ""), ""
        for word in words:
            if word in dict(SPANS):
                span = word
            elif word == "fleet":
                subject = ""
            elif word in names or word in self.store.nodes:
                subject = names.get(word, word)
            elif (found := find_chart(word, charts_for(role, ""))) is not None:
                chart = found.id
            else:
                self.say(f"there is no chart, span or node called {word}", "warn")
                return
        if isinstance(screen, PlotScreen):
            screen.choose(subject, chart, span)
        else:
            self.push_screen(PlotScreen(subject, chart, span or "24h"))

    def open_session(self, hotkey: str) -> None:
        """Show one validator's access and what became of it."""
        self.push_screen(SessionScreen(hotkey))

    def show_logs_of(self, words: str) -> None:
        """The log, filtered by these words."""
        self.show_view("logs")
        self.do("log.filter", words)

    # --- keys and commands ------------------------------------------------------------------------------------

    async def action_press(self, key: str) -> None:
        """What every key leads to: on each screen the binding that means something there."""
        binding = binding_of(key, getattr(self.screen, "SCREEN_ID", ""), self.bindings_table)
        if binding is not None:
            self.do(binding.id)

    def do(self, binding_id: str, argument: str = "") -> None:
        """Run a binding: the app's own, else the screen's."""
        binding = next((b for b in self.bindings_table if b.id == binding_id), None)
        screen = self.screen
        if binding is None or not isinstance(screen, ConsoleScreen):
            return
        if binding.needs and binding.needs not in (self.store.verbs or ()):
            words = "only in a replay" if binding.needs == REPLAY else f"this engine knows no {binding.needs}"
            self.say(words, "warn")
            return
        if binding.danger and self.read_only:
            self.say(self._refusal, "warn")
            return
        if not screen.is_drawn and not binding_id.startswith("screen.") and binding_id not in _ALWAYS:
            screen.typed_ahead.append((binding_id, argument))
            return
        own = self.own_commands(screen, argument)
        if binding_id.startswith("screen."):
            name = binding_id.removeprefix("screen.")
            self.show_view(self._last_view if name == "last" else name)
        elif binding_id in own and not (binding_id == "help" and isinstance(screen, HelpScreen)):
            own[binding_id]()
        elif argument and screen.command(binding_id, argument):
            return
        elif not screen.perform(binding_id):
            self.say(f"{binding.help.lower()}: not on this screen", "dim")

    def own_commands(self, screen: ConsoleScreen, argument: str) -> Mapping[str, Callable[[], object]]:
        """What the console does itself, whatever the screen, by binding id."""
        return {
            "help": lambda: self.push_screen(HelpScreen(screen.SCREEN_ID)),
            "command": screen.open_command,
            "palette": self._open_palette,
            "back": lambda: self._back(screen),
            "leave": lambda: self._leave(screen),
            "detach": self.detach,
            "hint": lambda: self.say("q leaves; the engine keeps running"),
            "refresh": lambda: self.start(self._refresh()),
            "theme": lambda: self._set_theme(argument),
            "plot": lambda: self.open_plot(argument),
            "engine.switch": lambda: self.switch_engine(argument.removeprefix("@")),
            "engine.reload": self._reload_engine,
            "verify.now": lambda: self.act("verify.now", {}, "verify now"),
            "weights.set": self._set_weights,
            "engine.stop": self._stop_engine,
        }

    def _back(self, screen: ConsoleScreen) -> None:
        if not screen.step_back() and len(self.screen_stack) > 2:
            self.pop_screen()

    def _leave(self, screen: ConsoleScreen) -> None:
        if len(self.screen_stack) > 2:
            self.pop_screen()
        elif self._view != "dashboard":
            self.show_view("dashboard")
        else:
            self.detach()

    async def _refresh(self) -> None:
        try:
            await self.link.resync()
        except BasilicaError as error:
            self.say(str(error), "bad")
            return
        self.redraw()
        self.say("read again" if not self.store.is_stale else "trying to connect now")
        self.flush()

    def _set_theme(self, name: str) -> None:
        if name in self.theme_names:
            self.theme = name
            return
        if name:
            self.say(f"there is no theme {name}", "warn")

        def chosen(wanted: str | None) -> None:
            if wanted is not None:
                self.theme = wanted

        self.push_screen(Chooser("Colours", [Choice(n, n) for n in self.theme_names], start=self.theme), chosen)

    def _reload_engine(self) -> None:
        lines = ["Settings that can change while it runs are taken over; it says which ones need a restart."]
        confirm(self, "Read the configuration file again?", lines, "reload",
                lambda: self.act("engine.reload", {}, "reload the configuration"))  # fmt: skip

    def _set_weights(self) -> None:
        engine = self.store.engine
        last = (
            "none were set yet"
            if engine.weights_block is None
            else f"the last ones are of block {engine.weights_block:,}"
        )
        lines = [
            f"network {engine.network}, subnet {engine.netuid}, block {engine.block or 0:,}; {last}",
            "",
            "Everything is scored again and goes to the chain in place of what is there. Subnets limit how often.",
        ]
        confirm(self, "Set weights now?", lines, "set them", lambda: self.act("weights.set", {}, "set weights"))

    def _open_palette(self) -> None:
        here = getattr(self.screen, "SCREEN_ID", "")
        rows = command_list(self.bindings_table, here, read_only=self.read_only, vocabulary=self.vocabulary())
        choices = [Choice(line, line, text, key_face(key) if key else "") for line, text, key in rows]

        def chosen(line: str | None) -> None:
            if line is None:
                return
            by_id = next((b for b in self.bindings_table if b.id == line and not b.command), None)
            if by_id is not None:
                self.do(by_id.id)
            else:
                self.run_command(line)

        self.push_screen(Chooser("Commands", choices, typing=True), chosen)

    def vocabulary(self) -> Vocabulary:
        """What commands may name now."""
        store = self.store
        names: dict[str, dict[str, str]] = {
            name: {clean(item_name(row)).replace(" ", "-"): key for key, row in store.collection(name).items()}
            for name in ("nodes", "sessions")
        }
        names["alerts"] = {alert.id: alert.id for alert in store.alerts.values() if alert.active}
        words: dict[str, Sequence[str]] = {"engine": [f"@{name}" for name in self.ways],
                                           "theme": self.theme_names, "level": ("all", "info", "warning", "error"),
                                           "export": ("csv", "json", "png", "svg"),
                                           "plot": (*(c.id for c in CHARTS), *(name for name, _ in SPANS))}  # fmt: skip
        if isinstance(self.screen, TableScreen):
            columns = [c.id for c in self.screen.TABLE.columns]
            words |= {"sort": columns, "columns": columns}
        return Vocabulary(store.engine.role or "miner", store.verbs, names, words)

    def _stop_engine(self) -> None:
        name = self.store.engine.name or "stop"
        lines = [
            "It stops serving validators. Keys that are on nodes stay until they expire.",
            "The console stays here and waits for it to come back.",
        ]

        def decided(is_sure: bool | None) -> None:
            if is_sure:
                self.act("engine.stop", {}, f"stop the engine {name}")

        self.push_screen(Confirm(f"Stop the engine {name}?", lines, "stop it", typed=name), decided)

    def run_command(self, text: str) -> None:
        """Run a line of the command prompt."""
        if text.strip().startswith("@"):
            text = f"engine {text.strip()}"
        command = parse_command(text, self.bindings_table, read_only=self.read_only, vocabulary=self.vocabulary())
        if isinstance(command, ActionCall):
            self._call(command)
        elif command is not None:
            self.do(command.id, command.argument)
        elif text.strip() in SCREEN_IDS:
            self.show_view(text.strip())
        elif text.strip():
            self.say(f"there is no command {text.strip()}; tab completes, ? lists them", "warn")

    def _call(self, call: ActionCall) -> None:
        """An action of the engine's, typed with its arguments; danger asks as it does by key."""
        action = call.action
        args, problem = parse_args(action, call.words, self.vocabulary().names)
        if problem:
            self.say(problem, "warn")
        elif action.danger and action.is_for_rows:
            act_on_rows(self, action, action.subject, [str(args[action.args[0].name])])
        elif action.danger:
            words = " ".join([action.words, *call.words])
            confirm(self, f"{words.capitalize()}?", [action.warning], action.words.split(" ")[0],
                    lambda: self.act(action.verb, args, words))  # fmt: skip
        else:
            self.act(action.verb, args, " ".join([action.words, *call.words]))
