"""A validator's rows of verified nodes: whose node it is belongs to its name."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from basilica_tui.format import Look
from basilica_tui.panels.verification import progress_words, queue_line, verification_lines
from basilica_tui.tables import item_name, item_words
from basilica_tui.validator_tables import VERIFICATIONS
from engine import events as ev
from engine.control.models import VerificationView, view_from_json
from engine.control.state import LiveState
from engine.events import Event, EventBus
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


def moved(miner: str, *, waits: bool = False, **step: Any) -> ev.LightweightMoved:
    return ev.LightweightMoved(
        at=5.0, miner_hotkey=miner, miner_uid=1, node_id=NODE, endpoint="u@h:22", waits=waits, steps=3, **step
    )


def ended(name: str) -> dict[str, Any]:
    return {"step": name, "verdict": "ok", "evidence": "fine", "duration_ms": 4.0}


def test_a_lightweight_check_is_seen_while_it_goes_on() -> None:
    """It waits, runs and ends step by step; the ladder of the last full verification stays what it was."""
    state = fold(*started(ONE), step(ONE, "host_key", 0), finished(ONE), moved(ONE, waits=True))
    view = state.verifications[f"{ONE}/{NODE}"]
    assert (view.phase, view.phase_tier, view.progress, view.light_steps) == ("queued", "lightweight", 0.0, ())
    state.apply(moved(ONE))
    state.apply(moved(ONE, **ended("host_key")))
    state.apply(moved(ONE, **ended("ssh_login")))
    assert view.phase == "running"
    assert view.progress == pytest.approx(2 / 3)
    assert view.light_steps == ("host_key ok 4 fine", "ssh_login ok 4 fine")
    assert progress_words(view, Look())[0].endswith(" 2/3")
    state.apply(finished(ONE, tier="lightweight"))
    assert (view.phase, view.progress, len(view.light_steps)) == ("", 1.0, 2)
    assert view.steps == (f"host_key ok 1 {ONE}",)
    text = "\n".join("".join(part for part, _ in line) for line in verification_lines(view, Look()))
    assert "STEPS OF THE NEWEST LIGHTWEIGHT CHECK" in text and "ssh_login" in text
    state.apply(moved(ONE, waits=True))
    assert state.verifications[f"{ONE}/{NODE}"].light_steps == ()


def test_the_queue_counts_both_tiers() -> None:
    """What waits and runs, of each tier; rows keep their places for lightweight ones."""
    state = fold(*started(TWO), moved(ONE), moved("5Third", waits=True), finished("5Fourth"))
    text = "".join(part for part, _ in queue_line(state.verifications.values(), state.engine, Look()))
    assert "queue 1" in text and "running 1 full, 1 light" in text
    state.engine.full_slots, state.engine.miner_slots = 1024, 50
    text = "".join(part for part, _ in queue_line(state.verifications.values(), state.engine, Look()))
    assert "running 1/1,024 full, 1 light  ·  failed 0  ·  visits 1/50 miners" in text
    text = "".join(part for part, _ in queue_line((), state.engine, Look()))
    assert "running 0/1,024 full  " in text and "miners" not in text
    now = next(column for column in VERIFICATIONS.columns if column.id == "now")
    ranks = {view.miner_hotkey: now.sort(view) for view in state.verifications.values()}
    assert ranks[TWO] == min(ranks.values())  # type: ignore[type-var]
    assert {ranks[ONE], ranks["5Third"]} == {now.sort(VerificationView("n"))}


def test_what_passes_is_in_no_recording() -> None:
    """Its end would not be there either: a keyframe has the row as it was without it."""
    state = fold(finished(ONE), moved(ONE), moved(ONE, **ended("host_key")))
    (view,) = state_from(json.loads(json.dumps(keyframe_of(state, 5.0)))).verifications.values()
    assert (view.state, view.phase, view.phase_tier, view.light_steps) == ("passed", "", "", ())
    assert state.verifications[f"{ONE}/{NODE}"].phase == "running"


def test_passing_events_reach_only_who_asked_for_them() -> None:
    """The store, the recording, logs and metrics never see them."""
    bus = EventBus()
    all_of_them: list[Event] = []
    kept: list[Event] = []
    leave = bus.subscribe(all_of_them.append, passing=True)
    bus.subscribe(kept.append)
    bus.emit(moved(ONE))
    bus.emit(finished(ONE))
    leave()
    bus.emit(moved(ONE))
    assert [type(event) for event in all_of_them] == [ev.LightweightMoved, ev.NodeVerified]
    assert [type(event) for event in kept] == [ev.NodeVerified]


def test_a_validator_has_no_nodes_of_its_own() -> None:
    """What its connections say of host keys makes no row among nodes, and no node that could be ill."""
    begun = ev.EngineStarted(at=0.0, role="validator", name="v", build="b", hotkey="5V", network="local", netuid=39)
    state = fold(
        begun,
        ev.HostKeyPinned(at=1.0, node_id=f"{ONE}/{NODE}", fingerprint="SHA256:a"),
        ev.HostKeyChanged(at=2.0, node_id=f"{ONE}/{NODE}", pinned="SHA256:a", presented="SHA256:b"),
    )
    assert not state.nodes


def test_a_miner_with_a_thousand_names_crowds_out_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound its own oldest rows go, however many it makes up."""
    monkeypatch.setattr("engine.control.folds.verification.MAX_VERIFICATIONS", 10)
    state = fold(finished(ONE))
    for number in range(50):
        crowd = dataclasses.replace(finished(TWO), node_id=f"n{number}")
        touched = state.apply(crowd)
    assert len(state.verifications) == 10
    assert f"{ONE}/{NODE}" in state.verifications
    assert touched == {("verifications", f"{TWO}/n49"), ("verifications", f"{TWO}/n40")}
