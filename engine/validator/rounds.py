"""Rounds over all miners: discovery, then for each node the verification that is due.

Lightweight checks are part of a round. Full ones go to a queue of their own, whose length and width are bounded, so
that a node that hangs costs its own deadline and nothing else. No miner is asked twice at once, no node checked twice.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import structlog

from engine.chain.cached import MetagraphCache
from engine.clock import Clock
from engine.config.validator import ValidatorConfig
from engine.errors import BasilicaError, NodeBanned, SshAuthFailed
from engine.events import (
    AccessLost,
    EventSink,
    MinerAnswered,
    MinerDiscovered,
    MinerFailed,
    NodeVerified,
    VerificationQueued,
    VerificationStarted,
    VerificationStepFinished,
)
from engine.identity import Signer
from engine.scores.history import Tier
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.store import Store
from engine.store.records import GpuClaim, Verification, VerificationStep
from engine.validator.book import Book, Outcome, Place, history_of
from engine.validator.full import STEPS, FullFinding, FullSettings, FullVerification, StepResult
from engine.validator.lightweight import check_lightly
from engine.validator.miner_client import ClientTimeouts, MinerClient, OfferedNode
from engine.validator.schedule import History, decide
from engine.validator.targets import MinerTarget, callable_miners
from engine.wire.messages import Dialect

log = structlog.get_logger()

CONCURRENT_NODE_CHECKS = 64
CONCURRENT_JUDGEMENTS = 2
MAX_QUEUED = 8192


@dataclass(frozen=True, slots=True)
class Due:
    """A verification of one node of one miner."""

    miner: MinerTarget
    node: OfferedNode
    tier: Tier
    held_uuids: frozenset[str] = field(default_factory=frozenset)

    @property
    def place(self) -> Place:
        """The miner's hotkey and the node's id."""
        return self.miner.hotkey, self.node.node_id

    @property
    def endpoint(self) -> str:
        """``user@host:port``."""
        return f"{self.node.username}@{self.node.host}:{self.node.port}"

    @property
    def target(self) -> NodeTarget:
        """Two miners may offer the same node id, so connections and host keys are kept apart by the hotkey."""
        node = self.node
        return NodeTarget(f"{self.miner.hotkey}/{node.node_id}", node.host, node.port, node.username)


class Rounds:
    """Visits miners and verifies nodes. ``finish`` ends what runs."""

    def __init__(
        self,
        config: ValidatorConfig,
        settings: FullSettings,
        *,
        store: Store,
        book: Book,
        pool: NodePool,
        signer: Signer,
        public_key_line: str,
        metagraph: MetagraphCache,
        clock: Clock,
        emit: EventSink,
    ) -> None:
        self._config = config.verification
        self._settings = settings
        self._store = store
        self._book = book
        self._pool = pool
        self._signer = signer
        self._public_key_line = public_key_line
        self._metagraph = metagraph
        self._clock = clock
        self._emit = emit
        self._is_local = config.bittensor.network == "local"
        self._miner_slots = asyncio.Semaphore(self._config.max_concurrent_verifications)
        self._node_slots = asyncio.Semaphore(CONCURRENT_NODE_CHECKS)
        self._full_slots = asyncio.Semaphore(self._config.max_concurrent_full_validations)
        self._judging = asyncio.Semaphore(CONCURRENT_JUDGEMENTS)
        self._dialects: dict[str, Dialect] = {}
        self._opened_at: dict[Place, float] = {}
        self._visiting: dict[str, asyncio.Task[None]] = {}
        self._full: dict[Place, asyncio.Task[None]] = {}
        self._light: set[Place] = set()

    @property
    def in_flight(self) -> int:
        """Full verifications that are queued or running."""
        return len(self._full)

    async def run(self, *, patience_s: float, force_full: bool = False) -> None:
        """One round. Returns when all miners were seen, or after ``patience_s``: slow ones go on by themselves.

        Raises ChainUnavailable.
        """
        metagraph = await self._metagraph.refresh()
        miners = callable_miners(metagraph, is_local=self._is_local, port_offset=self._config.grpc_port_offset or 0)
        histories, bans = await self._book.histories(), await self._book.bans()
        held: dict[Place, set[str]] = {}
        for claim in await self._store.validated.claims():
            held.setdefault((claim.miner_hotkey, claim.node_id), set()).add(claim.gpu_uuid)
        started = []
        for miner in miners:
            self._emit(
                MinerDiscovered(at=self._clock.now(), hotkey=miner.hotkey, uid=miner.uid, endpoint=miner.endpoint)
            )
            if miner.hotkey in self._visiting:
                log.info("verification.miner_busy", hotkey=miner.hotkey)
                continue
            visit = self._visit(miner, histories, bans, held, force_full=force_full)
            task = asyncio.create_task(self._guarded(visit))
            self._visiting[miner.hotkey] = task
            task.add_done_callback(lambda done, hotkey=miner.hotkey: self._visiting.pop(hotkey, None))  # type: ignore[misc]
            started.append(task)
        if started:
            await asyncio.wait(started, timeout=patience_s)

    async def wait_idle(self) -> None:
        """Wait for everything that is queued or running."""
        while tasks := [*self._visiting.values(), *self._full.values()]:
            await asyncio.wait(tasks)

    async def finish(self) -> None:
        """End everything that is queued or running."""
        tasks = [*self._visiting.values(), *self._full.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """A task that nobody waits for must not lose its failure."""
        try:
            await work
        except BasilicaError as error:
            log.error("verification.failed", code=error.code, message=error.message)
        except Exception as error:  # noqa: BLE001 - one node's or miner's surprise must not end in silence
            failures = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
            for failure in failures:
                log.error("verification.crashed", error=f"{type(failure).__name__}: {failure}")

    # --- miners -----------------------------------------------------------------------------------------------

    async def _visit(
        self,
        miner: MinerTarget,
        histories: Mapping[Place, History],
        bans: Mapping[Place, float],
        held: Mapping[Place, set[str]],
        *,
        force_full: bool,
    ) -> None:
        started = self._clock.monotonic()
        async with self._miner_slots:
            client = MinerClient(
                miner.endpoint,
                self._signer,
                miner.hotkey,
                clock=self._clock,
                dialects=self._dialects,
                timeouts=ClientTimeouts(authenticate_s=self._config.discovery_timeout),
            )
            try:
                offer = await client.discover(self._public_key_line)
            except BasilicaError as error:
                self._emit(
                    MinerFailed(
                        at=self._clock.now(),
                        hotkey=miner.hotkey,
                        uid=miner.uid,
                        stage="discovery",
                        error_code=error.code,
                        message=error.message,
                    )
                )
                return
            self._emit(
                MinerAnswered(
                    at=self._clock.now(),
                    hotkey=miner.hotkey,
                    uid=miner.uid,
                    dialect=offer.dialect,
                    nodes=len(offer.nodes),
                    duration_ms=round((self._clock.monotonic() - started) * 1000, 1),
                )
            )
            async with asyncio.TaskGroup() as group:
                for node in offer.nodes:
                    place = miner.hotkey, node.node_id
                    if place in self._full or place in self._light:
                        continue
                    if place in bans:
                        await self._refuse_banned(Due(miner, node, "lightweight"), bans[place])
                        continue
                    decision = decide(
                        history_of(histories, place), self._clock.now(), self._config.node_validation_interval
                    )
                    tier: Tier = "full" if force_full else decision.tier
                    due = Due(miner, node, tier, frozenset(held.get(place, ())))
                    reason = "an operator asked for it" if force_full else decision.reason
                    if tier == "full":
                        self._enqueue(due, reason)
                    else:
                        group.create_task(self._check_lightly(due))

    async def _refuse_banned(self, due: Due, until: float) -> None:
        left = max(1, round((until - self._clock.now()) / 60))
        error = NodeBanned(f"the node misbehaved and is banned for {left} more minutes")
        await self._record(due, str(uuid.uuid4()), Outcome("lightweight", False, self._clock.now()), 0.0, error)

    # --- nodes ------------------------------------------------------------------------------------------------

    async def _check_lightly(self, due: Due) -> None:
        self._light.add(due.place)
        try:
            async with self._node_slots:
                finding = await check_lightly(
                    self._pool,
                    due.target,
                    clock=self._clock,
                    timeout_s=self._settings.command_timeout_s,
                    held_uuids=due.held_uuids,
                )
            outcome = Outcome("lightweight", finding.error is None, self._clock.now())
            gpus = finding.gpus
            await self._record(
                due,
                str(uuid.uuid4()),
                outcome,
                finding.duration_ms,
                finding.error,
                gpu_model="" if gpus is None else gpus.model,
                gpu_uuids=() if gpus is None else gpus.uuids,
            )
        finally:
            self._light.discard(due.place)

    def _enqueue(self, due: Due, reason: str) -> None:
        if len(self._full) >= MAX_QUEUED:
            log.warning("verification.queue_full", queued=len(self._full))
            return
        self._emit(VerificationQueued(at=self._clock.now(), reason=reason, tier="full", **_who(due)))
        task = asyncio.create_task(self._guarded(self._verify_fully(due)))
        self._full[due.place] = task
        task.add_done_callback(lambda _: self._full.pop(due.place, None))

    async def _verify_fully(self, due: Due) -> None:
        async with self._full_slots:
            verification_id = str(uuid.uuid4())
            self._emit(
                VerificationStarted(
                    at=self._clock.now(),
                    verification_id=verification_id,
                    tier="full",
                    steps=len(STEPS),
                    **_who(due),
                )
            )
            steps: list[VerificationStep] = []

            def report(result: StepResult) -> None:
                steps.append(self._step(due, verification_id, result, len(steps)))

            run = FullVerification(
                self._pool, due.target, self._settings, clock=self._clock, judging=self._judging, report=report
            )
            finding = await run.run()
        await self._store.validated.add_steps(steps)
        gpus = finding.gpus
        await self._record(
            due,
            verification_id,
            _outcome(due, finding, self._clock.now()),
            finding.duration_ms,
            finding.error,
            gpu_model="" if gpus is None else gpus.model,
            gpu_uuids=() if gpus is None else gpus.uuids,
        )
        if finding.misbehaviour:
            await self._book.misbehaved(
                due.place, finding.misbehaviour, finding.error.message if finding.error else "a step says so"
            )

    def _step(self, due: Due, verification_id: str, result: StepResult, position: int) -> VerificationStep:
        at = self._clock.now()
        self._emit(
            VerificationStepFinished(
                at=at,
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
        return VerificationStep(
            verification_id, position, result.step, result.verdict, result.evidence, result.duration_ms, at
        )

    async def _record(
        self,
        due: Due,
        verification_id: str,
        outcome: Outcome,
        duration_ms: float,
        error: BasilicaError | None,
        *,
        gpu_model: str = "",
        gpu_uuids: tuple[str, ...] = (),
    ) -> None:
        error = await self._book.record(due.miner, due.node, outcome) or error
        row = Verification(
            id=verification_id,
            tier=outcome.tier,
            ok=error is None,
            at=outcome.at,
            duration_ms=round(duration_ms, 1),
            gpu_model=gpu_model,
            gpu_uuids=gpu_uuids,
            error_code="" if error is None else error.code,
            message="" if error is None else error.message,
            **_who(due),
        )
        await self._store.verifications.add(row)
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


def event_fields(row: Verification) -> dict[str, Any]:
    """A row as the fields of its event."""
    fields = asdict(row)
    return {"verification_id": fields.pop("id"), **fields}


def _who(due: Due) -> dict[str, Any]:
    return {
        "miner_hotkey": due.miner.hotkey,
        "miner_uid": due.miner.uid,
        "node_id": due.node.node_id,
        "endpoint": due.endpoint,
    }


def _outcome(due: Due, finding: FullFinding, at: float) -> Outcome:
    found, gpus = finding.attestation, finding.gpus
    claims: tuple[GpuClaim, ...] = ()
    capability, cuda = "", ""
    if gpus is not None:
        claims = tuple(
            GpuClaim(gpu.uuid, due.miner.hotkey, due.node.node_id, gpu.index, gpu.model, gpu.memory_mib or 0, at)
            for gpu in gpus.gpus
        )
        capability, cuda = gpus.compute_capability, gpus.cuda
    if found is not None:
        capability = found.gpus[0].compute_capability if found.gpus else capability
        cuda = found.cuda or cuda
    return Outcome(
        "full",
        finding.error is None,
        at,
        claims=claims,
        cuda=cuda,
        compute_capability=capability,
        facts=found.facts if found is not None else None,
    )
