"""A validator's rows of verified nodes: whose node it is belongs to its name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from basilica_tui.tables import item_name, item_words
from basilica_tui.validator_tables import VERIFICATIONS
from engine import events as ev
from engine.control.models import VerificationView, view_from_json
from engine.control.state import LiveState
from engine.events import Event
from engine.observe.metrics import ValidatorMetrics
from engine.recording.keyframes import keyframe_of, state_from

ONE, TWO = "5MinerOne", "5MinerTwo"
NODE = "gpu-01"


def started(miner: str, at: float = 1.0) -> list[Event]:
    whose: dict[str, Any] = {"miner_hotkey": miner, "miner_uid": 1 if miner == ONE else 2, "node_id": NODE}
    return [
        ev.VerificationQueued(at=at, endpoint=f"u@{miner}:22", tier="full", reason="the node is new", **whose),
        ev.VerificationStarted(at=at, endpoint=f"u@{miner}:22", tier="full", verification_id="v", steps=13, **whose),
    ]


def step(miner: str, name: str, position: int) -> Event:
    return ev.VerificationStepFinished(
        at=2.0, verification_id="v", miner_hotkey=miner, node_id=NODE, step=name, verdict="ok", evidence=miner,
        duration_ms=1.0, position=position,
    )  # fmt: skip


def finished(miner: str, *, ok: bool = True, tier: str = "full") -> ev.NodeVerified:
    return ev.NodeVerified(
        at=3.0, verification_id="v", miner_hotkey=miner, miner_uid=1 if miner == ONE else 2, node_id=NODE,
        endpoint=f"u@{miner}:22", tier=tier, ok=ok, duration_ms=9.0, gpu_model="H100", gpu_uuids=(f"GPU-{miner}",),
        message="" if ok else "no GPU",
    )  # fmt: skip


def fold(*events: Event) -> LiveState:
    state = LiveState()
    for event in events:
        state.apply(event)
    return state


def test_two_miners_that_name_the_same_node_have_two_rows() -> None:
    """Each with its own steps, result, GPUs and ban, also while both are verified at once."""
    state = fold(
        *started(ONE), *started(TWO), step(ONE, "host_key", 0), step(TWO, "host_key", 0), step(ONE, "ssh_login", 1),
        finished(TWO, ok=False),
        ev.NodeMisbehaved(at=4.0, miner_hotkey=TWO, node_id=NODE, reason="r", details="d", banned_until=99.0),
    )  # fmt: skip
    one, two = state.verifications[f"{ONE}/{NODE}"], state.verifications[f"{TWO}/{NODE}"]
    assert len(state.verifications) == 2
    assert (one.node_id, one.miner_uid, one.phase, one.state, one.banned_until) == (NODE, 1, "running", "", None)
    assert (two.node_id, two.miner_uid, two.phase, two.state, two.banned_until) == (NODE, 2, "", "failed", 99.0)
    assert one.steps == (f"host_key ok 1 {ONE}", f"ssh_login ok 1 {ONE}")
    assert two.steps == (f"host_key ok 1 {TWO}",)
    assert (one.gpu_uuids, two.gpu_uuids) == ((), (f"GPU-{TWO}",))


def test_clean_up_touches_the_named_rows_alone() -> None:
    """A forgotten node of one miner leaves the other's row and its GPUs where they are."""
    state = fold(finished(ONE), finished(TWO))
    cleaned = ev.NodesCleanedUp(at=5.0, lost_gpus=(f"{TWO}/{NODE}",), offline=(), forgotten=(f"{ONE}/{NODE}",))
    assert state.apply(cleaned) == {("verifications", f"{ONE}/{NODE}"), ("verifications", f"{TWO}/{NODE}")}
    assert list(state.verifications) == [f"{TWO}/{NODE}"]
    assert state.verifications[f"{TWO}/{NODE}"].gpu_uuids == ()


def test_clean_up_of_an_older_engine_names_nodes_alone() -> None:
    """What such a recording calls forgotten goes, whoever's it is."""
    state = fold(finished(ONE), finished(TWO))
    state.apply(ev.NodesCleanedUp(at=5.0, lost_gpus=(), offline=(), forgotten=(NODE,)))
    assert not state.verifications


