"""A validator against our miner over the wire: rounds, claims, bans, clean-up, weights on a chain, and REST."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.chain import Chain, MetagraphCache, open_chain
from engine.clock import SystemClock
from engine.config.validator import (
    AttestationConfig,
    EmissionConfig,
    GpuAllocation,
    ValidatorBittensorConfig,
    ValidatorConfig,
    ValidatorDatabaseConfig,
    VerificationConfig,
)
from engine.control.actions import ActionTable
from engine.control.state import LiveState
from engine.errors import RentalInvalid
from engine.events import (
    Event,
    EventBus,
    LightweightMoved,
    NodeVerified,
    VerificationQueued,
    VerificationStepFinished,
    WeightsSet,
)
from engine.localnet.gpu_model import GpuModel
from engine.rest.app import RestParts, rest_app
from engine.rest.keys import ApiKeys
from engine.ssh.host_keys import HostKeys
from engine.store import Store, open_store
from engine.store.records import Misbehaviour
from engine.validator.explain import explain_set, read_set
from engine.validator.full import STEPS
from engine.validator.lightweight import LIGHT_STEPS
from engine.validator.role import ValidatorParts, ValidatorRole
from engine.validator.weights import WeightSetter
from tests.support.asking import OPEN, ask
from tests.support.gpu_tools import furnish, put_tool
from tests.support.miner_subnet import MinerSubnet
from tests.support.sshd import NodeSshd
from tests.support.subnets import Subnets

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(300)]
Nodes = Callable[..., NodeSshd]


@pytest.fixture
def subnets(subnets: Subnets) -> Subnets:
    """Makes subnets, and starts them."""

    def make(nodes: list[NodeSshd]) -> MinerSubnet:
        subnet = subnets(nodes)
        subnet.start()
        asyncio.run(subnet.until(lambda s: s.engine.assigned_hotkey != ""))
        return subnet

    return make


@dataclass
class Running:
    """A validator role in this process, over a real store and the embedded chain."""

    role: ValidatorRole
    store: Store
    chain: Chain
    state: LiveState
    config: ValidatorConfig
    metagraph: MetagraphCache
    events: list[Event] = field(default_factory=list)
    moves: list[str] = field(default_factory=list)
    """How lightweight checks went on."""

    def verified(self) -> list[tuple[str, bool, str]]:
        return [(e.tier, e.ok, e.error_code) for e in self.events if type(e) is NodeVerified]


@asynccontextmanager
async def validator(subnet: MinerSubnet, **sections: Any) -> AsyncIterator[Running]:
    """The first validator of the subnet."""
    clock, bus, state = SystemClock(), EventBus(), LiveState()
    wallet = subnet.validators[0].wallet
    config = ValidatorConfig(
        bittensor=ValidatorBittensorConfig(
            network="local", netuid=39, chain_endpoint=f"file:{subnet.root / 'chain.db'}", external_ip="127.0.0.1"
        ),
        database=ValidatorDatabaseConfig(url=sections.pop("url", f"sqlite:{subnet.root / 'v' / 'validator.db'}")),
        verification=VerificationConfig(attestation=AttestationConfig(matrix_size=1024)),
        emission=sections.pop("emission", EmissionConfig(gpu_allocations={"H100": GpuAllocation(weight=100.0)})),
        **sections,
    )
    store = await open_store(config.database.url, clock=clock)
    chain = open_chain(network="local", netuid=39, chain_endpoint=config.bittensor.chain_endpoint, wallet=wallet)

    async def load() -> object | None:
        return None

    async def save(_value: object) -> None:
        return None

    metagraph = MetagraphCache(
        chain, clock=clock, max_age_s=3600.0, emit=bus.emit, load=load, save=save, own_hotkey=wallet.signer.hotkey,
        netuid=39,
    )  # fmt: skip
    role = ValidatorRole(
        ValidatorParts(config, store, chain, wallet.signer, metagraph, clock, bus, HostKeys(subnet.root / "v" / "kh"))
    )
    running = Running(role, store, chain, state, config, metagraph)
    bus.subscribe(running.events.append)

    def fold(event: Event) -> None:
        state.apply(event)
        if isinstance(event, LightweightMoved):
            running.moves.append("waits" if event.waits else f"{event.step} {event.verdict}".strip() or "begins")

    bus.subscribe(fold, passing=True)
    try:
        yield running
    finally:
        await role.end_rounds()
        await metagraph.close()
        await chain.close()
        await store.close()


async def test_a_node_from_discovery_to_weights(sshd_nodes: Nodes, subnets: Subnets, database_url: str) -> None:
    """The first round is full, the second lightweight; the node earns a weight on the chain that can be explained."""
    node = sshd_nodes()
    gpu = furnish(node, GpuModel.for_node("rest", 0))
    subnet = await asyncio.to_thread(subnets, [node])
    subnet.admin.set_parameter(39, "weights_rate_limit", 0)
    emission = EmissionConfig(
        gpu_allocations={"H100": GpuAllocation(weight=100.0)}, burn_percentage=20.0, burn_uid=2, weight_version_key=7
    )
    async with validator(subnet, emission=emission, url=database_url) as running:
        await running.role.verify_all()
        await running.role.verify_all()
        assert running.verified() == [("full", True, ""), ("lightweight", True, "")]
        assert [e.reason for e in running.events if isinstance(e, VerificationQueued)] == ["the node is new"]
        assert [e.step for e in running.events if isinstance(e, VerificationStepFinished)] == list(STEPS)
        (row,) = await running.store.validated.nodes()
        assert (row.status, row.gpu_count, row.compute_capability, row.cuda) == ("online", 8, "9.0", "12.8")
        assert [claim.gpu_uuid for claim in await running.store.validated.claims()] == list(gpu.uuids)
        (view,) = running.state.verifications.values()
        assert (view.state, view.progress, len(view.steps), view.phase) == ("passed", 1.0, len(STEPS), "")
        await check_rest(running, gpu)
        await check_weights(running, subnet)
    shares = dict(next(iter(subnet.admin.weights(39).values())))
    total = sum(shares.values())
    assert {uid: round(value / total, 2) for uid, value in shares.items()} == {0: 0.8, 2: 0.2}


async def check_weights(running: Running, subnet: MinerSubnet) -> None:
    """The chain takes the vector, the store keeps it with its inputs, the explanation arrives at the same numbers."""
    setter = WeightSetter(
        running.config,
        store=running.store,
        chain=running.chain,
        metagraph=running.metagraph,
        hotkey=subnet.validators[0].hotkey,
        clock=SystemClock(),
        emit=running.events.append,
    )
    block = await running.chain.block_number()
    assert await setter.next_block(block) == block + 180
    await setter.set_now(block)
    (told,) = [e for e in running.events if isinstance(e, WeightsSet)]
    assert (told.uids, told.burn, told.version_key) == (2, 13107, 8)
    assert await setter.next_block(block) == block + 360
    found = explain_set(await read_set(running.config.database.url), 0)
    assert (found.weight, found.agrees) == (52428, True)
    assert any("ramp" in line for line in found.lines)
    assert (await read_set(running.config.database.url, at_block=block)).block == block


async def test_two_nodes_with_one_gpu_count_once(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The second node that shows a GPU fails; it gets the GPU when the first one is gone."""
    first, second = sshd_nodes(), sshd_nodes()
    gpu = furnish(first)
    furnish(second, gpu)
    subnet = await asyncio.to_thread(subnets, [first, second])
    async with validator(subnet) as running:
        await running.role.verify_all()
        assert sorted(running.verified()) == [("full", False, "gpu_claimed"), ("full", True, "")]
        (owner,) = await running.store.validated.claims()
        loser, winner = (second, first) if owner.node_id == await _id(running, first) else (first, second)
        put_tool(winner, "nvidia-smi", "#!/bin/sh\nexit 9\n")
        running.events.clear()
        await running.role.verify_all()
        await running.role.verify_all()
        (taken,) = await running.store.validated.claims()
        assert taken.node_id == await _id(running, loser)


