"""An engine on another host: its control socket through SSH, with a clear sentence for every step that fails.

No socket is opened on this host: the control protocol runs in one channel of the SSH connection. Known hosts,
configuration, keys and agent are those of the operator's ``ssh``.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import asyncssh

from basilica_tui.profiles import SshAddress
from engine.control.client import ControlClient
from engine.errors import EngineUnreachable

CONNECT_S: Final = 15.0
OPEN_S: Final = 10.0
KEEPALIVE_S: Final = 5.0
FIND: Final = (
    "sh -c '"
    'for p in /run/basilica/*/engine.sock "${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"/basilica/*/engine.sock '
    '"$HOME"/.local/state/basilica/run/*/engine.sock; do [ -S "$p" ] && printf "%s\\n" "$p"; done; :'
    "'"
)
"""Prints the sockets at the places where engines make them by default."""
FOUND_LIMIT: Final = 50
TOLD_LIMIT: Final = 5
ASKABLE: Final = frozenset({"password", "keyboard-interactive"})
"""What a server must offer before anyone is asked for a password."""

AskPassword = Callable[[str], str]


class RemoteEngine:
    """The way to one engine. ``connect`` is a ``Connect``: each call logs in anew, as reconnecting must."""

    def __init__(self, address: SshAddress, path: Path | None, *, ask: AskPassword | None = None) -> None:
        """``ask`` is asked for a password once, if keys are not enough; None never asks."""
        self._address = address
        self._path = path
        self._ask = ask
        self._password: str | None = None

    @property
    def where(self) -> Path:
        """For people: ``user@host:path``."""
        return Path(f"{self._address}:{self._path or ''}".rstrip(":"))

    async def connect(self, path: Path, *, role: str) -> ControlClient:
        """Log in, find the socket, and greet the engine; ``path`` is what the engine is called in messages.

        Raises:
            EngineUnreachable: a step failed; the message names it.
            ProtocolMismatch, ControlRefused: as for an engine on this host.
        """
        connection = await self._log_in()
        try:
            if self._path is None:
                place, (reader, writer) = await self._the_only_one(connection, await self._find(connection))
            else:
                place, (reader, writer) = self._path, await self._open(connection, self._path)
            client = await ControlClient.greet(
                Path(f"{self._address}:{place}"), reader, _Writer(writer, connection), role=role, timeout_s=OPEN_S
            )
        except BaseException:
            connection.close()
            raise
        self._path = place
        return client

    async def _log_in(self) -> asyncssh.SSHClientConnection:
        try:
            return await self._try_login()
        except EngineUnreachable as error:
            if (
                self._ask is None
                or self._password is not None
                or not isinstance(error.__cause__, asyncssh.PermissionDenied)
            ):
                raise
            if not await self._takes_passwords():
                raise
            ask, self._ask = self._ask, None
            self._password = ask(f"password for {self._address}: ")
            return await self._try_login()

    async def _takes_passwords(self) -> bool:
        """Whether a password could open this server; asked of it, and yes where it does not say."""
        address = self._address
        try:
            async with asyncio.timeout(CONNECT_S):
                offered = await asyncssh.get_server_auth_methods(
                    address.host, address.port if address.port is not None else (), username=address.user or ()
                )
        except (asyncssh.Error, OSError, ValueError):
            return True
        return bool(ASKABLE.intersection(offered))

    async def _try_login(self) -> asyncssh.SSHClientConnection:
        address = self._address
        try:
            async with asyncio.timeout(CONNECT_S):
                return await asyncssh.connect(
                    address.host,
                    address.port if address.port is not None else (),
                    username=address.user or (),
                    password=self._password,
                    keepalive_interval=KEEPALIVE_S,
                    keepalive_count_max=3,
                )
        except (asyncssh.Error, OSError, ValueError) as error:
            message, hint = login_words(error, str(address), has_password=self._password is not None)
            raise EngineUnreachable(message, hint=hint) from error

    async def _find(self, connection: asyncssh.SSHClientConnection) -> list[Path]:
        """The sockets at the default places; at least one. A socket may be what a dead engine left."""
        try:
            async with asyncio.timeout(OPEN_S):
                done = await connection.run(FIND, check=False, stdin=asyncssh.DEVNULL)
        except (asyncssh.Error, OSError) as error:
            raise EngineUnreachable(
                f"{self._address}: logged in, but no command can be run there to find the engine: {error}",
                hint="name its socket with --socket PATH",
            ) from error
        found = [line for line in str(done.stdout or "").splitlines() if line.startswith("/")][:FOUND_LIMIT]
        if not found:
            raise EngineUnreachable(
                f"{self._address}: logged in, but no engine of this user is running there",
                hint="start it there, log in as its user, or name its socket with --socket PATH",
            )
        return [Path(line) for line in found]

    async def _the_only_one(self, connection: asyncssh.SSHClientConnection, found: list[Path]) -> tuple[Path, _Channel]:
        """The one socket that opens, and its channel; dead ones do not count, and of several none is guessed."""
        if len(found) == 1:
            return found[0], await self._open(connection, found[0])
        alive: list[tuple[Path, _Channel]] = []
        for place in found:
            if (channel := await self._try_to_open(connection, place)) is not None:
                alive.append((place, channel))
        if len(alive) == 1:
            return alive[0]
        if not alive:
            message, hint = channel_words(str(self._address), f"each of {len(found)} sockets", is_there=True)
            raise EngineUnreachable(message, hint=hint)
        told = ", ".join(str(place) for place, _ in alive[:TOLD_LIMIT])
        more = f" and {len(alive) - TOLD_LIMIT} more" if len(alive) > TOLD_LIMIT else ""
        raise EngineUnreachable(
            f"{self._address}: several engines are running there", hint=f"choose one with --socket: {told}{more}"
        )

    async def _open(self, connection: asyncssh.SSHClientConnection, place: Path) -> _Channel:
        channel = await self._try_to_open(connection, place)
        if channel is None:
            message, hint = channel_words(str(self._address), str(place), is_there=await _is_there(connection, place))
            raise EngineUnreachable(message, hint=hint)
        return channel

    async def _try_to_open(self, connection: asyncssh.SSHClientConnection, place: Path) -> _Channel | None:
        """None when sshd cannot open it; it does not say why."""
        try:
            async with asyncio.timeout(OPEN_S):
                reader, writer = await connection.open_unix_connection(str(place), encoding=None)
        except asyncssh.ChannelOpenError:
            return None
        except (asyncssh.Error, OSError) as error:
            raise EngineUnreachable(f"{self._address}: the connection was lost: {error}") from error
        return _Reader(reader), writer


class _Reader:
    """The channel as the control client reads it: its errors are those of any lost connection."""

    def __init__(self, reader: asyncssh.SSHReader[bytes]) -> None:
        self._reader = reader

    async def readexactly(self, n: int, /) -> bytes:
        try:
            return await self._reader.readexactly(n)
        except asyncssh.Error as error:
            raise ConnectionResetError(str(error)) from error


class _Writer:
    """The channel as the control client writes it; closing it ends the whole SSH connection."""

    def __init__(self, writer: asyncssh.SSHWriter[bytes], connection: asyncssh.SSHClientConnection) -> None:
        self._writer = writer
        self._connection = connection

    def write(self, data: bytes, /) -> None:
        with contextlib.suppress(OSError):  # lost: the reading side says so
            self._writer.write(data)

    def close(self) -> None:
        self._writer.close()
        self._connection.close()

    async def wait_closed(self) -> None:
        with contextlib.suppress(TimeoutError, asyncssh.Error, OSError):
            async with asyncio.timeout(2.0):
                await self._connection.wait_closed()


_Channel = tuple[_Reader, asyncssh.SSHWriter[bytes]]


def login_words(error: BaseException, where: str, *, has_password: bool = False) -> tuple[str, str]:
    """Message and hint for a login that failed, by the step that it failed in."""
    table: tuple[tuple[type[BaseException], str, str], ...] = (
        (socket.gaierror, f"{where}: the name cannot be resolved", "check the spelling, or use the address"),
        (ConnectionRefusedError, f"{where}: nothing listens for SSH there", "check the port; is sshd running?"),
        (TimeoutError, f"{where}: no answer within {CONNECT_S:.0f} s", "is the host up, and is its port open to you?"),
        (asyncssh.HostKeyNotVerifiable, f"{where}: its host key is not the one in known_hosts, or none is there",
         f"run   ssh {where.partition(':')[0]}   once and compare the fingerprint; if it changed, find out why first"),
        (asyncssh.PermissionDenied, f"{where}: the login was refused",
         "the password was wrong" if has_password else "load a key into ssh-agent, or check the user name"),
        (asyncssh.KeyExchangeFailed, f"{where}: no common algorithms: {error}", "its sshd is too old or too strict"),
        (asyncssh.KeyImportError, f"{where}: a key of yours cannot be read: {error}", "load it into ssh-agent"),
        (asyncssh.ConfigParseError, f"your SSH configuration cannot be read: {error}", "see ~/.ssh/config"),
        (asyncssh.DisconnectError, f"{where}: the connection was ended: {error}", ""),
        (OSError, f"{where}: cannot be reached: {getattr(error, 'strerror', None) or error}", "check the network"),
    )  # fmt: skip
    for cls, message, hint in table:
        if isinstance(error, cls):
            return message, hint
    return f"{where}: SSH failed: {error}", ""


def channel_words(where: str, place: str, *, is_there: bool) -> tuple[str, str]:
    """Message and hint for a socket on the other side that could not be opened; sshd does not say why."""
    if is_there:
        return (
            f"{where}: {place} is there but does not open: its engine is gone, or sshd forwards no sockets",
            "is the engine running? AllowStreamLocalForwarding yes in sshd_config; no restrict on your key there",
        )
    return (
        f"{where}: there is no engine at {place}",
        "is it running there, and are you logged in as its user? --socket PATH names another place",
    )


async def _is_there(connection: asyncssh.SSHClientConnection, place: Path) -> bool:
    try:
        async with asyncio.timeout(OPEN_S):
            done = await connection.run(f"test -S {shlex.quote(str(place))}", check=False, stdin=asyncssh.DEVNULL)
    except (asyncssh.Error, OSError):
        return False
    return done.exit_status == 0
