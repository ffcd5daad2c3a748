"""An administrator's login on nodes: for a look as root and for repairs, never for the engine's own work.

A password is asked for once, kept in this object only, and given to the node over the encrypted channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from engine.errors import SshAuthFailed, SshCommandFailed
from engine.ssh import failures
from engine.ssh.connection import CommandResult, ConnectionGoneError, NodeConnection
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.login import connect_tcp, open_connection
from engine.ssh.target import NodeTarget

_CONNECT_S = 10.0
_LOGIN_S = 10.0
_OUTPUT_LIMIT = 1 << 20
SUDO_REFUSED = "sudo refuses this administrator"


class AdminLogin:
    """One administrator for all nodes. ``ask`` is called at most once, and only when no key opens the door."""

    def __init__(
        self,
        username: str,
        host_keys: HostKeys,
        *,
        keys: Sequence[ClientKey] = (),
        password: str | None = None,
        ask: Callable[[str], str] | None = None,
    ) -> None:
        self.username = username
        self._host_keys = host_keys
        self._keys = tuple(keys)
        self._password = password
        self._ask = ask

    async def run_as_root(self, target: NodeTarget, script: str, *, timeout_s: float = 60.0) -> bytes:
        """Run a shell script as root and return its output.

        Raises SshFailure; SshCommandFailed with the script's words when its status is not 0.
        """
        connection = await self._open(target)
        try:
            result = await self._as_root(connection, target, _whole(script), timeout_s)
        finally:
            await connection.close(2.0)
        return self._checked(target, result)

    def _checked(self, target: NodeTarget, result: CommandResult) -> bytes:
        if result.exit_status != 0:
            said = failures.plain(result.stderr, 400) or failures.plain(result.stdout, 400)
            raise SshCommandFailed(
                f"on {target.address} as {self.username}: status {result.exit_status}: {said or 'no message'}",
                exit_status=result.exit_status,
                stderr=said,
                stdout=result.stdout,
            )
        return result.stdout

    async def run(self, target: NodeTarget, script: str, *, timeout_s: float = 60.0) -> bytes:
        """Run a shell script as this account itself. Raises as ``run_as_root`` does."""
        connection = await self._open(target)
        try:
            result = await self._run(connection, target, "sh -s", _whole(script).encode(), timeout_s)
        finally:
            await connection.close(2.0)
        return self._checked(target, result)

    async def try_login(self, target: NodeTarget) -> None:
        """Log in and out again, which proves that the way in is still open. Raises SshFailure."""
        connection = await self._open(target)
        await connection.close(2.0)

    async def _open(self, target: NodeTarget) -> NodeConnection:
        own = replace(target, username=self.username, node_id=f"{target.node_id}#admin")
        try:
            return await self._login(own, self._password)
        except SshAuthFailed:
            if self._password is not None or self._ask is None:
                raise
        ask, self._ask = self._ask, None
        self._password = ask(f"Password of {self.username} on the nodes: ")
        return await self._login(own, self._password)

    async def _login(self, own: NodeTarget, password: str | None) -> NodeConnection:
        return await open_connection(
            own,
            await connect_tcp(own, _CONNECT_S),
            self._keys,
            self._host_keys,
            login_timeout_s=_LOGIN_S,
            keepalive_interval_s=15.0,
            keepalive_count=3,
            channels=4,
            on_pinned=lambda _: None,
            password=password,
        )

    async def _as_root(
        self, connection: NodeConnection, target: NodeTarget, script: str, timeout_s: float
    ) -> CommandResult:
        """The script travels on standard input, behind the password where sudo wants one."""
        if (await self._run(connection, target, "id -u", b"", 10.0)).stdout.strip() == b"0":
            return await self._run(connection, target, "sh -s", script.encode(), timeout_s)
        if (await self._run(connection, target, "sudo -n true", b"", 15.0)).exit_status == 0:
            return await self._run(connection, target, "sudo -n sh -s", script.encode(), timeout_s)
        if self._password is None and self._ask is not None:
            ask, self._ask = self._ask, None
            self._password = ask(f"Password of {self.username} for sudo on the nodes: ")
        if self._password is None:
            raise SshCommandFailed(
                f"{SUDO_REFUSED} without a password on {target.address}",
                hint="let doctor ask for the password, or name an administrator who needs none",
            )
        # -k: sudo always reads the password's line, so that it can never reach the shell.
        word = self._password.encode() + b"\n"
        return await self._run(connection, target, "sudo -k -S -p '' sh -s", word + script.encode(), timeout_s)

    async def _run(
        self, connection: NodeConnection, target: NodeTarget, command: str, stdin: bytes, timeout_s: float
    ) -> CommandResult:
        try:
            return await connection.run(
                command, stdin=stdin, timeout_s=timeout_s, channel_timeout_s=10.0, max_output_bytes=_OUTPUT_LIMIT
            )
        except ConnectionGoneError:
            raise failures.outcome_unknown(target) from None


def _whole(script: str) -> str:
    """A shell reads its script as it goes: read whole first, no program in it can take the rest for its own input."""
    return f"basilica_script() {{\n{script}\n}}\nbasilica_script </dev/null\n"
