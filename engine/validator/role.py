"""The validator role, assembled: rounds over all miners on chain, each node checked, each result stored."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.chain.cached import MetagraphCache
from engine.clock import Clock, sleep_or_wake
from engine.config.validator import ValidatorConfig
from engine.control.actions import ActionTable
from engine.errors import BasilicaError, ChainUnavailable, SshAuthFailed
from engine.events import (
    AccessLost,
    EventBus,
    MinerAnswered,
    MinerDiscovered,
    MinerFailed,
    NodeVerified,
    VerificationRestored,
)
from engine.identity import Signer
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.store import Store
from engine.store.records import Verification
from engine.supervisor import Supervisor
from engine.validator.lightweight import Finding, check_lightly
from engine.validator.miner_client import MinerClient, OfferedNode
from engine.validator.targets import MinerTarget, callable_miners
from engine.wire.messages import Dialect

CONCURRENT_NODE_CHECKS = 64
CHAIN_RETRY_S = 15.0


@dataclass(frozen=True, slots=True)
class ValidatorParts:
    """What the composition root gives to the role."""

    config: ValidatorConfig
    store: Store
    signer: Signer
    metagraph: MetagraphCache
    clock: Clock
    bus: EventBus
    host_keys: HostKeys


class ValidatorRole:
    """Everything that a validator does, as services of one supervisor."""

    def __init__(self, parts: ValidatorParts) -> None:
        self._parts = parts
        self._clock = parts.clock
        self._emit = parts.bus.emit
        self._key = _own_key(parts.config.ssh_session.persistent_ssh_key_path, parts.signer.hotkey)
        self._pool = NodePool(self._key, parts.host_keys, clock=parts.clock, emit=parts.bus.emit)
        self._is_local = parts.config.bittensor.network == "local"
        self._miner_slots = asyncio.Semaphore(parts.config.verification.max_concurrent_verifications)
        self._node_slots = asyncio.Semaphore(CONCURRENT_NODE_CHECKS)
        self._again = asyncio.Event()
        self._dialects: dict[str, Dialect] = {}
        self._opened_at: dict[tuple[str, str], float] = {}

    async def start(self) -> None:
        """Show what earlier runs found."""
        for last in await self._parts.store.verifications.latest():
            self._emit(VerificationRestored(**_event_fields(last)))

    def add_services(self, supervisor: Supervisor) -> None:
        """Register the role's services."""
        supervisor.add("verification", self._keep_verifying)

    def add_actions(self, actions: ActionTable) -> None:
        """Register what an operator may do."""
        actions.register("verify.now", self._act_verify_now, help="start a verification round now", danger=False)

    async def stop(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def verify_all(self) -> None:
        """One round: every miner on chain that can be called. Raises ChainUnavailable."""
        metagraph = await self._parts.metagraph.refresh()
        offset = self._parts.config.verification.grpc_port_offset or 0
        miners = callable_miners(metagraph, is_local=self._is_local, port_offset=offset)
        async with asyncio.TaskGroup() as group:
            for miner in miners:
                self._emit(
                    MinerDiscovered(at=self._clock.now(), hotkey=miner.hotkey, uid=miner.uid, endpoint=miner.endpoint)
                )
                group.create_task(self._verify_miner(miner))

    async def _verify_miner(self, miner: MinerTarget) -> None:
        started = self._clock.monotonic()
        async with self._miner_slots:
            client = MinerClient(
                miner.endpoint, self._parts.signer, miner.hotkey, clock=self._clock, dialects=self._dialects
            )
            try:
                offer = await client.discover(self._key.public_line)
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
                    group.create_task(self._verify_node(miner, node))

    async def _verify_node(self, miner: MinerTarget, node: OfferedNode) -> None:
        # Two miners may offer the same node id; connections and host keys are kept apart by the miner's hotkey.
        target = NodeTarget(f"{miner.hotkey}/{node.node_id}", node.host, node.port, node.username)
        async with self._node_slots:
            finding = await check_lightly(
                self._pool,
                target,
                clock=self._clock,
                timeout_s=self._parts.config.ssh_session.ssh_command_timeout,
            )
        await self._record(miner, node, finding)

    async def _record(self, miner: MinerTarget, node: OfferedNode, finding: Finding) -> None:
        gpus, error = finding.gpus, finding.error
        row = Verification(
            id=str(uuid.uuid4()),
            miner_hotkey=miner.hotkey,
            miner_uid=miner.uid,
            node_id=node.node_id,
            endpoint=f"{node.username}@{node.host}:{node.port}",
            tier="lightweight",
            ok=error is None,
            at=self._clock.now(),
            duration_ms=round(finding.duration_ms, 1),
            gpu_model="" if gpus is None else gpus.model,
            gpu_uuids=() if gpus is None else gpus.uuids,
            error_code="" if error is None else error.code,
            message="" if error is None else error.message,
        )
        await self._parts.store.verifications.add(row)
        self._emit(NodeVerified(**_event_fields(row)))
        self._watch_access(row)

    def _watch_access(self, row: Verification) -> None:
        place = (row.miner_hotkey, row.node_id)
        if row.ok:
            self._opened_at[place] = row.at
        elif row.error_code == SshAuthFailed.code and place in self._opened_at:
            self._emit(
                AccessLost(
                    at=row.at,
                    miner_hotkey=row.miner_hotkey,
                    node_id=row.node_id,
                    endpoint=row.endpoint,
                    after_s=row.at - self._opened_at.pop(place),
                )
            )

    async def _keep_verifying(self) -> None:
        interval_s = self._parts.config.verification.verification_interval
        while True:
            pause_s = interval_s
            try:
                await self.verify_all()
            except ChainUnavailable:
                pause_s = min(interval_s, CHAIN_RETRY_S)
            await sleep_or_wake(self._clock, pause_s, self._again)

    async def _act_verify_now(self, args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
        report("next round starts now")
        self._again.set()
        return {}


def _event_fields(row: Verification) -> dict[str, Any]:
    fields = asdict(row)
    return {"verification_id": fields.pop("id"), **fields}


def _own_key(path: Path | None, hotkey: str) -> ClientKey:
    """The configured key, else a fresh Ed25519 pair that lives in this process only."""
    return ClientKey.generate(f"validator-{hotkey}") if path is None else ClientKey.from_file(path)
