"""The rungs of the host behind the account: Docker, disk, clock, sshd's settings, firewall, leftovers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.diagnostics.model import Cause, Check, Judgement, Scope, fail, ok, skip, warn
from engine.diagnostics.node_facts import NodeFacts
from engine.ssh.authorized_keys import inventory

GB = 10**9
MAX_SESSIONS_MIN = 20
MAX_STARTUPS_MIN = 20


def judge_docker(facts: NodeFacts) -> Judgement:
    """Does this account reach a running daemon."""
    host = facts.host
    if host is None or host.docker_ok is None:
        return skip("Docker was not asked")
    if host.docker_ok:
        return ok(f"Docker {host.docker_version}")
    text = host.docker_error
    lower = text.lower()
    groups = facts.account.groups if facts.account else ()
    if "not installed" in lower:
        return fail("absent", text)
    if "permission denied" in lower:
        return fail("no_permission", text, f"groups of the account: {' '.join(groups) or 'unknown'}")
    if "no answer" in lower:
        return fail("hangs", text)
    if "cannot connect" in lower or "is the docker daemon running" in lower or "connection refused" in lower:
        return fail("no_daemon", text)
    return fail("other", text)


def judge_runtime(facts: NodeFacts) -> Judgement:
    """Is NVIDIA's runtime registered with the daemon."""
    host = facts.host
    if host is None or host.nvidia_runtime_ok is None:
        return skip("Docker lists no runtimes")
    if host.nvidia_runtime_ok:
        return ok("the nvidia runtime is registered")
    tools = facts.admin.tools if facts.admin else frozenset()
    if facts.admin is not None and "nvidia-ctk" not in tools:
        return fail("no_toolkit", "docker info lists no nvidia runtime", "nvidia-ctk is not installed")
    return fail("not_configured", "docker info lists no nvidia runtime")


def judge_container(facts: NodeFacts) -> Judgement:
    """Does a container see the GPUs."""
    found = facts.container
    if found is None:
        return skip("no container was started")
    if found.outcome == "ok":
        return ok(f"a container of {found.image} lists the GPUs")
    if found.outcome == "no_image":
        return skip("no CUDA image is on the node, and the doctor pulls none: docker pull it once to have this checked")
    if "stand-in" in found.said:
        return skip("this node's docker is a stand-in that starts no containers")
    lower = found.said.lower()
    if "could not select device driver" in lower:
        return fail("no_hook", found.said)
    if "failed to initialize nvml" in lower or "unknown error" in lower:
        return fail("cgroups", found.said)
    if "driver rpc error" in lower or "unsatisfied condition" in lower or "requirement error" in lower:
        return fail("driver", found.said)
    return fail("other", found.said)


def judge_disk(facts: NodeFacts) -> Judgement:
    """Is there room for rentals on the file system that Docker uses."""
    host, limit = facts.host, facts.limits.disk_min_bytes
    if host is None or host.disk_free_bytes is None:
        return skip("the node did not tell its disks")
    free, total = host.disk_free_bytes, host.disk_total_bytes or 0
    disks = facts.account.disks if facts.account else ()
    said = f"{_gb(free)} of {_gb(total)} free on {host.disk_path}, which Docker uses"
    extra = facts.limits.extra_mount_path
    if extra and extra not in {disk.mount for disk in disks} and disks:
        return fail("no_mount", f"{extra} is not mounted; there are {', '.join(disk.mount for disk in disks[:6])}")
    if free >= limit:
        return ok(said)
    better = max((d for d in disks if d.mount != host.disk_path), key=lambda d: d.free_bytes, default=None)
    if better is not None and better.free_bytes >= limit:
        return warn("wrong_mount", said, f"{_gb(better.free_bytes)} are free on {better.mount}", mount=better.mount)
    if total >= limit:
        return warn("full", said, f"{_gb(limit)} are asked for")
    return warn("small", said, f"{_gb(limit)} are asked for")


def judge_clock(facts: NodeFacts) -> Judgement:
    """Keys end by the node's clock, and validators sign with the time."""
    skew = facts.host.clock_skew_s if facts.host else None
    if skew is None:
        return skip("the node did not tell its time")
    skew += facts.own_offset_s
    if facts.own_offset_s and abs(skew) <= facts.limits.clock_skew_max_s:
        return ok(f"{skew:+.1f} s against the other nodes; this host's own clock is off")
    if abs(skew) <= facts.limits.clock_skew_max_s:
        return ok(f"{skew:+.1f} s against this host")
    return fail("ahead" if skew > 0 else "behind", f"{skew:+.0f} s against this host", skew=f"{skew:.0f}")


