"""Alert rules, one table per rule: the state they look at and what they make of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from engine.config.common import AlertsConfig
from engine.control.models import MinerView, NodeView, ServiceView, SessionView, VerificationView
from engine.control.state import LiveState
from engine.observe.alerts_book import Reading
from engine.observe.alerts_facts import GB, Facts, HostFacts, KeyChange
from engine.observe.alerts_rules import NAMES, RULES, Rule, patience, readings

NOW = 1_700_000_000.0
HOUR = 3600.0


def state_of(**engine: object) -> LiveState:
    """A miner that runs since ten hours and where nothing is wrong."""
    state = LiveState()
    values: dict[str, object] = {
        "role": "miner",
        "started_at": NOW - 10 * HOUR,
        "strategy": "highest_stake",
        "assigned_hotkey": "5A",
        "assigned_since": NOW - 9 * HOUR,
        "last_called_at": NOW - 60,
        "metagraph_at": NOW - 60,
        "uid": 7,
        "axon_bound": "0.0.0.0:8091",
        "axon_on_chain": "1.2.3.4:8091",
        "axon_advertised": "1.2.3.4:8091",
    } | engine
    for name, value in values.items():
        setattr(state.engine, name, value)
    state.sessions["5A"] = SessionView(id="5A", hotkey="5A", last_discovery_at=NOW - 60, authenticated_at=NOW - 60)
    return state


def never(rule: str, fault: Exception) -> None:
    raise AssertionError(rule) from fault


def judge(state: LiveState, rule: str, **facts: Any) -> list[Reading]:
    found = Facts(now=NOW, state=state, limits=facts.pop("limits", AlertsConfig()), **facts)
    return [reading for reading in readings(found, never) if reading.rule == rule]


def verdict(state: LiveState, rule: str, **facts: Any) -> str:
    """``wrong``, ``fine``, ``unknown`` or ``nothing`` (no reading at all)."""
    found = judge(state, rule, **facts)
    if not found:
        return "nothing"
    (reading,) = found
    if not reading.is_known:
        return "unknown"
    return "fine" if reading.trouble is None else "wrong"


def with_node(**values: object) -> LiveState:
    state = state_of()
    state.nodes["n1"] = NodeView(id="n1", label="gpu-1")
    for name, value in values.items():
        setattr(state.nodes["n1"], name, value)
    return state


def test_a_healthy_miner_has_no_trouble() -> None:
    """No rule finds anything where nothing is wrong."""
    state = with_node(
        state="healthy", recent_checks=(1,) * 20, ssh_success_percent=100.0, clock_skew_s=0.2, disk_free_bytes=2000 * GB
    )
    facts = Facts(
        now=NOW,
        state=state,
        limits=AlertsConfig(),
        authentications=(100, 0),
        host=HostFacts("/data", 50 * GB, "", "", 90 * 86_400.0),
    )
    assert [r.rule for r in readings(facts, never) if r.trouble is not None] == []


@pytest.mark.parametrize(
    ("percent", "checks", "active", "expected"),
    [
        (None, 60, False, "unknown"),
        (50.0, 9, False, "unknown"),
        (50.0, 10, False, "wrong"),
        (89.9, 60, False, "wrong"),
        (90.0, 60, False, "fine"),
        (90.0, 60, True, "wrong"),
        (91.9, 60, True, "wrong"),
        (92.0, 60, True, "fine"),
    ],
)
def test_ssh_success(percent: float | None, checks: int, active: bool, expected: str) -> None:
    """Below 90 % is wrong, and once it is, only 92 % is fine again; a handful of checks is no rate."""
    state = with_node(ssh_success_percent=percent, recent_checks=(1,) * checks)
    assert verdict(state, "ssh_success", active={("ssh_success", "n1"): NOW - 60} if active else {}) == expected


@pytest.mark.parametrize(
    ("drift_at", "began_at", "acknowledged_at", "expected"),
    [
        (None, None, None, "fine"),
        (None, NOW - 60, None, "unknown"),
        (None, NOW - 60, NOW - 90, "unknown"),
        (None, NOW - 60, NOW - 1, "fine"),
        (None, NOW - 86_400, None, "fine"),
        (NOW - 5, None, None, "wrong"),
        (NOW - 5, NOW - 5, NOW - 1, "fine"),
        (NOW - 5, None, NOW - 1, "fine"),
        (NOW - 5, None, NOW - 90, "wrong"),
        (NOW - 86_400, NOW - 86_400, None, "fine"),
    ],
)
def test_hardware_changed(
    drift_at: float | None, began_at: float | None, acknowledged_at: float | None, expected: str
) -> None:
    """Shown for a day or until acknowledged, and not again; a restart that forgot the details ends nothing."""
    key = ("hardware_changed", "n1")
    state = with_node(last_drift="gpu_count: 8 became 7", last_drift_at=drift_at)
    active = {} if began_at is None else {key: began_at}
    acknowledged = {} if acknowledged_at is None else {key: acknowledged_at}
    assert verdict(state, "hardware_changed", active=active, acknowledged=acknowledged) == expected


def test_shared_gpus_and_foreign_keys() -> None:
    """A GPU that two nodes show, and key lines that are nobody's we know, are trouble of the node."""
    assert verdict(with_node(shared_gpus=("GPU-1",)), "shared_gpu") == "wrong"
    assert verdict(with_node(), "shared_gpu") == "fine"
    assert verdict(with_node(drift=2), "key_drift") == "wrong"
    assert verdict(with_node(), "key_drift") == "fine"


