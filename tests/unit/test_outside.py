"""Reached from outside: whose word counts, and what becomes of it on the way to the dashboard."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from basilica_tui.fix_first import rank_fixes
from basilica_tui.format import Look
from basilica_tui.lines import plain
from basilica_tui.panels.reach import reach_line
from basilica_tui.panels.weights import weight_lines
from basilica_tui.store import ConsoleStore
from engine import events as ev
from engine.control.client import Snapshot
from engine.control.models import EngineView
from engine.control.state import LiveState
from engine.diagnostics.outside import Call, Reach, callers, judge_calls, proves, split_address
from engine.ssh.target import NodeTarget

PUBLIC, FAR, NEAR = "8.8.4.4", Call("far", "9.9.9.9", "timeout"), Call("near", "10.0.0.7", "refused")
OPEN = Call("near", "10.0.0.8", "open")
DEAF = Call("deaf", "9.9.9.8", "it has neither bash nor nc")


@pytest.mark.parametrize(
    ("calls", "reach"),
    [
        ([FAR, NEAR, OPEN], Reach("open", "near")),
        ([FAR, NEAR], Reach("timeout", "far")),
        ([NEAR, FAR], Reach("timeout", "far")),
        ([NEAR], Reach("unproven", "near", "refused, but it may stand behind the same router")),
        ([DEAF], Reach("unproven", "deaf", "it has neither bash nor nc")),
        ([], Reach("unproven", "", "no healthy node")),
    ],
)
def test_one_open_door_is_open_and_a_closed_one_needs_a_witness(calls: Sequence[Call], reach: Reach) -> None:
    """A node behind the same router proves nothing by failing."""
    assert judge_calls(PUBLIC, calls) == reach


@pytest.mark.parametrize(
    ("host", "address", "counts"),
    [
        ("9.9.9.9", PUBLIC, True),
        ("10.0.0.7", PUBLIC, False),
        ("10.0.0.7", "10.0.0.1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("9.9.9.9", "127.0.0.1", False),
        ("rack7.example.org", PUBLIC, True),
        ("fd00::7", "2001:4860:4860::8888", False),
    ],
)
def test_whose_failure_counts(host: str, address: str, counts: bool) -> None:
    """Private against public does not; a loopback is everybody's own."""
    assert proves(host, address) is counts


def test_who_is_asked_changes_and_witnesses_come_first() -> None:
    """At most three, each time beginning with another one."""
    peers = [NodeTarget(str(n), host, 22, "x") for n, host in enumerate(["10.0.0.1", "9.9.9.1", "9.9.9.2", "10.0.0.2"])]
    assert [p.node_id for p in callers(peers, PUBLIC, 0)] == ["1", "2", "0"]
    assert [p.node_id for p in callers(peers, PUBLIC, 2)] == ["2", "1", "3"]
    assert callers([], PUBLIC, 5) == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [("1.2.3.4:80", ("1.2.3.4", 80)), ("[::1]:80", ("::1", 80)), ("", None), ("1.2.3.4", None), (":80", None)],
)
def test_addresses_come_apart(text: str, parts: tuple[str, int] | None) -> None:
    """As the chain's entry is written."""
    assert split_address(text) == parts


def _called(address: str, outcome: str) -> ev.AxonCalled:
    return ev.AxonCalled(at=100.0, address=address, outcome=outcome, peer="node-03", detail="")


def test_a_call_is_about_the_address_of_now() -> None:
    """One to another address is not kept, and a new address begins with nothing known."""
    state = LiveState()
    state.apply(ev.AxonChecked(at=1.0, on_chain="", bound="b", advertised="1.2.3.4:1"))
    state.apply(_called("9.9.9.9:1", "open"))
    assert state.engine.reach == ""
    state.apply(_called("1.2.3.4:1", "open"))
    assert (state.engine.reach, state.engine.reach_peer, state.engine.reach_at) == ("open", "node-03", 100.0)
    state.apply(ev.AxonChecked(at=200.0, on_chain="", bound="b", advertised="1.2.3.4:2"))
    assert (state.engine.reach, state.engine.reach_at) == ("", None)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("open", "= reached from node-03 10 s ago"),
        ("refused", "✖ nobody outside gets through"),
        ("timeout", "no answer for node-03 10 s ago"),
        ("unproven", "not known from outside (no nc)"),
        ("", "chain 1.2.3.4:1 = bind"),
    ],
)
def test_the_dashboard_says_it(outcome: str, words: str) -> None:
    """With the node that called and when; a no is the first thing to fix and has the doctor's repair."""
    engine = EngineView(
        role="miner", axon_on_chain="1.2.3.4:1", axon_advertised="1.2.3.4:1", axon_bound="1.2.3.4:1", reach=outcome,
        reach_peer="node-03" if outcome != "unproven" else "", reach_at=90.0 if outcome else None, reach_detail="no nc",
        last_called_at=99.0,
    )  # fmt: skip
    store, look = ConsoleStore(), Look(100.0)
    store.apply_snapshot(Snapshot({"engine": {"engine": engine}}, {}, 100.0))
    assert words in plain(reach_line(store, look, 160))
    fixes = rank_fixes(engine, {}, {}, {}, {}, look=look)
    assert [f.command for f in fixes] == (
        [("doctor.fix", "host.axon_reach", "")] if outcome in ("refused", "timeout") else []
    )


