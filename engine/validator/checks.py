"""Verifications of nodes: the lightweight ones of a round, and the queue of full ones, each recorded and told.

Full verifications have a queue whose length and width are bounded, so that a node that hangs costs its own deadline and
nothing else. No node is checked twice at once.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import structlog

from engine.clock import Clock
from engine.errors import BasilicaError, NodeBanned, SshAuthFailed
from engine.events import (
    AccessLost,
    EventSink,
    LightweightMoved,
    NodeVerified,
    VerificationQueued,
    VerificationStarted,
    VerificationStepFinished,
)
from engine.store.records import Verification
from engine.validator.book import Book
from engine.validator.breath import Breath
from engine.validator.due import Due, check_of, event_fields, full_check_of, who
from engine.validator.full import STEPS, FullSettings, FullVerification
from engine.validator.lightweight import LIGHT_STEPS, Finding, check_lightly
from engine.validator.sessions import Sessions
from engine.validator.settlement import Check, Place
from engine.validator.slots import BriefSlots, FairSlots
from engine.validator.steps import StepResult

log = structlog.get_logger()

CONCURRENT_LOGINS = 64
LOGIN_PATIENCE_S = 2.0
"""A node that takes longer gives its slot to the next one and goes on without."""
CONCURRENT_JUDGEMENTS = 2
ANSWERS_HELD = 48
ANSWER_PATIENCE_S = 20.0
"""An answer of the program has megabytes, and a thousand nodes may give theirs at once; a slow node keeps no place."""
MAX_QUEUED = 8192
ALWAYS_QUEUED = 32
"""Of each miner so many have a place in the queue, however full others have made it."""
MINERS_SHARE = 8
"""One miner's nodes take an eighth of the places for full verifications at most: a thousand that hang leave the rest
to others, and of a place that becomes free the miner with the fewest gets it."""


class NodeChecks:
    """Checks nodes and records what came of it. ``finish`` ends what runs."""

    def __init__(
        self,
        settings: FullSettings,
        *,
        book: Book,
        sessions: Sessions,
        clock: Clock,
        emit: EventSink,
        breath: Breath,
        full_at_once: int,
    ) -> None:
        self._settings = settings
        self._book = book
        self._sessions = sessions
        self._clock = clock
        self._emit = emit
        self._slots = BriefSlots(CONCURRENT_LOGINS, LOGIN_PATIENCE_S)
        self._full_slots = FairSlots(full_at_once, max(MINERS_SHARE, full_at_once // MINERS_SHARE))
        self._queued: Counter[str] = Counter()
        self._answers = BriefSlots(ANSWERS_HELD, ANSWER_PATIENCE_S)
        self._judging = asyncio.Semaphore(CONCURRENT_JUDGEMENTS)
        self._breath = breath
        self._opened_at: dict[Place, float] = {}
        self._full: dict[Place, asyncio.Task[None]] = {}
        self._light: set[Place] = set()

    @property
    def full_tasks(self) -> tuple[asyncio.Task[None], ...]:
        """Full verifications that are queued or running."""
        return tuple(self._full.values())

    def is_busy(self, place: Place) -> bool:
        """Whether this node is being checked, or waits for a full verification."""
        return place in self._full or place in self._light

    async def refuse_banned(self, due: Due, until: float) -> None:
        """Put on record that a banned node was not entered."""
        left = max(1, round((until - self._clock.now()) / 60))
        error = NodeBanned(f"the node misbehaved and is banned for {left} more minutes")
        steps = tuple(StepResult(name, "skipped", "the node is banned", 0.0) for name in LIGHT_STEPS)
        finding = Finding(0.0, None, error, steps)
        await self._record(due, check_of(due, str(uuid.uuid4()), self._clock.now(), finding))

    async def check_lightly(self, due: Due) -> None:
        """One lightweight check, recorded and told."""
        self._light.add(due.place)
        try:
            self._tell_light(due, waits=True)
            async with self._slots.taken():
                await self._breath.drawn()
                self._tell_light(due)
                finding = await check_lightly(
                    due.session.pool,
                    due.target,
                    clock=self._clock,
                    timeout_s=self._settings.command_timeout_s,
                    held_uuids=due.held_uuids,
                    report=lambda result: self._tell_light(due, result),
                )
            await self._record(due, check_of(due, str(uuid.uuid4()), self._clock.now(), finding))
        finally:
            self._light.discard(due.place)

    def _tell_light(self, due: Due, result: StepResult | None = None, *, waits: bool = False) -> None:
        ended: dict[str, Any] = {}
        if result is not None:
            ended = {"step": result.step, "verdict": result.verdict, "evidence": result.evidence,
                     "duration_ms": result.duration_ms}  # fmt: skip
        self._emit(LightweightMoved(at=self._clock.now(), waits=waits, steps=len(LIGHT_STEPS), **who(due), **ended))

    def enqueue(self, due: Due) -> bool:
        """Have the node verified fully when its turn comes; False when there is no room to wait."""
        miner = due.miner.hotkey
        if len(self._full) >= MAX_QUEUED and self._queued[miner] >= ALWAYS_QUEUED:
            return False
        self._emit(VerificationQueued(at=self._clock.now(), reason=due.reason, tier="full", **who(due)))
        task = asyncio.create_task(guarded(self._verify_fully(due)))
        self._full[due.place] = task
        self._queued[miner] += 1
        task.add_done_callback(lambda _: self._leave(due))
        return True

    def _leave(self, due: Due) -> None:
        self._full.pop(due.place, None)
        self._queued[due.miner.hotkey] -= 1
        if not self._queued[due.miner.hotkey]:
            del self._queued[due.miner.hotkey]

    async def _verify_fully(self, due: Due) -> None:
        async with self._sessions.held(due.session):
            async with self._full_slots.taken(due.miner.hotkey):
                await self._breath.drawn()
                check = None if await self._book.is_rented(due.place) else await self._run_full(due)
            if check is not None:
                await self._record(due, check)
            else:  # rented while it waited: its GPUs are somebody else's now
                await self.check_lightly(replace(due, is_rented=True, tier="lightweight"))

    async def _run_full(self, due: Due) -> Check:
        verification_id = str(uuid.uuid4())
        self._emit(
            VerificationStarted(
                at=self._clock.now(),
                verification_id=verification_id,
                tier="full",
                steps=len(STEPS),
                **who(due),
            )
        )
        position = itertools.count()
        run = FullVerification(
            due.session.pool,
            due.target,
            self._settings,
            clock=self._clock,
            judging=self._judging,
            report=lambda result: self._tell_step(due, verification_id, result, next(position)),
            answers=self._answers,
        )
        finding = await run.run()
        return full_check_of(due, verification_id, self._clock.now(), finding)

    def _tell_step(self, due: Due, verification_id: str, result: StepResult, position: int) -> None:
        self._emit(
            VerificationStepFinished(
                at=self._clock.now(),
                verification_id=verification_id,
                miner_hotkey=due.miner.hotkey,
                node_id=due.node.node_id,
                step=result.step,
                verdict=result.verdict,
                evidence=result.evidence,
                duration_ms=result.duration_ms,
                position=position,
            )
        )

    async def _record(self, due: Due, check: Check) -> None:
        row = await self._book.record(check)
        self._emit(NodeVerified(**event_fields(row)))
        self._watch_access(due, row)

    def _watch_access(self, due: Due, row: Verification) -> None:
        if row.ok:
            self._opened_at[due.place] = row.at
        elif row.error_code == SshAuthFailed.code and due.place in self._opened_at:
            self._emit(
                AccessLost(
                    at=row.at,
                    miner_hotkey=row.miner_hotkey,
                    node_id=row.node_id,
                    endpoint=row.endpoint,
                    after_s=row.at - self._opened_at.pop(due.place),
                )
            )


async def guarded(work: Coroutine[Any, Any, None]) -> None:
    """A task that nobody waits for must not lose its failure."""
    try:
        await work
    except BasilicaError as error:
        log.error("verification.failed", code=error.code, message=error.message)
    except Exception as error:  # noqa: BLE001 - one node's or miner's surprise must not end in silence
        failures = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
        for failure in failures:
            log.error("verification.crashed", error=f"{type(failure).__name__}: {failure}")
