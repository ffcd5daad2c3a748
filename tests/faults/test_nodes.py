"""Nodes that fail: full disks, dead links, changed host keys, wrong clocks, dropped logins, hostile servers."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.identity.node_ids import node_id_for
from engine.ssh.keys import ClientKey
from tests.faults import hostile
from tests.faults.common import (
    OPEN,
    await_view,
    discover,
    end_session,
    eventually,
    ready,
    seen,
    sleep_past,
    try_discover,
)
from tests.faults.conftest import Subnets
from tests.faults.observe import Baseline, await_event, database, events, grant_rows, open_rows, our_lines
from tests.faults.places import Clockwork, fill, link, need_root
from tests.support.miner_subnet import ssh_command, ssh_login
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd
Nodes = Callable[..., NodeSshd]


@pytest.fixture
def closing() -> Iterator[Callable[[object], None]]:
    """Closes traps and proxies after the test."""
    things: list[object] = []
    yield things.append
    for thing in things:
        thing.close()  # type: ignore[attr-defined]


def entry(node: NodeSshd, port: int | None = None) -> dict[str, object]:
    return {"host": node.host, "port": port or node.port, "username": node.username}


@pytest.mark.fault(4)
def test_the_database_is_lost(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Lines of a lost database are shown as orphans and removed after their end; nothing else is touched."""
    node = sshd_nodes()
    subnet = subnets([node], access={"session_lifetime": 40, "reconcile_interval": 0.5}, validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    discover(subnet)
    subnet.kill()
    for file in database(subnet).parent.glob("miner*.db*"):
        file.unlink()

    subnet.start()

    await_view(subnet, node.port, lambda n: n.orphans == 1)
    assert len(our_lines(node)) == 1
    assert grant_rows(subnet) == []
    await_view(subnet, node.port, lambda n: n.orphans == 0)
    assert our_lines(node) == []
    assert ssh_login(node, subnet.validators[0].key_path).returncode == 255
    assert await_event(subnet, "key.foreign_seen", orphans=1)
    assert baseline.violations() == []


@pytest.mark.fault(5, 20)
def test_a_link_is_dead_when_a_grant_ends(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The node closes by itself; the row waits, the operator sees why, and the line goes when the link is back."""
    with link() as cable:
        far, near = sshd_nodes(host=cable.host, launcher=cable.words), sshd_nodes()
        subnet = subnets([far, near], access={"session_lifetime": 20, "reconcile_interval": 1, "node_deadline": 15})
        baseline = Baseline(subnet)
        subnet.start()
        ready(subnet)
        assert discover(subnet) == {far.port, near.port}

        cable.down()

        await_event(subnet, "key.removed")
        assert our_lines(near) == []
        await_view(subnet, far.port, lambda n: n.key_error != "")
        # A visit that began before the end may still hang on the link; the next one finds that the grant is over.
        eventually(lambda: [row.end_reason for row in open_rows(subnet)] == ["expired"], what="the row is over")
        assert len(our_lines(far)) == 1
        cable.up()
        assert ssh_login(far, subnet.validators[0].key_path).returncode == 255
        eventually(lambda: our_lines(far) == [], what="removal after the link is back")
        eventually(lambda: open_rows(subnet) == [], what="row closed")
        assert await_event(subnet, "key.failed")["error_code"] in {
            "ssh_timeout",
            "ssh_command_timeout",
            "ssh_channel_timeout",
        }
        assert await_view(subnet, far.port, lambda n: n.key_error == "")
        assert baseline.violations() == []


@pytest.mark.fault(6)
@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_session_outlives_its_grant(sshd_nodes: Nodes, subnets: Subnets, how: str) -> None:
    """A command that is still running when its grant ends is ended on the node, and what was done is on record."""
    node = sshd_nodes()
    subnet = subnets(
        [node],
        access={
            "session_lifetime": 3600 if how == "revoked" else 15, "reconcile_interval": 1, "session_wrapper": "all",
        },
        validator_assignment=OPEN,
    )  # fmt: skip
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    assert discover(subnet) == {node.port}
    (line,) = our_lines(node)
    command = ssh_command(node, subnet.validators[0].key_path, "echo on; exec sleep 777")
    guest = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert guest.stdout is not None and guest.stdout.readline() == b"on\n"

    if how == "revoked":
        assert end_session(subnet) == {"ended": 1, "keys_left": 0}

    assert guest.wait(120) != 0
    guest.stdout.close()
    eventually(lambda: "sleep 777" not in commands_on(node), what="the command is gone")
    eventually(lambda: our_lines(node) == [], what="the line is gone")
    eventually(lambda: open_rows(subnet) == [], what="row closed")
    await_event(subnet, "key.removed", grant_id=line.grant_id)
    if how == "revoked":  # at an expiry the forced command may have been first: nothing was left to end
        assert await_event(subnet, "session.processes_ended", grant_id=line.grant_id)["left"] == 0
        await_view(subnet, node.port, lambda n: n.processes_ended > 0)
    await_view(subnet, node.port, lambda n: n.keys_in_place == 0 and n.live_sessions == 0)
    assert baseline.violations() == []


@pytest.mark.fault(7)
def test_a_nodes_disk_is_full(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Neither a grant nor a removal truncates anything; both are done when there is room again."""
    need_root("a file system of its own")
    node = sshd_nodes(ssh_dir_kib=64)
    subnet = subnets([node], access={"reconcile_interval": 1}, validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    discover(subnet)
    before = node.keys()
    stuffing = fill(node.inside(node.home / ".ssh"))

    assert end_session(subnet) == {"ended": 1, "keys_left": 1}

    assert node.keys() == before
    assert await_event(subnet, "key.failed")["error_code"] == "no_space"
    assert "no space" in await_view(subnet, node.port, lambda n: n.key_error != "").key_error.lower()
    (row,) = open_rows(subnet)
    assert (row.end_reason, row.removed_at) == ("ended by the operator", None)
    stuffing.unlink()
    eventually(lambda: our_lines(node) == [], what="removal when there is room")
    eventually(lambda: open_rows(subnet) == [], what="row closed")
    await_event(subnet, "key.removed")
    assert baseline.violations() == []


@pytest.mark.core
@pytest.mark.fault(8)
def test_key_files_that_must_not_be_touched(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A directory, a FIFO, a dangling link and a huge file are refused by name; the sound node is served."""
    nodes = [sshd_nodes() for _ in range(4)]
    subnet = subnets(nodes, access={"reconcile_interval": 1}, validator_assignment=OPEN)
    subnet.start()
    ready(subnet)
    subnet.settle()  # enrolment adds and removes lines of its own
    directory, pipe, huge, sound = nodes
    paths = [node.inside(node.authorized_keys) for node in nodes]
    content = paths[2].read_bytes()
    paths[0].unlink()
    paths[0].mkdir()
    paths[1].unlink()
    os.mkfifo(paths[1], 0o600)
    with paths[2].open("ab") as file:
        file.write(b"# filler\n" * 120_000)
    for node in nodes:
        node.own(node.inside(node.authorized_keys))

    assert discover(subnet) == {sound.port}

    for node, reason in ((directory, "not_regular"), (pipe, "not_regular"), (huge, "too_large")):
        assert await_event(subnet, "key.failed", node_id=_id_of(node), error_code=reason)
    assert paths[0].is_dir() and list(paths[0].iterdir()) == []
    assert paths[1].is_fifo()
    is_untouched = paths[2].read_bytes() == content + b"# filler\n" * 120_000
    assert is_untouched  # not compared in the assertion: a difference of a megabyte takes minutes to print
    assert all(seen(subnet, node.port).key_error for node in (directory, pipe, huge))
    assert sorted(row.deployed_exp is None for row in open_rows(subnet)) == [False, True, True, True]


@pytest.mark.core
@pytest.mark.fault(9)
@pytest.mark.parametrize(
    "extra",
    [
        b"# windows\r\n", b"nul \0 byte\n", b"# caf\xe9 latin-1\n", b"# no end of line",
        b"\xef\xbb\xbf# byte order mark\n\n\n", b"\xff\xfe\n" + b"x" * 9000 + b"\n",
    ],
    ids=["crlf", "nul", "latin-1", "no-newline", "bom", "long"],
)  # fmt: skip
def test_any_operators_bytes_survive(sshd_nodes: Nodes, subnets: Subnets, extra: bytes) -> None:
    """After a grant was given and taken back the file is what it was, to the byte."""
    node = sshd_nodes()
    subnet = subnets([node], validator_assignment=OPEN)
    before = node.keys() + extra
    node.authorize(before)
    subnet.start()
    ready(subnet)
    assert discover(subnet) == {node.port}
    assert ssh_login(node, subnet.validators[0].key_path).returncode == 0
    assert len(our_lines(node)) == 1

    assert end_session(subnet) == {"ended": 1, "keys_left": 0}

    assert node.keys() == before


@pytest.mark.fault(14)
def test_a_validator_adds_its_own_line(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A guest's own line is counted within one audit period, shown, and never deleted silently."""
    node = sshd_nodes()
    subnet = subnets([node], access={"reconcile_interval": 0.5}, validator_assignment=OPEN)
    subnet.start()
    ready(subnet)
    discover(subnet)
    before = await_view(subnet, node.port, lambda n: n.operator_keys is not None).operator_keys
    second = ClientKey.generate("backdoor")
    command = f"echo '{second.public_line}' >> ~/.ssh/authorized_keys"
    assert ssh_login(node, subnet.validators[0].key_path, command).returncode == 0

    view = await_view(subnet, node.port, lambda n: n.operator_keys != before)

    assert view.operator_keys == (before or 0) + 1
    await_event(subnet, "key.foreign_seen", operator_keys=view.operator_keys)
    assert node.keys().count(second.public_line.encode()) == 1
    end_session(subnet)
    assert node.keys().count(second.public_line.encode()) == 1


@pytest.mark.fault(16)
@pytest.mark.parametrize("offset_s", [200, -200])
def test_a_nodes_clock_is_minutes_off(
    sshd_nodes: Nodes, subnets: Subnets, clocks: Callable[[], Clockwork], offset_s: int
) -> None:
    """The end is written in the node's time: access lasts as long as it should by any clock; the skew is shown."""
    clock = clocks()
    clock.set(offset_s)
    node = _node_with_clock(sshd_nodes, clock)
    subnet = subnets([node], access={"session_lifetime": 20, "reconcile_interval": 1}, validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    assert discover(subnet) == {node.port}
    assert ssh_login(node, subnet.validators[0].key_path).returncode == 0
    skew = seen(subnet, node.port).clock_skew_s
    assert skew is not None and abs(skew - offset_s) < 30
    subnet.kill()

    sleep_past(node)

    assert len(our_lines(node)) == 1
    assert ssh_login(node, subnet.validators[0].key_path).returncode == 255
    subnet.start()
    eventually(lambda: our_lines(node) == [], what="removal")
    await_event(subnet, "key.removed", reason="expired")
    assert baseline.violations() == []


@pytest.mark.fault(16)
@pytest.mark.parametrize("offset_s", [3600, -3600])
def test_a_nodes_clock_is_an_hour_off(
    sshd_nodes: Nodes, subnets: Subnets, clocks: Callable[[], Clockwork], offset_s: int
) -> None:
    """Over five minutes no key is written: refused by name, shown, and served when the node's clock is right."""
    clock = clocks()
    clock.set(offset_s)
    node = _node_with_clock(sshd_nodes, clock)
    subnet = subnets([node], access={"reconcile_interval": 1}, validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)

    assert discover(subnet) == set()

    await_event(subnet, "key.failed", error_code="clock_skew")
    assert our_lines(node) == []
    assert [row.deployed_exp for row in open_rows(subnet)] == [None]
    view = await_view(subnet, node.port, lambda n: n.key_error != "")
    assert view.clock_skew_s is not None and abs(view.clock_skew_s - offset_s) < 30
    clock.set(0)
    eventually(lambda: len(our_lines(node)) == 1, what="served when the clock is right")
    assert baseline.violations() == []


@pytest.mark.fault(16)
def test_a_nodes_clock_jumps_back(sshd_nodes: Nodes, subnets: Subnets, clocks: Callable[[], Clockwork]) -> None:
    """A node whose clock jumps back would keep the key; the miner removes the line on time by its own clock."""
    clock = clocks()
    node = _node_with_clock(sshd_nodes, clock)
    subnet = subnets([node], access={"session_lifetime": 4, "reconcile_interval": 1}, validator_assignment=OPEN)
    subnet.start()
    ready(subnet)
    discover(subnet)

    clock.set(-3600)

    await_event(subnet, "key.removed", reason="expired")
    assert our_lines(node) == []
    assert open_rows(subnet) == []
    assert ssh_login(node, subnet.validators[0].key_path).returncode == 255


@pytest.mark.fault(17)
def test_a_reinstalled_node(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Another host key: nothing is sent, the rows wait, both fingerprints are recorded, the other node goes on."""
    node, other = sshd_nodes(), sshd_nodes()
    subnet = subnets([node, other], access={"reconcile_interval": 1}, validator_assignment=OPEN)
    subnet.start()
    ready(subnet)
    discover(subnet)
    old = node.host_key_fingerprint
    before = node.keys()

    node.restart(new_host_key=True)
    view = await_view(subnet, node.port, lambda n: n.state == "stopped")

    assert end_session(subnet) == {"ended": 2, "keys_left": 1}
    assert node.keys() == before
    assert our_lines(other) == []
    (row,) = open_rows(subnet)
    assert row.removed_at is None and row.ended_at is not None
    event = await_event(subnet, "node.host_key_changed")
    assert (event["pinned"], event["presented"]) == (old, node.host_key_fingerprint)
    assert (view.host_key_fingerprint, view.host_key_presented) == (old, node.host_key_fingerprint)
    assert "Accepted" not in node.log()


@pytest.mark.fault(18)
def test_sshd_drops_logins(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """With default MaxStartups and 20 strangers half logged in, drops are retried and are no refusals."""
    node = sshd_nodes(max_startups="10:30:100")
    subnet = subnets([node], access={"reconcile_interval": 1}, validator_assignment=OPEN)
    strangers = [socket.create_connection((node.host, node.port)) for _ in range(20)]
    try:
        subnet.start()
        first = try_discover(subnet)
        eventually(lambda: len(our_lines(node)) == 1, what="key in place in spite of drops")
    finally:
        for stranger in strangers:
            stranger.close()
    assert first is None or "pause" not in str(first)
    assert not any("auth" in str(event["error_code"]) for event in events(subnet, "key.failed", "node.checked"))
    (row,) = open_rows(subnet)
    assert row.deployed_exp is not None
    await_view(subnet, node.port, lambda n: n.keys_in_place == 1 and n.state == "healthy")


@pytest.mark.fault(19, 21)
def test_servers_that_are_no_servers(sshd_nodes: Nodes, subnets: Subnets, closing: Callable[[object], None]) -> None:
    """Silence, endless banners, closing, garbage: each is named, none is hammered, the real node is served."""
    node = sshd_nodes()
    traps = [
        hostile.Trap(one)
        for one in (hostile.silent, hostile.endless_banner, hostile.closing_at_banner, hostile.garbage)
    ]
    for trap in traps:
        closing(trap)
    entries = [entry(node), *(entry(node, trap.port) for trap in traps)]
    subnet = subnets([node], node_entries=entries, access={"reconcile_interval": 1}, validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()

    await_view(subnet, node.port, lambda n: n.state == "healthy")
    assert discover(subnet) == {node.port}

    codes = {
        trap.port: await_event(subnet, "node.checked", node_id=_id_of(node, trap.port))["error_code"] for trap in traps
    }
    assert codes[traps[2].port] in {"ssh_banner_invalid", "ssh_failure"}
    assert codes[traps[3].port] in {"ssh_banner_invalid", "ssh_failure", "ssh_login_timeout"}
    assert all(codes.values())
    assert all(seen(subnet, trap.port).state in {"suspect", "unhealthy", "unknown"} for trap in traps)
    visits, began = [trap.visitors for trap in traps], time.monotonic()
    time.sleep(4)
    per_second = [
        (trap.visitors - before) / (time.monotonic() - began) for trap, before in zip(traps, visits, strict=True)
    ]
    assert max(per_second) < 4, f"hammering: {per_second}"
    assert [row.deployed_exp is not None for row in open_rows(subnet)].count(True) == 1
    assert baseline.violations() == []


@pytest.mark.fault(19)
def test_a_refused_login_is_not_repeated(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """One refusal pauses the node: health checks and reconciliations do not pile up failed logins in sshd's log."""
    node = sshd_nodes()
    subnet = subnets([node], access={"reconcile_interval": 0.5}, validator_assignment=OPEN)
    node.authorize(b"# nobody may enter\n")
    subnet.start()
    try_discover(subnet)
    time.sleep(8)

    refused = node.log().count("Connection closed by authenticating user") + node.log().count("Failed publickey")

    assert 1 <= refused <= 2, node.log()
    assert node.keys() == b"# nobody may enter\n"
    assert [row.deployed_exp for row in open_rows(subnet)] == [None]
    assert "key" in await_view(subnet, node.port, lambda n: n.reason != "").reason


@pytest.mark.fault(20)
def test_a_line_goes_dead_in_the_middle(sshd_nodes: Nodes, subnets: Subnets, closing: Callable[[object], None]) -> None:
    """A half-open link during a discovery: the node is given up at its deadline, read again later, and then right."""
    node = sshd_nodes()
    proxy = hostile.Proxy((node.host, node.port))
    closing(proxy)
    subnet = subnets(
        [node],
        node_entries=[entry(node, proxy.port)],
        access={"reconcile_interval": 1, "node_deadline": 3},
        validator_assignment=OPEN,
    )
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    proxy.mode = "stall"

    assert discover(subnet) == set()

    assert "unknown" in str(await_event(subnet, "key.failed")["hint"])
    assert await_view(subnet, proxy.port, lambda n: n.key_error != "")
    (row,) = open_rows(subnet)
    assert row.deployed_exp is None
    proxy.mode = "cut"
    time.sleep(0.3)
    proxy.mode = "pass"
    eventually(lambda: [line.grant_id for line in our_lines(node)] == [row.id], what="key after the line is back")
    await_event(subnet, "key.deployed", grant_id=row.id)
    assert baseline.violations() == []


@pytest.mark.fault(20, 22)
@pytest.mark.parametrize("mode", ["cut", "corrupt"])
def test_connections_die_after_any_number_of_bytes(
    sshd_nodes: Nodes, subnets: Subnets, closing: Callable[[object], None], mode: str
) -> None:
    """Cut or corrupted anywhere between login and read-back: never success by mistake, in the end exactly one line."""
    node = sshd_nodes()
    proxy = hostile.Proxy((node.host, node.port))
    closing(proxy)
    subnet = subnets(
        [node],
        node_entries=[entry(node, proxy.port)],
        access={"reconcile_interval": 0.5, "node_deadline": 6},
        validator_assignment=OPEN,
    )
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    dice = random.Random(os.environ.get("FAULT_SEED", "7"))
    for _ in range(8 if mode == "cut" else 3):
        if mode == "cut":
            proxy.limit = dice.randrange(500, 16_000)
        else:
            time.sleep(dice.uniform(0.0, 0.1))
            proxy.mode = "corrupt"
        try_discover(subnet)
        claimed = {row.id for row in open_rows(subnet) if row.deployed_exp is not None}
        assert claimed <= {line.grant_id for line in our_lines(node)}
        assert baseline.violations() == []
        proxy.limit, proxy.mode = None, "pass"

    eventually(lambda: len(our_lines(node)) == 1, what="one line")
    await_view(subnet, proxy.port, lambda n: n.keys_in_place == 1 and n.key_error == "")
    assert baseline.violations() == []


@pytest.mark.fault(22)
def test_sessions_on_the_node_are_killed(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """With the engine's sshd children killed all the time: no success without bytes, one line at the end."""
    need_root("killing processes in a node")
    node = sshd_nodes()
    subnet = subnets([node], access={"reconcile_interval": 0.5}, validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    reaper = subprocess.Popen(
        ["sh", "-c", 'while sleep 0.15; do for p in $(cat "/proc/$1/task/$1/children"); do kill -9 $p; done; done', "r",
         str(_sshd_of(node))],
    )  # fmt: skip
    try:
        for _ in range(4):
            try_discover(subnet)
            assert {r.id for r in open_rows(subnet) if r.deployed_exp} <= {line.grant_id for line in our_lines(node)}
    finally:
        reaper.send_signal(signal.SIGKILL)
        reaper.wait()

    eventually(lambda: len(our_lines(node)) == 1, what="one line")
    await_view(subnet, node.port, lambda n: n.keys_in_place == 1)
    assert baseline.violations() == []


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    "answer",
    ["printf 'H100 \\377\\376\\303( cards'", "yes 0123456789012345678901234567890"],
    ids=["bad-utf8", "endless"],
)
def test_a_node_that_answers_rubbish(sshd_nodes: Nodes, subnets: Subnets, answer: str) -> None:
    """Bad UTF-8 or endless output instead of GPU facts: the node is shown as failing, and its keys are still right."""
    node = sshd_nodes()
    (node.tools / "nvidia-smi").write_text(f"#!/bin/sh\n{answer}\n")
    subnet = subnets([node], validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()

    assert await_event(subnet, "node.checked")["ok"] is False
    assert discover(subnet) == {node.port}

    await_view(subnet, node.port, lambda n: n.state == "unhealthy" and n.keys_in_place == 1)
    assert len(our_lines(node)) == 1
    assert baseline.violations() == []
    assert _rss_mib(subnet.pid) < 400


def commands_on(node: NodeSshd) -> str:
    """The command lines of every process that the node can see."""
    found = []
    for path in node.inside(Path("/proc")).glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


def _node_with_clock(sshd_nodes: Nodes, clock: Clockwork) -> NodeSshd:
    need_root("a node with a clock of its own")
    node = sshd_nodes(launcher=clock.words)
    date = node.tools / "date"  # sshd does not hand its environment on to sessions
    date.write_text(f'#!/bin/sh\nexec {" ".join(clock.words)} /bin/date "$@"\n')
    date.chmod(0o755)
    return node


def _id_of(node: NodeSshd, port: int | None = None) -> str:
    return node_id_for(node.username, node.host, port or node.port)


def _sshd_of(node: NodeSshd) -> int:
    assert node._process is not None
    return int(Path(f"/proc/{node._process.pid}/task/{node._process.pid}/children").read_text().split()[0])


def _rss_mib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // (1 << 20)
