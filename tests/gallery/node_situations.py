"""Broken nodes: what is wrong, and which check, cause and fix the doctor must name. Each is made for real."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh

from tests.gallery.machine import ACCOUNT, ACCOUNT_ID, Machine, set_gpus
from tests.gallery.situation import NodeSituation
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


def _selinux(machine: Machine) -> None:
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


def _nothing(_: Machine) -> None:
    return None


def _no_key_file(machine: Machine) -> None:
    machine.keys.unlink()


def _other_keys(machine: Machine) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode()
    machine.authorize(other)


def _no_account(machine: Machine) -> None:
    for name in ("passwd", "shadow", "group", "gshadow"):
        path = machine.etc / name
        if path.exists():
            kept = [line for line in path.read_text().splitlines(True) if not line.startswith(f"{ACCOUNT}:")]
            path.write_text("".join(kept).replace(f":{ACCOUNT}\n", ":\n"))
    shutil.rmtree(machine.home)


def _shell(path: str) -> Break:
    return lambda machine: machine.edit("passwd", f"/home/{ACCOUNT}:/bin/bash", f"/home/{ACCOUNT}:{path}")


def _locked(machine: Machine) -> None:
    machine.edit("shadow", f"{ACCOUNT}:*:", f"{ACCOUNT}:!:")


def _expired_account(machine: Machine) -> None:
    machine.edit("shadow", f"{ACCOUNT}:*:19000::::::", f"{ACCOUNT}:*:19000:::::19001:")


def _must_change(machine: Machine) -> None:
    machine.edit("shadow", f"{ACCOUNT}:*:19000:", f"{ACCOUNT}:*:0:")


def _nologin_file(machine: Machine) -> None:
    (machine.etc / "nologin").write_text("Disks are exchanged until noon.\n")


def _access_conf(machine: Machine) -> None:
    machine.append("security/access.conf", f"-:{ACCOUNT}:ALL")
    machine.edit("pam.d/sshd", "# account  required     pam_access.so", "account required pam_access.so")


def _expired_key(machine: Machine) -> None:
    past = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y%m%d%H%M%SZ")
    before_key(f'expiry-time="{past}"')(machine)


def _noisy(machine: Machine) -> None:
    path = machine.home / ".bashrc"
    path.write_text("echo Welcome to node seven\n")
    os.chown(path, ACCOUNT_ID, ACCOUNT_ID)


def _immutable(machine: Machine) -> None:
    machine.inside(f"chattr +i /home/{ACCOUNT}/.ssh/authorized_keys")


def _append_only(machine: Machine) -> None:
    machine.inside(f"chattr +a /home/{ACCOUNT}/.ssh/authorized_keys")


def _tiny_ssh_dir(machine: Machine) -> None:
    folder = f"/home/{ACCOUNT}/.ssh"
    machine.add_setup(
        f"cp -p {folder}/authorized_keys /run/keys; "
        f"mount -t tmpfs -o size=64k,mode=700,uid={ACCOUNT_ID},gid={ACCOUNT_ID} tmpfs {folder}; "
        f"cp -p /run/keys {folder}/authorized_keys; "
        f"head -c 100000 /dev/zero >{folder}/fill 2>/dev/null || true"
    )


def _new_host_key(machine: Machine) -> None:
    machine.stop()
    write_host_key(machine.root)
    machine.start()


def _not_in_docker(machine: Machine) -> None:
    machine.edit("group", f"docker:x:5900:{ACCOUNT}", "docker:x:5900:")


def _leftovers(machine: Machine) -> None:
    line = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode().split()
    machine.authorize(f"{machine.keys.read_text()}{line[0]} {line[1]} validator-validator\n")


def _stopped(machine: Machine) -> None:
    machine.stop()


def _squat(script: str) -> Break:
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


def _half_full_gb() -> float:
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
NODE_SITUATIONS = (
    # the way
    NodeSituation(
        "sshd is not running",
        "node.tcp",
        "refused",
        "node.port",
        _nothing,
        _stopped,
        False,
        "no other port of the node answers: sshd has to be started on the node itself",
    ),
    NodeSituation("a silent port", "node.banner", "silent", "", _nothing, _squat("pass"), False, "sshd's host decides"),
    NodeSituation(
        "a port that closes at once",
        "node.banner",
        "closed",
        "",
        _nothing,
        _squat("peer.close()"),
        False,
        "sshd's host decides",
    ),
    NodeSituation(
        "a web server on the port",
        "node.banner",
        "other",
        "node.port",
        _nothing,
        _squat("peer.sendall(b'HTTP/1.1 400 Bad Request\\r\\n\\r\\n'); peer.close()"),
        False,
        "no other port of the node answers",
    ),
    NodeSituation(
        "MaxStartups is exhausted",
        "node.banner",
        "max_startups",
        "node.harden",
        _nothing,
        _squat("peer.sendall(b'Exceeded MaxStartups\\r\\n'); peer.close()"),
        False,
        "the administrator is turned away as well",
    ),
    NodeSituation(
        "sshd punishes our address",
        "node.banner",
        "penalty",
        "",
        _nothing,
        _squat("peer.sendall(b'Not allowed at this time\\r\\n'); peer.close()"),
        False,
        "it passes by itself",
    ),
    NodeSituation(
        "a server of SSH 1",
        "node.protocol",
        "old_protocol",
        "",
        _nothing,
        _squat("peer.sendall(b'SSH-1.5-OldServer\\r\\n'); time.sleep(0.3); peer.close()"),
        False,
        "the node needs another OpenSSH",
    ),
    NodeSituation(
        "no common key exchange",
        "node.protocol",
        "no_algorithms",
        "",
        sshd("KexAlgorithms diffie-hellman-group1-sha1"),
        None,
        False,
        "nobody can log in, so it is repaired at the node's console",
    ),
    NodeSituation("a reinstalled node", "node.host_key", "changed", "node.accept_host_key", _nothing, _new_host_key),
    # the login
    NodeSituation(
        "an expired account under PAM",
        "node.login",
        "expired",
        "node.unlock",
        both(sshd("UsePAM yes"), _expired_account),
    ),
    NodeSituation(
        "a nologin file",
        "node.login",
        "nologin_file",
        "",
        both(sshd("UsePAM yes"), _nologin_file),
        None,
        False,
        "it was put there on purpose: a person takes it away",
    ),
    NodeSituation(
        "PAM's access.conf refuses the account",
        "node.login",
        "pam",
        "",
        both(sshd("UsePAM yes"), _access_conf),
        None,
        False,
        "who may enter, the node's administrator decides",
    ),
    NodeSituation(
        "a password that must be changed",
        "node.shell",
        "password_change",
        "node.no_password_change",
        both(sshd("UsePAM yes"), _must_change),
    ),
    NodeSituation("no such account", "node.auth", "no_account", "node.create_user", _no_account),
    NodeSituation("a shell that does not exist", "node.auth", "shell_missing", "node.shell", _shell("/bin/absent")),
    NodeSituation("a locked account", "node.auth", "locked", "node.unlock", _locked),
    NodeSituation(
        "PubkeyAuthentication no",
        "node.auth",
        "pubkey_off",
        "node.sshd_allow",
        sshd(f"Match User {ACCOUNT}", "    PubkeyAuthentication no"),
    ),
    NodeSituation(
        "two keys are asked for",
        "node.auth",
        "more_methods",
        "node.sshd_allow",
        sshd(f"Match User {ACCOUNT}", "    AuthenticationMethods publickey,publickey"),
    ),
    NodeSituation(
        "DenyUsers names the account",
        "node.auth",
        "denied",
        "",
        sshd(f"DenyUsers {ACCOUNT}"),
        None,
        False,
        "no setting overrides DenyUsers: a person takes the account out",
    ),
    NodeSituation(
        "AllowUsers leaves the account out", "node.auth", "not_allowed", "node.sshd_allow", sshd("AllowUsers toor")
    ),
    NodeSituation(
        "AllowGroups leaves the account out", "node.auth", "not_allowed", "node.sshd_allow", sshd("AllowGroups root")
    ),
    NodeSituation(
        "AuthorizedKeysFile elsewhere",
        "node.auth",
        "other_key_file",
        "node.sshd_allow",
        sshd(f"Match User {ACCOUNT}", "    AuthorizedKeysFile /etc/ssh/keys/%u"),
    ),
    NodeSituation("SELinux hides the key file (stand-in)", "node.auth", "selinux", "node.relabel", _selinux),
    NodeSituation("no authorized_keys", "node.auth", "no_key_file", "node.authorize", _no_key_file),
    NodeSituation("the key is missing", "node.auth", "key_missing", "node.authorize", _other_keys),
    NodeSituation(
        "our key type is refused",
        "node.auth",
        "algorithm_off",
        "node.sshd_allow",
        sshd(f"Match User {ACCOUNT}", "    PubkeyAcceptedAlgorithms rsa-sha2-512"),
    ),
    NodeSituation("our line has expired", "node.auth", "key_expired", "node.authorize", _expired_key),
    NodeSituation(
        "from= admits others only", "node.auth", "from_elsewhere", "node.authorize", before_key('from="192.0.2.7"')
    ),
    NodeSituation("home is world-writable", "node.auth", "home_modes", "node.modes", mode(".", 0o777)),
    NodeSituation(".ssh is world-writable", "node.auth", "ssh_dir_modes", "node.modes", mode(".ssh", 0o777)),
    NodeSituation(
        "authorized_keys is world-writable",
        "node.auth",
        "file_modes",
        "node.modes",
        mode(".ssh/authorized_keys", 0o666),
    ),
    NodeSituation(
        "authorized_keys belongs to another", "node.auth", "owner", "node.modes", owner(".ssh/authorized_keys", 5003)
    ),
    NodeSituation("home belongs to another", "node.auth", "owner", "node.modes", owner(".", 5003)),
    NodeSituation("a talking .bashrc", "node.shell", "noisy", "node.quiet_shell", _noisy),
    NodeSituation("nologin", "node.shell", "nologin", "node.shell", _shell("/usr/sbin/nologin")),
    NodeSituation(
        "a forced command",
        "node.shell",
        "forced",
        "",
        before_key('command="echo only this"'),
        None,
        False,
        "the line may be limited on purpose: a person decides",
    ),
    NodeSituation(
        "MaxSessions 0",
        "node.shell",
        "no_channel",
        "node.harden",
        sshd(f"Match User {ACCOUNT}", "    MaxSessions 0"),
        None,
        False,
        "a Match block stands against the drop-in: a person takes it out",
    ),
    NodeSituation("an immutable key file", "node.key_file", "immutable", "node.mutable", _nothing, _immutable),
    NodeSituation("an append-only key file", "node.key_file", "immutable", "node.mutable", _nothing, _append_only),
    NodeSituation(
        "a full disk under .ssh",
        "node.key_file",
        "no_space",
        "",
        _tiny_ssh_dir,
        None,
        False,
        "what may be deleted, a person decides",
    ),
    # GPUs, by the words of the real tool
    NodeSituation(
        "no driver and no GPU", "node.gpu", "no_tool_no_gpu", "", without("bin/nvidia-smi"), None, False, REBOOT
    ),
    NodeSituation(
        "the kernel module is not loaded",
        "node.gpu",
        "no_driver",
        "",
        smi(
            "echo \"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure "
            'that the latest NVIDIA driver is installed and running."; exit 9'
        ),
        None,
        False,
        REBOOT,
    ),
    NodeSituation(
        "driver and library differ",
        "node.gpu",
        "mismatch",
        "",
        smi('echo "Failed to initialize NVML: Driver/library version mismatch"; exit 18'),
        None,
        False,
        REBOOT,
    ),
    NodeSituation(
        "no card is found", "node.gpu", "no_gpu", "", smi('echo "No devices were found"; exit 6'), None, False, REBOOT
    ),
    NodeSituation(
        "a card fell off the bus",
        "node.gpu",
        "lost",
        "",
        smi(
            'echo "Unable to determine the device handle for GPU0000:41:00.0: GPU is lost.  Reboot the system '
            'to recover this GPU"; exit 15'
        ),
        None,
        False,
        REBOOT,
    ),
    NodeSituation(
        "device files are closed",
        "node.gpu",
        "denied",
        "",
        smi('echo "Failed to initialize NVML: Insufficient Permissions"; exit 4'),
        None,
        False,
        REBOOT,
    ),
    NodeSituation("nvidia-smi hangs", "node.gpu", "hangs", "", smi("exec sleep 60"), None, False, REBOOT),
    NodeSituation(
        "fewer cards than configured", "node.gpu", "fewer", "config.gpu_count", _nothing, node=", gpu_count = 8"
    ),
    NodeSituation(
        "an old driver", "node.driver", "old", "", gpus(driver="535.183.01", cuda="12.2"), None, False, REBOOT
    ),
    NodeSituation("an old CUDA", "node.cuda", "old", "", gpus(cuda="12.4"), None, False, REBOOT),
    NodeSituation(
        "a low compute capability",
        "node.compute",
        "low",
        "",
        gpus(compute_cap="8.0"),
        None,
        False,
        "other cards are needed",
    ),
    NodeSituation(
        "a model without rewards",
        "node.model",
        "unrewarded",
        "",
        gpus(model="NVIDIA L40S", compute_cap="8.9"),
        None,
        False,
        "other cards are needed",
    ),
    NodeSituation(
        "uncorrected ECC errors",
        "node.gpu_errors",
        "ecc",
        "",
        smi_with("ecc.errors.*) value=0", "ecc.errors.*) value=3"),
        None,
        False,
        "a card is replaced by hand",
    ),
    NodeSituation(
        "Xid in the kernel's log",
        "node.gpu_errors",
        "xid",
        "",
        lambda m: m.put_tool(
            "dmesg",
            "#!/bin/sh\n# stand-in\necho '[ 12.3] NVRM: Xid (PCI:0000:41:00): 79, "
            "pid=1, GPU has fallen off the bus.'\n",
        ),
        None,
        False,
        "a person looks at the card",
    ),
    # Docker, by the words of the real one
    NodeSituation(
        "Docker is not installed",
        "node.docker",
        "absent",
        "node.install_docker",
        without("bin/docker"),
        None,
        False,
        "it installs packages from the distribution, which this test does not",
    ),
    NodeSituation("the account is not in docker", "node.docker", "no_permission", "node.docker_group", _not_in_docker),
    NodeSituation(
        "Docker does not run", "node.docker", "no_daemon", "node.docker_start", setup("rm /run/docker-stand-in")
    ),
    NodeSituation("Docker hangs", "node.docker", "hangs", "node.docker_start", setup("touch /run/docker-hangs")),
    NodeSituation(
        "the runtime is not registered",
        "node.nvidia_runtime",
        "not_configured",
        "node.nvidia_runtime",
        without("etc/docker/daemon.json"),
    ),
    NodeSituation(
        "the toolkit is not installed",
        "node.nvidia_runtime",
        "no_toolkit",
        "node.install_toolkit",
        both(without("etc/docker/daemon.json"), without("bin/nvidia-ctk")),
        None,
        False,
        "it installs packages from NVIDIA, which this test does not",
    ),
    NodeSituation(
        "a container lost its devices",
        "node.container",
        "cgroups",
        "node.docker_start",
        both(
            docker_file("has-image", ""),
            docker_file("container-says", "Failed to initialize NVML: Unknown Error\n"),
        ),
        None,
        False,
        "the stand-in starts no containers, so a restart changes nothing",
    ),
    NodeSituation(
        "a container finds no device driver",
        "node.container",
        "no_hook",
        "node.nvidia_runtime",
        both(
            docker_file("has-image", ""),
            docker_file("container-fails", ""),
            docker_file(
                "container-says",
                'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].\n',
            ),
        ),
        None,
        False,
        "the stand-in starts no containers, so a restart changes nothing",
    ),
    # the host behind the account
    NodeSituation(
        "a small disk",
        "node.disk",
        "small",
        "",
        _nothing,
        repaired=False,
        why_not="a disk is added by hand",
        disk_min_gb=1e6,
    ),
    NodeSituation(
        "Docker on the small disk",
        "node.disk",
        "wrong_mount",
        "",
        both(docker_file("root-dir", "/srv"), setup("mount -t tmpfs -o size=8m tmpfs /srv")),
        repaired=False,
        why_not="data is moved while nothing is rented",
    ),
    NodeSituation(
        "a full large disk",
        "node.disk",
        "full",
        "",
        _nothing,
        repaired=False,
        why_not="what may be deleted, a person decides",
        disk_min_gb=_half_full_gb(),
    ),
    NodeSituation(
        "the extra mount is missing",
        "node.disk",
        "no_mount",
        "",
        _nothing,
        None,
        False,
        "a person mounts it",
        node=', extra_mount_path = "/data"',
    ),
    NodeSituation(
        "no Python",
        "node.tools",
        "no_python",
        "node.install_tools",
        setup("mount --bind /dev/null /usr/bin/python3"),
        None,
        False,
        "it installs packages from the distribution, which this test does not",
    ),
    NodeSituation(
        "a Python that is too old",
        "node.tools",
        "old_python",
        "",
        lambda machine: machine.put_tool("python3", "#!/bin/sh\n# stand-in\necho python3 3.6\n"),
        None,
        False,
        "which distribution comes next, a person decides",
    ),
    NodeSituation(
        "no sha256sum",
        "node.tools",
        "no_hash_tool",
        "node.install_tools",
        setup("mount --bind /dev/null /usr/bin/sha256sum"),
        None,
        False,
        "the package is there and its file is not: a person finds out why",
    ),
    NodeSituation(
        "a clock ten minutes ahead", "node.clock", "ahead", "node.ntp", wrong_clock("+10m"), None, False, NTP
    ),
    NodeSituation("a clock behind", "node.clock", "behind", "node.ntp", wrong_clock("-10m"), None, False, NTP),
    NodeSituation(
        "passwords are accepted", "node.hardening", "password_login", "node.harden", sshd("PasswordAuthentication yes")
    ),
    NodeSituation(
        "keyboard-interactive is accepted",
        "node.hardening",
        "keyboard_login",
        "node.harden",
        sshd("KbdInteractiveAuthentication yes"),
    ),
    NodeSituation(
        "root may log in by password", "node.hardening", "root_login", "node.harden", sshd("PermitRootLogin yes")
    ),
    NodeSituation("X11 forwarding", "node.hardening", "x11", "node.harden", sshd("X11Forwarding yes")),
    NodeSituation("MaxSessions 2", "node.capacity", "sessions", "node.harden", sshd("MaxSessions 2")),
    NodeSituation(
        "MaxStartups 2",
        "node.capacity",
        "startups",
        "node.harden",
        sshd("MaxStartups 2:90:2"),
    ),
    NodeSituation("leftovers of the deployed miner", "node.leftovers", "keys", "node.remove_leftovers", _leftovers),
)
