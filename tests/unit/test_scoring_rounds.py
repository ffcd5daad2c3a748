"""Whole rounds in both profiles: who is paid, for what, why, and what a failure would cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import ScoresInvalid
from engine.scores.history import Tier
from engine.validator.scoring import (
    CategoryRule,
    Emission,
    MinerFacts,
    NodeFacts,
    NodeGpus,
    Profile,
    Ramp,
    Rate,
    Round,
    RoundContext,
    is_in_epoch,
    pass_ratio,
    ramp_since,
    score_miner,
    score_round,
    what_if_failure,
)
from engine.validator.scoring.arithmetic import TOTAL_WEIGHT
from engine.validator.scoring.profile_stats import ValidationRow, category_statistics, gpu_distribution, row_ratio
from engine.validator.scoring.results import NodeScore

# No deadline and no complaint about slow drawing: a busy machine is not a wrong rule.
UNHURRIED = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])

DAY = 86_400.0
HOUR = 3_600.0
NOW = datetime(2025, 10, 24, 12, 0, tzinfo=UTC).timestamp()
CONTEXT = RoundContext(NOW)
DEPLOYED: Profile = "deployed-2025-10"
PRODUCTION = Emission(
    80.0, 204, {"A100": CategoryRule(8, 1, 1), "H100": CategoryRule(12, 1, 1), "B200": CategoryRule(80, 8, 1)}
)
GUIDE = Emission(80.0, 204, {"H100": CategoryRule(40), "H200": CategoryRule(40), "B200": CategoryRule(20)})


def ramp(days: float) -> Ramp:
    return ramp_since(NOW - days * DAY, NOW)


def node(
    name: str, model: str = "NVIDIA H100", count: int = 8, days: float = 14, memory: float | None = 80
) -> NodeFacts:
    return NodeFacts(
        name,
        NodeGpus(model, count, memory),
        ramp(days),
        ssh=Rate(144, 144),
        last_full_ok=True,
        compute_capability="9.0",
        cuda="12.8",
        checks=Rate(18, 18),
    )


def miner(uid: int, *nodes: NodeFacts) -> MinerFacts:
    return MinerFacts(uid, nodes, profile_updated_at=NOW, last_success_at=NOW)


def only_node(profile: Profile, facts: NodeFacts, emission: Emission) -> NodeScore:
    return score_miner(profile, miner(1, facts), emission, CONTEXT).nodes[0]


# --- documented -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "reasons"),
    [
        (node("n"), []),
        (node("n", "NVIDIA H200"), []),
        (node("n", "NVIDIA B200"), []),
        (replace(node("n"), compute_capability="8.7"), []),
        (replace(node("n"), compute_capability="10.0"), []),
        (replace(node("n"), compute_capability="8.6"), ["compute capability 8.6 is below 8.7"]),
        (replace(node("n"), compute_capability=""), ["compute capability is not known, 8.7 or newer is needed"]),
        (replace(node("n"), cuda="12.10"), []),
        (replace(node("n"), cuda="13.0.1"), []),
        (replace(node("n"), cuda="13"), []),
        (replace(node("n"), cuda="12.7"), ["CUDA 12.7 is below 12.8"]),
        (replace(node("n"), cuda="N/A"), ["CUDA is not known, 12.8 or newer is needed"]),
        (
            replace(node("n", "NVIDIA A100-SXM4-80GB"), compute_capability="8.0"),
            [
                "NVIDIA A100-SXM4-80GB is validated but not rewarded; rewarded are H100, H200, B200",
                "compute capability 8.0 is below 8.7",
            ],
        ),
        (
            node("n", "NVIDIA GeForce RTX 4090"),
            ["NVIDIA GeForce RTX 4090 is validated but not rewarded; rewarded are H100, H200, B200"],
        ),
        (node("n", count=0), ["no GPU is proved to be in it"]),
        (replace(node("n"), ssh=Rate()), ["it was not checked within the rolling window"]),
    ],
)
def test_documented_eligibility(facts: NodeFacts, reasons: list[str]) -> None:
    """Three models, compute capability 8.7, CUDA 12.8; every missing condition is a reason in words."""
    scored = only_node("documented", facts, GUIDE)
    assert list(scored.reasons) == reasons
    assert scored.is_rewarded is (not reasons)
    assert scored.effective_gpus == (0.0 if reasons else 8.0)


def test_emission_settings_apply_to_the_documented_profile() -> None:
    """A category without a part, too few GPUs and too little memory are reasons as well."""
    strict = Emission(gpu_allocations={"H100": CategoryRule(100, 8, 80)})
    assert only_node("documented", node("n", "B200"), strict).reasons == ("B200 is not in gpu_allocations",)
    assert only_node("documented", node("n", count=7), strict).reasons == ("7 GPUs, H100 needs 8 in one node",)
    assert only_node("documented", node("n", memory=79), strict).reasons == ("79 GB of GPU memory, H100 needs 80 GB",)
    assert only_node("documented", node("n", memory=None), strict).reasons == ("unknown GPU memory, H100 needs 80 GB",)


def test_documented_miner_score_is_the_mean_of_all_nodes() -> None:
    """Nodes that are not rewarded count in the mean, but not in the effective GPUs."""
    good = node("a", days=7)
    weak = replace(node("b", "RTX 4090"), ssh=Rate(95, 100), last_full_ok=False)
    scored = score_miner("documented", miner(1, good, weak), GUIDE, CONTEXT)
    assert scored.score == pytest.approx((1.0 + 0.475) / 2)
    assert scored.categories["H100"].effective_gpus == 4.0
    assert scored.categories["H100"].score == pytest.approx(0.7375 * 4.0)
    assert set(scored.categories) == {"H100"}
    assert score_miner("documented", miner(1), GUIDE, CONTEXT).score == 0.0


def test_documented_round_pays_the_three_models() -> None:
    """Pools go to H100, H200 and B200; a part given to another model is burnt."""
    settings = Emission(0.0, 204, {"A100": CategoryRule(50), "H100": CategoryRule(25), "H200": CategoryRule(25)})
    nodes = {1: "A100", 2: "H100", 3: "H200"}
    result = score_round(
        "documented", [miner(uid, node("n", model)) for uid, model in nodes.items()], settings, CONTEXT
    )
    assert dict(result.allocation.weights) == {2: 16383, 3: 16383, 204: 32767}


# --- deployed -------------------------------------------------------------------------------------------------


def worked_example() -> Round:
    half_way = replace(node("d", "A100", 8, 20), checks=Rate(9, 9))
    return score_round(
        DEPLOYED,
        [
            miner(10, node("a", days=14), node("b", days=7)),
            miner(20, replace(node("c", count=4, days=3.5), checks=Rate(12, 16)), half_way),
            miner(30, node("e", "B200", days=10)),
            miner(40, node("f", "B200", count=4)),
        ],
        PRODUCTION,
        CONTEXT,
    )


def test_worked_example_of_the_deployed_profile() -> None:
    """Ratios, multipliers, category scores and weights as published, to the last integer."""
    result = worked_example()
    assert [n.multiplier for uid in (10, 20, 30) for n in result.miners[uid].nodes] == pytest.approx(
        [1.0, 0.5, 0.25, 1.0, 0.714286], abs=5e-7
    )
    assert result.miners[20].score == 0.84
    assert result.ranking["H100"] == ((10, 12.0), (20, 0.84))
    assert result.ranking["A100"] == ((20, 6.72),)
    assert result.ranking["B200"][0][1] == pytest.approx(5.714286, abs=5e-7)
    assert dict(result.allocation.weights) == {10: 1469, 20: 1151, 30: 10485, 204: 52428}
    assert [pool.pool for pool in result.allocation.pools] == [1048, 1572, 10485]
    assert (result.allocation.total, result.allocation.miners_served) == (65533, 3)
    assert result.miners[40].nodes[0].reasons == ("4 GPUs, B200 needs 8 in one node",)


@pytest.mark.parametrize(
    ("results", "ratio"),
    [
        ([True, True], 1.0),
        ([False], 0.0),
        ([True, False], 0.5),
        ([True, True, False], 0.6667),
        ([], 0.0),
    ],
)
def test_pass_ratio(results: list[bool], ratio: float) -> None:
    """Passed rows over all rows; nothing is zero."""
    rows = [ValidationRow(f"n{place}", "A100", 1, is_valid=ok) for place, ok in enumerate(results)]
    assert row_ratio(rows).value == pytest.approx(ratio, abs=5e-5)
    facts = miner(1, replace(node("n"), checks=Rate(sum(results), len(results))))
    assert pass_ratio(facts).value == pytest.approx(ratio, abs=5e-5)


@pytest.mark.parametrize("count", [1, 2, 4, 8, 128])
@pytest.mark.parametrize("memory", [16.0, 80.0, None])
def test_pass_ratio_ignores_gpus(count: int, memory: float | None) -> None:
    """One passed check is a ratio of one, however many GPUs with however much memory."""
    assert row_ratio([ValidationRow("n", "A100", count)]).value == 1.0
    facts = replace(node("n", "A100", count, memory=memory), checks=Rate(1, 1))
    assert score_miner(DEPLOYED, miner(1, facts), PRODUCTION, CONTEXT).score == 1.0


def test_pass_ratio_leaves_out_nodes_that_are_offline_or_without_gpus() -> None:
    """Their failures count only once they are back."""
    facts = miner(
        1,
        replace(node("a"), checks=Rate(3, 4)),
        replace(node("b"), checks=Rate(0, 9), is_online=False),
        replace(node("c", count=0), checks=Rate(0, 9)),
    )
    assert pass_ratio(facts) == Rate(3, 4)


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ([ValidationRow("1", "A100", 2), ValidationRow("2", "A100", 1)], {"A100": 3}),
        (
            [ValidationRow("1", "A100", 1), ValidationRow("2", "H100", 2), ValidationRow("3", "H100", 1)],
            {"A100": 1, "H100": 3},
        ),
        ([ValidationRow("1", "A100", 2, is_valid=False), ValidationRow("2", "A100", 2, is_attested=False)], {}),
        ([ValidationRow("1", "A100", 0)], {}),
        ([ValidationRow("1", "A100", 2), ValidationRow("1", "A100", 2)], {"A100": 2}),
        (
            [ValidationRow("1", "A100", 1), ValidationRow("2", "A100", 4), ValidationRow("3", "RTX 4090", 2)],
            {"A100": 5, "OTHER": 2},
        ),
    ],
)
def test_gpu_distribution(rows: list[ValidationRow], counts: dict[str, int]) -> None:
    """GPUs by category, each node once, failures left out."""
    assert gpu_distribution(rows) == counts


def test_category_statistics() -> None:
    """The published figures of two A100 miners and one H100 miner."""

    def rated(uid: int, passed: int, model: str, count: int) -> MinerFacts:
        return miner(uid, replace(node("n", model, count), checks=Rate(passed, 10)))

    facts = [rated(1, 8, "A100", 2), rated(2, 6, "A100", 1), rated(3, 9, "H100", 1), rated(4, 9, "RTX 4090", 1)]
    scored = [score_miner(DEPLOYED, each, PRODUCTION, CONTEXT) for each in facts]
    stats = category_statistics(scored, PRODUCTION)
    assert set(stats) == {"A100", "H100"}
    figures = stats["A100"]
    assert figures.miners == 2
    assert (figures.total, figures.average, figures.lowest, figures.highest) == pytest.approx((1.4, 0.7, 0.6, 0.8))
    assert (stats["H100"].miners, stats["H100"].average) == (1, 0.9)


@pytest.mark.parametrize(
    ("model", "minimum", "count", "passed", "share"),
    [
        ("A100", 4, 3, 8, None),
        ("A100", 4, 4, 8, 0.8),
        ("H100", 2, 1, 10, None),
        ("H100", 2, 2, 10, 1.0),
        ("B200", 8, 7, 10, None),
        ("B200", 8, 8, 10, 1.0),
    ],
)
def test_minimum_gpu_counts(model: str, minimum: int, count: int, passed: int, share: float | None) -> None:
    """A node below its category's minimum does not count, one at the minimum does."""
    settings = Emission(gpu_allocations={model: CategoryRule(100, minimum)})
    facts = miner(1, replace(node("n", model, count), checks=Rate(passed, 10)))
    stats = category_statistics([score_miner(DEPLOYED, facts, settings, CONTEXT)], settings)
    assert (stats[model].average if stats else None) == share


