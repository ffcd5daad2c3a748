"""Alert rules about a validator's own work: pure judgements over the live state.

When nobody answers and everything fails, the fault is more likely here than with everybody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from engine.observe.alerts_book import Reading, Trouble
from engine.observe.alerts_facts import Facts

FEWEST = 4
"""So many miners or nodes at least, before what they have in common is taken for a fault of ours."""
FAILING, CLEARED = 0.9, 0.75
"""The share of nodes whose latest verification failed that raises the alert, and the one that ends it."""
RECENT_S = 3600.0
"""What was verified before says nothing about now: nodes are looked at every ten minutes."""


def miners(facts: Facts) -> Iterator[Reading]:
    """None of the miners on chain can be asked."""
    called = [miner for miner in facts.state.miners.values() if miner.is_called and miner.state != "discovered"]
    failed = [miner for miner in called if miner.state == "failed"]
    if len(called) < FEWEST:
        yield Reading("miners_silent", "", is_known=not failed)
        return
    yield Reading(
        "miners_silent",
        "",
        Trouble(
            "error",
            f"none of {len(called)} miners answers: {_commonest(miner.last_error for miner in failed)}",
            "nobody is verified, so everybody's score fades for a fault that is probably here",
            "check this host's network, its clock and the wallet; basilica-tui show miners has each one's error",
        )
        if len(failed) == len(called)
        else None,
    )


def verifications(facts: Facts) -> Iterator[Reading]:
    """Almost every node failed its latest verification."""
    rows = facts.state.verifications.values()
    recent = [row for row in rows if row.at is not None and facts.now - row.at <= RECENT_S and row.state]
    failed = [row for row in recent if row.state != "passed"]
    if len(recent) < FEWEST:
        yield Reading("verifications_failing", "", is_known=not failed)
        return
    limit = CLEARED if ("verifications_failing", "") in facts.active else FAILING
    yield Reading(
        "verifications_failing",
        "",
        Trouble(
            "error",
            f"{len(failed)} of {len(recent)} nodes failed: {_commonest(row.message for row in failed)}",
            "miners are scored as failing, and their income goes, for a fault that is probably here",
            "look at one of them on screen 3; check this host's network, its clock and where its SSH keys are kept",
        )
        if len(failed) >= limit * len(recent)
        else None,
    )


def _commonest(texts: Iterator[str]) -> str:
    counted = Counter(text for text in texts if text).most_common(1)
    return counted[0][0] if counted else "no reason was given"


def queue(facts: Facts) -> Iterator[Reading]:
    """Nodes found no room in the queue of full verifications, in the last round or the one before."""
    at = facts.state.engine.queue_refused_at
    is_full = at is not None and facts.now - at < 2 * facts.chain_interval_s
    yield Reading(
        "queue_full",
        "",
        Trouble(
            "warning",
            "the queue of full verifications is full: nodes that are due are not verified",
            "new nodes of honest miners wait longer for their first score",
            "see which miners offer so many nodes; raise verification.max_concurrent_full_validations if this host can",
        )
        if is_full
        else None,
    )


def weights(facts: Facts) -> Iterator[Reading]:
    """A validator cannot set its weights."""
    error = facts.state.engine.weights_error
    yield Reading(
        "weights_failed",
        "",
        Trouble(
            "error",
            f"weights could not be set: {error}",
            "miners are paid by old weights, and validators that stay silent lose their dividends",
            "check stake, permit and the connection to the chain; it is tried again",
        )
        if error
        else None,
    )