def judge_capacity(facts: NodeFacts) -> Judgement:
    """MaxSessions and MaxStartups leave room for validators beside us."""
    sessions, startups = _limits(facts)
    if sessions is None and startups is None:
        return ok("nothing stated: OpenSSH's defaults, MaxSessions 10 and MaxStartups 10:30:100")
    if sessions is not None and sessions < facts.limits.clients:
        return fail("sessions", f"MaxSessions {sessions}")
    if startups is not None and startups < facts.limits.clients:
        return fail("startups", f"MaxStartups {startups}")
    return ok(f"MaxSessions {sessions or 'default'}, MaxStartups {startups or 'default'}")


def judge_hardening(facts: NodeFacts) -> Judgement:
    """What the network's guide asks of sshd, as far as this account may read it."""
    settings = _posture(facts)
    if not settings:
        return skip("sshd's settings cannot be read by this account; --admin USER shows them")
    bad = [(cause, words) for cause, words, is_bad in _RULES if is_bad(settings)]
    if not bad:
        return ok("no password logins, no root login by password")
    return warn(bad[0][0], *(f"sshd: {words}" for _, words in bad))


_RULES: tuple[tuple[str, str, Callable[[Mapping[str, str]], bool]], ...] = (
    ("password_login", "PasswordAuthentication yes", lambda s: s.get("password") == "yes"),
    ("keyboard_login", "KbdInteractiveAuthentication yes", lambda s: s.get("keyboard") == "yes"),
    ("root_login", "PermitRootLogin yes", lambda s: s.get("root") == "yes"),
    ("x11", "X11Forwarding yes", lambda s: s.get("x11") == "yes"),
)


def _posture(facts: NodeFacts) -> dict[str, str]:
    if facts.admin is not None and facts.admin.sshd:
        pairs = (
            ("password", "passwordauthentication"),
            ("keyboard", "kbdinteractiveauthentication"),
            ("root", "permitrootlogin"),
            ("x11", "x11forwarding"),
        )
        return {name: facts.admin.setting(word) for name, word in pairs}
    if facts.host is None:
        return {}
    sshd = facts.host.sshd
    words = {True: "yes", False: "no", None: ""}
    found = {"password": words[sshd.password_login], "keyboard": words[sshd.keyboard_login], "root": sshd.root_login}
    return found if any(found.values()) else {}


def _limits(facts: NodeFacts) -> tuple[int | None, int | None]:
    if facts.admin is not None and facts.admin.sshd:
        sessions, startups = facts.admin.setting("maxsessions"), facts.admin.setting("maxstartups")
    elif facts.host is not None:
        stated = facts.host.sshd
        sessions = str(stated.max_sessions) if stated.max_sessions is not None else ""
        startups = stated.max_startups
    else:
        return None, None
    first = startups.partition(":")[0]
    return int(sessions) if sessions.isdigit() else None, int(first) if first.isdigit() else None


def judge_firewall(facts: NodeFacts) -> Judgement:
    """Validators come from outside; another node is the nearest thing to them that we have."""
    peer = facts.peer
    if not peer.peer:
        return skip("no other node was there to call from: a view from outside needs a second one")
    if peer.outcome == "open":
        return ok(f"{peer.peer} reaches {facts.target.address}")
    if peer.outcome in {"refused", "timeout"}:
        rules = [line for line in (facts.admin.firewall if facts.admin else ()) if "DROP" in line or "drop" in line]
        return fail("closed", f"{peer.peer} calls {facts.target.address}: {peer.outcome}", *rules[:3])
    return skip(f"{peer.peer} could not make the call: {peer.outcome}")


def judge_leftovers(facts: NodeFacts) -> Judgement:
    """What an earlier miner left: its key lines give access for ever."""
    account = facts.account
    if account is None or account.uid is None:
        return skip("the account was not looked at")
    found = inventory(account.key_bytes).leftovers
    running = [line for line in account.old_miner if not line.startswith("/")]
    if running:
        return warn("old_miner", *running)
    if found:
        return warn("keys", f"{len(found)} key lines of the deployed miner: {', '.join(x.holder for x in found[:4])}")
    return ok("no leftovers of another miner")


def _gb(size: int) -> str:
    return f"{size / GB:,.0f} GB"


