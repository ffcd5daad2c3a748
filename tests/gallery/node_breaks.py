"""What breaks a node, each for real: sshd, modes and owners, accounts, stand-ins for tools, other listeners."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh

from tests.gallery.machine import ACCOUNT, ACCOUNT_ID, Machine, set_gpus
from tests.support.sshd import write_host_key

Break = Callable[[Machine], None]
STAND_IN = Path(__file__).parent / "stand_in"


def sshd(*lines: str) -> Break:
    """Lines in front of sshd's configuration."""
    return lambda machine: machine.sshd_lines.extend(lines)


def mode(path: str, bits: int) -> Break:
    """The mode of something in the account's home."""
    return lambda machine: (machine.home / path).chmod(bits)


def owner(path: str, number: int) -> Break:
    """The owner of something in the account's home."""
    return lambda machine: os.chown(machine.home / path, number, number)


def before_key(options: str) -> Break:
    """Options in front of the miner's key."""
    return lambda machine: machine.authorize(f"{options} {machine.keys.read_text()}")


def setup(line: str) -> Break:
    """A shell line on the machine before sshd starts."""
    return lambda machine: machine.add_setup(line)


def selinux(machine: Machine) -> None:
    """No kernel with SELinux is here: stand-ins for its tools, and a refusal of sshd that nothing else explains."""
    for name in ("getenforce", "ls", "restorecon"):
        machine.put_tool(name, (STAND_IN / "selinux").read_text())
    machine.add_setup(f"cp /home/{ACCOUNT}/.ssh/authorized_keys /run/selinux-keeps; chmod 644 /run/selinux-keeps")
    machine.add_setup("echo unconfined_u:object_r:user_home_t:s0 >/run/selinux-label")
    machine.sshd_lines.append("RevokedKeys /run/selinux-keeps")


def smi(script: str) -> Break:
    """Another stand-in for nvidia-smi: the words of the real one when something is wrong."""
    return lambda machine: machine.put_tool("nvidia-smi", f"#!/bin/sh\n# stand-in\n{script}\n")


def smi_with(old: str, new: str) -> Break:
    """The healthy stand-in with one answer changed."""

    def change(machine: Machine) -> None:
        text = (machine.root / "bin" / "nvidia-smi").read_text()
        assert old in text
        machine.put_tool("nvidia-smi", text.replace(old, new))

    return change


def gpus(**changes: object) -> Break:
    """Other cards."""
    return lambda machine: set_gpus(machine, **changes)


def docker_file(name: str, text: str) -> Break:
    """A file that the Docker stand-in reads."""

    def write(machine: Machine) -> None:
        (machine.etc / "docker" / name).write_text(text)

    return write


def both(*breaks: Break) -> Break:
    """Several changes together."""

    def change(machine: Machine) -> None:
        for one in breaks:
            one(machine)

    return change


def without(path: str) -> Break:
    """A file of the machine that is not there."""
    return lambda machine: (machine.root / path).unlink()


def nothing(_: Machine) -> None:
    return None


def no_key_file(machine: Machine) -> None:
    machine.keys.unlink()


def other_keys(machine: Machine) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode()
    machine.authorize(other)


def no_account(machine: Machine) -> None:
    for name in ("passwd", "shadow", "group", "gshadow"):
        path = machine.etc / name
        if path.exists():
            kept = [line for line in path.read_text().splitlines(True) if not line.startswith(f"{ACCOUNT}:")]
            path.write_text("".join(kept).replace(f":{ACCOUNT}\n", ":\n"))
    shutil.rmtree(machine.home)


def shell(path: str) -> Break:
    return lambda machine: machine.edit("passwd", f"/home/{ACCOUNT}:/bin/bash", f"/home/{ACCOUNT}:{path}")


def locked(machine: Machine) -> None:
    machine.edit("shadow", f"{ACCOUNT}:*:", f"{ACCOUNT}:!:")


