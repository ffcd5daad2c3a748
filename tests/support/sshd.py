"""Real OpenSSH servers as nodes: each with its own account, home, host key and port on 127.0.0.1.

As root every sshd gets private mounts (passwd, shadow, group, /run) and a private process namespace, so that the
machine's own accounts stay untouched and stopping a node ends all its processes. Without root, or where
namespaces are forbidden to a non-root user, sshd runs as the current user with HOME pointing into the node's directory.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import pytest

from engine.ssh.target import NodeTarget
from tests.support.ports import free_port

SSHD = Path("/usr/sbin/sshd")
USER_ID = 5001
FAKE_NVIDIA_SMI = """#!/bin/sh
# A stand-in for NVIDIA's tool: answers the two questions that the engine asks, for two invented H100 cards.
case "$*" in
*--query-gpu=*)
    echo "0, GPU-11111111-aaaa-bbbb-cccc-000000000001, 81559, 550.54.15, 37, 41, NVIDIA H100 80GB HBM3"
    echo "1, GPU-11111111-aaaa-bbbb-cccc-000000000002, 81559, 550.54.15, 0, 35, NVIDIA H100 80GB HBM3"
    ;;
*) echo "| NVIDIA-SMI 550.54.15    Driver Version: 550.54.15    CUDA Version: 12.4  |" ;;
esac
"""
_ENTER = """set -e
for name in passwd shadow group; do mount --bind "$1/etc/$name" "/etc/$name"; done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 755 /run/sshd
if [ -d "$1/etc/ssh" ]; then
    mount --bind "$1/etc/ssh" /etc/ssh
    mount --bind "$1/etc/sudoers.d" /etc/sudoers.d
