"""Checks of access on one node: is every grant's key there, no stray one, does it end by itself, who is inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.diagnostics.model import Cause, Check, Judgement, Scope, fail, ok, skip, warn
from engine.ssh.capability import ExpiryForm, expiry_form_of
from engine.ssh.target import ROOT_DIRECTORY

if TYPE_CHECKING:
    from engine.miner.drift import Baseline, SeenLine
    from engine.probes.account import PathFacts
    from engine.store.records import Grant

GRACE_S = 120.0
"""A reconciler visits at least this often."""


@dataclass(frozen=True)
class AccessFacts:
    """What the engine's records say and what the node's file says."""

    now: float
    key_bytes: bytes | None = None
    server_version: str = ""
    own_blobs: frozenset[str] = frozenset()
    grants: tuple[Grant, ...] | None = None
    """Open grants of this node; None when the records cannot be read."""
    no_records: str = ""
    baseline: Baseline | None = None
    sessions: Mapping[str, int] | None = None
    """Processes by the grant that they carry; None when they were not looked at."""
    canary: str = ""
    """What the engine's canary login showed at the enrolment; empty while the node was not enrolled."""
    node_trouble: str = ""
    root_paths: tuple[PathFacts, ...] = ()
    root_key_bytes: bytes = b""
    groups: tuple[str, ...] = ()
    placement: str = ""
    """How far grants are in the file that only root can write; empty when nobody asked for one."""

    @property
    def lines(self) -> tuple[SeenLine, ...]:
        """Every key line, explained."""
        from engine.miner.drift import ROOT_FILE, explain  # noqa: PLC0415 - the store behind it takes long to load

        known = {grant.id for grant in self.grants or ()}
        lines = explain(self.key_bytes or b"", self.baseline, self.own_blobs, known)
        return lines + explain(self.root_key_bytes, self.baseline, self.own_blobs, known, file=ROOT_FILE)


def _unread(facts: AccessFacts) -> Judgement | None:
    if facts.key_bytes is None:
        return skip(facts.node_trouble or "the node's key file was not read")
    return skip(facts.no_records or "the engine's records cannot be read") if facts.grants is None else None


def judge_keys(facts: AccessFacts) -> Judgement:
    """Every grant's key is in place."""
    if (unread := _unread(facts)) is not None:
        return unread
    there = {line.grant_id for line in facts.lines if line.grant_id}
    wanted = [one for one in facts.grants or () if one.is_wanted(facts.now) and one.deployed_at is not None]
    missing = [one for one in wanted if one.id not in there]
    if missing:
        return fail("missing", *(f"the key of validator {one.hotkey} ({one.fingerprint})" for one in missing[:8]))
    late = [
        one
        for one in facts.grants or ()
        if one.ended_at is not None and one.ended_at + GRACE_S < facts.now and one.id in there
    ]
    if late:
        return fail("not_removed", *(f"the key of validator {one.hotkey}, ended: {one.end_reason}" for one in late[:8]))
    return ok(f"{len(wanted)} grants, all in place")


def judge_strays(facts: AccessFacts) -> Judgement:
    """No key that nobody answers for."""
    if (unread := _unread(facts)) is not None:
        return unread
    strays = [line for line in facts.lines if line.is_unexplained]
    orphans = [line for line in strays if line.kind == "orphan"]
    if orphans:
        return warn("orphan", *(line.text for line in orphans[:8]), fingerprints=_fingerprints(orphans))
    if strays:
        return warn("stray", *(line.text for line in strays[:8]), fingerprints=_fingerprints(strays))
    return ok("every key line is explained")


def _fingerprints(lines: list[SeenLine]) -> str:
    return " ".join(line.fingerprint for line in lines if line.file == "authorized_keys")


def judge_expiry(facts: AccessFacts) -> Judgement:
    """Keys end by themselves where sshd can do that."""
    if facts.key_bytes is None:
        return skip(facts.node_trouble or "the node's key file was not read")
    form: ExpiryForm = expiry_form_of(facts.server_version)
    if form == "none":
        return warn(
            "old_sshd", f"{facts.server_version or 'this server'} knows no expiry-time (OpenSSH 7.7 and newer do)"
        )
    if facts.canary == "not_enforced":
        return fail("not_enforced", f"{facts.server_version} let a key in whose expiry-time was over")
    proof = ", proved by a login" if facts.canary == "proved" else ", by its version; not tried yet"
    return ok(f"{facts.server_version} ends keys by itself ({'UTC' if form == 'utc' else 'node-local time'}{proof})")


