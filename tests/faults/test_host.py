"""The miner's own host: its clock jumps, it sleeps, it runs out of descriptors, it is told to stop, a port is taken."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.common import OPEN, await_view, discover, eventually, ready, served, sleep_past, try_discover
from tests.faults.conftest import Subnets
from tests.faults.observe import Baseline, await_event, events, grant_rows, open_rows, our_lines, violations_now
from tests.faults.places import Clockwork
from tests.support.miner_subnet import MinerSubnet, ssh_login
from tests.support.ports import free_port
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd
Nodes = Callable[..., NodeSshd]
ROOT = Path(__file__).parents[2]


def under_clock(subnet: MinerSubnet, clock: Clockwork) -> None:
    """Let the engine live by that clock."""

    def launch(config: Path, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "basilica_tui", "--daemon", "--config", str(config)],
                stdout=file, stderr=file, cwd=ROOT, env=os.environ | clock.environment,
            )  # fmt: skip

    subnet.launch = launch


@pytest.mark.fault(47)
@pytest.mark.parametrize("jump_s", [600, -600, 3600, -3600])
def test_the_miners_clock_jumps(
    sshd_nodes: Nodes, subnets: Subnets, clocks: Callable[[], Clockwork], jump_s: int
) -> None:
    """Minutes or an hour forward: access ends now. Back: the node still closes on time. No crash."""
    clock = clocks()
    node = sshd_nodes()
    subnet = subnets([node], access={"session_lifetime": 20, "reconcile_interval": 1}, validator_assignment=OPEN)
    under_clock(subnet, clock)
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    assert discover(subnet) == {node.port}
    ends = our_lines(node)[0].expires_at_unix

    clock.set(jump_s)

    if jump_s > 0:
        eventually(lambda: our_lines(node) == [], what="removed at once")
        assert await_event(subnet, "key.removed")["reason"] == "expired"
    time.sleep(max(0.0, ends + 1.5 - time.time()))
    assert ssh_login(node, subnet.validators[0].key_path).returncode == 255
    assert subnet._process is not None and subnet._process.poll() is None
    clock.set(0)
    eventually(lambda: our_lines(node) == [], what="removed when the clock is right")
    # Until it has been asked again, the node seems to be the one whose clock is off.
    eventually(lambda: served(subnet) == {node.port}, what="served when the clock is right")
    assert ssh_login(node, subnet.validators[0].key_path).returncode == 0
    assert events(subnet, "service.crashed") == []
    assert baseline.violations() == []


@pytest.mark.core
@pytest.mark.fault(47)
def test_the_miner_sleeps_over_an_end(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Frozen beyond the end of a grant, as when suspended: the node closes; awake, the line goes first."""
    node = sshd_nodes()
    subnet = subnets([node], access={"session_lifetime": 8, "reconcile_interval": 1}, validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    discover(subnet)
    os.kill(subnet.pid, signal.SIGSTOP)
    try:
        sleep_past(node)
        assert ssh_login(node, subnet.validators[0].key_path).returncode == 255
        assert len(our_lines(node)) == 1
    finally:
        os.kill(subnet.pid, signal.SIGCONT)

    eventually(lambda: our_lines(node) == [], what="removal after waking")
    await_event(subnet, "key.removed", reason="expired")
    await_view(subnet, node.port, lambda n: n.keys_in_place == 0)
    eventually(lambda: open_rows(subnet) == [], what="row closed")
    assert baseline.violations() == []


@pytest.mark.fault(47)
def test_told_to_stop_during_a_deployment(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """SIGTERM while keys are written: ends in time, rows before lines, and the next start completes."""
    nodes = [sshd_nodes() for _ in range(4)]
    subnet = subnets(nodes, validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    caller = threading.Thread(target=try_discover, args=(subnet,))
    caller.start()
    eventually(lambda: grant_rows(subnet) != [], what="rows")
    began = time.monotonic()

    assert subnet.stop() == 0

    assert time.monotonic() - began < 15
    caller.join()
    assert violations_now(baseline) == []
    rows = {row.id for row in open_rows(subnet)}
    subnet.start()
    eventually(
        lambda: {line.grant_id for node in nodes for line in our_lines(node)} == rows, what="what was begun is done"
    )
    assert events(subnet, "engine.stopping")
    assert baseline.violations() == []


@pytest.mark.fault(47, 28)
def test_descriptors_run_out(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """With no descriptor left nothing is granted wrongly and nothing dies; with some again it goes on by itself."""
    nodes = [sshd_nodes() for _ in range(2)]
    subnet = subnets(nodes, access={"reconcile_interval": 1}, validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    limits = resource.prlimit(subnet.pid, resource.RLIMIT_NOFILE)
    used = len(list(Path(f"/proc/{subnet.pid}/fd").iterdir()))
    resource.prlimit(subnet.pid, resource.RLIMIT_NOFILE, (used, limits[1]))
    try:
        time.sleep(4)
        assert violations_now(baseline) == []
    finally:
        resource.prlimit(subnet.pid, resource.RLIMIT_NOFILE, limits)
    assert subnet._process is not None and subnet._process.poll() is None, subnet.log()[-2000:]
    eventually(lambda: try_discover(subnet) is None, what="serves again")
    eventually(lambda: [len(our_lines(node)) for node in nodes] == [1, 1], what="keys on both")
    asyncio.run(subnet.snapshot())
    assert baseline.violations() == []


@pytest.mark.core
@pytest.mark.fault(48)
def test_a_scraper_that_does_not_read(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Fifty scrapers ask and never take their answer: validators are served, and an honest scraper too."""
    node = sshd_nodes()
    port = free_port()
    subnet = subnets(
        [node],
        metrics={"enabled": True, "prometheus": {"host": "127.0.0.1", "port": port}},
        validator_assignment=OPEN,
    )
    subnet.start()
    ready(subnet)
    lazy = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(50)]
    try:
        for one in lazy:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            one.sendall(b"GET /metrics HTTP/1.1\r\nHost: m\r\n\r\n" * 40)

        assert discover(subnet) == {node.port}

        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            assert b"basilica_miner_nodes_healthy 1.0" in answer.read()
        assert events(subnet, "service.crashed") == []
        resident = int(Path(f"/proc/{subnet.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert resident < 400 << 20
    finally:
        for one in lazy:
            one.close()


@pytest.mark.fault(48)
def test_the_metrics_port_is_taken(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Without its metrics and health ports the engine serves, says so, and takes them when they are free."""
    node = sshd_nodes()
    ports = [free_port(), free_port()]
    squatters = [socket.create_server(("127.0.0.1", port)) for port in ports]
    subnet = subnets(
        [node],
        metrics={"enabled": True, "prometheus": {"host": "127.0.0.1", "port": ports[0]}},
        health={"enabled": True, "host": "127.0.0.1", "port": ports[1]},
        validator_assignment=OPEN,
    )
    subnet.start()
    ready(subnet)

    assert discover(subnet) == {node.port}

    services = asyncio.run(subnet.snapshot()).views["services"]
    assert {name for name, view in services.items() if view.state == "restarting"} == {"metrics", "health"}  # type: ignore[union-attr]
    assert str(ports[0]) in str(await_event(subnet, "service.crashed", service="metrics")["error"])
    for squatter in squatters:
        squatter.close()
    asyncio.run(subnet.until(lambda s: all(view.state == "running" for view in s.views["services"].values())))  # type: ignore[union-attr]
    with urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/metrics", timeout=60) as answer:
        assert b"basilica" in answer.read()
    assert len(our_lines(node)) == 1
