"""The node pool against real sshd: commands, bounds, and a typed failure for every step."""

from __future__ import annotations

import asyncio
import errno
import os
import pwd
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from engine.clock import ManualClock
from engine.errors import (
    SshAuthFailed,
    SshBannerInvalid,
    SshBannerTimeout,
    SshChannelFailed,
    SshChannelTimeout,
    SshCommandFailed,
    SshCommandTimeout,
    SshFailure,
    SshLoginTimeout,
    SshOutcomeUnknown,
    SshOutputTooLarge,
    SshRefused,
    SshResolveFailed,
)
from engine.ssh import login
from engine.ssh.keys import ClientKey
from engine.ssh.pool import PoolLimits
from engine.ssh.target import NodeTarget
from tests.support.pools import Pools
from tests.support.ports import free_port
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd
IMPATIENT = PoolLimits(login_timeout_s=0.4, banner_attempts=1)


@asynccontextmanager
async def tcp_server(first: bytes, *, close: bool = False, endless: bool = False) -> AsyncIterator[NodeTarget]:
    """A TCP server that is no SSH server: says ``first`` and then nothing, the same for ever, or good-bye."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(first)
        while endless and not writer.is_closing():
            writer.write(first)
            await asyncio.sleep(0.001)
        if close:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield NodeTarget("imposter", "127.0.0.1", server.sockets[0].getsockname()[1], "nobody")
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def test_a_command_gets_its_input_and_returns_bytes_and_status(sshd_node: NodeSshd, pools: Pools) -> None:
    """Input arrives whole; both outputs come back as bytes, however invalid as text, and the status with them."""
    pools.known_to(sshd_node)
    pool = pools.make()
    data = bytes(range(256)) * 3000
    result = await pool.run(sshd_node.target, "cat; printf 'caf\\351' >&2; exit 7", stdin=data)
    assert (result.stdout, result.stderr, result.exit_status) == (data, b"caf\xe9", 7)
    assert (await pool.run(sshd_node.target, "kill -9 $$")).exit_status == -9
    assert (await pool.run(sshd_node.target, "true", stdin=data)).exit_status == 0


async def test_check_turns_a_status_into_an_error_with_the_commands_words(sshd_node: NodeSshd, pools: Pools) -> None:
    """The error carries status and a cleaned stderr."""
    pools.known_to(sshd_node)
    with pytest.raises(SshCommandFailed) as caught:
        await pools.make().run(sshd_node.target, "printf 'no\\033[31m way' >&2; exit 3", check=True)
    assert (caught.value.exit_status, caught.value.stderr) == (3, "no [31m way")


async def test_one_connection_serves_many_commands_and_opens_once(sshd_node: NodeSshd, pools: Pools) -> None:
    """Forty commands at once share a single login and stay under MaxSessions."""
    pools.known_to(sshd_node)
    pool = pools.make()
    results = await asyncio.gather(*(pool.run(sshd_node.target, f"echo {n}") for n in range(40)))
    assert [int(one.stdout) for one in results] == list(range(40))
    assert sshd_node.log().count("Accepted publickey") == 1


async def test_output_over_the_limit_is_stopped_and_the_connection_stays_usable(
    sshd_node: NodeSshd, pools: Pools
) -> None:
    """A node that sends without end costs one error and bounded memory."""
    pools.known_to(sshd_node)
    pool = pools.make()
    with pytest.raises(SshOutputTooLarge):
        await pool.run(sshd_node.target, "cat /dev/zero", max_output_bytes=100_000)
    assert (await pool.run(sshd_node.target, "echo ok")).stdout == b"ok\n"
    assert sshd_node.log().count("Accepted publickey") == 1


async def test_a_connection_killed_under_a_command_means_outcome_unknown(sshd_node: NodeSshd, pools: Pools) -> None:
    """No exit status is never success; the next command gets a new connection."""
    pools.known_to(sshd_node)
    pool = pools.make()
    with pytest.raises(SshOutcomeUnknown):
        await pool.run(sshd_node.target, "echo started; kill -9 $PPID; sleep 30")
    assert (await pool.run(sshd_node.target, "echo again")).stdout == b"again\n"


async def test_a_frozen_session_is_noticed_by_keepalives_and_replaced(sshd_node: NodeSshd, pools: Pools) -> None:
    """A node that stops answering in mid-command costs that command; the next one logs in anew."""
    pools.known_to(sshd_node)
    pool = pools.make(limits=PoolLimits(keepalive_interval_s=0.5, keepalive_count=2))
    with pytest.raises(SshOutcomeUnknown) as caught:
        await pool.run(sshd_node.target, "kill -STOP $PPID; sleep 30")
    assert not isinstance(caught.value, SshCommandTimeout)
    assert (await pool.run(sshd_node.target, "echo new")).stdout == b"new\n"


async def test_a_channel_that_does_not_open_has_its_own_timeout(sshd_node: NodeSshd, pools: Pools) -> None:
    """A half-dead link is told apart from a slow command, and not used again."""
    pools.known_to(sshd_node)
    pool = pools.make(limits=PoolLimits(channel_timeout_s=3.0))
    first = asyncio.ensure_future(pool.run(sshd_node.target, "echo >&2; sleep 0.1; kill -STOP $PPID", timeout_s=10))
    async with asyncio.timeout(60):
        while not sshd_node.has_stopped_session():
            await asyncio.sleep(0.02)
    with pytest.raises(SshChannelTimeout):
        await pool.run(sshd_node.target, "true")
    assert (await pool.run(sshd_node.target, "echo new")).stdout == b"new\n"
    with pytest.raises(SshCommandTimeout):
        await first


async def test_silent_hosts_take_no_login_slot_from_others(sshd_node: NodeSshd, pools: Pools) -> None:
    """With a single login slot, hosts that never complete TCP do not keep a good node waiting."""
    pools.known_to(sshd_node)
    pool = pools.make(limits=PoolLimits(logins_total=1, connect_timeout_s=30))
    with socket.socket() as deaf:  # its queue of one is full after two connects, later ones get no answer
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        waiting = asyncio.ensure_future(pool.connect(NodeTarget("deaf", "127.0.0.1", port, "nobody")))
        await asyncio.sleep(0.05)
        assert (await pool.run(sshd_node.target, "echo served")).stdout == b"served\n"
        assert not waiting.done()
        waiting.cancel()
        for filler in fillers:
            filler.close()


async def test_a_dead_connection_is_replaced_at_the_next_use(sshd_node: NodeSshd, pools: Pools) -> None:
    """After the node restarted, the caller notices nothing."""
    pools.known_to(sshd_node)
    pool = pools.make()
    await pool.connect(sshd_node.target)
    sshd_node.restart()
    assert (await pool.run(sshd_node.target, "echo back")).stdout == b"back\n"


async def test_a_slow_command_times_out_and_ends_on_the_node_by_its_own_limit(
    sshd_node: NodeSshd, pools: Pools
) -> None:
    """Our limit gives an error that says "may still run"; the node's own limit ends the command with status 124."""
    pools.known_to(sshd_node)
    pool = pools.make()
    with pytest.raises(SshCommandTimeout) as caught:
        await pool.run(sshd_node.target, "sleep 30", timeout_s=0.2)
    assert isinstance(caught.value, SshOutcomeUnknown)
    assert (await pool.run(sshd_node.target, "echo '$HOME'; sleep 30", remote_limit_s=1)).exit_status == 124
    assert (await pool.run(sshd_node.target, "echo '$HOME'", remote_limit_s=9)).stdout == b"$HOME\n"


