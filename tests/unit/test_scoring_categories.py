"""GPU names to categories, and node scores, by tables."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.validator.scoring import (
    GpuGroup,
    NodeFacts,
    NodeGpus,
    Rate,
    deployed_category,
    deployed_node_score,
    documented_category,
    documented_node_score,
    merge_groups,
    ramp_since,
)
from engine.validator.scoring.node_score import Binary

# No deadline and no complaint about slow drawing: a busy machine is not a wrong rule.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("NVIDIA A100 PCIe", "A100"),
        ("A100 SXM5", "A100"),
        ("a100", "A100"),
        ("NVIDIA A100-80GB", "A100"),
        ("   A100   ", "A100"),
        ("NVIDIA NVIDIA A100", "A100"),
        ("NVIDIA A100-測試", "A100"),
        ("NVIDIA@@A100##PCIe", "A100"),
        ("Some A100 GPU", "A100"),
        ("x" * 1000 + "A100" + "y" * 1000, "A100"),
        ("NVIDIA H100", "H100"),
        ("H100 SXM", "H100"),
        ("Tesla H100", "H100"),
        ("HGX B200", "B200"),
        ("B200 HGX ", "B200"),
        ("DGX B200", "B200"),
        ("b200", "B200"),
        ("RTX 4090", "OTHER"),
        ("RTX 3090", "OTHER"),
        ("RTX 3080", "OTHER"),
        ("RTX 4080", "OTHER"),
        ("V100", "OTHER"),
        ("GTX 1080", "OTHER"),
        ("RTX   4090   Ti", "OTHER"),
        ("", "OTHER"),
        ("   ", "OTHER"),
        ("Unknown GPU", "OTHER"),
        ("NVIDIA H200", "OTHER"),
        ("RTX A1000", "A100"),
        ("NVIDIA GB200", "B200"),
        ("NVIDIA GH200 480GB", "OTHER"),
        ("A100X", "A100"),
    ],
)
def test_deployed_category(name: str, category: str) -> None:
    """The first substring in the deployed order names the category, accidents included."""
    assert deployed_category(name) == category


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100"),
        ("H100NVL", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA H200 NVL", "H200"),
        ("NVIDIA B200", "B200"),
        ("dgx-b200", "B200"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA RTX A1000", "OTHER"),
        ("NVIDIA GB200", "OTHER"),
        ("NVIDIA GH200 480GB", "OTHER"),
        ("NVIDIA B2000", "OTHER"),
        ("Tesla V100", "OTHER"),
        ("NVIDIA GeForce RTX 4090", "OTHER"),
        ("", "OTHER"),
    ],
)
def test_documented_category(name: str, category: str) -> None:
    """Only the very models that the documents name have a category."""
    assert documented_category(name) == category


@UNHURRIED
@given(st.text(max_size=200))
def test_any_text_has_a_category(name: str) -> None:
    """Names come from nodes; none of them breaks the rules."""
    assert deployed_category(name) in {"A100", "H100", "B200", "OTHER"}
    assert documented_category(name) in {"A100", "H100", "H200", "B200", "OTHER"}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([], NodeGpus()),
        ([GpuGroup("H100", 0)], NodeGpus()),
        ([GpuGroup("H100", 8, 80)], NodeGpus("H100", 8, 80)),
        ([GpuGroup("A100", 2, 40), GpuGroup("H100", 6, 80)], NodeGpus("H100", 8, 80, is_mixed=True)),
        ([GpuGroup("A100", 4, 40), GpuGroup("H100", 4, 80)], NodeGpus("A100", 8, 40, is_mixed=True)),
        ([GpuGroup("H100", 1, 80), GpuGroup("H100", 3, 94)], NodeGpus("H100", 4, 94)),
    ],
)
def test_several_models_count_as_the_largest_group(groups: list[GpuGroup], expected: NodeGpus) -> None:
    """Counts add up; the largest group names the node, the first of equals."""
    assert merge_groups(groups) == expected


@pytest.mark.parametrize(
    ("passed", "total", "full_ok", "score"),
    [
        (95, 100, True, 0.975),
        (100, 100, True, 1.0),
        (0, 100, True, 0.5),
        (95, 100, False, 0.475),
        (100, 100, None, 0.5),
        (0, 0, True, 0.5),
        (0, 0, None, 0.0),
    ],
)
def test_documented_node_score(passed: int, total: int, full_ok: bool | None, score: float) -> None:
    """Half logins, half the last full validation."""
    facts = NodeFacts("n", NodeGpus("H100", 8), ramp_since(None, 0), ssh=Rate(passed, total), last_full_ok=full_ok)
    assert documented_node_score(facts) == pytest.approx(score)


@pytest.mark.parametrize(
    ("ssh_ok", "binary", "binary_score", "score"),
    [
        (False, "passed", 1.0, 0.0),
        (False, "disabled", 0.0, 0.0),
        (True, "disabled", 0.0, 0.8),
        (True, "failed", 0.0, 0.4),
        (True, "passed", 1.0, 0.96),
        (True, "passed", 0.85, 0.84),
        (True, "passed", 0.0, 0.16),
        (True, "passed", 9.0, 1.0),
        (True, "passed", -9.0, 0.0),
    ],
)
def test_deployed_node_score(ssh_ok: bool, binary: Binary, binary_score: float, score: float) -> None:
    """The verification row's score; a perfect node has 0.96."""
    assert deployed_node_score(ssh_ok=ssh_ok, binary=binary, binary_score=binary_score) == pytest.approx(score)