@pytest.mark.parametrize(
    ("chain", "reach", "words"),
    [
        ("198.51.100.222:58080", "", "chain 198.51.100.222:58080"),
        ("192.0.2.7:8080", "", "192.0.2.7:8080, not 203.0.113.110:58080"),
        ("203.0.113.110:58080", "refused", "refused to node-03 10 s ago"),
        ("203.0.113.110:58080", "timeout", "no answer for node-03 10 s ago"),
        ("203.0.113.110:58080", "open", "= reached from node-03"),
        ("203.0.113.110:58080", "unproven", "not known from outside"),
        ("", "", "wanted 203.0.113.110:58080"),
    ],
)
def test_what_decides_is_there_in_eighty_columns(chain: str, reach: str, words: str) -> None:
    """Which address is wrong, and whether somebody outside got through; nothing of it is cut."""
    engine = EngineView(
        role="miner", axon_on_chain=chain, axon_advertised="203.0.113.110:58080", axon_bound="203.0.113.110:58080",
        reach=reach, reach_peer="node-03", reach_at=90.0 if reach else None, last_called_at=99.0,
        reach_detail="no node has a program that calls",
    )  # fmt: skip
    store = ConsoleStore()
    store.apply_snapshot(Snapshot({"engine": {"engine": engine}}, {}, 100.0))
    text = plain(reach_line(store, Look(100.0), 80))
    assert words in text
    assert "…" not in text


@pytest.mark.parametrize(
    ("width", "end"),
    [
        (160, "last called just now by 5CZb…fjS4"),
        (130, "  called just now by 5CZb…fjS4"),
        (119, "  called just now"),
        (100, "10 s ago"),
        (98, "10 s ago"),
    ],
)
def test_the_evidence_goes_before_the_last_call(width: int, end: str) -> None:
    """Who called last is said in what room is left, and never runs into the evidence."""
    engine = EngineView(
        role="miner", axon_on_chain="203.0.113.10:50051", axon_advertised="203.0.113.10:50051", reach="open",
        axon_bound="203.0.113.10:50051", reach_peer="node-1", reach_at=90.0, last_called_at=99.9,
        last_called_by="5CZbW1aGYTuZWjeWFWmnnhBCDAxYEped3RugdjvkRh1dfjS4",
    )  # fmt: skip
    store = ConsoleStore()
    store.apply_snapshot(Snapshot({"engine": {"engine": engine}}, {}, 100.0))
    text = plain(reach_line(store, Look(100.0), width))
    assert "= reached from node-1 10 s ago" in text
    assert text.rstrip().endswith(end)


@pytest.mark.parametrize("width", [80, 120])
def test_the_rules_of_the_weights_in_force_are_not_cut(width: int) -> None:
    """Block, next vector, burn, profile and version key stand on one line at any usual width."""
    engine = EngineView(
        role="validator", weights_block=4_812_233, weights_at=40.0, weights_next_block=4_812_593, block=4_812_240,
        weights_burn=6553, weights_profile="documented", weights_version_key=12,
    )  # fmt: skip
    store = ConsoleStore()
    store.apply_snapshot(Snapshot({"engine": {"engine": engine}}, {}, 100.0))
    text = plain(weight_lines(store, Look(100.0), width)[0])
    assert [
        part for part in ("4,812,233", "next in 353 blocks", "10.00 %", "documented", "key 12") if part not in text
    ] == []
    assert "…" not in text