def test_rows_follow_their_miner() -> None:
    """A swapped hotkey takes its rows along, another uid is shown, and those of a miner that is gone go too."""
    state = fold(finished(ONE), finished(TWO))
    touched = state.apply(ev.MinerMoved(at=5.0, hotkey="5New", old_hotkey=ONE, uid=1))
    assert {("verifications", f"{ONE}/{NODE}"), ("verifications", f"5New/{NODE}")} <= touched
    assert state.verifications[f"5New/{NODE}"].passed == 1
    state.apply(ev.MinerMoved(at=6.0, hotkey=TWO, old_hotkey=TWO, uid=9))
    assert state.verifications[f"{TWO}/{NODE}"].miner_uid == 9
    state.apply(ev.MinerMoved(at=7.0, hotkey="", old_hotkey=TWO, uid=9))
    assert list(state.verifications) == [f"5New/{NODE}"]


def test_a_recording_of_before_goes_on_with_the_rows_that_it_has() -> None:
    """Its keyframes name rows after the node alone; what happens next lands in the same row."""
    old = json.loads(json.dumps(keyframe_of(fold(*started(ONE)), 1.0)))
    for row in old["views"]["verifications"]:
        row["id"] = row.pop("node_id")
    state = state_from(old)
    state.apply(step(ONE, "host_key", 0))
    state.apply(finished(ONE))
    assert list(state.verifications) == [f"{ONE}/{NODE}"]
    view = state.verifications[f"{ONE}/{NODE}"]
    assert (view.id, view.node_id, view.state, len(view.steps)) == (f"{ONE}/{NODE}", NODE, "passed", 1)
    again = state_from(json.loads(json.dumps(keyframe_of(state, 2.0))))
    assert again.verifications == state.verifications


def test_an_engine_of_before_is_still_understood() -> None:
    """Its rows have no field for the node; the name is their id."""
    view = view_from_json(VerificationView, {"id": NODE, "miner_hotkey": ONE})
    assert (view.id, view.node_id) == (NODE, NODE)


def test_people_see_the_node_and_its_miner() -> None:
    """The table's cells, the copied name and the words for the log say what a miner calls its node."""
    view = fold(finished(ONE)).verifications[f"{ONE}/{NODE}"]
    cells = {column.id: column.value(view) for column in VERIFICATIONS.columns if column.value}
    assert (cells["node"], cells["miner"]) == (NODE, ONE)
    assert item_name(view) == NODE
    assert item_words(view) == f"{NODE}|{ONE}:22"


@pytest.mark.parametrize("uids", [(1, 2), (None, None)], ids=["two-miners", "uids-unknown"])
def test_a_scrape_tells_nothing_twice(uids: tuple[int | None, int | None]) -> None:
    """Two nodes of one name are two series where their miners differ, and never one series twice."""
    state = fold(finished(ONE), finished(TWO))
    for view, uid in zip(state.verifications.values(), uids, strict=True):
        view.miner_uid = uid
    text = ValidatorMetrics(state).render().decode()
    samples = [
        tuple(sorted(sample.labels.items()))
        for family in text_string_to_metric_families(text)
        if family.name == "basilica_validator_node_health_status"
        for sample in family.samples
    ]
    assert len(samples) == len(set(samples)) == len(set(uids))


def test_counts_of_a_forgotten_node_go_alone() -> None:
    """The other miner's node of that name keeps its count."""
    state = LiveState()
    metrics = ValidatorMetrics(state)
    for event in (finished(ONE), finished(TWO), finished(TWO)):
        metrics.listen(event)
    metrics.listen(ev.NodesCleanedUp(at=5.0, lost_gpus=(), offline=(), forgotten=(f"{ONE}/{NODE}", "5X/unknown")))
    text = metrics.render().decode()
    assert 'miner_successful_validations_total{miner_uid="2",node_id="gpu-01"} 2.0' in text
    assert 'miner_successful_validations_total{miner_uid="1"' not in text
