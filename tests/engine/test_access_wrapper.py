"""The forced command over real sshd with the real ssh, scp and sftp programs: it changes nothing but the end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.ssh.authorized_keys import Change, WantedKey, inventory, plan_change
from engine.ssh.keys import ClientKey
from engine.ssh.session_wrapper import EXPIRED_STATUS, TIMEOUT_STATUS, deadline_of
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd
HOLDER = "validator-5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
GRANT = "0a1b2c3d4e5f"


class Visitor:
    """A key on a node, used by the programs that people use."""

    def __init__(self, node: NodeSshd, directory: Path) -> None:
        self.node = node
        self.directory = directory
        self.key = ClientKey.generate("visitor")
        self.path = directory / "visitor"
        self.key.save(self.path)
        self.mux = directory / "m"

    def options(self, *more: str) -> list[str]:
        words = ["-F", "none", "-i", str(self.path)]
        for one in (
            "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "BatchMode=yes",
            "ConnectTimeout=30", "LogLevel=ERROR", *more,
        ):  # fmt: skip
            words += ["-o", one]
        return words

    def ssh(self, *command: str, stdin: bytes = b"", flags: tuple[str, ...] = (), options: tuple[str, ...] = ()):  # type: ignore[no-untyped-def]
        words = ["ssh", *self.options(*options), "-p", str(self.node.port), *flags]
        return self._run([*words, f"{self.node.username}@{self.node.host}", *command], stdin)

    def copy(self, program: str, source: Path, name: str, *flags: str):  # type: ignore[no-untyped-def]
        place = f"{self.node.username}@{self.node.host}"
        if program == "sftp":
            batch = f"put {source} {name}\n".encode()
            return self._run(["sftp", *self.options(), "-P", str(self.node.port), "-b", "-", place], batch)
        return self._run(
            ["scp", *flags, *self.options(), "-P", str(self.node.port), str(source), f"{place}:{name}"], b""
        )

    @staticmethod
    def _run(words: list[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            words, input=stdin, capture_output=True, timeout=100, check=False, env={"PATH": os.environ["PATH"]}
        )

    def enter(self, *, seconds: int = 600, wrapped: bool = True) -> None:
        """Write the visitor's line, as the reconciler does."""
        end = int(time.time()) + seconds
        key = WantedKey(GRANT, HOLDER, self.key.algorithm, self.key.blob_base64, end, "", end if wrapped else None)
        path = self.node.inside(self.node.authorized_keys)
        change = plan_change(path.read_bytes() if path.exists() else b"", [key])
        assert isinstance(change, Change)
        self.node.authorize(change.new)


@pytest.fixture
def visitor(sshd_nodes: Callable[..., NodeSshd], tmp_path: Path) -> Visitor:
    """A visitor whose line carries the wrapper, on a node with the external sftp server."""
    made = Visitor(sshd_nodes(options=("Subsystem sftp /usr/lib/openssh/sftp-server",)), tmp_path)
    made.enter()
    return made


