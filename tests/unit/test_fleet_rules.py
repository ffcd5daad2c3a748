"""The fleet's pure rules by tables: success window, latency, pace, drift, shared GPUs, warnings."""

from __future__ import annotations

import dataclasses
import json

import pytest

from engine.miner.fleet_drift import Drift, GpuOwners, KnownGood, compare
from engine.miner.fleet_schedule import Schedule
from engine.miner.fleet_warnings import node_warnings
from engine.miner.fleet_window import LATENCIES, SLOTS, Latency, SuccessWindow
from engine.probes.gpu import Gpu, GpuFacts
from engine.probes.host import HostFacts, SshdPosture

DAY = 86400.0
A, B, C = (f"GPU-{letter * 8}-0000-0000-0000-000000000000" for letter in "abc")


def facts(*uuids: str, model: str = "NVIDIA H100 80GB HBM3", driver: str = "550.1", **changes: object) -> GpuFacts:
    """A node with one card per UUID."""
    cards = tuple(Gpu(n, uuid, model, 81559, driver, 10.0, 40.0) for n, uuid in enumerate(uuids))
    whole = GpuFacts(model, len(cards), 81559, uuids, driver, "", 10.0, 40.0, cards, compute_capability="9.0")
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]  # the caller's keywords are the fields'


# --- success window -------------------------------------------------------------------------------------------


def test_the_window_forgets_what_is_older_than_itself() -> None:
    """Failures of yesterday leave the rate slot by slot; nothing tried is not a rate."""
    window = SuccessWindow(DAY)
    assert window.percent(0.0) is None
    for minute in range(60):
        window = window.plus(minute * 60.0, passed=False)
    for minute in range(60, 120):
        window = window.plus(minute * 60.0, passed=True)

    assert window.percent(7200.0) == 50.0
    assert window.percent(DAY) == pytest.approx(100 * 60 / 90)
    assert window.percent(DAY + 3600) == 100.0
    assert window.percent(3 * DAY) is None


def test_the_window_stays_small_and_survives_the_store() -> None:
    """A month of checks is at most one entry per slot, and a restart keeps the counts."""
    window = SuccessWindow(DAY)
    for step in range(30 * 24):
        window = window.plus(step * 3600.0, passed=step % 4 > 0)
    back = SuccessWindow.from_json(DAY, json.loads(json.dumps(window.to_json())), stored_window_s=DAY)

    assert len(window.slots) <= SLOTS
    assert back == window


@pytest.mark.parametrize("value", [None, {}, "x", [1], [[1, 2]], [["a", 1, 1]], [[1, None, 1]]])
def test_strange_stored_counts_are_none(value: object) -> None:
    """A damaged record starts anew."""
    assert SuccessWindow.from_json(DAY, value) == SuccessWindow(DAY)


def test_counts_of_another_length_do_not_fit() -> None:
    """A changed success_window starts with empty counts."""
    window = SuccessWindow(DAY).plus(0.0, passed=True)
    assert SuccessWindow.from_json(3600.0, window.to_json(), stored_window_s=DAY).slots == ()


def test_a_clock_set_back_does_not_count_the_future() -> None:
    """Slots after now are not in the rate, and the next try drops them."""
    window = SuccessWindow(DAY).plus(10 * DAY, passed=False)
    assert window.percent(5 * DAY) is None
    assert window.plus(5 * DAY, passed=True).percent(5 * DAY) == 100.0


def test_latency_is_a_smoothed_mean_and_a_percentile() -> None:
    """One slow check moves the mean a little and the 95th percentile not at all."""
    latency = Latency()
    assert (latency.mean_ms, latency.p95_ms) == (None, None)
    for value in [10.0] * 99 + [1000.0]:
        latency = latency.plus(value)

    assert latency.mean_ms == pytest.approx(208.0)
    assert latency.p95_ms == 10.0 and len(latency.recent_ms) == LATENCIES
    assert Latency().plus(7.0).p95_ms == 7.0


# --- pace -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "pauses"),
    [
        (Schedule(60.0), [60, 60, 60, 60, 120, 240, 480, 600, 600]),
        (Schedule(60.0, max_retry_attempts=0), [60, 120, 240, 480, 600, 600]),
        (Schedule(60.0, max_retry_attempts=1, auto_recovery=False), [60, 60, None, None]),
        (Schedule(900.0), [900, 900, 900, 900, 900, 900]),
        (Schedule(2.0), [2, 2, 2, 2, 4, 8, 16]),
    ],
)
def test_failing_nodes_are_asked_less_often(schedule: Schedule, pauses: list[float | None]) -> None:
    """By failures in a row, from none on: the normal pace first, then doubling up to ten minutes, or not at all."""
    assert [schedule.pause_s(failures) for failures in range(len(pauses))] == pauses


def test_a_million_failures_are_no_overflow() -> None:
    """The longest pause holds for ever."""
    assert Schedule(60.0).pause_s(10**6) == 600.0


@pytest.mark.parametrize(
    ("checks", "seconds", "due"),
    [(0, None, True), (9, 100.0, False), (10, 100.0, True), (1, 300.0, True), (0, 0.0, False)],
)
def test_the_rest_is_asked_for_now_and_then(checks: int, seconds: float | None, due: bool) -> None:
    """At first, every tenth check, or after five minutes."""
    assert Schedule(60.0).is_host_due(checks, seconds) is due


# --- drift ----------------------------------------------------------------------------------------------------

KNOWN = KnownGood("550.1", "12.8", "NVIDIA H100 80GB HBM3", (A, B), 2)


