"""Checks of the miner's own key, and of another miner on this host."""

from __future__ import annotations

from engine.diagnostics.host_facts import HostFacts, host_check
from engine.diagnostics.model import Cause, Check, Judgement, fail, ok, skip, warn


def judge_key(facts: HostFacts) -> Judgement:
    """The key that the miner logs in with."""
    if not facts.is_miner:
        return skip("a validator makes its keys itself")
    if facts.key_trouble:
        return fail(facts.key_trouble, facts.key_said, path=facts.key_path)
    return ok(facts.key_said)


def judge_old_miner(facts: HostFacts) -> Judgement:
    """Two miners on one hotkey undo each other."""
    old = facts.old_miner
    if not old.seen:
        return ok("no deployed miner runs or starts here")
    if old.is_running:
        return fail("running", *old.seen, **old.data)
    return warn("enabled", *old.seen, **old.data)


CHECKS: tuple[Check[HostFacts], ...] = (
    host_check(
        "ssh_key",
        "The miner's SSH key is usable",
        "without it no node can be reached",
        judge_key,
        Cause("missing", "there is no such file", ("host.key_generate",)),
        Cause("unreadable", "this user may not read it", advice="run as its owner, or chown the file"),
        Cause("open_to_others", "other users can read it, so it is refused", ("host.key_chmod",)),
        Cause("passphrase", "it is protected by a passphrase", advice="use a key without one: ssh-keygen -p -f FILE"),
        Cause("not_a_key", "it is no private key", advice="name the private key, not the .pub file"),
    ),
    host_check(
        "old_miner",
        "No other miner runs here",
        "two miners with one hotkey undo each other's work",
        judge_old_miner,
        Cause("running", "the deployed miner runs", ("host.take_over", "host.stop_old_miner")),
        Cause("enabled", "the deployed miner starts at the next boot", ("host.stop_old_miner",)),
    ),
)
