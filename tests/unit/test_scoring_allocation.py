"""The division of weights, to the last integer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import ScoresInvalid
from engine.validator.scoring import CategoryRule, Emission, allocate, check_vector
from engine.validator.scoring.arithmetic import TOTAL_WEIGHT, left_sum, percent_of, split_pool

# No deadline and no complaint about slow drawing: a busy machine is not a wrong rule.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

Scores = Mapping[str, Sequence[tuple[int, float]]]

A100 = [(1, 0.8), (2, 0.6), (3, 0.4)]
H100 = [(4, 0.9), (5, 0.7)]
B200 = [(6, 1.0), (7, 0.9)]


def emission(
    burn: float = 10.0,
    uid: int = 999,
    minimum: int = 1,
    **weights: float,
) -> Emission:
    chosen = weights or {"A100": 8.0, "H100": 12.0, "B200": 80.0}
    rules = {category: CategoryRule(weight) for category, weight in chosen.items()}
    return Emission(burn, uid, rules, min_miners_per_category=minimum)


VECTORS = [
    pytest.param(
        emission(),
        {"A100": A100, "H100": H100, "B200": B200},
        {1: 2096, 2: 1572, 3: 1050, 4: 3980, 5: 3097, 6: 24834, 7: 22351, 999: 6553},
        7,
        id="three categories",
    ),
    pytest.param(emission(), {"A100": A100}, {1: 2096, 2: 1572, 3: 1050, 999: 60815}, 3, id="A100 alone"),
    pytest.param(emission(), {}, {999: 65533}, 0, id="no miners"),
    pytest.param(
        emission(),
        {"A100": [(1, 0.0), (2, 0.0), (3, 0.0)]},
        {1: 1572, 2: 1572, 3: 1572, 999: 60815},
        3,
        id="scores of zero",
    ),
    pytest.param(emission(A100=40, H100=30, B200=30), {"A100": [(1, 0.8)]}, {1: 23592, 999: 41941}, 1, id="one miner"),
    pytest.param(
        emission(),
        {"A100": [(1, 0.8), (2, 0.6)], "H100": [(1, 0.9), (3, 0.7)]},
        {1: 6676, 2: 2022, 3: 3097, 999: 53738},
        3,
        id="one uid in two categories",
    ),
    pytest.param(
        emission(), {"A100": [(1, 0.8)], "H100": [(1, 0.9)]}, {1: 11795, 999: 53738}, 1, id="the same uid alone"
    ),
    pytest.param(
        emission(),
        {"A100": [(1, 0.5), (2, 0.5)], "H100": [(1, 0.3), (3, 0.7)]},
        {1: 4482, 2: 2359, 3: 4954, 999: 53738},
        3,
        id="order is kept as given",
    ),
    pytest.param(
        emission(minimum=2),
        {"A100": [(1, 0.8)], "H100": H100},
        {4: 3980, 5: 3097, 999: 6553 + 4718 + 47185},
        2,
        id="too few miners in a category",
    ),
    pytest.param(
        emission(5, H100=50, A100=30, B200=20),
        {"H100": [(5, 7.6), (12, 3.68)], "A100": [(12, 14.72), (23, 7.04)], "B200": [(45, 1.7)]},
        {5: 20973, 12: 22790, 23: 6043, 45: 12451, 999: 3276},
        4,
        id="the guide's example",
    ),
    pytest.param(
        emission(80, 204),
        {"H100": [(10, 12.0), (20, 0.84)], "A100": [(20, 6.72)], "B200": [(30, 40 / 7)]},
        {10: 1469, 20: 1151, 30: 10485, 204: 52428},
        3,
        id="production, worked example",
    ),
    pytest.param(emission(0, H100=100), {"H100": [(1, 1.0)]}, {1: 65535}, 1, id="no burn, no entry for it"),
    pytest.param(emission(100, H100=100), {"H100": [(1, 1.0)]}, {999: 65535}, 0, id="everything burnt"),
    pytest.param(
        emission(10, uid=1, H100=100), {"H100": [(1, 1.0), (2, 1.0)]}, {1: 36044, 2: 29491}, 1, id="burn uid mines"
    ),
    pytest.param(emission(10, H100=100), {"RTX": [(1, 1.0)]}, {999: 65535}, 0, id="category without a pool"),
    pytest.param(
        emission(10, H100=100, A100=0),
        {"A100": [(1, 1.0)], "H100": [(2, 1.0)]},
        {2: 58982, 999: 6553},
        1,
        id="weight 0",
    ),
]


@pytest.mark.parametrize(("settings", "scores", "weights", "served"), VECTORS)
def test_published_vectors(settings: Emission, scores: Scores, weights: dict[int, int], served: int) -> None:
    """The vector, entry for entry, and how many miners it serves."""
    allocation = allocate(settings, scores)
    assert dict(allocation.weights) == weights
    assert allocation.vector == tuple(sorted(weights.items()))
    assert allocation.miners_served == served


@pytest.mark.parametrize(
    ("settings", "scores", "total", "burn", "burn_percentage"),
    [
        (emission(), {"A100": A100, "H100": H100, "B200": B200}, 65533, 6553, 10.0),
        (emission(), {"A100": A100}, 65533, 60815, 92.80),
        (emission(), {}, 65533, 65533, 99.997),
        (emission(), {"A100": [(1, 0.0), (2, 0.0), (3, 0.0)]}, 65531, 60815, 92.80),
        (emission(A100=40, H100=30, B200=30), {"A100": [(1, 0.8)]}, 65533, 41941, 63.998),
        (
            emission(80, 204),
            {"H100": [(10, 12.0), (20, 0.84)], "A100": [(20, 6.72)], "B200": [(30, 40 / 7)]},
            65533,
            52428,
            80.0,
        ),
    ],
)
def test_sums_and_burn_shares(
    settings: Emission, scores: Scores, total: int, burn: int, burn_percentage: float
) -> None:
    """What truncation cuts off is lost, and the burn share includes pools that nobody earned."""
    allocation = allocate(settings, scores)
    assert (allocation.total, allocation.burn) == (total, burn)
    assert allocation.burn_percentage == pytest.approx(burn_percentage, abs=0.005)


def test_pools_burn_and_parts() -> None:
    """The three steps one by one, on round numbers."""
    assert [percent_of(10_000, weight) for weight in (8, 12, 80)] == [800, 1200, 8000]
    assert percent_of(10_000, 10) == 1000
    assert split_pool(2000, [0.8, 0.4, 0.8]) == (800, 400, 800)
    assert split_pool(1572, [12, 0.84, 0]) == (1469, 102, 1)
    assert split_pool(10, [0.0, 0.0, 0.0]) == (3, 3, 3)
    assert split_pool(10, []) == ()
    assert [allocate(emission(), {}).pools[n].pool for n in range(3)] == [4718, 7077, 47185]


def test_addition_is_plain_from_left_to_right() -> None:
    """A newer Python's ``sum`` would correct the rounding that the deployed validator keeps."""
    assert left_sum([0.1] * 10) == 0.9999999999999999
    assert left_sum([1e16, 1.0, -1e16]) == 0.0