@pytest.mark.parametrize(
    ("node_state", "expected"),
    [("healthy", "fine"), ("suspect", "unknown"), ("unknown", "unknown"), ("unhealthy", "wrong"), ("stopped", "fine")],
)
def test_node_failing(node_state: str, expected: str) -> None:
    """Only an unhealthy node is failing; one whose host key changed has an alert of its own."""
    assert verdict(with_node(state=node_state), "node_failing") == expected


def test_node_failing_waits_as_configured() -> None:
    """A node has to fail for the configured time before anybody is told."""
    assert patience(AlertsConfig(node_failing_after=120.0))["node_failing"].raise_after_s == 120.0
    assert patience(AlertsConfig())["node_failing"].raise_after_s == HOUR


@pytest.mark.parametrize(("presented", "expected"), [("", "fine"), ("SHA256:new", "wrong")])
def test_host_key(presented: str, expected: str) -> None:
    """A presented key that differs from the pinned one is trouble; both fingerprints are named."""
    state = with_node(host_key_presented=presented, host_key_fingerprint="SHA256:old")
    assert verdict(state, "host_key_changed") == expected
    if expected == "wrong":
        (reading,) = judge(state, "host_key_changed")
        assert reading.trouble is not None
        assert "SHA256:new" in reading.trouble.message
        assert "SHA256:old" in reading.trouble.message


@pytest.mark.parametrize(
    ("skew_s", "active", "expected"),
    [
        (None, False, "unknown"),
        (30.0, False, "fine"),
        (30.1, False, "wrong"),
        (-31.0, False, "wrong"),
        (27.0, True, "wrong"),
        (24.0, True, "fine"),
    ],
)
def test_clock_skew(skew_s: float | None, active: bool, expected: str) -> None:
    """More than 30 s in either direction, with 5 s of distance before it is fine again."""
    state = with_node(clock_skew_s=skew_s)
    assert verdict(state, "clock_skew", active={("clock_skew", "n1"): NOW - 60} if active else {}) == expected


@pytest.mark.parametrize(
    ("free_gb", "active", "expected"),
    [
        (None, False, "unknown"),
        (999, False, "wrong"),
        (1000, False, "fine"),
        (1049, True, "wrong"),
        (1050, True, "fine"),
    ],
)
def test_node_disk(free_gb: int | None, active: bool, expected: str) -> None:
    """Less than 1 TB free on a node, with a twentieth of distance before it is fine again."""
    state = with_node(disk_free_bytes=None if free_gb is None else free_gb * GB)
    assert verdict(state, "node_disk", active={("node_disk", "n1"): NOW - 60} if active else {}) == expected


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ({"last_called_at": NOW - 6 * HOUR}, "fine"),
        ({"last_called_at": NOW - 6 * HOUR - 1}, "wrong"),
        ({"last_called_at": None}, "wrong"),
        ({"last_called_at": None, "started_at": NOW - HOUR}, "fine"),
    ],
)
def test_no_validator(engine: dict[str, object], expected: str) -> None:
    """Six hours without a call, counted from the start where there never was one."""
    assert verdict(state_of(**engine), "no_validator") == expected


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ({}, "fine"),
        ({"assigned_hotkey": ""}, "wrong"),
        ({"assigned_hotkey": "", "strategy": "open"}, "fine"),
        ({"assigned_hotkey": "", "strategy": "none"}, "wrong"),
        ({"assigned_hotkey": "", "strategy": ""}, "unknown"),
        ({"assigned_hotkey": "", "metagraph_at": None}, "unknown"),
    ],
)
def test_no_assignment(engine: dict[str, object], expected: str) -> None:
    """Nobody assigned is trouble unless access is open or nothing is known yet."""
    assert verdict(state_of(**engine), "no_assignment") == expected