def test_minimums_are_for_each_node() -> None:
    """Two small nodes do not make a large one."""
    result = score_miner(DEPLOYED, miner(1, node("a", "B200", 4), node("b", "B200", 4)), PRODUCTION, CONTEXT)
    assert result.categories == {}


@pytest.mark.parametrize(("vram", "memory", "counts"), [(1, None, True), (80, 80, True), (80, 79.9, False)])
def test_minimum_gpu_memory(vram: int, memory: float | None, counts: bool) -> None:
    """A minimum of 1 GB asks for nothing."""
    settings = Emission(gpu_allocations={"H100": CategoryRule(100, 1, vram)})
    assert only_node(DEPLOYED, node("n", memory=memory), settings).is_rewarded is counts


def test_deployed_profile_looks_at_no_versions() -> None:
    """Neither compute capability nor CUDA is asked for; H200 falls into no category that is paid."""
    bare = replace(node("n", "A100"), compute_capability="", cuda="", ssh=Rate(), last_full_ok=None)
    assert only_node(DEPLOYED, bare, PRODUCTION).is_rewarded
    assert only_node(DEPLOYED, node("n", "NVIDIA H200"), PRODUCTION).reasons == (
        "NVIDIA H200 (OTHER) is not in gpu_allocations",
    )


def test_a_miner_whose_ramps_are_empty_stays_with_a_score_of_zero() -> None:
    """It is in the category and last in line, so it gets the remainder; alone it gets the pool."""
    result = score_round(DEPLOYED, [miner(1, node("a", days=0)), miner(2, node("b"))], PRODUCTION, CONTEXT)
    assert result.ranking["H100"] == ((2, 8.0), (1, 0.0))
    alone = score_round(DEPLOYED, [miner(1, node("a", days=0))], PRODUCTION, CONTEXT)
    assert alone.allocation.weights[1] == 1572