COMMANDS = [
    "echo plain",
    """printf '%s|' "a b" 'c "d"' e\\ f "$((1+2))" '$HOME'; echo""",
    "exit 7",
    "echo to-stderr >&2; false",
    "kill -TERM $$",
    "echo one; echo two | tr o 0 && (cd / && pwd)",
    "cat <<'E'\nmany\nlines 'quoted'\nE",
    "echo ünïcode ✓",
    "echo $SHELL $HOME; id -un",
    "for i in 1 2 3; do echo $i; done; sh -c 'exit 3' || echo $?",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_behaves_as_without_the_wrapper(visitor: Visitor, command: str) -> None:
    """Output, error output and exit status are those of a plain line."""
    wrapped = visitor.ssh(command)
    visitor.enter(wrapped=False)
    plain = visitor.ssh(command)
    # A shell that dies by a signal under timeout is told as 128 + n instead of by name.
    same_status = wrapped.returncode == plain.returncode or plain.returncode == 255
    assert (wrapped.stdout, wrapped.stderr) == (plain.stdout, plain.stderr) and same_status


def test_three_megabytes_go_in_and_out_unchanged(visitor: Visitor) -> None:
    """Standard input reaches the command byte for byte, and its output comes back so."""
    data = os.urandom(3 << 20)
    assert visitor.ssh("cat", stdin=data).stdout == data


@pytest.mark.parametrize(("program", "flags"), [("scp", ()), ("scp", ("-O",)), ("sftp", ())])
def test_files_arrive_unchanged(visitor: Visitor, tmp_path: Path, program: str, flags: tuple[str, ...]) -> None:
    """scp in both of its protocols and sftp put the same bytes there."""
    source = tmp_path / "data"
    source.write_bytes(os.urandom(300_000))
    result = visitor.copy(program, source, "arrived", *flags)
    assert result.returncode == 0, result.stderr
    arrived = visitor.node.inside(visitor.node.home / "arrived").read_bytes()
    assert hashlib.sha256(arrived).digest() == hashlib.sha256(source.read_bytes()).digest()


def test_internal_sftp_is_served_by_the_external_server(sshd_nodes: Callable[..., NodeSshd], tmp_path: Path) -> None:
    """A node whose sshd names internal-sftp still takes files."""
    node = sshd_nodes(options=("Subsystem sftp internal-sftp",))
    made = Visitor(node, tmp_path)
    made.enter()
    source = tmp_path / "data"
    source.write_bytes(b"bytes")
    result = made.copy("sftp", source, "arrived")
    assert result.returncode == 0, result.stderr
    assert node.inside(node.home / "arrived").read_bytes() == b"bytes"


def test_a_terminal_works(visitor: Visitor) -> None:
    """With a pty the command and the login shell read from a terminal."""
    assert b"/dev/pts" in visitor.ssh("tty", flags=("-tt",)).stdout
    shell = visitor.ssh(flags=("-tt",), stdin=b"tty; echo sum $((40+2)); exit 5\n")
    assert b"/dev/pts" in shell.stdout and b"sum 42" in shell.stdout
    assert shell.returncode == 5


def test_a_login_shell_reads_from_a_pipe(visitor: Visitor) -> None:
    """Without a command and a terminal the shell reads its commands from standard input."""
    result = visitor.ssh(stdin=b"echo from stdin; exit 4\n")
    assert (result.stdout, result.returncode) == (b"from stdin\n", 4)


def test_the_deadline_ends_a_running_command(visitor: Visitor) -> None:
    """A command that runs at the deadline is ended, its own children too."""
    for seconds in (2, 8, 32):  # a login takes what it takes on a busy machine
        visitor.enter(seconds=seconds)
        result = visitor.ssh("echo began; sleep 60 & sleep 61; echo not reached")
        if result.stdout:
            break
    assert result.stdout == b"began\n"
    assert result.returncode == TIMEOUT_STATUS and b"not reached" not in result.stdout
    given_up_at = time.monotonic() + 60  # a signal was sent; the kernel may take its time
    while "sleep\n" in (left := names_of_processes(visitor)) and time.monotonic() < given_up_at:
        time.sleep(0.05)
    assert "sleep\n" not in left


def names_of_processes(visitor: Visitor) -> list[str]:
    """What runs on the node."""
    found = []
    for path in Path(visitor.node.inside(Path("/proc"))).glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            found.append(path.read_text())
    return found


def test_an_open_connection_starts_nothing_after_its_end(visitor: Visitor) -> None:
    """Over a multiplexed connection new commands are refused at the deadline, after a removal, and not before."""
    shared = (f"ControlPath={visitor.mux}", "ControlPersist=60")
    for seconds in (4, 16, 64):  # two logins take what they take on a busy machine
        began = time.monotonic()
        visitor.enter(seconds=seconds)
        first = visitor.ssh("echo first", options=("ControlMaster=yes", *shared)).stdout
        second = visitor.ssh("echo second", options=shared).stdout
        if time.monotonic() - began < seconds - 1.5:
            break
        visitor.ssh(flags=("-O", "exit"), options=shared)
    assert (first, second) == (b"first\n", b"second\n")
    visitor.enter(seconds=600)
    time.sleep(seconds + 0.2)
    assert visitor.ssh("echo renewed", options=shared).stdout == b"renewed\n"
    (line,) = inventory(visitor.node.keys()).ours
    visitor.node.authorize(visitor.node.keys().replace(line.raw + b"\n", b""))
    removed = visitor.ssh("echo removed", options=shared)
    assert removed.returncode == EXPIRED_STATUS and removed.stdout == b""
    visitor.enter(seconds=-5)
    assert visitor.ssh("echo late", options=shared).returncode == EXPIRED_STATUS
    visitor.ssh(flags=("-O", "exit"), options=shared)


def test_our_line_is_recognised_and_left_alone_while_it_is_right(visitor: Visitor) -> None:
    """Reading the line back gives the grant and its deadline; a few seconds of clock reading rewrite nothing."""
    old = visitor.node.keys()
    (line,) = inventory(old).ours
    assert (line.grant_id, line.session_deadline_unix) == (GRANT, line.expires_at_unix)
    assert deadline_of(line.options) == line.expires_at_unix
    same = WantedKey(
        GRANT,
        HOLDER,
        visitor.key.algorithm,
        visitor.key.blob_base64,
        line.expires_at_unix,
        "",
        line.expires_at_unix + 7,
    )
    change = plan_change(old, [same])
    assert isinstance(change, Change) and not change.is_changed
    plain = WantedKey(GRANT, HOLDER, visitor.key.algorithm, visitor.key.blob_base64, line.expires_at_unix)
    unwrapped = plan_change(old, [plain])
    assert isinstance(unwrapped, Change) and b"command=" not in unwrapped.new