async def _id(running: Running, node: NodeSshd) -> str:
    rows = await running.store.verifications.latest()
    return next(row.node_id for row in rows if row.endpoint.endswith(f":{node.port}"))


async def test_a_node_that_changes_fails_and_misbehaves(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Exchanged cards fail the light check, two failures in a row delete the row, three offences ban the node."""
    node = sshd_nodes()
    furnish(node)
    subnet = await asyncio.to_thread(subnets, [node])
    async with validator(subnet) as running:
        validated = running.store.validated
        await running.role.verify_all()
        furnish(node)  # other UUIDs
        assert running.moves == []
        await running.role.verify_all()
        assert running.moves == ["waits", "begins", "host_key ok", "ssh_login ok", "gpu failed"]
        (row,) = await validated.nodes()
        assert (row.status, row.run_since, await validated.claims()) == ("offline", None, [])
        await running.role.clean_up()
        assert [one.status for one in await validated.nodes()] == ["offline"]
        await running.role.verify_all()
        assert running.verified() == [("full", True, ""), ("lightweight", False, "probe_failed"), ("full", True, "")]

        put_tool(node, "nvidia-smi", "#!/bin/sh\nexit 9\n")
        await running.role.verify_all()
        await running.role.verify_all()
        await running.role.clean_up()
        assert await validated.nodes() == []

        now = SystemClock().now()
        for at in (now - 30, now - 20, now - 10):
            await validated.add_misbehaviour(Misbehaviour(row.miner_hotkey, row.node_id, at, "malicious_result"))
        steps = len([e for e in running.events if isinstance(e, VerificationStepFinished)])
        running.moves.clear()
        await running.role.verify_all()
        assert (running.verified()[-1], running.moves) == (("lightweight", False, "node_banned"), [])
        assert len([e for e in running.events if isinstance(e, VerificationStepFinished)]) == steps


async def test_a_rented_node_is_verified_lightly_only(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """From the word on it gets no full verification, not even an ordered one; after the rental that is the next."""
    node = sshd_nodes()
    furnish(node)
    subnet = await asyncio.to_thread(subnets, [node])
    async with validator(subnet) as running:
        rentals = running.role.rentals
        with pytest.raises(RentalInvalid, match="ever verified"):
            await rentals.begin({"node_id": "nobody"}, "test")
        await running.role.verify_all()
        node_id = await _id(running, node)
        rental = await rentals.begin({"node_id": node_id, "id": "r1"}, "test")
        for taken, word in (({"node_id": node_id}, "is rented: r1"), ({"node_id": node_id, "id": "r1"}, "r1 already")):
            with pytest.raises(RentalInvalid, match=word):
                await rentals.begin(taken, "test")
        (view,) = running.state.verifications.values()
        assert (rental["id"], view.rental_id, view.rented_since) == ("r1", "r1", rental["started_at"])
        running.events.clear()
        await running.role.verify_all(force_full=True)
        assert running.verified() == [("lightweight", True, "")]
        app = rest_app(RestParts(
            running.config.model_copy(update={"api": OPEN}), running.store, running.state, SystemClock(),
            ApiKeys(running.store.api_keys, SystemClock()), "5V", ActionTable(print, SystemClock()),
        ))  # fmt: skip
        assert (await ask(app, "/nodes?available=true"))[2]["total_count"] == 0
        assert (await ask(app, "/nodes"))[2]["available_nodes"][0]["node"]["rented"] is True
        (listed,) = (await ask(app, "/rentals?state=Active"))[2]["rentals"]
        assert (listed["rental_id"], listed["node_id"], listed["miner_id"]) == ("r1", node_id, "miner_0")
        assert (await ask(app, "/rentals/r1"))[2]["status"] == "active"
        assert (await ask(app, "/rentals?state=Stopped"))[2]["total_count"] == 0
        assert [(await ask(app, path))[0] for path in ("/rentals/r2", "/rentals/r1/logs")] == [404, 404]

        with pytest.raises(RentalInvalid, match="is rented: r1"):
            await rentals.begin({"place": view.id}, "test")
        with pytest.raises(RentalInvalid, match="could end"):
            await rentals.end({"place": f"5Other/{node_id}"})
        await rentals.end({"place": view.id, "reason": "over"})
        with pytest.raises(RentalInvalid, match="could end"):
            await rentals.end({"id": "r1"})
        assert view.rental_id == ""
        running.events.clear()
        await running.role.verify_all()
        assert [e.reason for e in running.events if isinstance(e, VerificationQueued)] == [
            "a rental ended since the last full verification"
        ]


async def check_rest(running: Running, gpu: GpuModel) -> None:
    """Every route answers from the store in the deployed field names; errors are problem documents."""
    app = rest_app(
        RestParts(
            running.config.model_copy(update={"api": OPEN}),
            running.store,
            running.state,
            SystemClock(),
            ApiKeys(running.store.api_keys, SystemClock()),
            "5V",
            ActionTable(print, SystemClock()),
        )
    )
    status, headers, miners = await ask(app, "/miners")
    assert (status, miners["total_count"], miners["page"], miners["page_size"]) == (200, 1, 1, 20)
    (miner,) = miners["miners"]
    assert (miner["miner_id"], miner["status"], miner["total_gpu_count"]) == ("miner_0", "Active", 8)
    assert (miner["verification_score"], miner["uptime_percentage"]) == (1.0, 100.0)
    assert (await ask(app, "/miners", if_none_match=headers["etag"]))[0] == 304
    for name in ("miner_0", "0", miner["hotkey"]):
        assert (await ask(app, f"/miners/{name}"))[2] == miner
    (row,) = (await ask(app, "/miners/miner_0/nodes"))[2]
    assert [spec["uuid"] for spec in row["gpu_specs"]] == list(gpu.uuids)
    assert (await ask(app, "/miners/miner_0/health"))[2]["node_health"][0]["status"] == "online"
    assert (await ask(app, "/nodes?gpu_type=h100&min_gpu_count=8&min_gpu_memory=70"))[2]["total_count"] == 1
    assert (await ask(app, "/nodes?min_gpu_count=9"))[2]["total_count"] == 0
    assert (await ask(app, "/gpu-profiles"))[2][0]["gpu_counts"] == {"H100": 8}
    assert (await ask(app, "/gpu-profiles/h100"))[2][0]["miner_uid"] == 0
    assert (await ask(app, "/gpu-categories"))[2] == ["H100"]
    for subject in ("miner_0", row["id"]):
        light, result = (await ask(app, f"/verification/results/{subject}"))[2]
        assert [step["step"] for step in result["steps"]] == list(STEPS)
        assert [(step["step"], step["verdict"]) for step in light["steps"]] == [(name, "ok") for name in LIGHT_STEPS]
        assert light["steps"][2]["evidence"].endswith("8 of 8 verified UUIDs seen")
    active = (await ask(app, "/verification/active"))[2]
    assert (active["in_progress"], active["recent_failures"], active["total_count"]) == ([], [], 0)
    assert (await ask(app, "/config/emission"))[2]["gpu_allocations"]["H100"]["weight"] == 100.0
    assert (await ask(app, "/miners?page_size=1&page=2"))[2]["miners"] == []
    assert (await ask(app, "/openapi.json"))[0] == 200
    for path, code in (("/miners/999", 404), ("/miners?page=0", 422), ("/nothing", 404), ("/config/none", 404),
                       ("/verification/results/none", 404), ("/miners?page_size=101", 422)):  # fmt: skip
        status, headers, body = await ask(app, path)
        assert (status, headers["content-type"], body["status"]) == (code, "application/problem+json", code)