def judge_root_file(facts: AccessFacts) -> Judgement:
    """Where grants are kept in a file that only root can write, only root can."""
    if (unread := _unread(facts)) is not None:
        return unread
    if not facts.root_paths:
        if facts.placement in {"", "user"}:
            return ok("grants are kept in .ssh/authorized_keys")
        return fail("root_file_gone", f"no file of this account is in {ROOT_DIRECTORY}, where grants are kept")
    loose = [one for one in facts.root_paths if one.uid != 0 or one.mode is None or one.mode & 0o022]
    if loose:
        return fail("not_roots", *(f"{one.path}: mode {one.mode or 0:o}, user {one.uid}" for one in loose))
    if facts.placement in {"entering", "leaving"}:
        return warn("half_moved", f"the move of this node's grants stopped half-way ({facts.placement})")
    ways = ", ".join(one for one in facts.groups if one in {"docker", "sudo", "wheel", "lxd", "disk"})
    worth = f"; guests of the groups {ways} may become root" if ways else ""
    return ok(f"{facts.root_paths[-1].path} can be written by root only{worth}")


def judge_sessions(facts: AccessFacts) -> Judgement:
    """Nobody is inside whose access is over."""
    if facts.sessions is None or facts.grants is None:
        return skip("the node's processes were not looked at, or the records cannot be read")
    alive = {grant.id for grant in facts.grants if grant.is_wanted(facts.now)}
    over = {name: count for name, count in facts.sessions.items() if name not in alive}
    if over:
        return fail("outlived", *(f"{count} processes of grant {name}" for name, count in list(over.items())[:8]))
    return ok(f"{len(facts.sessions)} grants have sessions, all alive")


CHECKS: tuple[Check[AccessFacts], ...] = (
    Check(
        "access.keys",
        Scope.ACCESS,
        "Every grant's key is in place",
        "a validator without its key scores the node as failed",
        judge_keys,
        (
            Cause("missing", "a line that was there is gone: somebody edited the file", ("access.reconcile",)),
            Cause("not_removed", "a line is there whose access is over", ("access.reconcile",)),
        ),
    ),
    Check(
        "access.strays",
        Scope.ACCESS,
        "No stray keys",
        "whoever holds such a key may enter",
        judge_strays,
        (
            Cause("orphan", "a line marked like a grant, which this engine never gave", ("access.remove_strays",)),
            Cause(
                "stray",
                "a line that was not there when the node was first read",
                ("access.remove_strays",),
                advice="if it is yours: basilica-tui keys audit, then accept it in the console",
            ),
        ),
    ),
    Check(
        "access.expiry",
        Scope.ACCESS,
        "Keys end by themselves",
        "else a dead miner leaves keys for ever",
        judge_expiry,
        (
            Cause(
                "old_sshd",
                "the node's sshd knows no expiry-time: keys end only when they are removed",
                advice="upgrade OpenSSH on the node to 9.1 or newer",
            ),
            Cause(
                "not_enforced",
                "the node let in a key that was over: something else than its OpenSSH decides about keys",
                advice="look for AuthorizedKeysCommand and for another SSH server in front of sshd",
            ),
        ),
    ),
    Check(
        "access.root_file",
        Scope.ACCESS,
        "The file that only root can write is just that",
        "else a guest prolongs its own access",
        judge_root_file,
        (
            Cause(
                "root_file_gone",
                "somebody has taken the file away: no validator gets in",
                advice="basilica-tui keys protect NODE sets it up again, with --undo it goes back",
            ),
            Cause(
                "not_roots",
                f"the file or {ROOT_DIRECTORY} can be written by others",
                advice="as root: chown root:root and chmod go-w on both; then look who wrote there",
            ),
            Cause(
                "half_moved",
                "the change of the key file was not finished; keys work, and end in time",
                advice="basilica-tui keys protect NODE, with --undo to go back",
            ),
        ),
    ),
    Check(
        "access.sessions",
        Scope.ACCESS,
        "Nobody is inside whose access is over",
        "removing a key ends no session",
        judge_sessions,
        (Cause("outlived", "sessions outlive their grant", ("access.reconcile",)),),
    ),
)
