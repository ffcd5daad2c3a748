"""The fleet's questions to real sshd nodes, what it makes of the answers, and what a restart keeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.clock import ManualClock, SystemClock
from engine.control.models import gpus_of
from engine.control.state import LiveState
from engine.errors import BasilicaError, ProbeFailed
from engine.events import (
    Event,
    NodeChecked,
    NodeDrifted,
    NodeInspected,
    NodeStateChanged,
    NodeWarned,
    RampEstimated,
    RampReset,
    ServiceCrashed,
    ServiceStarted,
)
from engine.miner.fleet import Fleet, FleetNode
from engine.miner.fleet_book import FleetBook
from engine.miner.fleet_keeper import FleetKeeper
from engine.miner.fleet_schedule import Schedule
from engine.miner.ramp import RampRules
from engine.probes.gpu import Query, probe_gpu_table
from engine.probes.host import probe_host
from engine.ssh.pool import ConnectionInfo
from engine.ssh.target import NodeTarget
from engine.store import open_store
from tests.support.pools import Pools
from tests.support.ports import free_port
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd
ROW = (
    "0, GPU-11111111-aaaa-bbbb-cccc-000000000001, 143771, {driver}, 37, 41, 00000000:18:00.0, 9.0, 512, 120.5, 700.0, "
    "1980, 3201, {ecc}, NVIDIA H200"
)
SMI = """#!/bin/sh
case "$*" in
*ecc.errors*) {full} ;;
*--query-gpu=*) echo "0, GPU-11111111-aaaa-bbbb-cccc-000000000001, 143771, {driver}, 37, 41, NVIDIA H200" ;;
*) echo "| Driver Version: {driver}    CUDA Version: {cuda}  |" ;;
esac
"""
DOCKER = '#!/bin/sh\necho \'{"ServerVersion":"27.3.1","DockerRootDir":"/","Runtimes":{"nvidia":{"path":"n"}}}\'\n'


def install(node: NodeSshd, *, driver: str = "570.1", cuda: str = "12.8", full: str = "", ecc: str = "0") -> None:
    """Give the node an H200 and a Docker daemon."""
    full = full or f"echo '{ROW.format(driver=driver, ecc=ecc)}'"
    write(node, "nvidia-smi", SMI.format(driver=driver, cuda=cuda, full=full))
    write(node, "docker", DOCKER)


def write(node: NodeSshd, name: str, script: str) -> None:
    """Put a tool in front of the node's PATH."""
    (node.tools / name).write_text(script)
    (node.tools / name).chmod(0o755)


