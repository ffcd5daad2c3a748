"""What the check page says of a report: failures first with what to do, and what could not be checked, and why."""

from __future__ import annotations

from typing import Any

import pytest

from engine.diagnostics.catalogue import CHECKS
from engine.diagnostics.chain_checks import ChainFacts
from engine.diagnostics.model import (
    HOST,
    Judgement,
    Report,
    Result,
    Scope,
    Subject,
    Verdict,
    climb,
    conclude,
    fail,
    ok,
    warn,
)
from engine.setup.judging import judge

NODE = Subject("n1", "gpu-1")
DEAD = "ws://127.0.0.1:9: connection refused"


def chain(role: str) -> tuple[Result, ...]:
    """A chain that nobody answers at."""
    facts = ChainFacts(reach="unreachable", said=DEAD, hotkey="5x", is_miner=role == "miner")
    return climb(CHECKS[Scope.CHAIN], facts, HOST)


def found(check: str, judgement: Judgement, subject: Subject = HOST) -> Result:
    (one,) = (c for checks in CHECKS.values() for c in checks if c.id == check)
    return conclude(one, subject, judgement)


def report(*results: Result, role: str = "miner") -> Report:
    return Report(results, 0.0, 0.0, "1", "", role)


@pytest.mark.parametrize(
    ("role", "unchecked"),
    [
        ("miner", ["The hotkey is registered", "A living validator is assigned"]),
        ("validator", ["The hotkey is registered", "The validator holds a permit"]),
    ],
)
def test_a_dead_chain_is_said_with_what_to_do_and_what_it_leaves_open(role: str, unchecked: list[str]) -> None:
    """The failure first, then each rung of this role that needs the chain; it does not stop a setup."""
    results = [one for one in chain(role) if one.check not in ("chain.age", "chain.axon", "chain.immunity")]
    checked = judge(report(*results, role=role))
    assert checked.lines == (
        f"!! this host: The chain answers: the endpoint does not answer ({DEAD})",
        " do: check the network from here; set bittensor.fallback_endpoints",
        *(f"not checked: {title}: chain not reached" for title in unchecked),
    )
    assert checked.refusal == ""


def test_what_stops_comes_first_then_failures_then_warnings() -> None:
    """Whoever reads only the first lines reads what has to be done."""
    checked = judge(
        report(
            found("host.cores", warn("few", "2 cores")),
            found("host.python", ok("3.11")),
            found("chain.registered", fail("not_registered", "5x has no uid")),
            found("wallet.files", fail("no_wallet", "no such directory")),
            found("host.ports", fail("taken", "50051 is held by pid 7")),
        )
    )
    marks = [line[:2] for line in checked.lines if not line.startswith(" do:")]
    titles = [line.split(": ")[1] for line in checked.lines if not line.startswith(" do:")]
    assert marks == ["!!", "!!", "!!", "! "]
    assert set(titles[:2]) == {"The hotkey's file is there", "The ports are free"}
    assert titles[2:] == ["The hotkey is registered", "There are enough cores"]
    assert len(checked.blocking) == 2
    assert checked.refusal.endswith("(and 1 more)")


def test_behind_a_dead_node_the_rungs_are_counted() -> None:
    """Two dozen rungs that mean nothing are one line, and no node that can be entered stops a setup."""
    ladder: tuple[Any, ...] = CHECKS[Scope.NODE]
    dead = [found("node.tcp", fail("refused", "connection refused"), NODE)]
    left = [
        Result(one.id, one.scope, one.title, one.meaning, NODE, verdict=Verdict.SKIPPED, reason="node.tcp failed first")
        for one in ladder
        if one.id not in ("node.tcp", "node.resolve", "node.route")
    ]
    checked = judge(report(*dead, *left))
    assert checked.lines[-1] == (f"not checked: gpu-1: {len(left)} checks: not so: The SSH port accepts connections")
    assert checked.refusal == "no node can be entered with the miner's key"