async def test_a_cancelled_caller_leaves_the_connection_to_the_others(sshd_node: NodeSshd, pools: Pools) -> None:
    """Cancelling is not swallowed, and neither the shared login nor other commands suffer."""
    pools.known_to(sshd_node)
    pool = pools.make()
    login = asyncio.ensure_future(pool.connect(sshd_node.target))
    other = asyncio.ensure_future(pool.run(sshd_node.target, "echo other"))
    await asyncio.sleep(0)
    login.cancel()
    with pytest.raises(asyncio.CancelledError):
        await login
    assert (await other).stdout == b"other\n"
    running = asyncio.ensure_future(pool.run(sshd_node.target, "sleep 30"))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await pool.run(sshd_node.target, "echo still")).stdout == b"still\n"
    assert sshd_node.log().count("Accepted publickey") == 1


async def test_a_refused_key_pauses_the_node_with_growing_waits(sshd_node: NodeSshd, pools: Pools) -> None:
    """The node sees one failed login per pause however often it is asked; resuming or success ends the pause."""
    clock = ManualClock()
    pool = pools.make(clock=clock)
    sshd_node.authorize(ClientKey.generate().public_line + "\n")
    for seconds, logins in ((0, 1), (14, 1), (2, 2), (29, 2), (2, 3)):
        await clock.advance(seconds)
        for _ in range(5):
            with pytest.raises(SshAuthFailed):
                await pool.run(sshd_node.target, "true")
        assert sshd_node.log().count("Connection from") == logins
    pools.known_to(sshd_node)
    pool.resume(sshd_node.target)
    assert (await pool.run(sshd_node.target, "true")).exit_status == 0


async def test_the_number_of_failed_logins_is_one_per_pause(sshd_node: NodeSshd, pools: Pools) -> None:
    """Twenty commands in one pause make one connection."""
    pool = pools.make(clock=ManualClock())
    outcomes = await asyncio.gather(*(pool.run(sshd_node.target, "true") for _ in range(20)), return_exceptions=True)
    assert {type(one) for one in outcomes} == {SshAuthFailed}
    with pytest.raises(SshAuthFailed, match="next attempt in 15 s"):
        await pool.connect(sshd_node.target)
    assert sshd_node.log().count("Connection from") == 1