def expired_account(machine: Machine) -> None:
    machine.edit("shadow", f"{ACCOUNT}:*:19000::::::", f"{ACCOUNT}:*:19000:::::19001:")


def must_change(machine: Machine) -> None:
    machine.edit("shadow", f"{ACCOUNT}:*:19000:", f"{ACCOUNT}:*:0:")


def nologin_file(machine: Machine) -> None:
    (machine.etc / "nologin").write_text("Disks are exchanged until noon.\n")


def access_conf(machine: Machine) -> None:
    machine.append("security/access.conf", f"-:{ACCOUNT}:ALL")
    machine.edit("pam.d/sshd", "# account  required     pam_access.so", "account required pam_access.so")


def expired_key(machine: Machine) -> None:
    past = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y%m%d%H%M%SZ")
    before_key(f'expiry-time="{past}"')(machine)


def noisy(machine: Machine) -> None:
    path = machine.home / ".bashrc"
    path.write_text("echo Welcome to node seven\n")
    os.chown(path, ACCOUNT_ID, ACCOUNT_ID)


def immutable(machine: Machine) -> None:
    machine.inside(f"chattr +i /home/{ACCOUNT}/.ssh/authorized_keys")


def append_only(machine: Machine) -> None:
    machine.inside(f"chattr +a /home/{ACCOUNT}/.ssh/authorized_keys")


def tiny_ssh_dir(machine: Machine) -> None:
    folder = f"/home/{ACCOUNT}/.ssh"
    machine.add_setup(
        f"cp -p {folder}/authorized_keys /run/keys; "
        f"mount -t tmpfs -o size=64k,mode=700,uid={ACCOUNT_ID},gid={ACCOUNT_ID} tmpfs {folder}; "
        f"cp -p /run/keys {folder}/authorized_keys; "
        f"head -c 100000 /dev/zero >{folder}/fill 2>/dev/null || true"
    )


def new_host_key(machine: Machine) -> None:
    machine.stop()
    write_host_key(machine.root)
    machine.start()


def not_in_docker(machine: Machine) -> None:
    machine.edit("group", f"docker:x:5900:{ACCOUNT}", "docker:x:5900:")


def leftovers(machine: Machine) -> None:
    line = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode().split()
    machine.authorize(f"{machine.keys.read_text()}{line[0]} {line[1]} validator-validator\n")


def stopped(machine: Machine) -> None:
    machine.stop()


def squat(script: str) -> Break:
    """Instead of sshd something else listens on the port, until the machine's directory goes."""

    def start(machine: Machine) -> None:
        import subprocess
        import sys
        import time

        machine.stop()
        program = Path(machine.root, "squatter.py")
        program.write_text(
            "import socket, sys, time\n"
            "server = socket.socket(); server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
            f"server.bind(('{machine.host}', {machine.port})); server.listen(16)\n"
            f"open({str(machine.root / 'squatting')!r}, 'w').close()\nkept = []\n"
            f"while True:\n    peer, _ = server.accept(); kept.append(peer)\n    {script}\n"
        )
        machine._process = subprocess.Popen([sys.executable, str(program)], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not (machine.root / "squatting").exists():
            assert time.monotonic() < deadline, "the other server did not start"
            time.sleep(0.01)

    return start


def half_full_gb() -> float:
    """A limit between what is free and what there is on the disk of these tests."""
    usage = shutil.disk_usage("/")
    return (usage.free + usage.total) / 2e9


def wrong_clock(offset: str) -> Break:
    """Another time for every program of the account: the machine's own clock is everybody's."""

    def change(machine: Machine) -> None:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        sshd(f"SetEnv LD_PRELOAD={library} FAKETIME={offset}")(machine)

    return change


NTP = "the wrong clock is a library's here, which no NTP sets; tests/gallery/test_booted.py runs the fix itself"
REBOOT = "a driver needs a reboot, or a person at the hardware"
