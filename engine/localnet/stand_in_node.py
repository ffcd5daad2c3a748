"""A GPU node that is not one: an SSH server on loopback with its own home, key file and ``nvidia-smi``.

It is no sandbox: commands are real, run with this program's uid and see the whole file system. Therefore it listens
on 127.0.0.1 only and admits only keys in its own authorized_keys. It forwards nothing: no ports, no agent, no X11,
no terminal.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import stat
import sys
import time
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncssh

from engine.localnet.files import private_directory, write_private
from engine.localnet.gpu_model import GpuModel
from engine.localnet.keyline import Allowed, Denied, judge
from engine.localnet.processes import end_marked
from engine.localnet.stand_in_session import Shell, StandInSession, signal_group

SERVER_VERSION = "OpenSSH_9.9 basilica-localnet-stand-in"
"""Reads as an sshd that knows ``expiry-time="…Z"``, and says what it is."""

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_MARKER = "BASILICA_STAND_IN"
_TOOLS = Path(__file__).parent / "stand_in"
_KEY_FILE_LIMIT = 1 << 20


class StandInNode:
    """One node, kept in ``directory``: ``host_key``, ``gpu.conf``, ``bin/`` and ``home/.ssh/authorized_keys``.

    ``port`` 0 takes a free one; the host key stays the same whenever the directory is used again.
    """

    host = "127.0.0.1"

    def __init__(
        self, directory: Path, *, port: int = 0, username: str = "basilica", gpu: GpuModel | None = None
    ) -> None:
        self.directory = directory
        self.username = username
        self.home = directory / "home"
        self.authorized_keys = self.home / ".ssh" / "authorized_keys"
        self.logins = 0
        self.denials: list[Denied] = []
        self._port = port
        self._gpu = gpu or GpuModel()
        self._server: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._processes: set[asyncio.subprocess.Process] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_run = False
        self._token = secrets.token_hex(12)

    @property
    def port(self) -> int:
        """The port it listens on; before ``start`` the one asked for."""
        return self._port

    async def start(self) -> None:
        """Prepare the directory and listen. Raises OSError when the port is taken."""
        host_key = prepare(self.directory, self._gpu)
        self._server = await asyncssh.listen(
            self.host,
            self._port,
            config=None,
            server_factory=lambda: _Door(self),
            server_host_keys=[str(host_key)],
            server_version=SERVER_VERSION,
            encoding=None,
            allow_pty=False,
            line_editor=False,
            agent_forwarding=False,
            x11_forwarding=False,
            gss_host=None,
            login_timeout=30,
            reuse_address=True,
        )
        self._port = self._server.get_port()

    async def stop(self) -> None:
        """Stop listening, cut every connection and end every command that was started here."""
        if self._server is not None:
            self._server.close()
            for connection in tuple(self._connections):
                connection.abort()
            await self._server.wait_closed()
            self._server = None
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        alive = [process for process in self._processes if process.returncode is None]
        for process in alive:
            signal_group(process, 9)
        await asyncio.gather(*(process.wait() for process in alive))
        self._processes.clear()
        # A command may have left its process group (setsid); the environment still tells whose child it is.
        if self._has_run:
            await asyncio.to_thread(end_marked, _MARKER, self._token)

    def judge(self, username: str, algorithm: str, blob: bytes, peer: str) -> Allowed | Denied:
        """Whether this key opens the account now, by the key file as it is at this moment."""
        if username != self.username:
            return Denied("no_such_user", username)
        if not _is_private(self.home, self.authorized_keys.parent, self.authorized_keys):
            return Denied("bad_modes", str(self.authorized_keys))
        content = self.authorized_keys.read_bytes()
        return judge(content, algorithm, blob, now=time.time(), peer=peer, zone=_system_zone())

    def _shell(self, forced: str | None) -> Shell:
        environment = {
            "HOME": str(self.home),
            "USER": self.username,
            "LOGNAME": self.username,
            "SHELL": "/bin/sh",
            "PATH": f"{self.directory / 'bin'}:{SYSTEM_PATH}",
            "LANG": "C.UTF-8",
            _MARKER: self._token,
        }
        return Shell(self.home, environment, forced, self._adopt, self._keep)

    def _adopt(self, process: asyncio.subprocess.Process) -> None:
        self._has_run = True
        self._processes = {known for known in self._processes if known.returncode is None}
        self._processes.add(process)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Door(asyncssh.SSHServer):
    """What asyncssh asks about one connection; everything that is not asked here is refused by its defaults."""

    def __init__(self, node: StandInNode) -> None:
        self._node = node
        self._conn: asyncssh.SSHServerConnection | None = None
        self._allowed: Allowed | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._conn = conn
        self._node._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._conn is not None:
            self._node._connections.discard(self._conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        assert self._conn is not None
        peer = str(self._conn.get_extra_info("peername")[0])
        verdict = self._node.judge(username, key.get_algorithm(), key.public_data, peer)
        self._allowed = verdict if isinstance(verdict, Allowed) else None
        if isinstance(verdict, Denied):
            self._node.denials = [*self._node.denials[-99:], verdict]
        return self._allowed is not None

    def auth_completed(self) -> None:
        self._node.logins += 1

    def session_requested(self) -> asyncssh.SSHServerSession[bytes] | bool:
        if self._allowed is None:
            return False
        return StandInSession(self._node._shell(self._allowed.options.command))


def prepare(directory: Path, gpu: GpuModel) -> Path:
    """Create what is missing in a node's directory, leave what is there, and return the path of the host key."""
    ssh = directory / "home" / ".ssh"
    for folder in (directory, directory / "bin", directory / "home", ssh):
        private_directory(folder)
    host_key, keys, gpu_file = directory / "host_key", ssh / "authorized_keys", directory / "gpu.conf"
    if not host_key.exists():
        write_private(host_key, asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    if not keys.exists():
        write_private(keys, b"")
    if not gpu_file.exists():
        gpu_file.write_text(gpu.to_text())
    for tool in ("nvidia-smi", "docker"):
        target = directory / "bin" / tool
        target.write_bytes((_TOOLS / tool).read_bytes())
        target.chmod(0o755)
    python = directory / "bin" / "python3"
    if not python.is_symlink() and shutil.which("python3", path=SYSTEM_PATH) is None:
        # GPU nodes have one; a machine that only has python3.14, or one of uv's, has none of that name.
        python.symlink_to(Path(sys.executable).resolve())
    return host_key


def _is_private(*paths: Path) -> bool:
    """As sshd's StrictModes: all ours, none writable by others; the last one a plain file of bearable size."""
    try:
        found = [path.stat() for path in paths]
    except OSError:
        return False
    ours = all(item.st_uid == os.getuid() and not item.st_mode & 0o022 for item in found)
    return ours and stat.S_ISREG(found[-1].st_mode) and found[-1].st_size <= _KEY_FILE_LIMIT


def _system_zone() -> tzinfo:
    """The machine's zone, as sshd knows it; TZ of this process is not asked."""
    try:
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return UTC
