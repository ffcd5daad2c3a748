"""The console through a real sshd: known hosts, keys, the socket's place, every step that fails, a lost connection."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from basilica_tui.app import ConsoleApp
from basilica_tui.profiles import SshAddress
from basilica_tui.remote import FIND, RemoteEngine, login_words
from engine.clock import SystemClock
from engine.errors import EngineUnreachable
from tests.console.test_attached import Engine, serving, until
from tests.support.ports import free_port

SSHD = Path("/usr/sbin/sshd")
pytestmark = [pytest.mark.sshd, pytest.mark.skipif(not SSHD.exists(), reason="needs OpenSSH's sshd")]

CONFIG = """Port {port}
ListenAddress 127.0.0.1
HostKey {root}/host_key
AuthorizedKeysFile {root}/authorized_keys
PasswordAuthentication {passwords}
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PidFile {root}/pid
SetEnv HOME={home}
{more}
"""


@dataclass
class Host:
    """A sshd for the user who runs the tests, and that user's ssh files."""

    root: Path
    port: int
    home: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> SshAddress:
        return SshAddress("127.0.0.1", self.port, getpass.getuser())

    def start(self, more: str = "", *, passwords: bool = False) -> None:
        said = "yes" if passwords else "no"
        text = CONFIG.format(port=self.port, root=self.root, home=self.home, more=more, passwords=said)
        (self.root / "sshd_config").write_text(text)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [str(SSHD), "-D", "-f", str(self.root / "sshd_config"), "-E", str(self.root / "log")]
        )
        for _ in range(1200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError((self.root / "log").read_text())

    def stop(self) -> None:
        """End the listener and every connection that it made."""
        if self.process is None:
            return
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self.process.terminate()
        self.process.wait()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGTERM)
        self.process = None

    def trust(self) -> None:
        key = (self.root / "host_key.pub").read_text().split()[:2]
        (self.home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {' '.join(key)}\n")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A running sshd that the operator's known_hosts and key fit; its paths are short, as sockets need."""
    top = Path(tempfile.mkdtemp(prefix="rt"))
    root, home = top / "sshd", top / "h"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    root.mkdir()
    for path in (root / "host_key", home / ".ssh" / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    shutil.copy(home / ".ssh" / "id_ed25519.pub", root / "authorized_keys")
    port = free_port()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    found = Host(root, port, home)
    found.start()
    found.trust()
    yield found
    found.stop()
    shutil.rmtree(top)


def leave_a_dead_socket(path: Path) -> None:
    """What an engine that was killed leaves: a socket that nobody serves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


async def failure(remote: RemoteEngine) -> EngineUnreachable:
    with pytest.raises(EngineUnreachable) as caught:
        await remote.connect(remote.where, role="read-only")
    return caught.value


async def test_the_console_works_through_ssh_and_comes_back(host: Host, tmp_path: Path) -> None:
    """Snapshot, live changes and an action; sshd is restarted under it; the console resumes by itself."""
    engine = Engine(tmp_path / "run" / "engine.sock")
    remote = RemoteEngine(host.address, tmp_path / "run" / "engine.sock")
    app = ConsoleApp(remote.where, clock=SystemClock(), connect=remote.connect)
    async with serving(engine), app.run_test(size=(120, 40)) as pilot:
        await until(pilot, "host key changed")
        await pilot.press("3", "K", "y")
        await until(pilot, "access is over")
        host.stop()
        await until(pilot, "engine gone")
        assert "nothing listens for SSH" in app.store.link.error or app.store.link.attempts >= 1
        host.start()
        await until(pilot, "● live")


async def test_the_socket_is_found_where_engines_make_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """None, one, several: nothing is guessed; what dead engines left is no engine."""
    # Engines of this very machine are none of the test's.
    monkeypatch.setattr("basilica_tui.remote.FIND", FIND.replace("/run/basilica/", f"{host.root}/none/"))
    remote = RemoteEngine(host.address, None)
    assert "no engine of this user is running there" in (await failure(remote)).message
    first = host.home / ".local/state/basilica/run/one/engine.sock"
    second = host.home / ".local/state/basilica/run/two/engine.sock"
    async with serving(Engine(first)):
        client = await remote.connect(remote.where, role="operator")
        assert client.hello.role == "operator"
        assert len((await client.snapshot()).nodes) == 6
        await client.close()
        for name in ("dead", "gone"):
            leave_a_dead_socket(host.home / f".local/state/basilica/run/{name}/engine.sock")
        client = await RemoteEngine(host.address, None).connect(remote.where, role="operator")
        assert len((await client.snapshot()).nodes) == 6
        await client.close()
        async with serving(Engine(second)):
            error = await failure(RemoteEngine(host.address, None))
            assert "dead" not in error.hint
            assert "several engines" in error.message
            assert str(first) in error.hint
            assert str(second) in error.hint
    leave_a_dead_socket(first)
    assert "each of 3 sockets is there but does not open" in (await failure(RemoteEngine(host.address, None))).message


async def test_each_step_that_fails_has_its_sentence(host: Host, tmp_path: Path) -> None:
    """Host key, login, forwarding, socket, port, name."""
    place = tmp_path / "run" / "engine.sock"
    assert "there is no engine at" in (await failure(RemoteEngine(host.address, place))).message
    unknown = host.home / ".ssh" / "known_hosts"
    good = unknown.read_text()
    unknown.write_text("")
    error = await failure(RemoteEngine(host.address, place))
    assert "its host key is not the one in known_hosts" in error.message
    assert "compare the fingerprint" in error.hint
    unknown.write_text(good)
    keys = host.root / "authorized_keys"
    allowed = keys.read_text()
    keys.write_text("")
    assert "the login was refused" in (await failure(RemoteEngine(host.address, place))).message
    keys.write_text(allowed)
    host.stop()
    assert "nothing listens for SSH" in (await failure(RemoteEngine(host.address, place))).message
    host.start("AllowStreamLocalForwarding no")
    async with serving(Engine(place)):
        error = await failure(RemoteEngine(host.address, place))
        assert "sshd forwards no sockets" in error.message
        assert "AllowStreamLocalForwarding" in error.hint


async def test_a_password_is_asked_for_once_and_only_where_keys_do_not_do(host: Host, tmp_path: Path) -> None:
    """With a key nobody is asked; without one, once; never for a server that takes no passwords."""
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "wrong"

    place = tmp_path / "run" / "engine.sock"
    remote = RemoteEngine(host.address, place, ask=ask)
    async with serving(Engine(place)):
        client = await remote.connect(remote.where, role="read-only")
        await client.close()
        assert asked == []
        (host.root / "authorized_keys").write_text("")
        error = await failure(remote)
        assert "the login was refused" in error.message
        assert "load a key" in error.hint
        assert asked == []
        host.stop()
        host.start(passwords=True)
        for _ in range(2):
            error = await failure(remote)
            assert "the login was refused" in error.message
        assert len(asked) == 1
        assert getpass.getuser() in asked[0]


async def test_the_ssh_configuration_is_honoured(host: Host, tmp_path: Path) -> None:
    """A host's alias, port and user come from ~/.ssh/config."""
    (host.home / ".ssh" / "config").write_text(
        f"Host rig\n  HostName 127.0.0.1\n  Port {host.port}\n  User {getpass.getuser()}\n"
    )
    place = tmp_path / "run" / "engine.sock"
    async with serving(Engine(place)):
        remote = RemoteEngine(SshAddress("rig"), place)
        client = await remote.connect(remote.where, role="read-only")
        assert client.hello.role == "read-only"
        await client.close()


async def test_a_host_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that accepts and says nothing is not waited for."""
    monkeypatch.setattr("basilica_tui.remote.CONNECT_S", 0.5)

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        error = await failure(RemoteEngine(SshAddress("127.0.0.1", port, "x"), Path("/x")))
    assert "no answer within" in error.message


def test_a_name_that_does_not_exist_has_its_sentence() -> None:
    """By the error of the resolver."""
    message, hint = login_words(socket.gaierror(-2, "Name or service not known"), "ops@rigg")
    assert message == "ops@rigg: the name cannot be resolved"
    assert hint
