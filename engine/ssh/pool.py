"""One shared connection per node, opened when first needed, replaced when it dies; commands with bounds on it.

The limits are those that sshd's defaults leave room for: MaxStartups 10:30:100 drops logins from about ten
pending ones on, MaxSessions 10 refuses channels, and since OpenSSH 9.8 failed logins lock the whole address out.
"""

from __future__ import annotations

import asyncio
import random
import shlex
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import structlog

from engine.clock import Clock
from engine.errors import (
    SshAuthFailed,
    SshBannerInvalid,
    SshChannelTimeout,
    SshCommandFailed,
    SshCommandTimeout,
    SshFailure,
    SshHostKeyChanged,
    SshLoginEnded,
    SshOutcomeUnknown,
)
from engine.events import EventSink, HostKeyAccepted, HostKeyChanged, HostKeyPinned
from engine.ssh import failures
from engine.ssh.certificates import GuestCertificate
from engine.ssh.connection import CommandResult, ConnectionGoneError, NodeConnection
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.login import connect_tcp, open_connection
from engine.ssh.target import NodeTarget

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of the pool; times in seconds."""

    connect_timeout_s: float = 10.0
    login_timeout_s: float = 5.0
    """For banner and key exchange."""
    auth_timeout_s: float = 15.0
    """For the authentication after that: it waits for the node's PAM, resolver and directory."""
    channel_timeout_s: float = 10.0
    close_timeout_s: float = 2.0
    keepalive_interval_s: float = 15.0
    keepalive_count: int = 3
    logins_per_address: int = 4
    logins_total: int = 32
    channels_per_connection: int = 8
    banner_attempts: int = 3
    auth_pause_s: float = 15.0
    auth_pause_max_s: float = 900.0


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """What a login taught us about a node. ``login_s`` is how long it took, from the banner on."""

    server_version: str
    host_key_fingerprint: str
    login_s: float = 0.0


@dataclass(slots=True)
class _Pause:
    failures: int
    until: float


