"""The service manager's protocol: a real datagram socket, the real engine, and what each side hears."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.control.state import LiveState
from engine.events import EngineStarted
from engine.observe.service_manager import NotifySocket, ServiceManager, status_line, watchdog_interval_s
from tests.support.miner_subnet import MinerSubnet, create_subnet
from tests.support.sshd import NodeSshd


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd is to a service: a bound datagram socket."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("notify")
        listener.settimeout(60)
        yield listener


def heard(listener: socket.socket) -> dict[str, str]:
    pairs = (line.partition("=") for line in listener.recv(4096).decode().splitlines())
    return {key: value for key, _, value in pairs}


def until(listener: socket.socket, key: str) -> dict[str, str]:
    """The next message with that key."""
    for _ in range(200):
        message = heard(listener)
        if key in message:
            return message
    raise AssertionError(f"200 messages without {key}")


def test_nobody_listening_costs_nothing(tmp_path: Path) -> None:
    """Without NOTIFY_SOCKET, or with one that is gone, sending is refused in silence."""
    assert not NotifySocket("").send(READY="1")
    assert not NotifySocket(str(tmp_path / "gone")).send(READY="1")


def test_abstract_addresses_work() -> None:
    """systemd may use a name instead of a path."""
    name = f"basilica-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.settimeout(60)
        assert NotifySocket("@" + name).send(READY="1", STATUS="x y")
        assert heard(listener) == {"READY": "1", "STATUS": "x y"}


def test_a_full_socket_does_not_block(manager: socket.socket) -> None:
    """A manager that reads nothing makes send return False and never waits."""
    sender = NotifySocket("notify")
    assert not all(sender.send(STATUS="x") for _ in range(5000))


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "nonsense"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time(environment: dict[str, str], interval: float | None) -> None:
    """Half of what is allowed, and only when this process is meant."""
    assert watchdog_interval_s(environment, 7) == interval


def test_the_status_says_what_matters() -> None:
    """Role, network, nodes, access and chain in one line."""
    state = LiveState()
    state.apply(EngineStarted(at=1.0, role="miner", name="m", build="1", hotkey="5", network="finney", netuid=39))
    assert status_line(state) == "miner on finney/39: 0 of 0 nodes healthy, 0 validators with access, no block"
    ServiceManager(state, {}).reloading()


@pytest.fixture
def engine(
    manager: socket.socket,
    sshd_nodes: Callable[..., NodeSshd],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[MinerSubnet, subprocess.Popen[bytes]]]:
    """The real engine with a node, started as systemd would: it says itself when it serves."""
    subnet = create_subnet(tmp_path_factory.mktemp("s"), [sshd_nodes()])
    environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
    with (subnet.root / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "basilica_tui", "--daemon", "--config", str(subnet.config_path)],
            stdout=log,
            stderr=log,
            env=environment,
        )
    yield subnet, process
    process.kill()
    process.wait()


@pytest.mark.sshd
def test_the_engine_keeps_its_manager_informed(
    manager: socket.socket, engine: tuple[MinerSubnet, subprocess.Popen[bytes]]
) -> None:
    """Ready when it serves, alive while its loop turns and silent when it stands, reloading and ready, stopping."""
    subnet, process = engine
    manager.settimeout(100)
    assert until(manager, "READY")["STATUS"].startswith("miner on local/39")
    with socket.create_connection(("127.0.0.1", subnet.grpc_port), timeout=60):
        pass  # READY means that the door is open
    assert until(manager, "WATCHDOG") == {"WATCHDOG": "1"}

    process.send_signal(signal.SIGHUP)
    assert until(manager, "RELOADING")["MONOTONIC_USEC"].isdigit()
    until(manager, "READY")

    process.send_signal(signal.SIGSTOP)  # as a loop that stands still
    manager.settimeout(2.5)
    with pytest.raises(TimeoutError):
        for _ in range(20):
            heard(manager)  # what was on its way
    process.send_signal(signal.SIGCONT)

    manager.settimeout(60)
    until(manager, "WATCHDOG")
    process.terminate()
    assert until(manager, "STOPPING")["STATUS"] == "stopping: SIGTERM"
    assert process.wait(60) == 0