@pytest.mark.parametrize(("epoch_hours_ago", "inside"), [(2.0, {1, 5}), (4.0, {1, 2, 5}), (None, {1, 2, 3, 4, 5})])
def test_epoch_filter(epoch_hours_ago: float | None, inside: set[int]) -> None:
    """Only miners with a success since weights were last set; one without any is out once there is an epoch."""
    successes = {1: 1.0, 2: 3.0, 3: 5.0, 4: None, 5: 1.0}
    epoch = None if epoch_hours_ago is None else NOW - epoch_hours_ago * HOUR
    times = {uid: None if hours is None else NOW - hours * HOUR for uid, hours in successes.items()}
    assert {uid for uid, at in times.items() if is_in_epoch(at, epoch)} == inside
    facts = [replace(miner(uid, node("n")), last_success_at=at) for uid, at in times.items()]
    result = score_round(DEPLOYED, facts, PRODUCTION, RoundContext(NOW, epoch_start=epoch))
    assert {uid for uid, _ in result.ranking["H100"]} == inside


@pytest.mark.parametrize(
    ("facts", "profile", "word"),
    [
        (replace(miner(1, node("n")), profile_updated_at=NOW - 3 * HOUR - 1), DEPLOYED, "profile"),
        (replace(miner(1, node("n")), profile_updated_at=None), DEPLOYED, "profile"),
        (replace(miner(1, node("n")), has_axon=False), DEPLOYED, "axon"),
        (replace(miner(1, node("n")), has_axon=False), "documented", "axon"),
        (miner(10, node("n")), DEPLOYED, "metagraph of 10"),
        (miner(10, node("n")), "documented", "metagraph of 10"),
    ],
)
def test_miners_left_out(facts: MinerFacts, profile: Profile, word: str) -> None:
    """A stale profile, no axon or no such uid keeps a miner out, and the reason is kept."""
    result = score_round(profile, [facts], PRODUCTION, RoundContext(NOW, metagraph_size=10))
    assert word in result.miners[facts.uid].excluded[0]
    assert set(result.allocation.weights) == {204}
    assert any(line.startswith("left out:") for line in result.explain(facts.uid))