CHECKS: tuple[Check[NodeFacts], ...] = (
    Check(
        "node.docker",
        Scope.NODE,
        "The account reaches Docker",
        "rentals and full validations start containers",
        judge_docker,
        (
            Cause("absent", "Docker is not installed", ("node.install_docker",)),
            Cause("no_permission", "the account is not in the group docker", ("node.docker_group",)),
            Cause("no_daemon", "the Docker daemon does not run", ("node.docker_start",)),
            Cause("hangs", "the daemon does not answer", ("node.docker_start",), advice="look at journalctl -u docker"),
            Cause("other", "Docker fails for a reason of its own", advice="look at journalctl -u docker on the node"),
        ),
        needs=("node.shell",),
    ),
    Check(
        "node.nvidia_runtime",
        Scope.NODE,
        "Docker knows the NVIDIA runtime",
        "without it no container sees a GPU",
        judge_runtime,
        (
            Cause("no_toolkit", "the NVIDIA Container Toolkit is not installed", ("node.install_toolkit",)),
            Cause("not_configured", "the toolkit is not registered with Docker", ("node.nvidia_runtime",)),
        ),
        needs=("node.docker",),
    ),
    Check(
        "node.container",
        Scope.NODE,
        "A container sees the GPUs",
        "this is what a validator does",
        judge_container,
        (
            Cause("no_hook", "Docker finds no device driver for GPUs", ("node.nvidia_runtime",)),
            Cause("cgroups", "the container lost its devices (systemd reload with cgroups)", ("node.docker_start",)),
            Cause("driver", "the image's CUDA is newer than the driver", advice="install driver 570 or newer"),
            Cause("other", "the container did not start", advice="run the command on the node and read its message"),
        ),
        needs=("node.nvidia_runtime", "node.gpu"),
    ),
    Check(
        "node.disk",
        Scope.NODE,
        "There is room for rentals on the right disk",
        "validators want about 1 TB free where Docker keeps its data",
        judge_disk,
        (
            Cause(
                "wrong_mount",
                "Docker's data is on a small disk while a large one stands by",
                advice="move Docker's data-root there (/etc/docker/daemon.json) while nothing is rented",
            ),
            Cause(
                "full",
                "the disk is large enough and full",
                advice="docker system prune, old images and data sets first",
            ),
            Cause("small", "the disk is smaller than validators ask for", advice="add a disk, or mount a larger one"),
            Cause(
                "no_mount", "the configured extra mount is not mounted", advice="mount it, and enter it in /etc/fstab"
            ),
        ),
        needs=("node.shell",),
    ),
    Check(
        "node.clock",
        Scope.NODE,
        "The node's clock is right",
        "keys on the node end by its own clock, and validators refuse large differences",
        judge_clock,
        (
            Cause("ahead", "the node's clock is ahead: nothing keeps it in time", ("node.ntp",)),
            Cause("behind", "the node's clock is behind: nothing keeps it in time", ("node.ntp",)),
        ),
        needs=("node.shell",),
    ),
    Check(
        "node.capacity",
        Scope.NODE,
        "sshd leaves room for validators",
        "several validators and the miner log in at the same time",
        judge_capacity,
        (
            Cause("sessions", "MaxSessions is too low", ("node.harden",)),
            Cause("startups", "MaxStartups is too low", ("node.harden",)),
        ),
        needs=("node.shell",),
    ),
    Check(
        "node.hardening",
        Scope.NODE,
        "sshd is hardened",
        "guests know the account's name; a password would be tried",
        judge_hardening,
        (
            Cause("password_login", "passwords are accepted", ("node.harden",)),
            Cause(
                "keyboard_login", "keyboard-interactive logins are accepted, which are passwords too", ("node.harden",)
            ),
            Cause("root_login", "root may log in with a password", ("node.harden",)),
            Cause("x11", "X11 forwarding is on", ("node.harden",)),
        ),
        needs=("node.shell",),
    ),
    Check(
        "node.firewall",
        Scope.NODE,
        "The firewall lets validators in",
        "the miner's own way in proves nothing about validators, who come from elsewhere",
        judge_firewall,
        (
            Cause(
                "closed",
                "the node's firewall admits this host and not others",
                advice="allow the SSH port from everywhere: ufw allow PORT/tcp, and in the provider's firewall",
            ),
        ),
        needs=("node.tcp",),
    ),
    Check(
        "node.leftovers",
        Scope.NODE,
        "Nothing of another miner is left",
        "key lines of the deployed miner never end, and two miners undo each other's work",
        judge_leftovers,
        (
            Cause("keys", "the deployed miner left key lines", ("node.remove_leftovers",)),
            Cause(
                "old_miner",
                "a deployed miner runs on the node",
                advice="stop it there: systemctl disable --now basilica-miner",
            ),
        ),
        needs=("node.shell",),
    ),
)