fi
if [ "$2" != 0 ]; then mount -t tmpfs -o "size=${2}k,mode=700,uid=$3,gid=$3" tmpfs "$1/home/.ssh"; fi
if [ -d "$1/etc/ssh" ]; then exec "$4" -D -E "$1/log"; fi
exec "$4" -D -f "$1/sshd_config" -E "$1/log"
"""


@dataclass
class NodeSshd:
    """One running sshd and the account behind it."""

    root: Path
    port: int
    username: str
    is_private: bool
    max_startups: str = "100:30:200"
    ssh_dir_kib: int = 0
    host: str = "127.0.0.1"
    options: tuple[str, ...] = ()
    has_own_etc: bool = False
    """Whether sshd runs from an ``/etc/ssh`` of its own, as on a real machine; root has a home of its own, sudo its
    ``/etc/sudoers.d``."""
    launcher: tuple[str, ...] = ()
    """Words in front of sshd's command: another network namespace, another clock."""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def home(self) -> Path:
        """The account's home directory."""
        return self.root / "home"

    @property
    def authorized_keys(self) -> Path:
        """The account's key file, seen from outside (not through a ``ssh_dir_kib`` mount: see ``inside``)."""
        return self.home / ".ssh" / "authorized_keys"

    @property
    def etc_ssh(self) -> Path:
        """The node's ``/etc/ssh``, with ``has_own_etc``."""
        return self.root / "etc" / "ssh"

    def protected_keys(self) -> bytes:
        """The account's key file that only root can write, with ``has_own_etc``; empty where there is none."""
        path = self.etc_ssh / "basilica_keys" / self.username
        return path.read_bytes() if path.exists() else b""

    @property
    def root_keys(self) -> Path:
        """The key file of root, with ``has_own_etc``."""
        return self.root / "root" / ".ssh" / "authorized_keys"

    @property
    def tools(self) -> Path:
        """First directory on the node's PATH; holds the stand-in for nvidia-smi."""
        return self.root / "fake-bin"

    @property
    def target(self) -> NodeTarget:
        """This node for the engine."""
        return NodeTarget(f"node-{self.port}", self.host, self.port, self.username)

    @property
    def host_key_fingerprint(self) -> str:
        """SHA256 fingerprint of the host key that sshd shows now."""
        return asyncssh.read_public_key(self.root / "host_key.pub").get_fingerprint()

    @property
    def pid(self) -> int:
        """The sshd that listens, behind its private mounts."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    def inside(self, path: Path) -> Path:
        """The path as the node's processes see it, through its private mounts."""
        if not self.is_private:
            return path
        return Path(f"/proc/{self.pid}/root") / path.relative_to("/")

    def authorize(self, content: str | bytes) -> None:
        """Write the account's whole key file, mode 0600."""
        path = self.inside(self.authorized_keys)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o600)
        self.own(path)

    def keys(self) -> bytes:
        """The account's key file as it is now."""
        return self.inside(self.authorized_keys).read_bytes()

    def own(self, path: Path) -> None:
        """Give a path to the account."""
        if self.is_private:
            os.chown(path, USER_ID, USER_ID, follow_symlinks=False)

    def log(self) -> str:
        """What sshd has logged."""
        path = self.root / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Run sshd and wait until it listens."""
        (self.root / "log").unlink(missing_ok=True)
        command = [str(SSHD), "-D", "-f", str(self.root / "sshd_config"), "-E", str(self.root / "log")]
        if self.is_private:
            enter = ["sh", "-c", _ENTER, "enter", str(self.root), str(self.ssh_dir_kib), str(USER_ID), str(SSHD)]
            command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *enter]
        self._process = subprocess.Popen(
            [*self.launcher, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while "Server listening on" not in self.log():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                said = self._process.communicate()[1].decode(errors="replace")
                self._process = None
                raise RuntimeError(f"sshd did not start: {said}{self.log()}")
            time.sleep(0.005)

    def stop(self) -> None:
        """End sshd and, where it has a process namespace of its own, everything that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        sessions = [] if self.is_private else _descendants(process.pid)
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()
        for pid in sessions:
            _kill(pid)

    def has_stopped_session(self) -> bool:
        """Whether a process that sshd started was stopped by a signal."""
        assert self._process is not None
        states = [_state(pid) for pid in _descendants(self._process.pid)]
        return "T" in states

    def restart(self, *, new_host_key: bool = False) -> None:
        """Stop and start on the same port, as a reboot does, or a reinstallation with ``new_host_key``."""
        self.stop()
        if new_host_key:
            write_host_key(self.root)
        self.start()


def write_host_key(root: Path) -> None:
    """Make a host key for the node."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    (root / "host_key").unlink(missing_ok=True)
    (root / "host_key").touch(mode=0o600)
    (root / "host_key").write_bytes(key.export_private_key("openssh"))
    (root / "host_key.pub").write_bytes(key.export_public_key("openssh"))


def create_node(
    *,
    max_startups: str = "100:30:200",
    ssh_dir_kib: int = 0,
    options: tuple[str, ...] = (),
    host: str = "127.0.0.1",
    launcher: tuple[str, ...] = (),
    has_own_etc: bool = False,
) -> NodeSshd:
    """Build a node's directory and start its sshd. ``ssh_dir_kib`` gives ``~/.ssh`` a file system of that size."""
    is_private = os.geteuid() == 0
    root = Path(tempfile.mkdtemp(prefix="basilica-sshd-"))
    root.chmod(0o755)
    username = "basilica" if is_private else os.environ.get("USER") or _own_name()
    node = NodeSshd(
        root, free_port(), username, is_private, max_startups, ssh_dir_kib, host, options, has_own_etc, launcher
    )
    try:
        _furnish(node)
        node.start()
    except BaseException:
        remove_node(node)
        raise
    return node


def remove_node(node: NodeSshd) -> None:
    """Stop the node and delete its directory."""
    node.stop()
    shutil.rmtree(node.root, ignore_errors=True)


