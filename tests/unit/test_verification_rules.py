"""Pure rules of verification: which tier, who owns a GPU, how long a ban, what clean-up does, what a result changes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from engine.ssh.pool import CommandResult
from engine.store.checks import Settlement, Standing
from engine.store.records import CheckCounts, GpuClaim, LatestCheck, ValidatedNode, Verification
from engine.validator.bans import banned_until
from engine.validator.book import twice_failed
from engine.validator.cleanup import CleanUp, plan_clean_up
from engine.validator.docker_step import judge_docker_gpu
from engine.validator.miner_facts import build_facts, gpus_of_claims, inputs_from_json, inputs_to_json
from engine.validator.ownership import settle_claims
from engine.validator.schedule import History, decide
from engine.validator.scoring import CategoryRule, Emission, RoundContext
from engine.validator.settlement import Check, after_failure, after_success, question_of, settle

NOW = 1_800_000_000.0
HOUR = 3600.0
SIX_HOURS = 6 * HOUR


@pytest.mark.parametrize(
    ("history", "tier"),
    [
        (History(), "full"),
        (History("offline", NOW - HOUR, 8), "full"),
        (History("unknown", NOW - HOUR, 8), "full"),
        (History("online", None, 8), "full"),
        (History("online", NOW - SIX_HOURS - 1, 8), "full"),
        (History("online", NOW - SIX_HOURS, 8), "lightweight"),
        (History("online", NOW - HOUR, 8), "lightweight"),
        (History("verified", NOW - HOUR, 1), "lightweight"),
        (History("online", NOW - HOUR, 0), "full"),
        (History("online", NOW - HOUR, 8, rental_ended_at=NOW - HOUR / 2), "full"),
        (History("online", NOW - HOUR, 8, rental_ended_at=NOW - 2 * HOUR), "lightweight"),
        (History("offline", None, 0, is_rented=True), "lightweight"),
        (History("online", NOW - 9 * HOUR, 8, is_rented=True), "lightweight"),
    ],
)
def test_the_decision_table(history: History, tier: str) -> None:
    """Rented nodes are spared; new, failed, stale, released and empty ones are verified fully."""
    assert decide(history, NOW, SIX_HOURS).tier == tier


@pytest.mark.parametrize(
    ("hours_ago", "ends_in"),
    [
        ((), None),
        ((1,), None),
        ((2, 1), None),
        ((20, 10, 2), 2),
        ((6, 4.5, 5), None),
        ((150, 120, 90, 60, 30), None),
        ((160, 130, 100, 70, 3, 2, 1), 23),
        ((0.5, 0.4, 0.3), 3.7),
        ((0.5, 0.4, 0.3, 0.2), 7.8),
        ((26, 1, 0.5), None),
        ((24, 1, 0), 4),
        ((400, 399, 398), None),
    ],
)
def test_bans(hours_ago: tuple[float, ...], ends_in: float | None) -> None:
    """The deployed vectors: three within 24 hours trigger, the last seven days decide for how long."""
    end = banned_until([NOW - hours * HOUR for hours in hours_ago], NOW)
    assert (None if end is None else pytest.approx((end - NOW) / HOUR)) == (
        None if ends_in is None else pytest.approx(ends_in)
    )


def claim(uuid: str, miner: str = "m1", node: str = "n1", at: float = NOW, **more: Any) -> GpuClaim:
    values = {"gpu_index": 0, "model": "NVIDIA H100", "memory_mib": 81559, **more}
    return GpuClaim(uuid, miner, node, **values, verified_at=at)


@pytest.mark.parametrize(
    ("owner", "status", "accepted"),
    [
        (None, None, True),
        (("m1", "n1"), "online", True),
        (("m2", "n9"), "online", False),
        (("m2", "n9"), "verified", False),
        (("m1", "n2"), "online", False),
        (("m2", "n9"), "offline", True),
        (("m2", "n9"), "failed", True),
        (("m2", "n9"), None, True),
    ],
)
def test_a_gpu_belongs_to_one_living_node(owner: tuple[str, str] | None, status: str | None, accepted: bool) -> None:
    """A UUID changes hands only when its owner is gone or offline; also between nodes of one miner."""
    held = [] if owner is None else [claim("GPU-1", *owner)]
    result = settle_claims([claim("GPU-1")], held, {} if owner is None else {owner: status})
    assert [one.gpu_uuid for one in result.accepted] == (["GPU-1"] if accepted else [])
    assert result.is_all_duplicate == (not accepted)


def test_some_duplicates_cost_only_themselves() -> None:
    """A node with one stolen and one own GPU keeps its own."""
    result = settle_claims([claim("GPU-1"), claim("GPU-2")], [claim("GPU-1", "m2", "n9")], {("m2", "n9"): "online"})
    assert [one.gpu_uuid for one in result.accepted] == ["GPU-2"]
    assert (result.rejected, result.is_all_duplicate) == ((("GPU-1", ("m2", "n9")),), False)


def node(**changes: Any) -> ValidatedNode:
    plain = ValidatedNode(
        "m1", "n1", 4, "root@h:22", "online", NOW - 9 * HOUR, NOW - 60, NOW - 60, NOW - HOUR, True, NOW - HOUR,
        run_since=NOW - 8 * HOUR, full_run_since=NOW - 8 * HOUR, gpu_model="NVIDIA H100", gpu_count=1,
    )  # fmt: skip
    return replace(plain, **changes)


PLACE = ("m1", "n1")


def check(tier: str = "lightweight", *, ok: bool = True, at: float = NOW, node_id: str = "n1", **more: Any) -> Check:
    code = "" if ok else "probe_failed"
    row = Verification(f"v-{node_id}-{at}", "m1", 4, node_id, "root@h:22", tier, ok, at, 5.0, error_code=code)
    return Check(row, **more)


def settled(checks: list[Check], *nodes: ValidatedNode, claims: tuple[GpuClaim, ...] = ()) -> Settlement:
    standing = Standing({(one.miner_hotkey, one.node_id): one for one in nodes}, claims)
    return settle(standing, checks, failed_full_resets=False)


def test_of_two_nodes_in_one_group_the_first_gets_the_gpu() -> None:
    """A GPU that a check of the same group has just taken counts as taken; the second node fails and is not held."""
    first = check("full", claims=(claim("GPU-1"),))
    second = check("full", node_id="n2", claims=(replace(claim("GPU-1"), node_id="n2"),))
    found = settled([first, second])
    assert [(row.ok, row.error_code) for row in found.verifications] == [(True, ""), (False, "gpu_claimed")]
    assert [one.node_id for one in found.nodes] == ["n1"]
    assert found.claims == {PLACE: (claim("GPU-1"),)}


def test_a_gpu_changes_hands_within_a_group() -> None:
    """The owner fails first, so the node that shows the GPU next gets it."""
    lost = check(ok=False)
    heir = check("full", node_id="n2", claims=(replace(claim("GPU-1"), node_id="n2"),))
    found = settled([lost, heir], node(), claims=(claim("GPU-1"),))
    assert [row.ok for row in found.verifications] == [False, True]
    assert {place: [c.node_id for c in claims] for place, claims in found.claims.items()} == {
        PLACE: [], ("m1", "n2"): ["n2"],
    }  # fmt: skip
    assert {one.node_id: one.status for one in found.nodes} == {"n1": "offline", "n2": "online"}


def test_a_light_success_dates_the_gpus_and_a_rental_brings_the_node_online() -> None:
    """An offline node that passes lightly is verified, a rented one online; a stranger's pass holds nothing."""
    found = settled([check()], node(status="offline"))
    assert ([one.status for one in found.nodes], found.seen, found.claims) == (["verified"], {PLACE: NOW}, {})
    assert settled([check(is_rented=True)], node(status="offline")).nodes[0].status == "online"
    stranger = settled([check()])
    assert (stranger.nodes, stranger.seen, len(stranger.verifications)) == ((), {}, 1)


