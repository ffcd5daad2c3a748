"""One logged-in connection to one node, and commands on it with bounds on their time and output."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import asyncssh

from engine.ssh import failures
from engine.ssh.host_keys import PresentedKey
from engine.ssh.target import NodeTarget

# SSH_OPEN_CONNECT_FAILED: what sshd says when MaxSessions is reached, and asyncssh when the connection had ended.
_NEVER_OPENED = 2
_REOPEN_WAITS_S = (0.02, 0.05, 0.1, 0.2, 0.4)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command wrote and how it ended; a death by signal is the negative signal number."""

    stdout: bytes
    stderr: bytes
    exit_status: int


class ConnectionGoneError(Exception):
    """The connection was already dead: the command was certainly not sent. Never leaves this room."""


class _Collector(asyncssh.SSHClientSession[bytes]):
    """Gathers a command's output up to a limit; past it the channel is aborted and the rest is dropped unread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._stdout: list[bytes] = []
        self._stderr: list[bytes] = []
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.is_over_limit = False
        self.closed = asyncio.Event()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self.channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._size += len(data)
        if self._size > self._limit:
            if not self.is_over_limit and self.channel is not None:
                self.is_over_limit = True
                self.channel.abort()
                self.closed.set()
            return
        (self._stderr if datatype == asyncssh.EXTENDED_DATA_STDERR else self._stdout).append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    @property
    def stdout(self) -> bytes:
        return b"".join(self._stdout)

    @property
    def stderr(self) -> bytes:
        return b"".join(self._stderr)


class NodeConnection:
    """A logged-in connection. ``users`` and ``is_retired`` belong to the pool."""

    def __init__(
        self,
        target: NodeTarget,
        conn: asyncssh.SSHClientConnection,
        presented: PresentedKey,
        slots: int,
        login_s: float,
    ) -> None:
        self.target = target
        self.login_s = login_s
        self.host_key_fingerprint = presented.fingerprint
        self.server_version = failures.plain(str(conn.get_extra_info("server_version") or ""))
        self.users = 0
        self.is_retired = False
        self._conn = conn
        self._slots = asyncio.Semaphore(slots)

    @property
    def is_alive(self) -> bool:
        """Whether the transport still stands, as far as this side knows."""
        return not self._conn.is_closed()

    async def run(
        self, command: str, *, stdin: bytes, timeout_s: float, channel_timeout_s: float, max_output_bytes: int
    ) -> CommandResult:
        """Run one command. Raises SshFailure classes, or ConnectionGoneError when nothing was sent."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError:
            raise failures.channel_timeout(self.target) from None
        session = _Collector(max_output_bytes)
        try:
            channel = await self._open(session, command, min(channel_timeout_s, timeout_s))
            _send(channel, stdin)
            async with asyncio.timeout_at(deadline):
                await session.closed.wait()
        except TimeoutError:
            raise failures.command_timeout(self.target, timeout_s) from None
        finally:
            self._slots.release()
            if session.channel is not None and not session.closed.is_set():
                session.channel.abort()
        if session.is_over_limit:
            raise failures.output_too_large(self.target, max_output_bytes)
        status = channel.get_returncode()
        if status is None:
            raise failures.outcome_unknown(self.target)
        return CommandResult(session.stdout, session.stderr, status)

    async def _open(self, session: _Collector, command: str, timeout_s: float) -> asyncssh.SSHClientChannel[bytes]:
        try:
            async with asyncio.timeout(timeout_s):
                for wait_s in (*_REOPEN_WAITS_S, None):
                    try:
                        channel, _ = await self._conn.create_session(
                            lambda: session, command, encoding=None, request_pty=False, x11_forwarding=False
                        )
                        return channel
                    except asyncssh.ChannelOpenError as error:
                        # sshd counts a session against MaxSessions until it has reaped its process, which is
                        # after we saw it close. The channel never opened, so trying again repeats nothing.
                        if error.code != _NEVER_OPENED or not self.is_alive or wait_s is None:
                            raise
                    await asyncio.sleep(wait_s)
                raise AssertionError("unreachable")
        except TimeoutError:
            raise failures.channel_timeout(self.target) from None
        except asyncssh.ChannelOpenError as error:
            if self.is_alive:
                raise failures.channel_failed(self.target, error) from error
            if error.code == _NEVER_OPENED:
                raise ConnectionGoneError from error
            raise failures.outcome_unknown(self.target) from error
        except (asyncssh.Error, OSError, ValueError, RuntimeError) as error:
            raise failures.outcome_unknown(self.target) from error

    async def close(self, timeout_s: float) -> None:
        """Say goodbye; cut the line when the node does not answer in time."""
        self._conn.close()
        try:
            async with asyncio.timeout(timeout_s):
                await self._conn.wait_closed()
        except TimeoutError:
            self._conn.abort()

    def abort(self) -> None:
        """Cut the line now."""
        self._conn.abort()


def _send(channel: asyncssh.SSHClientChannel[bytes], stdin: bytes) -> None:
    # A command that ends without reading its input closes the channel first; its exit status says what happened.
    with contextlib.suppress(OSError, asyncssh.Error):
        if stdin:
            channel.write(stdin)
        channel.write_eof()
