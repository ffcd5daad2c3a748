"""A whole Debian that boots: its own systemd over a throw-away copy of this machine's files, and nobody's network.

An overlay makes every file of this machine visible at its own path; what is written goes to memory and is gone with
the last process. ``systemd-nspawn`` starts systemd there as PID 1, in namespaces and a control group of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

NAMESPACES = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup")
BOOT_S = 180.0
# Control groups: systemd wants version 2 at its usual place, whatever this machine has there.
_OUTSIDE = """set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
while umount -l /sys/fs/cgroup 2>/dev/null; do :; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$2"
echo $$ >"/sys/fs/cgroup/$2/cgroup.procs"
exec unshare --cgroup --mount --pid --fork --kill-child --mount-proc sh -c "$3" inside "$1"
"""
_INSIDE = """set -e
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
: >etc/machine-id
touch etc/.updated var/.updated
ln -sf /dev/null etc/tmpfiles.d/tmp.conf # /tmp is not emptied: the sources may lie there
rm -rf etc/systemd/system/*.wants var/log/journal usr/sbin/policy-rc.d
cat >etc/systemd/system/booted.target <<END
[Unit]
Requires=basic.target dbus.service systemd-user-sessions.service
After=basic.target dbus.service systemd-user-sessions.service
AllowIsolate=yes
END
BEFORE
exec env SYSTEMD_NSPAWN_TMPFS_TMP=0 SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --directory="$1/root" \\
  --register=no --keep-unit --private-network --console=pipe --link-journal=no --resolv-conf=off --timezone=off \\
  --hostname=booted --capability=all --system-call-filter='add_key keyctl bpf' --boot systemd.unit=booted.target
"""
_TRIAL = _OUTSIDE.replace('sh -c "$3" inside "$1"', "true")


def why_not_booted() -> str:
    """Why no systemd can be booted on this machine; empty when it can."""
    if os.geteuid() != 0:
        return "booting a systemd of its own needs root"
    if shutil.which("systemd-nspawn") is None:
        return "systemd-nspawn is not here (Debian: systemd-container)"
    group = f"basilica-trial-{os.getpid()}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", _TRIAL, "trial", "", group], capture_output=True, text=True, check=False
    )
    _remove_group(group)
    said = done.stderr.strip().splitlines() or ["no reason given"]
    return f"namespaces and control groups may not be made here: {said[-1]}" if done.returncode else ""


@dataclass
class BootedHost:
    """One such machine. ``before`` is shell that runs in its root directory before it boots, still with a network."""

    before: str = ""
    patience_s: float = 300.0
    """How long ``before`` may take."""
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="basilica-booted-")))
    pid: int = 0
    """systemd's, as this machine counts."""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        """Its files, from outside."""
        return Path(f"/proc/{self.pid}/root")

    @property
    def _group(self) -> str:
        return self.folder.name

    def start(self) -> None:
        """Boot, and wait until systemd says that it is done."""
        inside = _INSIDE.replace("BEFORE", self.before)
        words = ["unshare", "--mount", "sh", "-c", _OUTSIDE, "outside", str(self.folder), self._group, inside]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + BOOT_S + (self.patience_s if self.before else 0)
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "log").read_text(errors="replace")
                self.stop()
                raise RuntimeError(f"the machine did not boot: {said[-2000:]}")
            time.sleep(0.1)

    def run(
        self, *words: str, check: bool = True, stdin: str = "", timeout_s: float = 200.0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """A program inside, as root."""
        keys = {"PATH": os.environ["PATH"], "HOME": "/root", "LC_ALL": "C.UTF-8", **environment}
        done = subprocess.run(
            ["nsenter", "--target", str(self.pid), *NAMESPACES, "--", *words],
            input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False, env=keys,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def shell(self, script: str, *, check: bool = True, timeout_s: float = 200.0) -> str:
        """A shell script inside, as root; its output."""
        return self.run("sh", "-euc", script, check=check, timeout_s=timeout_s).stdout

    def until(self, script: str, what: str, *, seconds: float = 240.0) -> str:
        """Wait until a script succeeds; its output."""
        deadline = time.monotonic() + seconds
        while True:
            done = self.run("sh", "-euc", script, check=False)
            if done.returncode == 0:
                return done.stdout
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s: {what}: {done.stdout}{done.stderr}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End it with everything that runs inside."""
        process, self._process = self._process, None
        if process is None:
            return
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        _remove_group(self._group)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_up(self) -> bool:
        assert self._process is not None
        self.pid = self.pid or _find_init(self._process.pid)
        if not self.pid:
            return False
        state = self.run("systemctl", "is-active", "booted.target", check=False)
        return state.stdout.strip() == "active"


def _find_init(above: int) -> int:
    """The PID of the systemd below that process; 0 while there is none."""
    try:
        children: Sequence[str] = Path(f"/proc/{above}/task/{above}/children").read_text().split()
        for child in children:
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
            if found := _find_init(int(child)):
                return found
    except OSError:
        pass
    return 0


_REMOVE_GROUP = """mount --make-rprivate /
while umount -l /sys/fs/cgroup 2>/dev/null; do :; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup && cd /sys/fs/cgroup && [ -d "$1" ] || exit 0
for try in 1 2 3 4 5 6 7 8 9 10; do
  find "$1" -depth -type d -exec rmdir {} + 2>/dev/null && exit 0
  sleep 0.2
done
"""


def _remove_group(name: str) -> None:
    subprocess.run(["unshare", "--mount", "sh", "-c", _REMOVE_GROUP, "remove", name], capture_output=True, check=False)