def test_misbehaviour_goes_on_record_with_its_check() -> None:
    """The reason and what the check says; nothing for those that behaved."""
    found = settled([check("full", ok=False, misbehaviour="malicious_result"), check(node_id="n2")])
    assert [(entry.node_id, entry.reason, entry.details) for entry in found.misbehaviour] == [
        ("n1", "malicious_result", "a step says so")
    ]


def test_what_is_asked_before_a_check_is_settled() -> None:
    """Only a passed full verification asks since when the day's passes count."""
    assert question_of(check("full")).passes_since == NOW - NOW % 86400
    assert question_of(check("full", ok=False)).passes_since is None
    assert question_of(check(claims=(claim("GPU-1"),))).gpu_uuids == ("GPU-1",)


def test_two_failures_in_a_row_within_the_hour() -> None:
    """The newest failed and so did the one before it, neither too long ago."""

    def latest(ok: bool, before: float | None) -> LatestCheck:
        return LatestCheck("m1", "n1", "v1", NOW, ok, before)

    assert twice_failed([latest(False, NOW - 60)], NOW - HOUR) == {PLACE}
    for one in (latest(True, NOW - 60), latest(False, None), latest(False, NOW - 2 * HOUR)):
        assert twice_failed([one], NOW - HOUR) == frozenset()


@pytest.mark.parametrize(
    ("row", "claims", "failed", "plan"),
    [
        ({}, [claim("GPU-1")], False, CleanUp()),
        ({"status": "offline", "offline_since": NOW - 60}, [claim("GPU-1")], False, CleanUp(drop_claims=(PLACE,))),
        ({"last_check_at": NOW - 1801}, [claim("GPU-1")], False, CleanUp(drop_claims=(PLACE,), offline=(PLACE,))),
        ({"last_check_at": NOW - 1800}, [claim("GPU-1")], False, CleanUp()),
        ({}, [], False, CleanUp(offline=(PLACE,))),
        ({"gpu_count": 0}, [], False, CleanUp()),
        ({}, [claim("GPU-1", at=NOW - SIX_HOURS - 1)], False, CleanUp(drop_claims=(PLACE,))),
        ({"status": "offline", "offline_since": NOW - 60, "gpu_count": 0}, [], True, CleanUp(forget=(PLACE,))),
        ({"status": "offline", "offline_since": NOW - 7201, "gpu_count": 0}, [], False, CleanUp(forget=(PLACE,))),
        ({"status": "offline", "offline_since": NOW - 7199, "gpu_count": 0}, [], False, CleanUp()),
        ({}, [claim("GPU-1")], True, CleanUp()),
    ],
)
def test_clean_up(row: dict[str, Any], claims: list[GpuClaim], failed: bool, plan: CleanUp) -> None:
    """Offline nodes lose their GPUs, unseen ones go offline, twice failed and long gone ones are forgotten."""
    twice = {PLACE} if failed else set()
    assert plan_clean_up([node(**row)], claims, NOW, twice_failed=twice, ttl_s=7200.0, interval_s=600.0) == plan