@pytest.mark.parametrize(
    ("engine", "last_call_s", "expected"),
    [
        ({}, 1800, "fine"),
        ({}, 1801, "wrong"),
        ({"assigned_since": NOW - 60}, 5000, "fine"),
        ({"started_at": NOW - 60}, 5000, "fine"),
        ({"assigned_hotkey": ""}, 5000, "nothing"),
    ],
)
def test_assigned_silent(engine: dict[str, object], last_call_s: float, expected: str) -> None:
    """Half an hour without the assigned validator, counted from its assignment and our start at the earliest."""
    state = state_of(**engine)
    state.sessions["5A"].last_discovery_at = NOW - last_call_s
    state.sessions["5A"].authenticated_at = NOW - last_call_s
    assert verdict(state, "assigned_silent") == expected


@pytest.mark.parametrize(
    ("accepted", "refused", "expected"),
    [(0, 0, "fine"), (5, 4, "unknown"), (90, 10, "fine"), (89, 11, "wrong"), (0, 10, "wrong")],
)
def test_auth_success(accepted: int, refused: int, expected: str) -> None:
    """Below 90 % of at least ten authentications; none at all ends the alert."""
    found = judge(state_of(), "auth_success", authentications=(accepted, refused))
    assert [("unknown" if not r.is_known else "fine" if r.trouble is None else "wrong") for r in found] == [expected]


@pytest.mark.parametrize(
    ("on_chain", "wanted", "bound", "expected"),
    [
        ("1.2.3.4:1", "1.2.3.4:1", "x", "fine"),
        ("1.2.3.4:1", "1.2.3.5:1", "x", "wrong"),
        ("", "1.2.3.5:1", "x", "wrong"),
        ("1.2.3.4:1", "", "x", "wrong"),
        ("", "", "", "unknown"),
    ],
)
def test_axon(on_chain: str, wanted: str, bound: str, expected: str) -> None:
    """The chain must say what this miner wants to say."""
    state = state_of(axon_on_chain=on_chain, axon_advertised=wanted, axon_bound=bound)
    assert verdict(state, "axon_mismatch") == expected


@pytest.mark.parametrize(
    ("reach", "expected"),
    [("open", "fine"), ("refused", "wrong"), ("timeout", "wrong"), ("unproven", "unknown"), ("", "unknown")],
)
def test_reach(reach: str, expected: str) -> None:
    """A node that counts did not get through; what proves nothing leaves the alert as it is."""
    assert verdict(state_of(reach=reach, reach_peer="node-03"), "axon_unreachable") == expected


@pytest.mark.parametrize(
    ("age_s", "interval_s", "expected"),
    [(1800, 600, "fine"), (1801, 600, "wrong"), (3000, 2000, "fine"), (4001, 2000, "wrong")],
)
def test_chain_stale(age_s: float, interval_s: float, expected: str) -> None:
    """Half an hour without a reading, or two of the configured intervals where those are longer."""
    assert verdict(state_of(metagraph_at=NOW - age_s), "chain_stale", chain_interval_s=interval_s) == expected


@pytest.mark.parametrize(
    ("uid", "read_at", "expected"), [(7, NOW, "fine"), (None, NOW, "wrong"), (None, None, "unknown")]
)
def test_not_registered(uid: int | None, read_at: float | None, expected: str) -> None:
    """A hotkey without a uid is trouble once the chain was read."""
    assert verdict(state_of(uid=uid, metagraph_at=read_at), "not_registered") == expected


@pytest.mark.parametrize(
    ("age_s", "acknowledged", "expected"),
    [(10, False, "wrong"), (10, True, "fine"), (86_399, False, "wrong"), (86_400, False, "fine")],
)
def test_validator_key(age_s: float, acknowledged: bool, expected: str) -> None:
    """Another key of a validator is shown for a day, or until somebody says that it is known."""
    change = KeyChange("5A", NOW - age_s, "SHA256:old", "SHA256:new")
    known = {("validator_key_changed", "5A"): NOW} if acknowledged else {}
    assert verdict(state_of(), "validator_key_changed", key_changes=(change,), acknowledged=known) == expected


