"""The rungs of the host behind the account: disk, clock, firewall, leftovers."""

from __future__ import annotations

from engine.diagnostics.barrier import find_barrier
from engine.diagnostics.model import Cause, Check, Judgement, Scope, fail, ok, skip, warn
from engine.diagnostics.node_facts import NodeFacts
from engine.ssh.authorized_keys import inventory

GB = 10**9
PYTHON_MIN = (3, 8)
"""What the attestation program runs on."""


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


def judge_tools(facts: NodeFacts) -> Judgement:
    """A full verification uploads a Python program and checks its digest on the node."""
    account = facts.account
    if account is None or account.python is None:
        return skip("the account was not looked at")
    if not account.has_hash_tool:
        return warn("no_hash_tool", "no sha256sum in the account's PATH")
    if not account.python:
        return warn("no_python", "no python3 in the account's PATH")
    if not _is_at_least(account.python, PYTHON_MIN):
        return warn("old_python", f"Python {account.python}; {PYTHON_MIN[0]}.{PYTHON_MIN[1]} is needed")
    return ok(f"Python {account.python}, sha256sum")


def _is_at_least(version: str, least: tuple[int, int]) -> bool:
    major, _, minor = version.partition(".")
    numbers = [int(word) if word.isascii() and word.isdigit() else 0 for word in (major, minor)]
    return tuple(numbers) >= least


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


def judge_firewall(facts: NodeFacts) -> Judgement:
    """Validators come from outside; another node is the nearest thing to them that we have."""
    peer = facts.peer
    if not peer.peer:
        return skip("no other node was there to call from: a view from outside needs a second one")
    if peer.outcome == "open":
        return ok(f"{peer.peer} reaches {facts.target.address}")
    if peer.outcome in {"refused", "timeout"}:
        return _closed(facts, f"{peer.peer} calls {facts.target.address}: {peer.outcome}")
    return skip(f"{peer.peer} could not make the call: {peer.outcome}")


def _closed(facts: NodeFacts, said: str) -> Judgement:
    """Without an administrator's look the rules are not known; with it they decide between the node and its network."""
    if facts.admin is None or not facts.admin.firewall.was_read:
        return fail("closed", said)
    port = facts.target.port
    found = find_barrier(facts.admin.firewall, port, is_v6=":" in facts.target.host)
    if found is None:
        return fail("in_front", said, f"no rule of the node's own firewall turns port {port} away")
    return fail("closed", said, found.rule, **found.data)


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
        "node.tools",
        Scope.NODE,
        "What a full verification needs is installed",
        "without it no full verification can pass, whatever the GPUs are",
        judge_tools,
        (
            Cause("no_python", "no python3: the verification's program cannot run", ("node.install_tools",)),
            Cause(
                "old_python",
                "python3 is too old for the verification's program",
                advice="the distribution is past its support: upgrade it, or put a newer python3 first in the PATH",
            ),
            Cause(
                "no_hash_tool",
                "no sha256sum: neither the program nor key files can be checked",
                ("node.install_tools",),
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
        "node.firewall",
        Scope.NODE,
        "The firewall lets validators in",
        "the miner's own way in proves nothing about validators, who come from elsewhere",
        judge_firewall,
        (
            Cause(
                "closed",
                "the node's firewall admits this host and not others",
                ("node.open_port",),
                advice="allow the SSH port from everywhere: ufw allow PORT/tcp, and in the provider's firewall",
            ),
            Cause(
                "in_front",
                "a firewall in front of the node admits this host and not others",
                advice="open the SSH port in the provider's firewall, or on the router",
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