def test_a_minimum_of_two_keeps_a_category_with_two() -> None:
    """Only categories below the minimum are burnt."""
    allocation = allocate(emission(minimum=2), {"A100": A100[:2], "H100": H100[:1]})
    assert set(allocation.weights) == {1, 2, 999}
    assert [pool.burnt for pool in allocation.pools] == [0, 7077, 47185]


def test_what_an_equal_split_leaves_is_lost() -> None:
    """The remainder goes neither to a miner nor to the burn."""
    pool = allocate(emission(), {"A100": [(1, 0.0), (2, 0.0), (3, 0.0)]}).pools[0]
    assert (pool.pool, pool.lost) == (4718, 2)


def test_zero_results_are_left_out() -> None:
    """A part that is cut off to nothing has no entry in the vector, but stays explained."""
    allocation = allocate(emission(0, H100=100), {"H100": [(1, 0.0), (2, 1.0)]})
    assert dict(allocation.weights) == {2: 65535}
    assert allocation.explain(1)[-1] == "uid 1: weight 0 of 65535 = 0.0000%"


def test_every_weight_is_explained() -> None:
    """Each uid's lines hold its pool, its part and its share."""
    allocation = allocate(emission(), {"A100": [(1, 0.8), (2, 0.6)], "H100": [(1, 0.9), (3, 0.7)]})
    assert allocation.explain(1) == (
        "A100: 4718 × 0.8 / 1.4, cut off = 2696",
        "H100: 7077 × 0.9 / 1.6, cut off = 3980",
        "uid 1: weight 6676 of 65533 = 10.1872%",
    )
    assert allocation.explain(2)[0] == "A100: last in line, the rest of 4718 = 2022"
    assert "unearned pools 47185, together 53738 to uid 999" in allocation.explain(999)[0]
    assert allocation.explain(77) == ("uid 77: no weight, it has no score in a category that is paid",)
    whole = allocation.explain()
    assert any(line.startswith("B200: 80 %") and "no miner, burnt" in line for line in whole)
    assert whole[-1] == "sum 65533, miners served 3"


