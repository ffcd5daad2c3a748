"""The control socket: stale, planted, stolen, flooded and misused. The engine stays, and so does its size."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomli_w

from tests.faults.common import OPEN, discover, ready
from tests.faults.conftest import Subnets
from tests.faults.observe import Baseline, grant_rows, integrity, our_lines
from tests.faults.places import need_root
from tests.support.miner_subnet import MinerSubnet
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd
Nodes = Callable[..., NodeSshd]


@dataclass(frozen=True)
class Attempt:
    """An engine that ended: its exit status and what it wrote."""

    returncode: int
    stderr: str


def second_engine(subnet: MinerSubnet, **sections: Mapping[str, object]) -> Attempt:
    """Another engine by mistake, with these changes to the configuration."""
    document = tomllib.loads(subnet.config_path.read_text())
    for name, values in sections.items():
        document.setdefault(name, {}).update(values)
    other, log = subnet.root / "second.toml", subnet.root / "second.log"
    other.write_text(tomli_w.dumps(document))
    log.unlink(missing_ok=True)
    assert subnet.launch is not None
    child = subnet.launch(other, log)
    try:
        status = child.wait(100)
    finally:
        child.kill()
    return Attempt(status, log.read_text(errors="replace"))


@pytest.mark.core
@pytest.mark.fault(11, 42)
def test_two_engines_by_mistake(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Same everything, same socket only, same database only, same port only: the second refuses, the first goes on."""
    node = sshd_nodes()
    subnet = subnets([node], validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    discover(subnet)
    lines = node.keys()
    inode = subnet.socket.stat().st_ino
    own = {"database": {"url": f"sqlite:{subnet.root / 'other' / 'miner.db'}"}}
    place = {"engine": {"socket": str(subnet.root / "t" / "engine.sock")}}

    attempts = [second_engine(subnet), second_engine(subnet, **own), second_engine(subnet, **place)]
    attempts.append(second_engine(subnet, **own, **place))

    assert [one.returncode for one in attempts] == [1] * 4, [one.stderr[-500:] for one in attempts]
    assert ["already" in one.stderr for one in attempts[:3]] == [True] * 3
    assert str(subnet.grpc_port) in attempts[3].stderr
    assert not any("Traceback" in one.stderr for one in attempts)
    assert subnet.socket.stat().st_ino == inode
    assert node.keys() == lines
    assert discover(subnet) == {node.port}
    assert len(grant_rows(subnet)) == 1
    assert integrity(subnet) == []
    assert baseline.violations() == []


@pytest.mark.core
@pytest.mark.fault(42)
def test_things_in_the_sockets_place(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A stale socket is replaced; a planted file, link or open directory is refused and left as it is."""
    subnet = subnets([sshd_nodes()])
    subnet.start()
    subnet.kill()
    assert subnet.socket.is_socket()
    subnet.start()
    assert subnet.stop() == 0
    treasure = subnet.root / "treasure"
    treasure.write_text("precious")

    def refused(**sections: Mapping[str, object]) -> str:
        attempt = second_engine(subnet, **sections)
        assert attempt.returncode == 1, attempt.stderr
        assert "Traceback" not in attempt.stderr
        return attempt.stderr

    subnet.socket.write_text("a file")
    assert "not a socket" in refused()
    assert subnet.socket.read_text() == "a file"
    subnet.socket.unlink()
    subnet.socket.symlink_to(treasure)
    assert "not a socket" in refused()
    assert subnet.socket.is_symlink() and treasure.read_text() == "precious"
    subnet.socket.unlink()
    lock = subnet.socket.parent / "engine.lock"
    lock.unlink()
    lock.symlink_to(treasure)
    refused()
    assert treasure.read_text() == "precious"
    lock.unlink()
    subnet.socket.parent.chmod(0o777)
    assert "mode" in refused()
    subnet.socket.parent.chmod(0o700)
    assert "limit" in refused(engine={"socket": str(subnet.root / ("x" * 110))})
    subnet.start()


@pytest.mark.core
@pytest.mark.fault(43)
def test_bad_company_on_the_socket(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Garbage, absurd lengths, 2 MB, slow readers, 100 clients: cut or refused; an honest console gets in."""
    subnet = subnets([sshd_nodes()], validator_assignment=OPEN)
    subnet.start()
    ready(subnet)
    before = _rss_kib(subnet.pid)
    hello = _frame({"t": "hello", "proto": [1, 1], "build": "x", "role": "read-only", "instance": ""})
    watch = _frame({"t": "req", "id": 1, "verb": "watch", "args": {}})
    first = [
        b"\xff" * 4096, (0xFFFFFFFF).to_bytes(4, "big") + b"x" * 1000, (2 << 20).to_bytes(4, "big") + b" " * (2 << 20),
        _frame({"t": "hello", "proto": [9, 9], "build": "x", "role": "operator", "instance": ""}),
        (4).to_bytes(4, "big") + b"null", b"GET / HTTP/1.1\r\n\r\n",
    ]  # fmt: skip
    clients = []
    for number in range(100):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(2)
        with contextlib.suppress(OSError):
            client.connect(str(subnet.socket))
            client.sendall(first[number % len(first)] if number < 60 else hello + watch * 50)
        clients.append(client)
    try:
        time.sleep(1)
        for client in clients[:60]:
            client.close()
        answered = 0
        for _ in range(200):  # the slow readers hold all places until they are cut
            with contextlib.suppress(Exception):
                asyncio.run(subnet.snapshot())
                answered += 1
                break
            time.sleep(0.5)
        assert answered == 1
    finally:
        for client in clients:
            client.close()
    assert discover(subnet) == {subnet.nodes[0].port}
    asyncio.run(subnet.snapshot())
    assert len(our_lines(subnet.nodes[0])) == 1
    assert _rss_kib(subnet.pid) - before < 40_000
    assert "Traceback" not in subnet.log()


@pytest.mark.fault(43)
def test_another_user(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Another account cannot connect, not even where somebody opened the directory afterwards."""
    need_root("becoming another user")
    subnet = subnets([sshd_nodes()], validator_assignment=OPEN)
    subnet.start()
    ready(subnet)
    script = (
        "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.settimeout(3)\n"
        "try:\n s.connect(sys.argv[1])\n d=s.recv(4096)\n print('cut' if not d else d.decode(errors='replace')[4:])\n"
        "except OSError as e:\n print('denied', e.strerror)\n"
    )

    def as_nobody() -> str:
        command = [
            "setpriv",
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "/usr/bin/env",
            "python3",
            "-c",
            script,
        ]
        return subprocess.run(
            [*command, str(subnet.socket)], capture_output=True, text=True, timeout=60, check=False
        ).stdout.strip()

    assert as_nobody().startswith("denied")
    for place in (subnet.socket, *subnet.socket.parents):
        if place.stat().st_uid == 0 and place != Path("/") and place != Path("/tmp"):
            place.chmod(0o777)
    said = as_nobody()
    assert said.startswith(("denied", "cut")) or '"t":"error"' in said, said
    assert '"t":"hello"' not in said


def _frame(value: dict[str, object]) -> bytes:
    body = json.dumps(value).encode()
    return len(body).to_bytes(4, "big") + body


def _rss_kib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