async def test_each_step_before_login_has_its_own_failure(pools: Pools) -> None:
    """Name, port, silence, wrong protocol and hang-up are told apart."""
    pool = pools.make()
    with pytest.raises(SshRefused):
        await pool.connect(NodeTarget("dead", "127.0.0.1", free_port(), "nobody"))
    with pytest.raises(SshResolveFailed):
        await pool.connect(NodeTarget("nameless", "host.invalid", 22, "nobody"))
    with pytest.raises(SshResolveFailed):
        await pool.connect(NodeTarget("too-long", "x" * 300, 22, "nobody"))
    async with tcp_server(b"") as target:
        with pytest.raises(SshBannerTimeout) as caught:
            await pools.make(limits=IMPATIENT).connect(target)
        assert caught.value.step == "banner"
    async with tcp_server(b"SSH-2.0-OpenSSH_9.2\r\n") as target:  # time enough to read a line on a busy machine
        with pytest.raises(SshLoginTimeout):
            await pools.make(limits=PoolLimits(login_timeout_s=3.0, banner_attempts=1)).connect(target)


@pytest.mark.parametrize(
    ("first", "close", "endless"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True, False),
        (b"", True, False),
        (b"SSH-1.5-old\r\n", False, False),
        (b"SSH-2.0-\xff\xfe\r\n", False, False),
        (b"x" * 9000, False, True),
        (b"welcome\r\n", False, True),
        (b"SSH-2.0-OpenSSH_9.2\r\n" + b"\xff" * 64, False, False),
        (b"SSH-2.0-OpenSSH_9.2\r\n\0\0\0\x0c\x0a\x14" + b"\0" * 400, True, False),
    ],
)
async def test_whatever_a_hostile_server_says_is_one_of_our_failures(
    pools: Pools, first: bytes, close: bool, endless: bool
) -> None:
    """No parser's exception leaves the room."""
    async with tcp_server(first, close=close, endless=endless) as target:
        with pytest.raises((SshBannerInvalid, SshBannerTimeout)):
            await pools.make(limits=IMPATIENT).connect(target)


async def test_logins_dropped_by_max_startups_are_retried(sshd_nodes: Callable[..., NodeSshd], pools: Pools) -> None:
    """Sixteen accounts' worth of logins on one busy sshd all get in, four at a time."""
    node = sshd_nodes(max_startups="5:30:10")
    pools.known_to(node)
    pool = pools.make()
    targets = [NodeTarget(f"n{n}", node.host, node.port, node.username) for n in range(16)]
    infos = await asyncio.gather(*(pool.connect(target) for target in targets))
    assert {info.host_key_fingerprint for info in infos} == {node.host_key_fingerprint}


async def test_a_login_without_room_for_commands_is_a_channel_failure(
    sshd_nodes: Callable[..., NodeSshd], pools: Pools
) -> None:
    """MaxSessions 0 lets us in and starts nothing."""
    node = sshd_nodes(options=("MaxSessions 0",))
    pools.known_to(node)
    with pytest.raises(SshChannelFailed):
        await pools.make().run(node.target, "true")


async def test_a_changed_address_under_one_id_gets_its_own_connection(
    sshd_nodes: Callable[..., NodeSshd], pools: Pools
) -> None:
    """A node that moved is not answered from the old connection."""
    one, two = sshd_nodes(), sshd_nodes()
    for node in (one, two):
        pools.known_to(node)
    pool = pools.make()
    for node in (one, two, two):
        moved = NodeTarget("same-id", node.host, node.port, node.username)
        assert (await pool.connect(moved)).host_key_fingerprint == node.host_key_fingerprint
    assert two.log().count("Accepted publickey") == 1


async def test_a_process_without_files_left_says_so(
    sshd_node: NodeSshd, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives no socket: that is a failure of this login with a hint, and the next one works."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    pools.known_to(sshd_node)
    with monkeypatch.context() as full, pytest.raises(SshRefused, match="Too many open files") as caught:
        full.setattr("socket.socket", refuse)
        await login.connect_tcp(sshd_node.target, 5.0)
    assert "LimitNOFILE" in caught.value.hint
    assert (await pools.make().run(sshd_node.target, "echo here")).stdout == b"here\n"


async def test_close_ends_connections_and_refuses_more(sshd_node: NodeSshd, pools: Pools) -> None:
    """A running command ends as unknown, later ones are refused in our own words, also when the node hangs."""
    pools.known_to(sshd_node)
    pool = pools.make()
    await pool.connect(sshd_node.target)
    running = asyncio.ensure_future(pool.run(sshd_node.target, "sleep 30"))
    await asyncio.sleep(0.05)
    async with tcp_server(b"") as silent:
        opening = asyncio.ensure_future(pool.connect(silent))
        await asyncio.sleep(0.05)
        await pool.close()
        for task in (running, opening):
            with pytest.raises(SshFailure):
                await task
    with pytest.raises(SshFailure, match="shutting down"):
        await pool.run(sshd_node.target, "true")


async def test_a_user_without_a_name_logs_in_too(
    sshd_node: NodeSshd, pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container runs under a number that stands in no passwd, and has no variable that says who it is."""

    def nobody(_: int) -> object:
        raise KeyError("getpwuid(): uid not found")

    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "")  # so that it is as before afterwards
        monkeypatch.delenv(variable)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    pools.known_to(sshd_node)
    assert (await pools.make().run(sshd_node.target, "echo in")).stdout == b"in\n"
