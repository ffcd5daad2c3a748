"""A whole small machine around a real sshd: its own /etc, /home, /run, /usr/local/bin and processes, nothing of ours.

Root only: private mounts keep useradd, usermod, chattr, sshd's configuration and Docker's away from the real ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from engine.localnet.gpu_model import GpuModel
from tests.support.ports import free_port
from tests.support.sshd import SSHD, why_not, write_host_key

HERE = Path(__file__).parent
STAND_IN = HERE.parents[1] / "engine" / "localnet" / "stand_in"
ACCOUNT, ACCOUNT_ID = "basilica", 5001
SUDOER, SUDOER_ID, SUDOER_PASSWORD = "ops", 5002, "correct horse"
ADMIN = "toor"
_COPIED = (
    "alternatives", "bash.bashrc", "default", "environment", "group", "gshadow", "hosts", "init.d", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "localtime", "login.defs", "nsswitch.conf", "pam.d", "passwd", "profile", "protocols",
    "security", "services", "shadow", "shells", "skel", "ssl", "sudo.conf", "sudoers",
)  # fmt: skip
_ENTER = """set -e
mount --make-rprivate /
mount --bind "$1/etc" /etc
mount --bind "$1/home" /home
mount --bind "$1/bin" /usr/local/bin
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 755 /run/sshd
touch /run/docker-stand-in
. "$1/setup"
exec "$2" -D -f /etc/ssh/sshd_config -E "$1/log"
"""


@dataclass
class Machine:
    """One node. Change files below ``etc`` and ``home`` at any time, ``setup`` and ``sshd_lines`` before ``start``."""

    root: Path
    port: int
    host: str = "127.0.0.1"
    launcher: tuple[str, ...] = ()
    sshd_lines: list[str] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def etc(self) -> Path:
        """The machine's /etc."""
        return self.root / "etc"

    @property
    def home(self) -> Path:
        """The account's home."""
        return self.root / "home" / ACCOUNT

    @property
    def keys(self) -> Path:
        """The account's key file."""
        return self.home / ".ssh" / "authorized_keys"

    @property
    def fingerprint(self) -> str:
        """Of the host key that is shown now."""
        return asyncssh.read_public_key(self.root / "host_key.pub").get_fingerprint()

    def put_tool(self, name: str, script: str) -> None:
        """A program in /usr/local/bin."""
        path = self.root / "bin" / name
        path.write_text(script)
        path.chmod(0o755)

    def authorize(self, line: str) -> None:
        """Write the account's whole key file."""
        self.keys.write_text(line)
        self.keys.chmod(0o600)
        os.chown(self.keys, ACCOUNT_ID, ACCOUNT_ID)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text in a file below /etc."""
        path = self.etc / name
        text = path.read_text()
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new))

    def append(self, name: str, line: str) -> None:
        """Add a line to a file below /etc."""
        with (self.etc / name).open("a") as file:
            file.write(line + "\n")

    def add_setup(self, line: str) -> None:
        """A shell line that runs on the machine before sshd starts."""
        with (self.root / "setup").open("a") as file:
            file.write(line + "\n")

    def inside(self, command: str) -> str:
        """Run a shell command on the machine, as root; returns its output."""
        assert self._process is not None
        pid = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()[0]
        done = subprocess.run(
            ["nsenter", "--target", pid, "--mount", "--pid", "sh", "-c", command],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    def log(self) -> str:
        """What sshd logged."""
        path = self.root / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Run sshd and wait until it listens."""
        (self.root / "log").unlink(missing_ok=True)
        # As Debian has it: drop-ins first, Match blocks last.
        first = next((at for at, line in enumerate(self.sshd_lines) if line.startswith("Match")), len(self.sshd_lines))
        include = "Include /etc/ssh/sshd_config.d/*.conf"
        # Of MaxStartups OpenSSH 9.2 takes the last line, of everything else the first.
        own = [line for line in _sshd(self) if not self._states("MaxStartups") or not line.startswith("MaxStartups")]
        lines = [include, *self.sshd_lines[:first], *own, *self.sshd_lines[first:]]
        (self.etc / "ssh" / "sshd_config").write_text("\n".join(lines) + "\n")
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        enter = ["sh", "-c", _ENTER, "enter", str(self.root), str(SSHD)]
        self._process = subprocess.Popen(
            [*self.launcher, *command, *enter],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while "Server listening on" not in self.log():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                said = self._process.communicate()[1].decode(errors="replace")
                raise RuntimeError(f"the machine did not start: {said}{self.log()}")
            time.sleep(0.005)

    def _states(self, word: str) -> bool:
        return any(line.startswith(word) for line in self.sshd_lines)

    def stop(self) -> None:
        """End the machine and all its processes."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stderr:
                process.stderr.close()


def build_machine(public_line: str, *, host: str = "127.0.0.1", launcher: tuple[str, ...] = ()) -> Machine:
    """A healthy machine that admits the miner's key, not started yet."""
    root = Path(tempfile.mkdtemp(prefix="basilica-gallery-"))
    root.chmod(0o755)
    machine = Machine(root, free_port(), host, launcher)
    for name in ("etc/ssh/sshd_config.d", "etc/sudoers.d", "etc/docker", "home", "bin"):
        (root / name).mkdir(parents=True, mode=0o755)
    for name in _COPIED:
        source = Path("/etc", name)
        if source.is_dir():
            shutil.copytree(source, root / "etc" / name, symlinks=True, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy2(source, root / "etc" / name)
    for name in ("moduli", "ssh_config"):
        if Path("/etc/ssh", name).exists():
            shutil.copy2(Path("/etc/ssh", name), root / "etc" / "ssh" / name)
    write_host_key(root)
    (root / "setup").write_text("")
    _accounts(machine)
    _tools(machine)
    (machine.home / ".ssh").mkdir(mode=0o700)
    os.chown(machine.home / ".ssh", ACCOUNT_ID, ACCOUNT_ID)
    machine.authorize(public_line + "\n")
    return machine


def remove_machine(machine: Machine) -> None:
    """Stop it and delete its files."""
    machine.stop()
    subprocess.run(["chattr", "-R", "-i", "-a", str(machine.root / "home")], capture_output=True, check=False)
    shutil.rmtree(machine.root, ignore_errors=True)


def why_no_machines() -> str:
    """Why such machines cannot run here; empty when they can."""
    if os.geteuid() != 0:
        return "whole machines need root: private mounts of /etc"
    return why_not()


def let_admin_in(machine: Machine, public_line: str) -> None:
    """The administrator's key."""
    folder = machine.root / "home" / ADMIN / ".ssh"
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    (folder / "authorized_keys").write_text(public_line + "\n")


def hash_of(password: str) -> str:
    """A password as it stands in shadow."""
    done = subprocess.run(["openssl", "passwd", "-6", password], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _accounts(machine: Machine) -> None:
    accounts = ((ACCOUNT, ACCOUNT_ID, "*"), (ADMIN, 0, "*"))
    for name, number, password in accounts:
        home = machine.root / "home" / name
        home.mkdir(mode=0o755)
        group = number or 0
        os.chown(home, number, group)
        machine.append("passwd", f"{name}:x:{number}:{group}::/home/{name}:/bin/bash")
        machine.append("shadow", f"{name}:{password}:19000::::::")
    machine.append("group", f"{ACCOUNT}:x:{ACCOUNT_ID}:")
    machine.append("group", f"docker:x:5900:{ACCOUNT}")
    for name in ("group", "gshadow"):
        path = machine.etc / name
        if path.exists() and name == "gshadow":
            machine.append(name, f"{ACCOUNT}:!::")
            machine.append(name, f"docker:!::{ACCOUNT}")


def add_sudoer(machine: Machine, public_line: str) -> None:
    """An administrator who is not root and needs a password for sudo."""
    home = machine.root / "home" / SUDOER
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (home / ".ssh" / "authorized_keys").write_text(public_line + "\n")
    for path in (home, home / ".ssh", home / ".ssh" / "authorized_keys"):
        os.chown(path, SUDOER_ID, SUDOER_ID)
    machine.append("passwd", f"{SUDOER}:x:{SUDOER_ID}:{SUDOER_ID}::/home/{SUDOER}:/bin/sh")
    machine.append("shadow", f"{SUDOER}:{hash_of(SUDOER_PASSWORD)}:19000::::::")
    machine.append("group", f"{SUDOER}:x:{SUDOER_ID}:")
    rule = machine.etc / "sudoers.d" / "ops"
    rule.write_text(f"{SUDOER} ALL=(ALL:ALL) ALL\nDefaults !fqdn, !syslog, !pam_session\n")
    rule.chmod(0o440)


def _tools(machine: Machine) -> None:
    (machine.root / "gpu.conf").write_text(GpuModel().to_text())
    shutil.copy2(machine.root / "gpu.conf", machine.root / "bin" / "gpu.conf")
    smi = (STAND_IN / "nvidia-smi").read_text().replace("$here/../gpu.conf", "$here/gpu.conf")
    machine.put_tool("nvidia-smi", smi)
    for name in ("docker", "nvidia-ctk"):
        machine.put_tool(name, (HERE / "stand_in" / name).read_text())
    service = machine.etc / "init.d" / "docker"
    service.parent.mkdir(exist_ok=True)
    service.write_text((HERE / "stand_in" / "docker-service").read_text())
    service.chmod(0o755)
    (machine.etc / "docker" / "daemon.json").write_text('{"runtimes":{"nvidia":{"path":"nvidia-container-runtime"}}}\n')


def set_gpus(machine: Machine, **changes: object) -> None:
    """Other GPUs in the stand-in for nvidia-smi."""
    model = GpuModel(**changes)  # type: ignore[arg-type]  # the caller's keywords are GpuModel's
    (machine.root / "bin" / "gpu.conf").write_text(model.to_text())


def _sshd(machine: Machine) -> list[str]:
    return [
        f"Port {machine.port}",
        f"ListenAddress {machine.host}",
        f"HostKey {machine.root}/host_key",
        "PidFile /run/sshd.pid",
        "UsePAM no",
        "UseDNS no",
        "LogLevel VERBOSE",
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "X11Forwarding no",
        "MaxStartups 30:30:100",
        "MaxSessions 100",
        "StrictModes yes",
    ]