def test_a_profile_three_hours_old_is_still_in() -> None:
    """The limit itself passes, and so does the last uid of the metagraph."""
    facts = replace(miner(9, node("n")), profile_updated_at=NOW - 3 * HOUR)
    assert score_miner(DEPLOYED, facts, PRODUCTION, RoundContext(NOW, metagraph_size=10)).excluded == ()


# --- both -----------------------------------------------------------------------------------------------------


def test_equal_scores_are_ranked_by_uid() -> None:
    """The order decides who gets the remainder, so it must not depend on the order of the input."""
    facts = [miner(uid, node("n")) for uid in (7, 3, 5)]
    for order in (facts, facts[::-1]):
        assert [uid for uid, _ in score_round(DEPLOYED, order, PRODUCTION, CONTEXT).ranking["H100"]] == [3, 5, 7]


def test_a_uid_that_comes_twice_is_refused() -> None:
    """Two records for one uid would hide one of them."""
    with pytest.raises(ScoresInvalid, match="uid 1 comes twice"):
        score_round("documented", [miner(1), miner(1)], GUIDE, CONTEXT)


def test_a_weight_is_explained_down_to_its_nodes() -> None:
    """From the pool to the last login, each number is in the text."""
    deployed = "\n".join(worked_example().explain(20))
    assert "H100: last in line, the rest of 1572 = 103" in deployed
    assert "miner 20: score 0.8400, 21 of 25 checks passed in 3 h" in deployed
    assert "A100: 0.8400 × 8.0000 effective GPUs = 6.720000" in deployed
    assert "4 GPUs × 0.2500 = 1.0000 effective GPUs" in deployed
    weak = replace(node("gpu-1", days=7), ssh=Rate(142, 144))
    documented = "\n".join(score_round("documented", [miner(5, weak)], GUIDE, CONTEXT).explain(5))
    assert "score 0.5 × 142/144 logins + 0.5 × 1 (last full validation passed) = 0.9931" in documented
    assert "ramp 10080 of 20160 min = 50.00%; 100 % on 2025-10-31 UTC" in documented