@pytest.mark.parametrize(
    ("known", "now", "cuda", "drifts"),
    [
        (KnownGood(), facts(A, B), "12.8", []),
        (KNOWN, facts(A, B), "12.8", []),
        (KNOWN, facts(B, A), "", []),
        (KNOWN, facts(A, B, driver=""), "", []),
        (KNOWN, facts(A, B, driver="560.2"), "12.9", [("driver", "550.1", "560.2"), ("cuda", "12.8", "12.9")]),
        (KNOWN, facts(A), "", [("gpu_count", "2", "1")]),
        (KNOWN, facts(A, B, C), "", [("gpu_count", "2", "3")]),
        (KNOWN, facts(A, C), "", [("gpu_uuids", B, C)]),
        (KNOWN, facts(A, B, model="NVIDIA A100"), "", [("gpu_model", "NVIDIA H100 80GB HBM3", "NVIDIA A100")]),
        (KNOWN, facts(A, B, uuids=()), "", []),
    ],
)
def test_drift(known: KnownGood, now: GpuFacts, cuda: str, drifts: list[tuple[str, str, str]]) -> None:
    """What changed is named once with both values; what nobody told has not changed."""
    good, found = compare(known, now, cuda)
    assert found == tuple(Drift(*drift) for drift in drifts)
    assert compare(good, now, cuda) == (good, ())


@pytest.mark.parametrize("value", [None, [], "x", {"driver": 3, "uuids": "x", "count": "2"}])
def test_known_good_survives_the_store_or_is_nothing(value: object) -> None:
    """A record comes back as it was; a strange one is nothing known."""
    assert KnownGood.from_json(json.loads(json.dumps(KNOWN.to_json()))) == KNOWN
    assert KnownGood.from_json(value) == KnownGood()


def test_a_gpu_on_two_nodes_is_seen_and_its_end_too() -> None:
    """The circle of nodes changes by coming and going; a moved GPU is shared until the old node says so."""
    owners = GpuOwners()
    assert owners.see("n1", (A, B)) == frozenset()
    assert owners.see("n2", (A, C)) == {A}
    assert owners.nodes(A) == ("n1", "n2") and owners.shared("n2") == {A: ("n1",)}
    assert owners.see("n3", (A,)) == {A}
    assert owners.see("n3", ()) == {A} and owners.nodes(A) == ("n1", "n2")
    assert owners.see("n1", (B,)) == {A} and owners.nodes(A) == ("n2",)
    assert owners.see("n1", (B,)) == frozenset() and owners.shared("n1") == {}


# --- warnings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "gpus", "host", "more"),
    [
        ([], None, None, {}),
        ([], facts(A), HostFacts(), {"cuda": "12.8"}),
        ([], facts(A), HostFacts(docker_ok=True, nvidia_runtime_ok=True, disk_free_bytes=2 * 10**12), {}),
        (["compute capability 8.0 is below 8.7"], facts(A, compute_capability="8.0"), None, {}),
        (["CUDA 12.4 is below 12.8"], facts(A), None, {"cuda": "12.4"}),
        (["validated but not rewarded"], facts(A, model="NVIDIA A100-SXM4-80GB"), None, {}),
        (["1 GPUs answer, 8 are declared"], facts(A), None, {"declared_gpus": 8}),
        (["one of its GPUs is also on n2, n3: " + A], facts(A), None, {"shared": {A: ("n2", "n3")}}),
        (
            ["2 of its GPUs are also on n2: GPU-1 and 1 more", "one of its GPUs is also on n3: GPU-3"],
            facts(A),
            None,
            {"shared": {"GPU-1": ("n2",), "GPU-2": ("n2",), "GPU-3": ("n3",)}},
        ),
        ([], facts(A), HostFacts(gpu_models=(facts(A).model,)), {}),
        (
            ["a query says", "also on n2"],
            facts(A),
            HostFacts(gpu_models=("NVIDIA GeForce RTX 4090",)),
            {"shared": {A: ("n2",)}},
        ),
        (["Docker does not work for this account: no"], None, HostFacts(docker_ok=False, docker_error="no"), {}),
        (["no NVIDIA runtime"], None, HostFacts(docker_ok=True, nvidia_runtime_ok=False), {}),
        (["0.20 TB free on /x, 1 TB is wanted"], None, HostFacts(disk_path="/x", disk_free_bytes=2 * 10**11), {}),
        (["clock is -45 s off"], None, HostFacts(clock_skew_s=-45.0), {}),
        ([], None, HostFacts(clock_skew_s=29.0), {}),
        (["password logins"], None, HostFacts(sshd=SshdPosture(password_login=True)), {}),
        (["could not be asked about: late"], None, None, {"host_trouble": "late"}),
    ],
)
def test_warnings(words: list[str], gpus: GpuFacts | None, host: HostFacts | None, more: dict[str, object]) -> None:
    """Each known trouble is one sentence; what is not known warns of nothing."""
    found = node_warnings(gpus, host, **more)  # type: ignore[arg-type]  # the table's keywords are the function's
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))


def test_ecc_errors_name_the_cards() -> None:
    """The sum and the cards that have any."""
    cards = tuple(Gpu(n, "", "NVIDIA H200", 1, "d", None, None, ecc_errors=n * 2) for n in range(3))
    whole = GpuFacts("NVIDIA H200", 3, 1, (), "d", "", None, None, cards, ecc_errors=6)
    assert node_warnings(whole, None) == ("6 uncorrected ECC errors (GPU 1, 2)",)
