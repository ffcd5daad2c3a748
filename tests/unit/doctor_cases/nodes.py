"""Facts about a node: the way to it, the account, the hardware, Docker, sshd, the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.diagnostics.node_facts import NodeFacts, NodeLimits, PeerView
from engine.probes.account import AccountFacts, DiskFacts, PathFacts, SmiFacts
from engine.probes.administered import AdminFacts
from engine.probes.container import ContainerFacts
from engine.probes.firewall import FirewallFacts
from engine.probes.gpu import Gpu, GpuFacts
from engine.probes.host import HostFacts
from engine.probes.way import Stop, WayFacts
from engine.ssh.keys import ClientKey
from engine.ssh.target import NodeTarget
from tests.unit.doctor_cases.case import FAILED, WARNING, Case

KEY = ClientKey.generate("miner")
TARGET = NodeTarget("n1", "node", 22, "basilica")
HOME = "/home/basilica"
KEY_FILE = f"{HOME}/.ssh/authorized_keys"
SSHD: Mapping[str, tuple[str, ...]] = {"usepam": ("no",), "pubkeyauthentication": ("yes",), "strictmodes": ("yes",)}
PATHS = (
    PathFacts("/home", 0o755, 0, "directory"),
    PathFacts(HOME, 0o755, 5001, "directory"),
    PathFacts(f"{HOME}/.ssh", 0o700, 5001, "directory"),
    PathFacts(KEY_FILE, 0o600, 5001, "regular file"),
)
ADMIN = AdminFacts(
    account_exists=True,
    uid=5001,
    home=HOME,
    shell="/bin/bash",
    shell_is_executable=True,
    groups=("basilica",),
    sshd=SSHD,
    paths=PATHS,
    key_files=(KEY_FILE,),
    key_bytes=KEY.public_line.encode() + b"\n",
)
ACCOUNT = AccountFacts(quiet=True, uid=5001, username="basilica", home=HOME, paths=PATHS, dir_writable=True)


def way(stop: Stop, detail: str, admin: AdminFacts | None = None, **known: Any) -> NodeFacts:
    return NodeFacts(TARGET, WayFacts(stop, detail, "words", **known), admin=admin)


def refused(admin: AdminFacts | None, methods: tuple[str, ...] = ("publickey",)) -> NodeFacts:
    facts = WayFacts("auth", "refused", "does not accept our key", methods=methods)
    return NodeFacts(TARGET, facts, own_keys=frozenset({KEY.blob_base64}), admin=admin)


def setting(**words: str) -> AdminFacts:
    return replace(ADMIN, sshd={**SSHD, **{word: (value,) for word, value in words.items()}})


def path(name: str, mode: int, uid: int = 5001) -> AdminFacts:
    kept = tuple(one for one in PATHS if one.path != name)
    return replace(ADMIN, paths=(*kept, PathFacts(name, mode, uid, "x")))


def account(**known: Any) -> NodeFacts:
    return NodeFacts(TARGET, WayFacts(), account=replace(ACCOUNT, **known))


def key_file(kind: str = "regular file", uid: int = 5001, **known: Any) -> NodeFacts:
    return account(paths=(*PATHS[:3], PathFacts(KEY_FILE, 0o600, uid, kind)), **known)


def smi(status: str, said: str = "", devices: int = 0) -> NodeFacts:
    return account(smi=SmiFacts(status, said), pci_gpus=devices)


def gpus(*models: str, wanted: int | None = None, driver: str = "570.1", **card: Any) -> NodeFacts:
    cards = tuple(
        replace(Gpu(index, f"GPU-{index}", model, 81559, driver, 0.0, 40.0, compute_capability="9.0"), **card)
        for index, model in enumerate(models)
    )
    table = GpuFacts(models[0], len(models), 81559, (), driver, "", 0.0, 40.0, cards)
    return NodeFacts(
        TARGET,
        WayFacts(),
        NodeLimits(gpu_count=wanted),
        account=replace(ACCOUNT, smi=SmiFacts("0", "", table)),
        host=HostFacts(cuda="12.4"),
    )


def docker(said: str) -> NodeFacts:
    return NodeFacts(TARGET, WayFacts(), host=HostFacts(docker_ok=False, docker_error=said))


def runtime(admin: AdminFacts | None) -> NodeFacts:
    return NodeFacts(TARGET, WayFacts(), host=HostFacts(docker_ok=True, nvidia_runtime_ok=False), admin=admin)


def container(said: str) -> NodeFacts:
    return NodeFacts(TARGET, WayFacts(), container=ContainerFacts("failed", said, "image"))


def sshd(**words: str) -> NodeFacts:
    return NodeFacts(TARGET, WayFacts(), admin=setting(**words))


def disk(free_gb: int, total_gb: int, extra: str = "", *others: DiskFacts) -> NodeFacts:
    host = HostFacts(disk_path="/", disk_free_bytes=free_gb * 10**9, disk_total_bytes=total_gb * 10**9)
    known = replace(ACCOUNT, disks=(DiskFacts("/", total_gb * 10**9, free_gb * 10**9), *others))
    return NodeFacts(TARGET, WayFacts(), NodeLimits(extra_mount_path=extra), account=known, host=host)


def tools(python: str, *, has_hash_tool: bool = True) -> NodeFacts:
    return account(python=python, has_hash_tool=has_hash_tool)


def clock(skew_s: float) -> NodeFacts:
    return NodeFacts(TARGET, WayFacts(), host=HostFacts(clock_skew_s=skew_s))


def called(*rules: str) -> NodeFacts:
    """Another node is turned away, and the administrator sees these rules."""
    admin = replace(ADMIN, firewall=FirewallFacts(iptables=rules))
    return NodeFacts(TARGET, WayFacts(), admin=admin, peer=PeerView("node two", "timeout"))


OLD_LINE = f"{KEY.algorithm} {KEY.blob_base64} validator-5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty\n"
WAY = (
    Case("node.resolve", "unknown", FAILED, way("resolve", "unknown")),
    Case("node.resolve", "silent", FAILED, way("resolve", "silent")),
    Case("node.route", "no_route", FAILED, way("route", "no_route")),
    Case("node.tcp", "refused", FAILED, way("tcp", "refused"), "node.port"),
    Case("node.tcp", "refused", FAILED, replace(way("tcp", "refused"), other_port=2222), "node.port"),
    Case("node.tcp", "timeout", FAILED, way("tcp", "timeout")),
    Case("node.tcp", "unreachable", FAILED, way("tcp", "unreachable")),
    Case("node.banner", "silent", FAILED, way("banner", "silent")),
    Case("node.banner", "closed", FAILED, way("banner", "closed")),
    Case("node.banner", "max_startups", FAILED, way("banner", "max_startups"), "node.harden"),
    Case("node.banner", "penalty", FAILED, way("banner", "penalty")),
    Case("node.banner", "other", FAILED, way("banner", "other"), "node.port"),
    Case("node.protocol", "old_protocol", FAILED, way("protocol", "old_protocol")),
    Case("node.protocol", "no_algorithms", FAILED, way("protocol", "no_algorithms")),
    Case(
        "node.host_key",
        "changed",
        FAILED,
        way("host_key", "changed", host_key="SHA256:new", host_key_pinned="SHA256:old"),
        "node.accept_host_key",
    ),
    Case("node.host_key", "file", FAILED, way("host_key", "file")),
    Case("node.login", "slow", FAILED, way("login", "slow"), "node.harden"),
    Case("node.login", "slow", WARNING, way("", "", login_s=7.0), "node.harden"),
    Case("node.login", "ended", FAILED, way("login", "ended")),
    Case("node.login", "ended", FAILED, way("login", "other", ADMIN)),
    Case("node.login", "nologin_file", FAILED, way("login", "ended", replace(ADMIN, nologin="/run/nologin"))),
    Case("node.login", "expired", FAILED, way("login", "ended", replace(ADMIN, is_expired=True)), "node.unlock"),
    Case("node.login", "pam", FAILED, way("login", "ended", setting(usepam="yes"))),
)
AUTH = (
    Case("node.auth", "pubkey_off", FAILED, refused(None, ("password",)), "node.sshd_allow"),
    *(
        Case("node.auth", cause, FAILED, refused(admin), fix)
        for cause, admin, fix in (
            ("refused", None, "node.authorize"),
            ("refused", ADMIN, "node.authorize"),
            ("no_account", replace(ADMIN, account_exists=False), "node.create_user"),
            ("shell_missing", replace(ADMIN, shell_is_executable=False), "node.shell"),
            ("expired", replace(ADMIN, is_expired=True), "node.unlock"),
            ("locked", replace(ADMIN, is_locked=True), "node.unlock"),
            ("pubkey_off", setting(pubkeyauthentication="no"), "node.sshd_allow"),
            ("more_methods", setting(authenticationmethods="publickey,password"), "node.sshd_allow"),
            ("root_off", replace(setting(permitrootlogin="no"), uid=0), "node.create_user"),
            ("denied", setting(denyusers="b*"), ""),
            ("denied", setting(denygroups="basilica"), ""),
            ("not_allowed", setting(allowusers="ops@10.0.0.0/8"), "node.sshd_allow"),
            ("not_allowed", setting(allowgroups="wheel"), "node.sshd_allow"),
            ("algorithm_off", setting(pubkeyacceptedalgorithms="rsa-sha2-512"), "node.sshd_allow"),
            ("other_key_file", replace(ADMIN, key_files=("/etc/keys/basilica",), key_bytes=b""), "node.sshd_allow"),
            ("no_key_file", replace(ADMIN, key_bytes=b"", paths=PATHS[:3]), "node.authorize"),
            ("key_missing", replace(ADMIN, key_bytes=b"# nothing\n"), "node.authorize"),
            (
                "key_expired",
                replace(ADMIN, key_bytes=b'expiry-time="20200101Z" ' + ADMIN.key_bytes, now=1_800_000_000),
                "node.authorize",
            ),
            ("from_elsewhere", replace(ADMIN, key_bytes=b'from="10.0.0.1" ' + ADMIN.key_bytes), "node.authorize"),
            ("home_modes", path(HOME, 0o777), "node.modes"),
            ("ssh_dir_modes", path(f"{HOME}/.ssh", 0o720), "node.modes"),
            ("file_modes", path(KEY_FILE, 0o602), "node.modes"),
            ("owner", path(HOME, 0o755, 1000), "node.modes"),
            ("owner", path(KEY_FILE, 0o200), "node.modes"),
            ("parent_modes", path("/home", 0o700, 0), ""),
            ("selinux", replace(ADMIN, selinux="Enforcing", selinux_label="user_home_t"), "node.relabel"),
        )
    ),
)
SHELL = (
    Case("node.shell", "noisy", FAILED, account(noise="welcome"), "node.quiet_shell"),
    Case(
        "node.shell",
        "nologin",
        FAILED,
        account(quiet=None, noise="This account is currently not available."),
        "node.shell",
    ),
    Case("node.shell", "nologin", FAILED, account(quiet=None, shell_status=1), "node.shell"),
    Case(
        "node.shell",
        "password_change",
        FAILED,
        account(quiet=None, noise="You are required to change your password"),
        "node.no_password_change",
    ),
    Case("node.shell", "forced", FAILED, account(quiet=None, noise="only backups here", shell_status=0)),
    Case("node.shell", "no_channel", FAILED, NodeFacts(TARGET, WayFacts(), trouble="no channel"), "node.harden"),
    Case("node.key_file", "immutable", FAILED, key_file(is_immutable=True), "node.mutable"),
    Case("node.key_file", "owner", FAILED, key_file(uid=0), "node.modes"),
    Case("node.key_file", "not_writable", FAILED, key_file(dir_writable=False), "node.modes"),
    Case("node.key_file", "not_writable", FAILED, key_file(file_writable=False), "node.modes"),
    Case("node.key_file", "no_space", FAILED, key_file(key_disk_free_bytes=0)),
    Case("node.key_file", "no_space", FAILED, key_file(key_inodes_free=0)),
    Case("node.key_file", "not_a_file", FAILED, key_file("directory")),
    Case("node.key_file", "link", WARNING, key_file("symbolic link")),
)
GPU = (
    Case("node.gpu", "no_tool", FAILED, smi("absent", devices=8)),
    Case("node.gpu", "no_tool_no_gpu", FAILED, smi("absent")),
    Case(
        "node.gpu",
        "no_driver",
        FAILED,
        smi("9", "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 1),
    ),
    Case("node.gpu", "mismatch", FAILED, smi("18", "Failed to initialize NVML: Driver/library version mismatch", 1)),
    Case("node.gpu", "no_gpu", FAILED, smi("6", "No devices were found")),
    Case(
        "node.gpu",
        "lost",
        FAILED,
        smi("15", "Unable to determine the device handle for GPU0000:41:00.0: Unknown Error", 1),
    ),
    Case("node.gpu", "denied", FAILED, smi("4", "Failed to initialize NVML: Insufficient Permissions", 1)),
    Case("node.gpu", "hangs", FAILED, smi("124", devices=1)),
    Case("node.gpu", "tool_failed", FAILED, smi("77", "something new", 1)),
    Case("node.gpu", "fewer", FAILED, gpus("NVIDIA H100", wanted=8), "config.gpu_count"),
    Case("node.gpu", "more", FAILED, gpus("NVIDIA H100", "NVIDIA H100", wanted=1), "config.gpu_count"),
    Case("node.driver", "old", FAILED, gpus("NVIDIA H100", driver="550.54")),
    Case("node.cuda", "old", FAILED, gpus("NVIDIA H100")),
    Case("node.compute", "low", FAILED, gpus("NVIDIA T4", compute_capability="7.5")),
    Case("node.model", "unrewarded", WARNING, gpus("NVIDIA A100 80GB PCIe")),
    Case("node.model", "mixed", WARNING, gpus("NVIDIA H100 80GB HBM3", "NVIDIA B200")),
    Case("node.gpu_errors", "ecc", FAILED, gpus("NVIDIA H100", ecc_errors=3)),
    Case("node.gpu_errors", "xid", WARNING, replace(gpus("NVIDIA H100"), admin=replace(ADMIN, xid=("NVRM: Xid 79",)))),
)
DOCKER = (
    Case("node.docker", "absent", FAILED, docker("docker is not installed"), "node.install_docker"),
    Case(
        "node.docker",
        "no_permission",
        FAILED,
        docker("permission denied while trying to connect to the Docker daemon socket"),
        "node.docker_group",
    ),
    Case(
        "node.docker",
        "no_daemon",
        FAILED,
        docker("Cannot connect to the Docker daemon at unix:///var/run/docker.sock"),
        "node.docker_start",
    ),
    Case("node.docker", "hangs", FAILED, docker("no answer within 5 s"), "node.docker_start"),
    Case("node.docker", "other", FAILED, docker("client version 1.24 is too old")),
    Case("node.nvidia_runtime", "no_toolkit", FAILED, runtime(ADMIN), "node.install_toolkit"),
    Case("node.nvidia_runtime", "not_configured", FAILED, runtime(None), "node.nvidia_runtime"),
    Case(
        "node.container",
        "no_hook",
        FAILED,
        container('could not select device driver "" with capabilities: [[gpu]]'),
        "node.nvidia_runtime",
    ),
    Case(
        "node.container", "cgroups", FAILED, container("Failed to initialize NVML: Unknown Error"), "node.docker_start"
    ),
    Case(
        "node.container",
        "driver",
        FAILED,
        container("nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8"),
    ),
    Case("node.container", "other", FAILED, container("exec format error")),
)
REST = (
    Case("node.capacity", "sessions", FAILED, sshd(maxsessions="1"), "node.harden"),
    Case("node.capacity", "startups", FAILED, sshd(maxstartups="2:30:4"), "node.harden"),
    Case("node.hardening", "password_login", WARNING, sshd(passwordauthentication="yes"), "node.harden"),
    Case("node.hardening", "keyboard_login", WARNING, sshd(kbdinteractiveauthentication="yes"), "node.harden"),
    Case("node.hardening", "root_login", WARNING, sshd(permitrootlogin="yes"), "node.harden"),
    Case("node.hardening", "x11", WARNING, sshd(x11forwarding="yes"), "node.harden"),
    Case("node.disk", "wrong_mount", WARNING, disk(50, 100, "", DiskFacts("/data", 4 * 10**12, 3 * 10**12))),
    Case("node.disk", "full", WARNING, disk(50, 2000)),
    Case("node.disk", "small", WARNING, disk(50, 100)),
    Case("node.disk", "no_mount", FAILED, disk(2000, 4000, "/ephemeral")),
    Case("node.tools", "no_python", WARNING, tools(""), "node.install_tools"),
    Case("node.tools", "old_python", WARNING, tools("3.6")),
    Case("node.tools", "no_hash_tool", WARNING, tools("3.12", has_hash_tool=False), "node.install_tools"),
    Case("node.clock", "ahead", FAILED, clock(120.0), "node.ntp"),
    Case("node.clock", "behind", FAILED, clock(-120.0), "node.ntp"),
    Case("node.firewall", "closed", FAILED, called("-P INPUT DROP"), "node.open_port"),
    Case("node.firewall", "in_front", FAILED, called("-P INPUT ACCEPT")),
    Case("node.leftovers", "keys", WARNING, account(key_bytes=OLD_LINE.encode()), "node.remove_leftovers"),
    Case("node.leftovers", "old_miner", WARNING, account(old_miner=("7 basilica-miner",))),
)
NODES = (*WAY, *AUTH, *SHELL, *GPU, *DOCKER, *REST)
