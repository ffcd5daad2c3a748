"""Emission settings: which are valid, and what is said about those that are not."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import ConfigInvalid
from engine.validator.scoring import CategoryRule, Emission, read_emission

# No deadline and no complaint about slow drawing: a busy machine is not a wrong rule.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def of(*weights: float, burn: float = 0.0) -> Emission:
    return Emission(burn, gpu_allocations={f"C{n}": CategoryRule(weight) for n, weight in enumerate(weights)})


@pytest.mark.parametrize(
    ("emission", "words"),
    [
        (Emission(), ["gpu_allocations = {}"]),
        (of(100.0, burn=-0.1), ["burn_percentage = -0.1"]),
        (of(100.0, burn=100.1), ["burn_percentage = 100.1"]),
        (of(100.0, burn=float("nan")), ["burn_percentage = nan"]),
        (of(100.0, burn=0.0), []),
        (of(100.0, burn=100.0), []),
        (of(33.33, 33.33, 33.34), []),
        (of(80.0), ["weights sum to 80"]),
        (of(60.0, 60.0), ["weights sum to 120"]),
        (of(33.0, 33.0, 33.0), ["weights sum to 99"]),
        (of(0.001, 99.999), []),
        (of(100.005), []),
        (of(100.02), ["weights sum to 100.02"]),
        (of(-10.0, 110.0), ["C0.weight = -10.0"]),
        (of(float("inf")), ["C0.weight = inf"]),
        (Emission(gpu_allocations={"H100": CategoryRule(100, 0)}), ["H100.min_gpu_count = 0"]),
        (Emission(gpu_allocations={"H100": CategoryRule(100, 1, 0)}), ["H100.min_gpu_vram = 0"]),
        (Emission(gpu_allocations={"H100": CategoryRule(100)}, burn_uid=65_536), ["burn_uid = 65536"]),
        (Emission(gpu_allocations={"H100": CategoryRule(100)}, burn_uid=-1), ["burn_uid = -1"]),
        (
            Emission(gpu_allocations={"H100": CategoryRule(100)}, weight_set_interval_blocks=0),
            ["weight_set_interval_blocks = 0"],
        ),
        (Emission(gpu_allocations={"H100": CategoryRule(100)}, weight_version_key=-1), ["weight_version_key = -1"]),
        (
            Emission(gpu_allocations={"H100": CategoryRule(100)}, min_miners_per_category=-1),
            ["min_miners_per_category = -1"],
        ),
        (of(-5.0, 50.0, burn=101), ["burn_percentage = 101", "C0.weight = -5.0", "weights sum to 45"]),
    ],
)
def test_rules_are_named_one_sentence_each(emission: Emission, words: list[str]) -> None:
    """Every violated rule is one problem with key, value and what to do."""
    problems = emission.problems()
    assert len(problems) == len(words)
    for problem, word in zip(problems, words, strict=True):
        assert problem.startswith("emission.")
        assert word in problem
        assert ": " in problem


def test_defaults_are_the_published_ones() -> None:
    """No burn, uid 204, one miner enough, 360 blocks."""
    emission = Emission()
    assert (emission.burn_percentage, emission.burn_uid, emission.min_miners_per_category) == (0.0, 204, 1)
    assert (emission.weight_set_interval_blocks, emission.weight_version_key) == (360, 0)


def test_merging_fills_an_interval_of_zero() -> None:
    """An interval of 0 becomes 360 blocks, another one stays."""
    assert Emission(weight_set_interval_blocks=0).merge_with_defaults().weight_set_interval_blocks == 360
    assert Emission(weight_set_interval_blocks=7).merge_with_defaults().weight_set_interval_blocks == 7


def test_toml_with_plain_percentages() -> None:
    """The published file parses to its values; a bare number is a weight with a minimum of one GPU."""
    emission, unknown = read_emission(
        tomllib.loads("""