def test_rented_nodes_are_spared_by_clean_up() -> None:
    """A rental keeps a node, whatever else is true of it."""
    row = node(status="offline", offline_since=NOW - 99_999)
    plan = plan_clean_up([row], [], NOW, twice_failed={PLACE}, ttl_s=1.0, interval_s=600.0, rented={PLACE})
    assert plan == CleanUp()


@pytest.mark.parametrize(
    ("tier", "resets", "full_run"),
    [("lightweight", False, True), ("full", False, True), ("full", True, False), ("lightweight", True, True)],
)
def test_a_failure_ends_the_documented_run(tier: Any, resets: bool, full_run: bool) -> None:
    """Any failure ends the documented run; the deployed one ends only by the switch, on a full one."""
    after = after_failure(node(), check(tier, ok=False), failed_full_resets=resets)
    assert (after.status, after.gpu_count, after.run_since, after.last_reset_at) == ("offline", 0, None, NOW)
    assert (after.full_run_since is not None) == full_run
    assert after.last_full_ok == (tier != "full")
    assert after_failure(after, check(tier, ok=False, at=NOW + 9), failed_full_resets=resets).offline_since == NOW


def test_only_a_full_success_dates_the_six_hours_anew() -> None:
    """A lightweight success touches the last check; a full one brings GPUs, capability and the date."""
    light = after_success(node(), check(), [])
    assert (light.full_ok_at, light.last_ok_at, light.run_since) == (NOW - HOUR, NOW, NOW - 8 * HOUR)
    outcome = check("full", cuda="12.8", compute_capability="9.0", facts={"a": 1})
    offline = node(status="offline", run_since=None, offline_since=NOW - 60)
    full = after_success(offline, outcome, [claim("GPU-1"), claim("GPU-2")])
    assert (full.status, full.full_ok_at, full.gpu_count, full.run_since) == ("online", NOW, 2, NOW)
    assert (full.offline_since, full.cuda, json.loads(full.facts)) == (None, "12.8", {"a": 1})


def test_inputs_survive_the_way_through_json() -> None:
    """What is kept with a vector can be scored again, to the last bit."""
    emission = Emission(gpu_allocations={"H100": CategoryRule(100.0, 2, 40)}, burn_percentage=12.5)
    context = RoundContext(NOW, 256, NOW - 4320.0)
    facts = build_facts(
        [node()], {PLACE: [claim("GPU-1")]}, {PLACE: CheckCounts(9, 10, 11)}, {PLACE: CheckCounts(1, 1, 3)},
        {"m1": (4, True)}, "documented", NOW,
    )  # fmt: skip
    (miner,) = facts
    assert (miner.uid, miner.nodes[0].ssh.passed, miner.nodes[0].checks.total) == (4, 10, 3)
    assert inputs_from_json(inputs_to_json(facts, emission, context)) == (facts, emission, context)


def test_the_unregistered_have_no_facts() -> None:
    """A hotkey that left the subnet has no uid to pay to."""
    assert build_facts([node()], {}, {}, {}, {}, "documented", NOW) == ()


def test_mixed_claims_count_together() -> None:
    """Several models in one node are added up under the larger group."""
    claims = [claim("a"), claim("b"), claim("c", model="NVIDIA A100", memory_mib=40960)]
    gpus = gpus_of_claims(claims)
    assert (gpus.model, gpus.count, gpus.is_mixed) == ("NVIDIA H100", 3, True)


@pytest.mark.parametrize(
    ("status", "output", "verdict"),
    [
        (0, "GPU 0: NVIDIA H100 (UUID: GPU-11111111-aaaa-bbbb-cccc-000000000001)\n", "ok"),
        (0, "GPU 0: NVIDIA H100 (UUID: GPU-11111111-aaaa-bbbb-cccc-000000000002)\n", "failed"),
        (0, "", "failed"),
        (0, "x" * 70_000, "failed"),
        (125, "", "failed"),
    ],
)
def test_a_container_must_see_the_same_gpus(status: int, output: str, verdict: str) -> None:
    """Other GPUs, none, noise or a failed run fail the step."""
    result = CommandResult(output.encode(), b"", status)
    assert judge_docker_gpu(result, ["GPU-11111111-aaaa-bbbb-cccc-000000000001"])[0] == verdict
