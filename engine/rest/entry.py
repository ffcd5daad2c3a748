"""The way into a route: what the caller may see of its group, or a refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from fastapi import Request
from starlette.exceptions import HTTPException

from engine.clock import Clock
from engine.config.validator import RouteGroup, ValidatorConfig
from engine.control.models import MinerView
from engine.control.state import LiveState
from engine.rest.access import ANONYMOUS, Caller, Refusal, Scope, Sight, decide, decide_change
from engine.rest.gate import CHALLENGE
from engine.rest.views import Views
from engine.store import Store


class Acts(Protocol):
    """What takes actions: the engine's table, or the way to it."""

    async def run(
        self, verb: str, args: Mapping[str, object], *, role: str, actor: str, key: str | None = None
    ) -> Mapping[str, object]:
        """Run an action. Raises ControlRefused."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes read, and the actions that some of them take."""

    config: ValidatorConfig
    store: Store
    state: LiveState
    clock: Clock
    views: Views
    actions: Acts
    silent_s: Callable[[], float] = lambda: 0.0

    def entry(self, group: RouteGroup) -> Callable[[Request], Awaitable[Sight]]:
        """A dependency that lets a caller into the group's routes."""
        opened = frozenset(self.config.api.open)

        async def enter(request: Request) -> Sight:  # not a plain function: those are called in another thread
            verdict = decide(getattr(request.state, "caller", ANONYMOUS), group, opened)
            if isinstance(verdict, Refusal):
                raise HTTPException(verdict.status, verdict.detail, CHALLENGE if verdict.status == 401 else None)
            return verdict

        return enter

    def entry_to_change(self, scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
        """A dependency that lets in who may change what this scope is about."""

        async def enter(request: Request) -> Caller:
            caller: Caller = getattr(request.state, "caller", ANONYMOUS)
            refusal = decide_change(caller, scope)
            if refusal is not None:
                raise HTTPException(refusal.status, refusal.detail, CHALLENGE if refusal.status == 401 else None)
            return caller

        return enter

    def miners(self, sight: Sight) -> list[MinerView]:
        """The miners that this caller sees, by uid; not those that were never called."""
        seen = [
            view
            for view in self.state.miners.values()
            if sight.covers(view.hotkey) and (view.is_called or view.last_answer_at is not None)
        ]
        return sorted(seen, key=lambda view: (view.uid is None, view.uid or 0, view.hotkey))

    def miner(self, miner_id: str, sight: Sight) -> MinerView:
        """One miner by ``miner_UID``, uid or hotkey. Raises HTTPException 404, 403 for somebody else's."""
        view = self.find(miner_id)
        if view is None:
            raise HTTPException(404, "no such miner; ask by miner_UID, UID or hotkey")
        if not sight.covers(view.hotkey):
            raise HTTPException(403, "a hotkey may read its own miner only")
        return view

    def find(self, miner_id: str) -> MinerView | None:
        """One miner by ``miner_UID``, uid or hotkey."""
        found = self.state.miners.get(miner_id)
        if found is not None:
            return found
        text = miner_id.removeprefix("miner_")
        return next((view for view in self.state.miners.values() if str(view.uid) == text), None)