burn_percentage = 15.0
burn_uid = 123
weight_set_interval_blocks = 720
[gpu_allocations]
A100 = 25.0
H100 = 50
B200 = { weight = 25.0 }
""")
    )
    assert emission == Emission(
        15.0,
        123,
        {"A100": CategoryRule(25.0), "H100": CategoryRule(50.0), "B200": CategoryRule(25.0, 1, None)},
        weight_set_interval_blocks=720,
    )
    assert unknown == ()


def test_toml_with_tables_and_unknown_keys() -> None:
    """Minimums are read, names are compared in upper case, and keys that mean nothing are named."""
    emission, unknown = read_emission(
        {
            "gpu_allocations": {"b200": {"weight": 100, "min_gpu_count": 8, "min_gpu_vram": 1, "color": "red"}},
            "threshold": 0.1,
        }
    )
    assert emission.gpu_allocations == {"B200": CategoryRule(100.0, 8, 1)}
    assert unknown == ("emission.gpu_allocations.b200.color", "emission.threshold")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, ["gpu_allocations = {}"]),
        ({"gpu_allocations": 7}, ["gpu_allocations = 7: write a table"]),
        ({"gpu_allocations": {"H100": "all"}}, ["H100 = 'all'"]),
        ({"gpu_allocations": {"H100": True}}, ["H100 = True"]),
        ({"gpu_allocations": {"H100": {"min_gpu_count": 1}}}, ["H100.weight is missing"]),
        ({"gpu_allocations": {"H100": {"weight": 100, "min_gpu_count": 1.5}}}, ["min_gpu_count = 1.5"]),
        ({"gpu_allocations": {"H100": {"weight": 100, "min_gpu_vram": "80GB"}}}, ["min_gpu_vram = '80GB'"]),
        ({"gpu_allocations": {"H100": 50, "h100": 50}}, ["the category is named twice"]),
        ({"gpu_allocations": {" ": 100}}, ["has no name"]),
        ({"gpu_allocations": {"H100": 100}, "burn_percentage": "80"}, ["burn_percentage = '80'"]),
        ({"gpu_allocations": {"H100": 100}, "burn_percentage": float("nan")}, ["burn_percentage = nan"]),
        ({"gpu_allocations": {"H100": 10**400}}, ["an ordinary number"]),
        ({"gpu_allocations": {"H100": 100}, "burn_uid": 1.0}, ["burn_uid = 1.0: write a whole number"]),
        ({"gpu_allocations": {"H100": 100}, "burn_uid": 70_000}, ["burn_uid = 70000"]),
        ({"gpu_allocations": {"H100": 80}, "burn_percentage": 101}, ["burn_percentage = 101", "sum to 80"]),
        ({"gpu_allocations": {"H100": -1, "B200": "x"}}, ["B200 = 'x'", "H100.weight = -1"]),
    ],
)
def test_wrong_tables_are_refused_with_every_problem(table: Mapping[str, object], words: list[str]) -> None:
    """Wrong types and violated rules are reported together, each once."""
    with pytest.raises(ConfigInvalid) as caught:
        read_emission(table)
    assert len(caught.value.problems) == len(words)
    for problem, word in zip(caught.value.problems, words, strict=True):
        assert word in problem


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["burn_percentage", "burn_uid", "gpu_allocations", "min_miners_per_category", "weight_version_key", "other"]
)


@UNHURRIED
@given(st.dictionaries(KEYS, JUNK, max_size=4))
def test_any_table_is_read_or_refused(table: dict[str, object]) -> None:
    """Whatever a file holds, the answer is valid settings or ConfigInvalid."""
    try:
        emission, _ = read_emission(table)
    except ConfigInvalid as error:
        assert error.problems
    else:
        assert emission.problems() == ()


def test_notes_name_parts_that_nobody_can_earn() -> None:
    """A category the profile never finds is worth a remark, and so is a sum above 100."""
    emission = Emission(gpu_allocations={"A100": CategoryRule(50), "H200": CategoryRule(50.005)})
    documented, deployed = emission.notes("documented"), emission.notes("deployed-2025-10")
    assert "A100" in documented[0]
    assert "H200" in deployed[0]
    assert "above 100" in documented[1]
    assert Emission(gpu_allocations={"H100": CategoryRule(100)}).notes("documented") == ()
