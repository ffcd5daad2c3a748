"""The validator role, assembled: rounds over all miners on chain, clean-up, weights, and what an operator may ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.chain import Chain
from engine.chain.cached import MetagraphCache
from engine.clock import Clock, sleep_or_wake
from engine.config.validator import SpeedTestConfig, ValidatorConfig
from engine.control.actions import ActionTable
from engine.control.models import place_id
from engine.errors import ChainUnavailable
from engine.events import EventBus, NodesCleanedUp, VerificationRestored
from engine.identity import Signer
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.store import Store
from engine.supervisor import Supervisor
from engine.validator.book import Book, twice_failed
from engine.validator.breath import Breath
from engine.validator.checks import NodeChecks
from engine.validator.cleanup import FAILED_WINDOW_S, plan_clean_up
from engine.validator.due import event_fields
from engine.validator.full import FullSettings
from engine.validator.product import ProductTask
from engine.validator.rentals import RentalRegistry
from engine.validator.rounds import Rounds
from engine.validator.sessions import Sessions
from engine.validator.speed import SpeedTest
from engine.validator.weights import WeightSetter

CHAIN_RETRY_S = 15.0
CLEANUP_INTERVAL_S = 900.0
DAY_S = 86400.0
"""Verifications are kept this long."""
FOREVER_S = 100 * 366 * 86400.0


@dataclass(frozen=True, slots=True)
class ValidatorParts:
    """What the composition root gives to the role."""

    config: ValidatorConfig
    store: Store
    chain: Chain
    signer: Signer
    metagraph: MetagraphCache
    clock: Clock
    bus: EventBus
    host_keys: HostKeys


class ValidatorRole:
    """Everything that a validator does, as services of one supervisor."""

    def __init__(self, parts: ValidatorParts) -> None:
        self._parts = parts
        self._config = config = parts.config
        self._clock = parts.clock
        self._emit = parts.bus.emit
        persistent = _own_key(config.ssh_session.persistent_ssh_key_path)
        base_key = persistent or ClientKey.generate()
        self._sessions = Sessions(
            NodePool(base_key, parts.host_keys, clock=parts.clock, emit=parts.bus.emit),
            parts.signer.hotkey,
            clock=parts.clock,
            lifetime_s=config.ssh_session.max_session_duration,
            persistent=persistent,
        )
        self._book = Book(
            parts.store, parts.clock, parts.bus.emit, failed_full_resets=config.scoring.failed_full_resets
        )
        self.rentals = RentalRegistry(parts.store, parts.clock, parts.bus.emit)
        breath = Breath()
        checks = NodeChecks(
            full_settings(config),
            book=self._book,
            sessions=self._sessions,
            clock=parts.clock,
            emit=parts.bus.emit,
            breath=breath,
            full_at_once=config.verification.max_concurrent_full_validations,
        )
        self._rounds = Rounds(
            config,
            checks,
            self._sessions,
            store=parts.store,
            book=self._book,
            signer=parts.signer,
            metagraph=parts.metagraph,
            breath=breath,
            clock=parts.clock,
            emit=parts.bus.emit,
        )
        self._weights = WeightSetter(
            config,
            store=parts.store,
            chain=parts.chain,
            metagraph=parts.metagraph,
            hotkey=parts.signer.hotkey,
            clock=parts.clock,
            emit=parts.bus.emit,
        )
        self._again = asyncio.Event()
        self._force_full = False

    async def start(self) -> None:
        """Show what earlier runs found."""
        for last in await self._parts.store.verifications.latest():
            self._emit(VerificationRestored(**event_fields(last)))
        await self.rentals.start()
        await self._weights.restore()

    def add_services(self, supervisor: Supervisor) -> None:
        """Register the role's services."""
        supervisor.add("verification", self._keep_verifying)
        supervisor.add("weights", self._weights.keep_setting)
        supervisor.add("housekeeping", self._keep_house)

    def add_actions(self, actions: ActionTable) -> None:
        """Register what an operator may do."""
        actions.register(
            "verify.now",
            self._act_verify_now,
            help="start a verification round now; full=true verifies every node fully",
            danger=False,
        )
        self.rentals.add_actions(actions)
        actions.register("weights.set", self._act_set_weights, help="score and set weights now", danger=True)

    async def stop(self, supervisor: Supervisor) -> None:
        """End the rounds and close all connections."""
        await supervisor.end("verification", "weights", "housekeeping")
        await self.end_rounds()

    async def end_rounds(self) -> None:
        """End what rounds have started, all sessions and their keys."""
        await self._rounds.finish()
        await self._book.flush()
        await self._sessions.close()

    async def verify_all(self, *, force_full: bool = False) -> None:
        """One round, and everything that it started, to its end. Raises ChainUnavailable."""
        await self._rounds.run(patience_s=FOREVER_S, force_full=force_full)
        await self._rounds.wait_idle()

    @property
    def full_in_flight(self) -> int:
        """Full verifications that are queued or running."""
        return self._rounds.full_in_flight

    async def clean_up(self) -> None:
        """Take GPUs from nodes that fail, and forget those that failed too long."""
        store, now = self._parts.store, self._clock.now()
        nodes, claims = await store.validated.nodes(), await store.validated.claims()
        rented, _ = await store.rentals.standing()
        ttl_s = self._config.verification.gpu_assignment_cleanup_ttl
        plan = plan_clean_up(
            nodes,
            claims,
            now,
            twice_failed=twice_failed(await store.verifications.latest_checks(), now - FAILED_WINDOW_S),
            rented=rented,
            ttl_s=FOREVER_S if ttl_s is None else ttl_s,
            interval_s=self._config.verification.verification_interval,
        )
        if not plan:
            return
        await store.validated.clean_up(drop_claims=plan.drop_claims, offline=plan.offline, forget=plan.forget)
        self._emit(
            NodesCleanedUp(
                at=now,
                lost_gpus=tuple(place_id(*place) for place in plan.drop_claims),
                offline=tuple(place_id(*place) for place in plan.offline),
                forgotten=tuple(place_id(*place) for place in plan.forget),
            )
        )

    async def _keep_verifying(self) -> None:
        interval_s = self._config.verification.verification_interval
        while True:
            pause_s = interval_s
            force_full, self._force_full = self._force_full, False
            started = self._clock.monotonic()
            try:
                await self._rounds.run(patience_s=interval_s, force_full=force_full)
            except ChainUnavailable:
                self._force_full |= force_full  # asked for and not done: the next round does it
                pause_s = min(interval_s, CHAIN_RETRY_S)
            else:
                pause_s = max(0.0, interval_s - (self._clock.monotonic() - started))
            await sleep_or_wake(self._clock, pause_s, self._again)

    async def _keep_house(self) -> None:
        store = self._parts.store
        while True:
            now = self._clock.now()
            await self.clean_up()
            kept = self._config.cleanup
            if kept.enabled:
                oldest = now - kept.profile_retention_days * DAY_S
                light = kept.lightweight_retention_days
                await store.verifications.prune(
                    oldest, lightweight_before=None if light is None else now - light * DAY_S
                )
                await store.validated.prune(oldest)
                await store.rentals.prune(oldest)
                await store.weights.prune(now - kept.emission_retention_days * DAY_S)
            await self._clock.sleep(CLEANUP_INTERVAL_S)

    async def _act_verify_now(self, args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
        self._force_full = bool(args.get("full"))
        report("next round starts now" + (", every node fully" if self._force_full else ""))
        self._again.set()
        return {}

    async def _act_set_weights(self, args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
        block = await self._parts.chain.block_number()
        report(f"scoring at block {block}")
        scored = await self._weights.set_now(block)
        vector = [list(entry) for entry in scored.allocation.vector]
        return {"block": block, "weights": vector, "burn": scored.allocation.burn}


def full_settings(config: ValidatorConfig) -> FullSettings:
    """What a full verification asks for, by the configuration."""
    section = config.verification
    is_local = config.bittensor.network == "local"
    wanted = {
        "attestation": section.attestation.enabled,
        "compute": section.attestation.enabled
        and (not is_local if section.attestation.require_compute is None else section.attestation.require_compute),
        "docker": not is_local if section.gates.docker is None else section.gates.docker,
        "docker_gpu": not is_local if section.gates.docker is None else section.gates.docker,
        "nat": not is_local if section.gates.nat is None else section.gates.nat,
        "storage": section.gates.storage,
        "clock": section.gates.clock,
    }
    return FullSettings(
        docker_image=section.docker_validation.docker_image,
        docker_timeout_s=float(section.docker_validation.pull_timeout_secs),
        min_storage_bytes=section.storage_validation.min_required_storage_bytes,
        attestation=section.attestation.enabled,
        attestation_timeout_s=section.attestation.timeout,
        task=ProductTask(size=section.attestation.matrix_size),
        gates=frozenset({"host_key", "ssh_login", "gpu", *(name for name, is_on in wanted.items() if is_on)}),
        command_timeout_s=config.ssh_session.ssh_command_timeout,
        is_local=is_local,
        speed=speed_test(section.speed_test) if section.speed_test.enabled else None,
    )


def speed_test(section: SpeedTestConfig) -> SpeedTest:
    """The configured speed test."""
    return SpeedTest(
        section.download_url, section.upload_url, section.download_bytes, section.upload_bytes, section.timeout
    )


def _own_key(path: Path | None) -> ClientKey | None:
    """The configured key; without one every session has a fresh pair that lives in this process only."""
    return None if path is None else ClientKey.from_file(path)