@pytest.mark.parametrize("score", [-0.1, float("nan"), float("inf"), 1e16])
def test_scores_out_of_range_are_refused(score: float) -> None:
    """A score that arithmetic cannot carry stops the whole vector, with the uid named."""
    with pytest.raises(ScoresInvalid) as caught:
        allocate(emission(), {"H100": [(4, score)]})
    assert caught.value.problems[0].startswith("H100: uid 4 has score")


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ([], "empty"),
        ([(1, 5), (1, 6)], "twice"),
        ([(65_536, 5)], "uid 65536"),
        ([(-1, 5)], "uid -1"),
        ([(1, 65_536)], "weight 65536"),
        ([(1, -1)], "weight -1"),
        ([(1, 40_000), (2, 40_000)], "sums to 80000"),
    ],
)
def test_vectors_the_chain_would_not_take(entries: list[tuple[int, int]], word: str) -> None:
    """Empty, twice, too large: each is refused before it is sent."""
    with pytest.raises(ScoresInvalid) as caught:
        check_vector(entries)
    assert any(word in problem for problem in caught.value.problems)


def test_percentages_above_one_hundred_can_be_refused() -> None:
    """The tolerance of the settings is wider than a vector allows."""
    assert emission(0, H100=100.009).problems() == ()
    with pytest.raises(ScoresInvalid, match="cannot be set"):
        allocate(emission(0, H100=100.009), {"H100": [(1, 1.0)]})


CATEGORIES = ("A100", "H100", "H200", "B200")
SCORE = st.one_of(st.just(0.0), st.floats(0, 1e15), st.floats(0, 1))
RANKING = st.dictionaries(
    st.sampled_from(CATEGORIES), st.dictionaries(st.integers(0, 300), SCORE, max_size=30).map(lambda d: list(d.items()))
)
CUTS = st.lists(st.integers(0, 100), min_size=3, max_size=3).map(sorted)


@st.composite
def settings_with_all_paid(draw: st.DrawFn) -> Emission:
    low, middle, high = draw(CUTS)
    shares = (low, middle - low, high - middle, 100 - high)
    rules = {category: CategoryRule(float(share)) for category, share in zip(CATEGORIES, shares, strict=True)}
    return Emission(
        draw(st.floats(0, 100)), draw(st.integers(0, 400)), rules, min_miners_per_category=draw(st.integers(0, 4))
    )


@UNHURRIED
@given(settings_with_all_paid(), RANKING)
def test_nothing_is_made_and_little_is_lost(settings: Emission, scores: Scores) -> None:
    """Weights are above zero, fit 16 bits, and sum to everything but truncation and equal splits."""
    allocation = allocate(settings, scores)
    assert all(0 < weight <= TOTAL_WEIGHT for weight in allocation.weights.values())
    lost = sum(pool.lost for pool in allocation.pools)
    cut_off = allocation.rest - sum(pool.pool for pool in allocation.pools)
    assert allocation.total + lost + cut_off == TOTAL_WEIGHT
    assert 0 <= cut_off <= len(CATEGORIES)
    assert all(0 <= pool.lost < max(1, len(pool.portions)) for pool in allocation.pools)


@UNHURRIED
@given(settings_with_all_paid(), RANKING)
def test_burn_is_the_percentage_and_what_nobody_earned(settings: Emission, scores: Scores) -> None:
    """The burn never falls below its percentage, and exactly the pools without enough miners are added."""
    allocation = allocate(settings, scores)
    unearned = sum(
        pool.pool
        for pool in allocation.pools
        if not scores.get(pool.category) or len(scores[pool.category]) < settings.min_miners_per_category
    )
    assert allocation.burn == percent_of(TOTAL_WEIGHT, settings.burn_percentage) + unearned
    assert allocation.weights.get(settings.burn_uid, 0) >= allocation.burn


@UNHURRIED
@given(st.integers(0, TOTAL_WEIGHT), st.lists(SCORE, min_size=1, max_size=50))
def test_a_pool_is_never_overdrawn(pool: int, scores: list[float]) -> None:
    """Parts are whole, not negative, and together at most the pool; with a score above zero exactly the pool."""
    parts = split_pool(pool, scores)
    assert all(part >= 0 for part in parts)
    assert sum(parts) <= pool
    if any(score > 0 for score in scores):
        assert sum(parts) == pool