@functools.cache
def why_not() -> str:
    """Why real sshd nodes cannot run here; empty when they can."""
    if not SSHD.exists():
        return "OpenSSH's sshd is not installed (Debian: apt-get install openssh-server)"
    if os.geteuid() == 0:
        trial = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "mount", "-t", "tmpfs"]
        if subprocess.run([*trial, "tmpfs", "/run"], capture_output=True, check=False).returncode != 0:
            return "this machine forbids private mounts (unshare --mount --pid)"
    return ""


@pytest.fixture
def sshd_nodes() -> Iterator[Callable[..., NodeSshd]]:
    """A factory of running nodes (arguments of ``create_node``); all end with the test."""
    if reason := why_not():
        pytest.skip(reason)
    nodes: list[NodeSshd] = []

    def create(**settings: object) -> NodeSshd:
        node = create_node(**settings)  # type: ignore[arg-type]  # the caller's keywords are create_node's
        nodes.append(node)
        return node

    yield create
    for node in nodes:
        remove_node(node)


@pytest.fixture
def sshd_node(sshd_nodes: Callable[..., NodeSshd]) -> NodeSshd:
    """One running node without any authorized key."""
    return sshd_nodes()


def _furnish(node: NodeSshd) -> None:
    for name in ("etc", "home", "home/.ssh", "fake-bin"):
        (node.root / name).mkdir(mode=0o755)
    (node.home / ".ssh").chmod(0o700)
    smi = node.tools / "nvidia-smi"
    smi.write_text(FAKE_NVIDIA_SMI)
    smi.chmod(0o755)
    write_host_key(node.root)
    for owned in (node.home, node.home / ".ssh"):
        node.own(owned)
    entry = f"basilica:x:{USER_ID}:{USER_ID}::{node.home}:/bin/sh\n"
    for name, line in (
        ("passwd", entry),
        ("shadow", "basilica:*:19000::::::\n"),
        ("group", f"basilica:x:{USER_ID}:\n"),
    ):
        original = Path("/etc", name)
        if node.is_private:
            dropped = ("basilica:", "root:x:") if node.has_own_etc and name == "passwd" else ("basilica:",)
            kept = [one for one in original.read_text().splitlines(True) if not one.startswith(dropped)]
            if len(dropped) > 1:
                kept.append(f"root:x:0:0:root:{node.root}/root:/bin/sh\n")
            (node.root / "etc" / name).write_text("".join(kept) + line)
            (node.root / "etc" / name).chmod(original.stat().st_mode & 0o777)
    lines = [
        f"Port {node.port}",
        f"ListenAddress {node.host}",
        f"HostKey {node.root}/host_key",
        f"PidFile {node.root}/pid",
        "UsePAM no",
        "UseDNS no",
        "LogLevel VERBOSE",
        f"MaxStartups {node.max_startups}",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        *node.options,
    ]
    path = f"{node.tools}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    if node.is_private:
        lines += ["StrictModes yes", f"SetEnv PATH={path}"]
    else:
        # The directory lies below /tmp, which StrictModes rejects for a file outside the account's real home.
        lines += [
            "StrictModes no",
            f"AuthorizedKeysFile {node.authorized_keys}",
            f"SetEnv PATH={path} HOME={node.home}",
        ]
    (node.root / "sshd_config").write_text("\n".join(lines) + "\n")
    if node.has_own_etc:
        (node.etc_ssh / "sshd_config.d").mkdir(parents=True)
        (node.root / "etc" / "sudoers.d").mkdir()
        (node.etc_ssh / "sshd_config").write_text(
            "\n".join(["Include /etc/ssh/sshd_config.d/*.conf", "PermitRootLogin prohibit-password", *lines]) + "\n"
        )
        node.root_keys.parent.mkdir(parents=True, mode=0o700)


def _own_name() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def _descendants(pid: int) -> list[int]:
    found = []
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it ended meanwhile
        return []
    for child in children:
        found += [int(child), *_descendants(int(child))]
    return found


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
