"""What an operator may do to a running engine: a table of verbs, with roles, idempotency and an audit event each."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass

import structlog

from engine.clock import Clock
from engine.errors import BasilicaError, ControlRefused
from engine.events import EventSink, OperatorActed

log = structlog.get_logger()

REMEMBERED_KEYS = 256
TARGET_ARGS = ("target", "place", "node_id", "hotkey", "grant_id", "alert_id", "id")
"""Arguments that may name the object of an action, for the audit event."""

SECRET_ARGS = frozenset({"password"})
"""Arguments that nothing keeps."""

_ACTOR: ContextVar[str] = ContextVar("actor", default="operator")

Report = Callable[[str], None]
Handler = Callable[[Mapping[str, object], Report], Awaitable[Mapping[str, object]]]


@dataclass(frozen=True, slots=True)
class Action:
    """One verb; ``danger`` asks consoles to have it confirmed."""

    verb: str
    handler: Handler
    help: str
    danger: bool


@dataclass(frozen=True, slots=True)
class _Run:
    verb: str
    args: Mapping[str, object]
    task: asyncio.Task[Mapping[str, object]]


class ActionTable:
    """Runs actions. Each one runs to its end, also when the console that asked for it goes away."""

    def __init__(self, emit: EventSink, clock: Clock) -> None:
        self._emit = emit
        self._clock = clock
        self._actions: dict[str, Action] = {}
        self._by_key: OrderedDict[str, _Run] = OrderedDict()
        self._running: set[asyncio.Task[Mapping[str, object]]] = set()

    def register(self, verb: str, handler: Handler, *, help: str, danger: bool) -> None:
        """Add a verb; a second handler for it is a programming error."""
        if verb in self._actions:
            raise ValueError(f"action {verb} is registered twice")
        self._actions[verb] = Action(verb, handler, help, danger)

    @property
    def actions(self) -> tuple[Action, ...]:
        """All verbs, in the order of registration."""
        return tuple(self._actions.values())

    async def run(
        self,
        verb: str,
        args: Mapping[str, object],
        *,
        role: str,
        actor: str,
        key: str | None = None,
        report: Report = lambda _: None,
    ) -> Mapping[str, object]:
        """Run an action, or return what it returned when this ``key`` came before.

        Raises:
            ControlRefused: reason ``read_only``, ``unknown_action``, ``key_reused``, ``internal``, or the code of
                the error in which the action ended.
        """
        if role != "operator":
            self._audit(actor, verb, args, "refused: read_only")
            raise ControlRefused(
                f"{verb} is not allowed in a read-only session", hint="attach as operator", reason="read_only"
            )
        action = self._actions.get(verb)
        if action is None:
            self._audit(actor, verb, args, "refused: unknown_action")
            raise ControlRefused(f"this engine knows no action {verb!r}", reason="unknown_action")
        earlier = self._by_key.get(key) if key else None
        if earlier is not None:
            return await self._repeat(earlier, verb, args, actor)
        task = asyncio.create_task(self._perform(action, args, actor, report), name=f"action:{verb}")
        self._running.add(task)
        task.add_done_callback(self._finished)
        if key:
            self._remember(key, _Run(verb, _without_secrets(args), task))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End what still runs."""
        tasks = tuple(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _repeat(self, earlier: _Run, verb: str, args: Mapping[str, object], actor: str) -> Mapping[str, object]:
        if (earlier.verb, earlier.args) != (verb, _without_secrets(args)):
            self._audit(actor, verb, args, "refused: key_reused")
            raise ControlRefused(f"the key of this {verb} was used for another action", reason="key_reused")
        self._audit(actor, verb, args, "repeated")
        return await asyncio.shield(earlier.task)

    async def _perform(
        self, action: Action, args: Mapping[str, object], actor: str, report: Report
    ) -> Mapping[str, object]:
        outcome = "failed: cancelled"
        _ACTOR.set(actor)
        try:
            result = await action.handler(args, report)
            outcome = "done"
            return result
        except ControlRefused as error:
            outcome = f"refused: {error.reason}"
            raise
        except BasilicaError as error:
            outcome = f"failed: {error.code}"
            raise ControlRefused(error.message, hint=error.hint, reason=error.code) from error
        except Exception as error:  # the socket's door: no fault of one action may reach the others
            outcome = "failed: internal"
            log.exception("action.crashed", verb=action.verb)
            raise ControlRefused(
                f"{action.verb} failed: {type(error).__name__}",
                hint="the engine's log has the details",
                reason="internal",
            ) from error
        finally:
            self._audit(actor, action.verb, args, outcome)

    def _remember(self, key: str, run: _Run) -> None:
        self._by_key[key] = run
        for old in list(self._by_key):
            if len(self._by_key) <= REMEMBERED_KEYS:
                break
            if self._by_key[old].task.done():
                del self._by_key[old]

    def _finished(self, task: asyncio.Task[Mapping[str, object]]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # read here too, because a console that left never does

    def _audit(self, actor: str, verb: str, args: Mapping[str, object], outcome: str) -> None:
        target = next((str(args[name]) for name in TARGET_ARGS if name in args), "")
        self._emit(
            OperatorActed(at=self._clock.now(), actor=actor, verb=verb[:100], target=target[:200], outcome=outcome)
        )


def current_actor() -> str:
    """On whose behalf the running action acts; "operator" outside of any."""
    return _ACTOR.get()


def _without_secrets(args: Mapping[str, object]) -> Mapping[str, object]:
    return {name: value for name, value in args.items() if name not in SECRET_ARGS}
