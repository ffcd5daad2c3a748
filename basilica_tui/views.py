"""The numbered screens: made when first looked at, kept while the console is attached to one engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from basilica_tui.bindings import MINER_SCREENS, VALIDATOR_TITLES
from basilica_tui.screens.alerts import AlertsScreen
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.config import ConfigScreen
from basilica_tui.screens.dashboard import DashboardScreen
from basilica_tui.screens.engines import EnginesScreen
from basilica_tui.screens.logs import LogsScreen
from basilica_tui.screens.miners import MinersScreen
from basilica_tui.screens.nodes import NodesScreen
from basilica_tui.screens.scores import ScoresScreen
from basilica_tui.screens.sessions import SessionsScreen
from basilica_tui.screens.ssh import SshScreen
from basilica_tui.screens.tree import TreeScreen
from basilica_tui.screens.verifications import VerificationsScreen
from basilica_tui.screens.weights import WeightsScreen

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp

FIRST = "dashboard"

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
    "tree": TreeScreen,
}


class Views:
    """One of them is at the bottom of the stack; ``now`` and ``last`` are names of bindings, not of screens."""

    def __init__(self, desk: ConsoleApp) -> None:
        self._desk = desk
        self._made: dict[str, ConsoleScreen] = {}
        self._generation = 0
        self.now, self.last = FIRST, FIRST

    @property
    def is_over(self) -> bool:
        """Whether something was opened from the view."""
        return len(self._desk.screen_stack) > 2

    def get(self, name: str) -> ConsoleScreen:
        """The screen behind a name for this engine's role."""
        desk = self._desk
        actual = VALIDATOR_TITLES.get(name, name) if desk.store.is_validator else name
        if actual not in self._made:
            screen = SCREENS[actual]()
            desk.install_screen(screen, f"{actual}.{self._generation}")
            self._made[actual] = screen
        return self._made[actual]

    def show(self, name: str) -> None:
        """Go to one of them, away from whatever was opened over the present one."""
        desk = self._desk
        if name in MINER_SCREENS and desk.store.is_validator:
            desk.say("the SSH check is a miner's; a validator's own logins are under 3", "warn")
            return
        self._close_opened()
        if name == "setup":
            desk.open_setup()
            return
        target = self.get(name)
        if desk.screen is not target:
            if name != self.now:
                self.last, self.now = self.now, name
            desk.switch_screen(target)

    def forget(self) -> None:
        """Selections, marks and logs belong to the engine that they were made on."""
        desk = self._desk
        self._close_opened()
        old, self._made = self._made, {}
        self.now = self.last = FIRST
        self._generation += 1
        desk.switch_screen(self.get(FIRST))
        for screen in old.values():
            desk.uninstall_screen(screen)
            if screen.is_running:
                screen.remove()

    def _close_opened(self) -> None:
        while self.is_over:
            self._desk.pop_screen()