@pytest.mark.parametrize(
    ("facts", "rule", "expected"),
    [
        (HostFacts("/d", 2 * GB), "host_disk", "fine"),
        (HostFacts("/d", 2 * GB - 1), "host_disk", "wrong"),
        (HostFacts(), "host_disk", "unknown"),
        (HostFacts(wallet_problem="gone"), "wallet", "wrong"),
        (HostFacts(), "wallet", "fine"),
        (HostFacts(certificate_problem="no PEM"), "certificate", "wrong"),
        (HostFacts(certificate_ends_in_s=14 * 86_400.0), "certificate", "fine"),
        (HostFacts(certificate_ends_in_s=13 * 86_400.0), "certificate", "wrong"),
        (HostFacts(certificate_ends_in_s=-1.0), "certificate", "wrong"),
        (HostFacts(), "certificate", "fine"),
    ],
)
def test_this_host(facts: HostFacts, rule: str, expected: str) -> None:
    """Disk, hotkey file and certificate of this host."""
    assert verdict(state_of(), rule, host=facts) == expected


@pytest.mark.parametrize(
    ("crashes", "active", "expected"),
    [(2, False, "fine"), (3, False, "wrong"), (1, True, "wrong"), (0, True, "fine")],
)
def test_service_restarting(crashes: int, active: bool, expected: str) -> None:
    """Three crashes within the window, and none at all before it is fine again."""
    state = state_of()
    state.services["door"] = ServiceView(id="door", last_error="boom")
    key = frozenset([("service_restarting", "door")] if active else [])
    assert verdict(state, "service_restarting", crashes={"door": crashes}, active=key) == expected


def test_key_stuck_also_on_a_node_that_left() -> None:
    """A key that must go is named even when its node is no longer configured."""
    (reading,) = judge(state_of(), "key_stuck", stuck_keys={"gone-node": 2})
    assert reading.trouble is not None
    assert "2 keys" in reading.trouble.message
    assert "gone-node" in reading.trouble.message
    assert verdict(state_of(), "key_stuck", stuck_keys={"n1": 0}) == "fine"


def test_delivery_and_audit() -> None:
    """A receiver that fails, and an audit log that does not fit, are alerts of their own."""
    assert verdict(state_of(), "delivery_failed", failed_targets={"urls[0] (json)": "refused"}) == "wrong"
    assert verdict(state_of(), "delivery_failed", failed_targets={"urls[0] (json)": ""}) == "fine"
    assert verdict(state_of(), "audit_broken") == "fine"
    assert verdict(state_of(audit_error="cut"), "audit_broken") == "wrong"


@pytest.mark.parametrize(
    ("refused_at", "expected"), [(None, "fine"), (NOW, "wrong"), (NOW - 1199, "wrong"), (NOW - 1200, "fine")]
)
def test_a_full_queue(refused_at: float | None, expected: str) -> None:
    """An alert until two rounds went by in which every node found room."""
    state = state_of(role="validator", queue_refused_at=refused_at)
    assert verdict(state, "queue_full", chain_interval_s=600.0) == expected


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], "fine"),
        (["failed"] * 3, "unknown"),
        (["answered"] * 3, "fine"),
        (["failed"] * 4, "wrong"),
        (["failed"] * 4 + ["answered"], "fine"),
        (["failed"] * 4 + ["discovered", "skipped"], "wrong"),
    ],
)
def test_miners_that_are_all_silent(states: list[str], expected: str) -> None:
    """Four that are called and fail; who is not called, or was not yet, does not count."""
    state = state_of(role="validator")
    for number, word in enumerate(states):
        state.miners[f"5{number}"] = MinerView(id=f"5{number}", state=word, last_error="timed out")
    assert verdict(state, "miners_silent") == expected


@pytest.mark.parametrize(
    ("passed", "failed", "age_s", "active", "expected"),
    [
        (0, 0, 0, False, "fine"),
        (0, 3, 0, False, "unknown"),
        (3, 0, 0, False, "fine"),
        (0, 4, 0, False, "wrong"),
        (1, 9, 0, False, "wrong"),
        (2, 8, 0, False, "fine"),
        (2, 8, 0, True, "wrong"),
        (3, 7, 0, True, "fine"),
        (0, 9, 3601, False, "fine"),
    ],
)
def test_verifications_that_almost_all_fail(
    passed: int, failed: int, age_s: float, active: bool, expected: str
) -> None:
    """Nine of ten within the hour raise it, three of four end it, and the commonest reason is named."""
    state = state_of(role="validator")
    for number in range(passed + failed):
        word, why = ("passed", "") if number < passed else ("failed", "refused" if number else "slow")
        state.verifications[str(number)] = VerificationView(id=str(number), state=word, message=why, at=NOW - age_s)
    key = frozenset([("verifications_failing", "")] if active else [])
    assert verdict(state, "verifications_failing", active=key) == expected
    if expected == "wrong":
        (reading,) = judge(state, "verifications_failing", active=key)
        assert reading.trouble is not None
        assert reading.trouble.message == f"{failed} of {passed + failed} nodes failed: refused"