def test_forecasts_say_when_each_node_is_full() -> None:
    """One line a node: the day of 100 %, or none while no run is open."""
    facts = miner(1, node("a", days=4), replace(node("b"), ramp=Ramp()))
    forecasts = score_miner("documented", facts, GUIDE, CONTEXT).forecasts()
    assert [(f.node_id, f.full_at) for f in forecasts] == [("a", NOW + 10 * DAY), ("b", None)]
    assert str(forecasts[0].full_on) == "2025-11-03"


# --- what if --------------------------------------------------------------------------------------------------


def two_miners(profile: Profile) -> Round:
    return score_round(
        profile, [miner(1, node("a", days=14), node("b", days=7)), miner(2, node("c", days=14))], GUIDE, CONTEXT
    )


def test_what_a_failure_costs_in_the_documented_profile() -> None:
    """The ramp is gone, the mean falls, and the share goes to the others of the category."""
    what = what_if_failure(two_miners("documented"), 1, "a")
    assert what.multiplier_change == -1.0
    assert what.effective_gpus_change == -8.0
    assert what.score_change == pytest.approx((0.5 * 144 / 145 + 1.0) / 2 - 1.0)
    assert what.weight_change < 0
    assert what.share_change < 0
    assert what.after.allocation.weights[2] - what.before.allocation.weights[2] == -what.weight_change
    assert (what.full_at_before, what.full_at_after) == (NOW, NOW + 14 * DAY)
    assert what.miner_after.nodes[0].facts.ramp.last_reset_at == NOW
    assert "  ramp 100.00% to 0.00%" in what.explain()


@pytest.mark.parametrize(
    ("tier", "ssh_ok", "score"),
    [
        ("full", False, 0.5 * 144 / 145),
        ("full", True, 0.5),
        ("lightweight", False, 0.5 * 144 / 145 + 0.5),
        ("lightweight", True, 1.0),
    ],
)
def test_what_a_failure_costs_depends_on_its_kind(tier: Tier, ssh_ok: bool, score: float) -> None:
    """A failed full validation takes half the node's score, a failed login a little; both empty the ramp."""
    what = what_if_failure(two_miners("documented"), 1, "b", tier=tier, ssh_ok=ssh_ok)
    failed = what.miner_after.nodes[1]
    assert failed.score == pytest.approx(score)
    assert failed.multiplier == 0.0


