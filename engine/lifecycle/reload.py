"""Reading the configuration again while the engine runs: on SIGHUP, and when an operator asks.

The new file is checked as a whole first. A file with a problem changes nothing; what only a restart can change is
said and stays as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from engine.clock import Clock
from engine.config import Loaded
from engine.config.common import RoleConfig
from engine.control.actions import ActionTable
from engine.errors import BasilicaError, ConfigInvalid, StoreUnusable
from engine.events import ConfigRefused, ConfigReloaded, EventSink
from engine.lifecycle.config_actions import ConfigActions
from engine.lifecycle.plan import Area, ReloadPlan, after_reload, is_same_role, plan_reload

Read = Callable[[], Loaded[Any]]
"""Loads and checks the file. Raises ConfigInvalid."""
Applier = Callable[[Any], Awaitable[None]]
"""Takes over one area of a configuration. Raises BasilicaError."""
Report = Callable[[str], None]

SIGNAL = "SIGHUP"


class Reloader:
    """Knows what runs, what the file says, and who takes over what."""

    def __init__(
        self,
        running: RoleConfig,
        read: Read | None,
        appliers: Mapping[Area, Applier],
        *,
        clock: Clock,
        emit: EventSink,
    ) -> None:
        self.running = running
        self._read = read
        self._appliers = appliers
        self._clock = clock
        self._emit = emit
        self._one_at_a_time = asyncio.Lock()
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Reload soon; for a signal handler."""
        self._asked.set()

    async def run(self) -> None:
        """Reload whenever ``ask`` was called; a service."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self.reload(SIGNAL)
            except StoreUnusable:
                raise
            except BasilicaError:
                continue  # told by an event; the engine goes on with what it has

    async def plan(self) -> ReloadPlan:
        """What ``reload`` would do now. Raises ConfigInvalid."""
        return plan_reload(self.running, (await self._load()).config, tuple(self._appliers))

    async def reload(self, actor: str, report: Report = lambda _: None) -> ReloadPlan:
        """Read the file and take over what can be taken over.

        Raises:
            ConfigInvalid: the file cannot be used; nothing was changed.
            BasilicaError: an area could not be applied; those before it were, and the next reload tries again.
        """
        async with self._one_at_a_time:
            try:
                loaded = await self._load()
            except ConfigInvalid as error:
                self._say_refused(actor, error.problems or (error.message,))
                raise
            for warning in loaded.warnings:
                report(f"warning: {warning}")
            plan = plan_reload(self.running, loaded.config, tuple(self._appliers))
            for area in plan.areas:
                report(f"applying {area}")
                try:
                    self.running = await self._apply(area, loaded.config)
                except BasilicaError as error:
                    self._say_refused(actor, (f"{area}: {error.message}",))
                    raise
            self._emit(
                ConfigReloaded(
                    at=self._clock.now(),
                    actor=actor,
                    applied=tuple(change.words for change in plan.apply),
                    restart_needed=plan.restart_needed,
                )
            )
            return plan

    def _say_refused(self, actor: str, problems: tuple[str, ...]) -> None:
        self._emit(ConfigRefused(at=self._clock.now(), actor=actor, problems=problems))

    async def _apply(self, area: Area, wanted: RoleConfig) -> RoleConfig:
        config = after_reload(self.running, wanted, (area,))
        await self._appliers[area](config)
        return config

    async def _load(self) -> Loaded[Any]:
        if self._read is None:
            raise ConfigInvalid("this engine was not started from a file", hint="restart it with --config FILE")
        loaded = await asyncio.to_thread(self._read)
        if not is_same_role(self.running, loaded.config):
            raise ConfigInvalid(f"{loaded.path} configures the other role; this engine keeps what it has")
        return loaded

    # --- actions ----------------------------------------------------------------------------------------------

    def add_actions(self, actions: ActionTable) -> None:
        """Register what an operator may ask."""
        actions.register("engine.reload", self._act_reload, help="read the configuration file again", danger=True)
        actions.register("config.plan", self._act_plan, help="say what a reload would change", danger=False)
        ConfigActions(lambda: self.running, self._load).register(actions)

    async def _act_reload(self, args: Mapping[str, object], report: Report) -> Mapping[str, object]:
        return plan_to_json(await self.reload("operator", report))

    async def _act_plan(self, args: Mapping[str, object], report: Report) -> Mapping[str, object]:
        return plan_to_json(await self.plan())


def plan_to_json(plan: ReloadPlan) -> dict[str, object]:
    """A plan for a console: ``message`` is one sentence for people."""
    return {
        "message": sentence(plan),
        "applied": [change.words for change in plan.apply],
        "restart_needed": [change.words for change in plan.waiting],
    }


def sentence(plan: ReloadPlan) -> str:
    """What a reload did, in one line."""
    count = len(plan.apply)
    words = f"{count} change{'' if count == 1 else 's'} applied" if count else "nothing to apply"
    if plan.waiting:
        words += f"; restart needed for {', '.join(plan.restart_needed)}"
    return words