def test_a_validator_has_no_rules_about_nodes() -> None:
    """The validator role is judged by the rules that concern it."""
    state = state_of(role="validator", assigned_hotkey="", last_called_at=None)
    found = {r.rule for r in readings(Facts(now=NOW, state=state, limits=AlertsConfig()), never)}
    assert found == {
        "miners_silent", "verifications_failing", "queue_full", "weights_failed", "not_registered", "chain_stale",
        "host_disk", "wallet", "audit_broken", "recording_paused",
    }  # fmt: skip


def _everything_wrong() -> Facts:
    state = state_of(
        last_called_at=NOW - 9 * HOUR,
        metagraph_at=NOW - 9 * HOUR,
        uid=None,
        axon_on_chain="9.9.9.9:1",
        reach="timeout",
        reach_peer="node-03",
        audit_error="cut",
        recording_error="no space",
    )
    state.sessions.clear()
    failing: dict[str, object] = {"state": "unhealthy", "recent_checks": (0,) * 20, "ssh_success_percent": 0.0}
    failing |= {"clock_skew_s": 99.0, "drift": 1, "last_drift": "driver: 1 became 2", "last_drift_at": NOW}
    stopped: dict[str, object] = {"state": "stopped", "disk_free_bytes": 1, "shared_gpus": ("GPU-1",)}
    for number, values in enumerate((failing, stopped)):
        node = state.nodes[f"n{number}"] = NodeView(id=f"n{number}", label=f"gpu-{number}")
        for name, value in values.items():
            setattr(node, name, value)
    state.services["door"] = ServiceView(id="door", last_error="boom")
    return Facts(
        now=NOW,
        state=state,
        limits=AlertsConfig(),
        authentications=(0, 99),
        crashes={"door": 9},
        key_changes=(KeyChange("5A", NOW, "a", "b"),),
        stuck_keys={"n0": 1},
        host=HostFacts("/d", 1, "wallet gone", "no certificate"),
        failed_targets={"t": "no"},
    )


def test_every_rule_can_fire_and_says_what_it_costs_and_what_to_do() -> None:
    """Each alert has a message, an impact and a hint; no rule is without a case."""
    facts = _everything_wrong()
    troubles = {r.rule: r.trouble for r in readings(facts, never) if r.trouble is not None}
    silent = Facts(now=NOW, state=state_of(assigned_hotkey=""), limits=AlertsConfig())
    troubles |= {r.rule: r.trouble for r in readings(silent, never) if r.trouble is not None}
    validator_state = state_of(role="validator", weights_error="no permit", queue_refused_at=NOW - 60)
    for number in range(4):
        validator_state.miners[f"5{number}"] = MinerView(id=f"5{number}", state="failed")
        validator_state.verifications[f"5{number}/n"] = VerificationView(id=f"5{number}/n", state="failed", at=NOW)
    validator = Facts(now=NOW, state=validator_state, limits=AlertsConfig(), chain_interval_s=600.0)
    troubles |= {r.rule: r.trouble for r in readings(validator, never) if r.trouble is not None}
    assert set(troubles) == set(NAMES)
    for trouble in troubles.values():
        assert trouble.message
        assert trouble.impact
        assert trouble.hint


def test_a_rule_that_fails_silences_no_other() -> None:
    """Its alerts stay as they are, what it said before it failed counts for nothing, the rules after it are asked."""

    def judge_badly(facts: Facts) -> Iterator[Reading]:
        yield Reading("bad", "n1")
        raise ZeroDivisionError

    rules = (Rule("bad", judge_badly), *RULES)
    said: list[str] = []
    facts = Facts(now=NOW, state=state_of(uid=None), limits=AlertsConfig(), active={("bad", "n1"): NOW - 60})
    found = readings(facts, lambda rule, _: said.append(rule), rules)
    assert [r for r in found if r.rule == "bad"] == [Reading("bad", "n1", is_known=False)]
    assert [r.rule for r in found if r.trouble is not None] == ["not_registered"]
    assert said == ["bad"]


def test_rules_have_different_names() -> None:
    """A name is what silences and history go by."""
    assert len(set(NAMES)) == len(RULES)