class Desk:
    """A fleet over real nodes, its events and its live state."""

    def __init__(self, pools: Pools, *targets: NodeTarget, schedule: Schedule | None = None, timeout_s: float = 5.0):
        self.events: list[Event] = []
        self.state = LiveState()
        clock = SystemClock()
        self.book = FleetBook(clock=clock, emit=self.emit, success_window_s=86400.0, rules=RampRules())
        self.fleet = Fleet(
            [FleetNode(target, target.node_id) for target in targets],
            pools.make(),
            self.book,
            clock=clock,
            emit=self.emit,
            schedule=schedule or Schedule(0.05),
            timeout_s=timeout_s,
        )

    def emit(self, event: Event) -> None:
        self.events.append(event)
        self.state.apply(event)

    def said(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    async def check(self, node_id: str, **how: bool) -> NodeChecked:
        return await self.fleet.check(self.fleet.nodes[node_id], **how)


async def test_one_command_tells_everything_about_each_gpu(sshd_node: NodeSshd, pools: Pools) -> None:
    """The full query over a real sshd, with nothing but words in the command."""
    pools.known_to(sshd_node)
    install(sshd_node, ecc="2")
    facts, query = await probe_gpu_table(pools.make(), sshd_node.target)

    assert query == Query("all", True)
    assert (facts.model, facts.compute_capability, facts.ecc_errors) == ("NVIDIA H200", "9.0", 2)
    assert facts.gpus[0].pci_id == "00000000:18:00.0" and facts.gpus[0].power_w == 120.5


@pytest.mark.parametrize(
    "full", ["echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2", "echo 'a, b, c'"]
)
async def test_an_old_driver_is_asked_for_less_and_remembered(sshd_node: NodeSshd, pools: Pools, full: str) -> None:
    """A driver that refuses a field still gives the basic facts, and is asked right away the next time."""
    pools.known_to(sshd_node)
    install(sshd_node, full=full)
    facts, query = await probe_gpu_table(pools.make(), sshd_node.target)

    assert query.detail == "basic"
    assert (facts.count, facts.compute_capability, facts.ecc_errors) == (1, "", None)


async def test_a_node_without_timeout_is_asked_without_it(sshd_node: NodeSshd, pools: Pools) -> None:
    """Where coreutils' timeout is missing the tool is called by itself."""
    pools.known_to(sshd_node)
    install(sshd_node)
    write(sshd_node, "timeout", "#!/bin/sh\nexit 127\n")
    facts, query = await probe_gpu_table(pools.make(), sshd_node.target)
    assert (facts.count, query) == (1, Query("all", False))


async def test_a_dead_driver_fails_with_its_own_words(sshd_node: NodeSshd, pools: Pools) -> None:
    """A failing tool is asked once, and what it said is in the message."""
    pools.known_to(sshd_node)
    write(sshd_node, "nvidia-smi", "#!/bin/sh\necho x >> $HOME/calls\necho 'driver not loaded' >&2\nexit 9\n")
    with pytest.raises(ProbeFailed, match="driver not loaded"):
        await probe_gpu_table(pools.make(), sshd_node.target)
    assert sshd_node.inside(sshd_node.home / "calls").read_text() == "x\n"


async def test_a_node_tells_about_docker_disk_clock_and_sshd(sshd_node: NodeSshd, pools: Pools) -> None:
    """The script runs in a real shell behind a real sshd."""
    pools.known_to(sshd_node)
    install(sshd_node)
    host = await probe_host(pools.make(), sshd_node.target)

    assert (host.docker_ok, host.docker_version, host.nvidia_runtime_ok, host.cuda) == (True, "27.3.1", True, "12.8")
    assert host.disk_path == "/" and host.disk_total_bytes and host.disk_free_bytes
    assert host.clock_skew_s is not None and abs(host.clock_skew_s) < 5


@pytest.mark.parametrize(
    ("docker", "error"),
    [("#!/bin/sh\nsleep 60\n", "no answer within 5 s"), ("#!/bin/sh\nyes '{' | head -c 3000000\nexit 3\n", "status 3")],
)
async def test_a_hanging_or_flooding_docker_costs_only_its_own_facts(
    sshd_node: NodeSshd, pools: Pools, docker: str, error: str
) -> None:
    """Each tool has a limit of time and of output; the other facts come anyway."""
    pools.known_to(sshd_node)
    install(sshd_node)
    write(sshd_node, "docker", docker)
    host = await probe_host(pools.make(), sshd_node.target)
    assert host.docker_ok is False and error in host.docker_error
    assert host.cuda == "12.8" and host.disk_total_bytes is not None


async def test_a_check_fills_the_view(sshd_node: NodeSshd, pools: Pools) -> None:
    """What a console sees of a node after its first check."""
    pools.known_to(sshd_node)
    install(sshd_node, ecc="1")
    desk = Desk(pools, sshd_node.target)
    node_id = sshd_node.target.node_id
    checked = await desk.check(node_id)
    view = desk.state.nodes[node_id]

    assert checked.ok and view.state == "healthy"
    assert (view.cuda, view.compute_capability, view.ecc_errors) == ("12.8", "9.0", 1)
    assert (view.docker_ok, view.nvidia_runtime_ok, view.ssh_success_percent) == (True, True, 100.0)
    assert view.disk_total_bytes is not None and view.next_check_at is not None
    assert [gpu.power_limit_w for gpu in gpus_of(view)] == [700.0]
    assert "1 uncorrected ECC errors (GPU 0)" in view.warnings


async def test_the_rest_is_not_asked_for_at_every_check(sshd_node: NodeSshd, pools: Pools) -> None:
    """Ten more checks ask about Docker and disk once or, with the spread, twice; an operator's check asks at once."""
    pools.known_to(sshd_node)
    install(sshd_node)
    desk = Desk(pools, sshd_node.target)
    node_id = sshd_node.target.node_id
    await desk.check(node_id)
    for _ in range(10):
        await desk.check(node_id)
    before = len(desk.said(NodeInspected))
    await desk.check(node_id, with_host=True)

    assert before in {2, 3}
    assert len(desk.said(NodeInspected)) == before + 1
    assert len(desk.said(NodeWarned)) <= 1


async def test_a_new_driver_is_drift_with_its_cuda_version_at_once(sshd_node: NodeSshd, pools: Pools) -> None:
    """Driver and CUDA are compared with the last good check; each change is said once."""
    pools.known_to(sshd_node)
    install(sshd_node)
    desk = Desk(pools, sshd_node.target)
    node_id = sshd_node.target.node_id
    await desk.check(node_id)
    install(sshd_node, driver="580.2", cuda="13.0")
    await desk.check(node_id)
    await desk.check(node_id)

    drifts = [(d.what, d.before, d.after) for d in desk.said(NodeDrifted) if isinstance(d, NodeDrifted)]
    assert drifts == [("driver", "570.1", "580.2"), ("cuda", "12.8", "13.0")]
    assert desk.state.nodes[node_id].last_drift == "cuda: 12.8 became 13.0"


async def test_a_node_that_fails_without_gpus_is_reached_all_the_same(sshd_node: NodeSshd, pools: Pools) -> None:
    """The SSH success rate counts logins, not GPUs."""
    pools.known_to(sshd_node)
    write(sshd_node, "nvidia-smi", "#!/bin/sh\nexit 9\n")
    desk = Desk(pools, sshd_node.target)
    checked = await desk.check(sshd_node.target.node_id)
    assert (checked.ok, checked.error_code, checked.ssh_success_percent) == (False, "probe_failed", 100.0)


async def test_nodes_that_do_not_answer_delay_nobody(sshd_node: NodeSshd, pools: Pools) -> None:
    """Seventy silent hosts, more than there are slots, are asked first; the node behind them is checked before they
    are given up."""
    pools.known_to(sshd_node)
    install(sshd_node)
    servers = [await asyncio.start_server(lambda r, w: asyncio.sleep(60), "127.0.0.1", 0) for _ in range(70)]
    dead = [NodeTarget(f"dead-{n}", "127.0.0.1", s.sockets[0].getsockname()[1], "x") for n, s in enumerate(servers)]
    desk = Desk(pools, *dead, sshd_node.target)
    await desk.check(sshd_node.target.node_id)
    sweeping = asyncio.create_task(desk.fleet.sweep())
    while len(desk.said(NodeChecked)) < 2:
        await asyncio.sleep(0.02)
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    for server in servers:
        server.close()

    assert [event.node_id for event in desk.events if isinstance(event, NodeChecked)] == [sshd_node.target.node_id] * 2


async def test_without_automatic_recovery_a_dead_node_is_left_alone(pools: Pools) -> None:
    """After the allowed attempts the engine waits to be asked, and says so."""
    target = NodeTarget("dead", "127.0.0.1", free_port(), "x")
    desk = Desk(pools, target, schedule=Schedule(0.01, max_retry_attempts=2, auto_recovery=False))
    running = asyncio.create_task(desk.fleet.run())
    while len(desk.said(NodeChecked)) < 3:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    checks = [event for event in desk.events if isinstance(event, NodeChecked)]
    desk.fleet.check_soon("dead")
    while len(desk.said(NodeChecked)) < 4:
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert len(checks) == 3
    assert checks[-1].next_check_at is None and "automatic recovery is off" in checks[-1].hint
    assert [e.new for e in desk.events if isinstance(e, NodeStateChanged)] == ["suspect", "unhealthy"]


@pytest.mark.parametrize("fails", ["asking", "noting"])
async def test_a_fault_that_nobody_foresaw_at_one_node_is_told_and_the_others_are_watched_on(
    pools: Pools, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """An error at one node is told at each of its checks; no other node's watch begins anew, and this one's goes on."""
    odd, other = (NodeTarget(name, "127.0.0.1", free_port(), "x") for name in ("odd", "other"))
    desk = Desk(pools, odd, other, schedule=Schedule(0.05))
    connect, learn = desk.fleet._pool.connect, desk.book.learn_outcome

    async def connect_oddly(target: NodeTarget) -> ConnectionInfo:
        if target == odd:
            raise ValueError("x" * 1000)
        return await connect(target)

    def learn_oddly(node_id: str, error: BasilicaError | None, latency_ms: float) -> None:
        if node_id == "odd":
            raise ValueError("x" * 1000)
        learn(node_id, error, latency_ms)

    if fails == "asking":
        monkeypatch.setattr(desk.fleet._pool, "connect", connect_oddly)
    else:
        monkeypatch.setattr(desk.book, "learn_outcome", learn_oddly)

    def told() -> list[str]:
        if fails == "noting":
            return [e.error for e in desk.events if isinstance(e, ServiceCrashed)]
        return [e.message for e in desk.events if isinstance(e, NodeChecked) and e.node_id == "odd" and not e.ok]

    def checks_of_other() -> int:
        return sum(isinstance(e, NodeChecked) and e.node_id == "other" for e in desk.events)

    running = asyncio.create_task(desk.fleet.run())
    async with asyncio.timeout(60):
        while len(told()) < 3 or checks_of_other() < 3:
            assert not running.done()
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert all("ValueError: xxx" in text and len(text) < 300 for text in told())
    assert len(desk.said(ServiceStarted)) == len(desk.said(ServiceCrashed))


# --- memory ---------------------------------------------------------------------------------------------------


def visit(keeper: FleetKeeper, book: FleetBook, node_id: str, hotkey: str = "V") -> None:
    """A discovery whose key went onto the node."""
    book.visit_begins(node_id, hotkey)
    book.key_in_place(node_id, hotkey)
    book.visit_ends(hotkey)


async def test_ramp_and_window_survive_a_restart(tmp_path: Path) -> None:
    """A second engine over the same database goes on with the first one's counts."""
    clock = ManualClock()
    events: list[Event] = []

    def make() -> FleetBook:
        book = FleetBook(clock=clock, emit=events.append, success_window_s=86400.0, rules=RampRules())
        book.add("n", 8)
        return book

    store = await open_store(f"sqlite:{tmp_path / 'm.db'}", clock=clock)
    try:
        first = make()
        keeper = FleetKeeper(first, store.node_health, clock=clock)
        first.learn_outcome("n", None, 5.0)
        visit(keeper, first, "n")
        assert first.is_urgent
        await keeper.store()
        await clock.advance(86400.0)
        second = make()
        await FleetKeeper(second, store.node_health, clock=clock).restore()
        second.report()
    finally:
        await store.close()
    said = [event for event in events if isinstance(event, RampEstimated)][-1]

    assert (said.minutes, said.percent, said.validator_hotkey) == (1440, 7.14, "V")
    assert json.dumps(second["n"].to_json()) == json.dumps(first["n"].to_json())


def test_a_node_that_comes_back_keeps_its_ramp() -> None:
    """Validators know a node by its id: removing it from the file and adding it again resets nothing here."""
    clock = ManualClock()
    book = FleetBook(clock=clock, emit=lambda event: None, success_window_s=86400.0, rules=RampRules())
    book.add("n", None)
    book.visit_begins("n", "V")
    book.key_in_place("n", "V")
    ramp = book["n"].ramp
    book.remove("n")
    book.add("n", None)
    assert book["n"].ramp == ramp and ramp.runs[0].since == clock.now()


@pytest.mark.parametrize(
    ("steps", "resets"),
    [
        (("begin", "place", "end", "begin", "place", "end"), 0),
        # nothing had to be changed for the renewal: the key is still in place
        (("begin", "place", "end", "begin", "end"), 0),
        (("begin", "place", "end", "begin", "fail", "end"), 1),
        (("begin", "place", "end", "gone", "begin", "end"), 1),
        (("begin", "fail", "end"), 0),
    ],
)
def test_a_visit_is_what_became_of_its_key(steps: tuple[str, ...], resets: int) -> None:
    """A renewal is a visit, a key that could not be placed is one that failed."""
    events: list[Event] = []
    book = FleetBook(clock=ManualClock(), emit=events.append, success_window_s=86400.0, rules=RampRules())
    book.add("n", None)
    play: dict[str, Callable[[], None]] = {
        "begin": lambda: book.visit_begins("n", "V"),
        "place": lambda: book.key_in_place("n", "V"),
        "fail": lambda: book.key_failed("n", "read-only file system"),
        "gone": lambda: book.key_gone("n", "V"),
        "end": lambda: book.visit_ends("V"),
    }
    for step in steps:
        play[step]()
    assert len([event for event in events if isinstance(event, RampReset)]) == resets