class NodePool:
    """Connections by ``node_id``. Every method raises SshFailure subclasses only; cancelling a caller is safe."""

    def __init__(
        self,
        key: ClientKey,
        host_keys: HostKeys,
        *,
        clock: Clock,
        emit: EventSink,
        limits: PoolLimits | None = None,
    ) -> None:
        self.key = key
        self._older_keys: tuple[ClientKey, ...] = ()
        self._certificates: dict[NodeTarget, GuestCertificate] = {}
        self.host_keys = host_keys
        self.clock = clock
        self.limits = limits or PoolLimits()
        self._emit = emit
        self._connections: dict[str, NodeConnection] = {}
        self._opening: dict[str, tuple[NodeTarget, asyncio.Task[NodeConnection]]] = {}
        self._pauses: dict[NodeTarget, _Pause] = {}
        self._reported: dict[str, str] = {}
        self._logins = asyncio.Semaphore(self.limits.logins_total)
        self._per_address: WeakValueDictionary[tuple[str, int], asyncio.Semaphore] = WeakValueDictionary()
        self._writers: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._is_visitor = False
        """A pool that tries a key: being refused is an answer, not a trouble."""

    @property
    def own_blobs(self) -> frozenset[str]:
        """The base64 public halves of all keys that the engine may log in with."""
        return frozenset({self.key.blob_base64, *(key.blob_base64 for key in self._older_keys)})

    def use_keys(self, key: ClientKey, *older: ClientKey) -> None:
        """Log in with ``key`` from now on, and with the older ones where a node does not know it yet."""
        self.key, self._older_keys = key, older
        self._pauses.clear()

    def present(self, target: NodeTarget, certificate: GuestCertificate | None) -> None:
        """Log in there with this certificate of ours from now on, or with the plain key alone."""
        if certificate is None:
            self._certificates.pop(target, None)
        else:
            self._certificates[target] = certificate

    async def run(
        self,
        target: NodeTarget,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float = 30.0,
        max_output_bytes: int = 1 << 20,
        check: bool = False,
        remote_limit_s: int | None = None,
    ) -> CommandResult:
        """Run one command over the node's connection, logging in first when there is none.

        ``timeout_s`` bounds waiting for a channel and the command; the login has its own limits. With
        ``remote_limit_s`` the node itself ends the command (where it has ``timeout``), because neither a cancelled
        caller nor a lost link stops it. ``check`` turns a status other than 0 into SshCommandFailed.
        """
        text = command if remote_limit_s is None else limited(command, remote_limit_s)
        result = await self._run_once(target, text, stdin, timeout_s, max_output_bytes)
        if result is None:  # the connection had died unnoticed before anything was sent
            result = await self._run_once(target, text, stdin, timeout_s, max_output_bytes)
        if result is None:
            raise failures.outcome_unknown(target)
        if check and result.exit_status != 0:
            stderr = failures.plain(result.stderr, 500)
            raise SshCommandFailed(
                f"a command on {target.label} ended with status {result.exit_status}: {stderr or 'no message'}",
                exit_status=result.exit_status,
                stderr=stderr,
                stdout=result.stdout,
            )
        return result

    async def connect(self, target: NodeTarget) -> ConnectionInfo:
        """Make sure that a connection stands, and say what it is."""
        connection = await self._get(target)
        return ConnectionInfo(connection.server_version, connection.host_key_fingerprint, connection.login_s)

    async def drop(self, target: NodeTarget) -> None:
        """Close the node's connection; commands on it end with SshOutcomeUnknown."""
        opening = self._opening.pop(target.node_id, None)
        if opening:
            opening[1].cancel()
        connection = self._connections.pop(target.node_id, None)
        if connection:
            await connection.close(self.limits.close_timeout_s)

    def resume(self, target: NodeTarget) -> None:
        """Forget the pause after refused logins, because somebody says that the key is in place now."""
        self._pauses.pop(target, None)

    async def accept_host_key(self, target: NodeTarget, actor: str, fingerprint: str | None = None) -> None:
        """Pin the key that the node presented last instead of the old one.

        With ``fingerprint`` only exactly that key is accepted, which is what the person saw on the screen.
        """
        presented = self.host_keys.presented(target)
        if presented is None or fingerprint not in {None, presented}:
            raise SshHostKeyChanged(
                f"{target.address} has not presented {'that' if fingerprint else 'a new'} host key",
                hint="check the node again and compare the fingerprint that it presents now",
                pinned=self.host_keys.pinned(target) or "",
                presented=presented or "",
            )
        await self.host_keys.accept(target, presented)
        await self.drop(target)
        self._reported.pop(target.node, None)
        self._emit(HostKeyAccepted(at=self.clock.now(), node_id=target.node_id, fingerprint=presented, actor=actor))

    def writer(self, target: NodeTarget) -> asyncio.Lock:
        """The lock that whoever changes files on this node holds."""
        lock = self._writers.get(target.node_id)
        if lock is None:
            lock = self._writers[target.node_id] = asyncio.Lock()
        return lock

    def sibling(self, key: ClientKey) -> NodePool:
        """A second, empty pool with a key of its own that shares pins, clock, limits and the places for logins."""
        other = NodePool(key, self.host_keys, clock=self.clock, emit=self._emit, limits=self.limits)
        other._logins, other._per_address = self._logins, self._per_address
        return other

    def with_key(self, key: ClientKey, *, auth_timeout_s: float | None = None) -> NodePool:
        """A second, empty pool that logs in with another key and shares pins, clock and limits, but for this one."""
        limits = replace(self.limits, auth_timeout_s=auth_timeout_s or self.limits.auth_timeout_s)
        visitor = NodePool(key, self.host_keys, clock=self.clock, emit=self._emit, limits=limits)
        visitor._is_visitor = True
        return visitor

    async def close(self) -> None:
        """Close everything; returns within about twice ``close_timeout_s`` even when nodes do not answer."""
        self._is_closed = True
        opening = [task for _, task in self._opening.values()]
        self._opening.clear()
        for task in opening:
            task.cancel()
        connections = list(self._connections.values())
        self._connections.clear()
        limit = self.limits.close_timeout_s
        pending = [*opening, *self._closing, *(asyncio.ensure_future(one.close(limit)) for one in connections)]
        if pending:
            await asyncio.wait(pending, timeout=limit * 2)

    # --- one command ------------------------------------------------------------------------------------------

    async def _run_once(
        self, target: NodeTarget, command: str, stdin: bytes, timeout_s: float, max_output_bytes: int
    ) -> CommandResult | None:
        connection = await self._get(target)
        connection.users += 1
        try:
            return await connection.run(
                command,
                stdin=stdin,
                timeout_s=timeout_s,
                channel_timeout_s=self.limits.channel_timeout_s,
                max_output_bytes=max_output_bytes,
            )
        except ConnectionGoneError:
            self._retire(connection)
            return None
        except (SshChannelTimeout, SshCommandTimeout, SshOutcomeUnknown):
            # Perhaps a half-dead link: others may finish on it, the next command gets a new one.
            self._retire(connection)
            raise
        finally:
            connection.users -= 1
            self._close_if_idle(connection)

    def _retire(self, connection: NodeConnection) -> None:
        connection.is_retired = True
        if self._connections.get(connection.target.node_id) is connection:
            del self._connections[connection.target.node_id]

    def _close_if_idle(self, connection: NodeConnection) -> None:
        if connection.is_retired and connection.users == 0:
            task = asyncio.ensure_future(connection.close(self.limits.close_timeout_s))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    # --- logins -----------------------------------------------------------------------------------------------

    async def _get(self, target: NodeTarget) -> NodeConnection:
        if self._is_closed:
            raise SshFailure("the engine is shutting down; no more commands are sent")
        connection = self._connections.get(target.node_id)
        if connection and connection.target == target and connection.is_alive:
            return connection
        if connection:
            self._retire(connection)
            self._close_if_idle(connection)
        opening = self._opening.get(target.node_id)
        if opening is None or opening[0] != target:
            task = asyncio.ensure_future(self._open(target))
            task.add_done_callback(lambda done: self._opened(target, done))
            self._opening[target.node_id] = (target, task)
        else:
            task = opening[1]
        try:
            # Shielded: the login serves everybody who waits, and ends by its own limits when nobody does.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise SshFailure(f"the login on {target.label} was given up") from None
            raise

    def _opened(self, target: NodeTarget, task: asyncio.Task[NodeConnection]) -> None:
        current = self._opening.get(target.node_id)
        if current and current[1] is task:
            del self._opening[target.node_id]
        if not task.cancelled():
            task.exception()  # seen by whoever waits; nobody may wait any more

    async def _open(self, target: NodeTarget) -> NodeConnection:
        self._check_pause(target)
        for attempt in range(1, self.limits.banner_attempts + 1):
            try:
                connection = await self._login(target)
            except (SshBannerInvalid, SshLoginEnded):
                if attempt == self.limits.banner_attempts:
                    raise
            except SshAuthFailed:
                self._pause(target)
                raise
            except SshHostKeyChanged as error:
                self._report_changed(target, error)
                raise
            else:
                return self._keep(target, connection)
            # sshd drops logins at random while many are pending: the same moment would be crowded again.
            await self.clock.sleep(random.uniform(0.2, 0.6) * attempt)  # noqa: S311  # jitter, not a secret
        raise AssertionError("unreachable")

    async def _login(self, target: NodeTarget) -> NodeConnection:
        limits = self.limits
        address = (target.host, target.port)
        gate = self._per_address.get(address)
        if gate is None:
            gate = self._per_address[address] = asyncio.Semaphore(limits.logins_per_address)
        async with gate:
            # Hosts that do not answer wait here, where they keep no slot from those that do.
            sock = await connect_tcp(target, limits.connect_timeout_s)
            try:
                await self._logins.acquire()
            except BaseException:
                sock.close()
                raise
            try:
                return await open_connection(
                    target,
                    sock,
                    (self.key, *self._older_keys),
                    self.host_keys,
                    certificate=self._certificates.get(target),
                    login_timeout_s=limits.login_timeout_s,
                    auth_timeout_s=limits.auth_timeout_s,
                    keepalive_interval_s=limits.keepalive_interval_s,
                    keepalive_count=limits.keepalive_count,
                    channels=limits.channels_per_connection,
                    on_pinned=lambda fingerprint: self._report_pinned(target, fingerprint),
                )
            finally:
                self._logins.release()

    def _keep(self, target: NodeTarget, connection: NodeConnection) -> NodeConnection:
        if self._is_closed:
            connection.abort()
            raise SshFailure("the engine is shutting down; the new connection was closed")
        self._pauses.pop(target, None)
        self._reported.pop(target.node, None)
        if replaced := self._connections.get(target.node_id):
            self._retire(replaced)
            self._close_if_idle(replaced)
        self._connections[target.node_id] = connection
        log.debug("ssh.connected", node_id=target.node_id, address=target.address, server=connection.server_version)
        return connection

    # --- refusals ---------------------------------------------------------------------------------------------

    def _check_pause(self, target: NodeTarget) -> None:
        pause = self._pauses.get(target)
        if pause and (left := pause.until - self.clock.monotonic()) > 0:
            raise failures.auth_paused(target, pause.failures, left)

    def _pause(self, target: NodeTarget) -> None:
        count = self._pauses[target].failures + 1 if target in self._pauses else 1
        seconds = min(self.limits.auth_pause_s * 2 ** min(count - 1, 10), self.limits.auth_pause_max_s)
        self._pauses[target] = _Pause(count, self.clock.monotonic() + seconds)
        say = log.debug if self._is_visitor else log.warning
        say("ssh.auth_refused", node_id=target.node_id, address=target.address, pause_s=seconds)

    def _report_pinned(self, target: NodeTarget, fingerprint: str) -> None:
        self._emit(HostKeyPinned(at=self.clock.now(), node_id=target.node, fingerprint=fingerprint))

    def _report_changed(self, target: NodeTarget, error: SshHostKeyChanged) -> None:
        if self._reported.get(target.node) == error.presented:
            return
        self._reported[target.node] = error.presented
        self._emit(
            HostKeyChanged(at=self.clock.now(), node_id=target.node, pinned=error.pinned, presented=error.presented)
        )


def limited(command: str, seconds: int) -> str:
    """The command under ``timeout`` where the node has it; works from any POSIX login shell."""
    inner = shlex.quote(command)
    script = (
        f"if command -v timeout >/dev/null 2>&1; then exec timeout {seconds:d} sh -c {inner}; fi; exec sh -c {inner}"
    )
    return f"sh -c {shlex.quote(script)}"


__all__ = ["CommandResult", "ConnectionInfo", "NodePool", "PoolLimits", "limited"]