def test_what_a_failure_costs_in_the_deployed_profile() -> None:
    """The GPUs do not count until the next full success; the ratio and the ramp stay."""
    what = what_if_failure(two_miners(DEPLOYED), 1, "a")
    assert what.effective_gpus_change == -8.0
    assert what.score_change == 0.0
    assert what.multiplier_change == 0.0
    assert what.full_at_after == NOW
    assert what.weight_change < 0
    assert any("20 to 35 minutes" in line for line in what.explain())
    last = what_if_failure(two_miners(DEPLOYED), 2, "c")
    assert 2 not in last.after.allocation.weights
    assert last.share_change == -last.before.allocation.share(2)


@pytest.mark.parametrize(("uid", "name", "words"), [(9, "a", "uid 9 is not"), (1, "z", "miner 1 has no node z")])
def test_what_if_names_what_is_not_there(uid: int, name: str, words: str) -> None:
    """An unknown miner or node is said to be unknown."""
    with pytest.raises(ScoresInvalid, match=words):
        what_if_failure(two_miners("documented"), uid, name)


# --- properties -----------------------------------------------------------------------------------------------

MODELS = st.sampled_from(["NVIDIA H100", "NVIDIA H200", "NVIDIA B200", "NVIDIA A100", "RTX 4090", ""])
RATES = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: Rate(min(pair), max(pair)))
NODES = st.builds(
    NodeFacts,
    node_id=st.sampled_from(["a", "b", "c"]),
    gpus=st.builds(NodeGpus, MODELS, st.integers(0, 16), st.none() | st.floats(0, 200)),
    ramp=st.floats(-1, 40).map(ramp),
    ssh=RATES,
    last_full_ok=st.none() | st.booleans(),
    compute_capability=st.sampled_from(["9.0", "8.6", ""]),
    cuda=st.sampled_from(["12.8", "12.4", ""]),
    checks=RATES,
    is_online=st.booleans(),
)
MINERS = st.dictionaries(
    st.integers(0, 255), st.lists(NODES, max_size=3, unique_by=lambda n: n.node_id), max_size=8
).map(lambda found: [miner(uid, *nodes) for uid, nodes in found.items()])
PROFILES = st.sampled_from(["documented", "deployed-2025-10"])


@UNHURRIED
@given(PROFILES, MINERS, st.sampled_from([PRODUCTION, GUIDE]))
def test_rounds_conserve_weight(profile: Profile, miners: list[MinerFacts], settings: Emission) -> None:
    """Whatever the fleet looks like: scores 0 to 1, no negative weight, burn at least its percentage, sum in range."""
    result = score_round(profile, miners, settings, CONTEXT)
    assert all(0.0 <= each.score <= 1.0 for each in result.miners.values())
    weights = result.allocation.weights
    assert all(weight > 0 for weight in weights.values())
    assert weights[204] >= 52_428
    lost = sum(pool.lost for pool in result.allocation.pools)
    assert TOTAL_WEIGHT - 3 - lost <= sum(weights.values()) <= TOTAL_WEIGHT
    rewarded = {each.facts.uid for each in result.miners.values() if any(n.is_rewarded for n in each.nodes)}
    assert set(weights) - {204} <= rewarded
    assert all(result.explain(each.uid) for each in miners)


@UNHURRIED
@given(PROFILES, MINERS, NODES, st.integers(0, 4))
def test_a_failure_never_raises_effective_gpus(
    profile: Profile, others: list[MinerFacts], failing: NodeFacts, more: int
) -> None:
    """One more failed check leaves the miner with as many effective GPUs or fewer, and no one else's score moves."""
    chosen = miner(300, replace(failing, node_id="failing"), *(node(f"other-{n}") for n in range(more)))
    before = score_round(profile, [*others, chosen], GUIDE, CONTEXT)
    what = what_if_failure(before, chosen.uid, "failing")
    assert what.effective_gpus_change <= 0
    assert what.explain()
    for uid, scored in before.miners.items():
        assert uid == chosen.uid or what.after.miners[uid] is scored
