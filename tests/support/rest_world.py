"""A validator's REST app over a real store with some miners and nodes, without a chain or a node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.clock import Clock, ManualClock
from engine.config.validator import ApiConfig, ValidatorConfig
from engine.control.actions import ActionTable
from engine.control.models import MinerView
from engine.control.state import LiveState
from engine.events import Event
from engine.rest.app import RestParts, rest_app
from engine.rest.keys import ApiKeys
from engine.store import Store, Verification, open_store
from engine.store.records import GpuClaim, ValidatedNode, VerificationStep
from engine.validator.rentals import RentalRegistry

NOW = 1_790_000_000.0
HOTKEYS = ("5MinerOne", "5MinerTwo", "5MinerThree")


@dataclass
class RestWorld:
    """The app and what is behind it."""

    app: Any
    keys: ApiKeys
    store: Store
    state: LiveState
    clock: ManualClock
    told: list[Event]
    config: ValidatorConfig
    actions: ActionTable


def node_of(hotkey: str, uid: int, number: int) -> ValidatedNode:
    return ValidatedNode(
        miner_hotkey=hotkey, node_id=f"{hotkey}-n{number}", miner_uid=uid, endpoint="192.0.2.1:22", status="online",
        created_at=NOW - 9e5, last_check_at=NOW - 30, last_ok_at=NOW - 30, last_full_at=NOW - 900, last_full_ok=True,
        full_ok_at=NOW - 900, run_since=NOW - 7 * 86400, full_run_since=NOW - 7 * 86400, gpu_model="NVIDIA H100",
        gpu_count=2, memory_mib=81559, compute_capability="9.0", cuda="12.8",
        facts='{"cpu": {"threads": 64, "model": "EPYC"}, "memory": {"MemTotal": 549755813888}}',
    )  # fmt: skip


@asynccontextmanager
async def rest_world(
    path: Path,
    api: ApiConfig,
    *,
    hotkeys: Sequence[str] = HOTKEYS,
    own: str = "5Validator",
    clock: Clock | None = None,
    url: str = "",
) -> AsyncIterator[RestWorld]:
    """Three miners by default, with one, two and three nodes of two GPUs each; ``url`` names an empty database."""
    manual = ManualClock(NOW)
    store = await open_store(url or f"sqlite:{path / 'v.db'}", clock=manual)
    state = LiveState()
    state.engine.hotkey = own
    try:
        for uid, hotkey in enumerate(hotkeys):
            state.miners[hotkey] = MinerView(
                id=hotkey, hotkey=hotkey, uid=uid, endpoint="192.0.2.1:8091", last_answer_at=NOW - 5, duration_ms=12.0
            )
            for number in range(uid + 1):
                await add_node(store, node_of(hotkey, uid, number))
        keys = ApiKeys(store.api_keys, clock or manual)
        config = ValidatorConfig.model_validate(
            {"database": {"url": "postgresql://v:hunter2@h/db"}, "api": {"api_key": "hunter2"}}
        ).model_copy(update={"api": api})
        told: list[Event] = []

        def emit(event: Event) -> None:
            told.append(event)
            state.apply(event)

        actions = ActionTable(emit, clock or manual)
        RentalRegistry(store, clock or manual, emit).add_actions(actions)
        app = rest_app(RestParts(config, store, state, clock or manual, keys, own, actions))
        yield RestWorld(app, keys, store, state, manual, told, config, actions)
    finally:
        await store.close()


async def add_node(store: Store, node: ValidatedNode) -> None:
    claims = [
        GpuClaim(f"GPU-{node.node_id}-{index}", node.miner_hotkey, node.node_id, index, node.gpu_model, 81559, NOW)
        for index in range(2)
    ]
    await store.validated.put(node, claims=claims)
    for number in range(4):
        check = f"{node.node_id}-v{number}"
        await store.verifications.add(
            Verification(
                id=check, miner_hotkey=node.miner_hotkey, miner_uid=node.miner_uid, node_id=node.node_id,
                endpoint=node.endpoint, tier="full" if number == 0 else "lightweight", ok=number != 1,
                at=NOW - 600 * (4 - number), duration_ms=5.0, error_code="" if number != 1 else "ssh_timeout",
                message="" if number != 1 else "no answer",
                steps=(VerificationStep("login", "ok", "in", 1.0),),
            )
        )  # fmt: skip
