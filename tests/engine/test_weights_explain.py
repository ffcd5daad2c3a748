"""``weights explain --at``: the vector, the scores and the reasons that were in force then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from basilica_tui.cli_weights import weights_app
from engine.clock import ManualClock
from engine.scores.history import Rate
from engine.scores.ramp import RAMP_MINUTES, ramp_since
from engine.store import open_store
from engine.store.records import WeightSet
from engine.validator.miner_facts import inputs_to_json
from engine.validator.scoring import (
    CategoryRule,
    Emission,
    GpuGroup,
    MinerFacts,
    NodeFacts,
    RoundContext,
    merge_groups,
    score_round,
)

FIRST, SECOND, THIRD = 1_790_000_000.0, 1_790_004_320.0, 1_790_008_640.0
EMISSION = Emission(burn_percentage=0.0, gpu_allocations={"H100": CategoryRule(100.0)})


def vector_at(at: float, block: int, logins: int, *, ok: bool = True) -> WeightSet:
    """Two miners with an H100 each, at the top of the ramp; the first one's logins succeed in so many of ten."""
    miners = tuple(
        MinerFacts(
            uid=uid,
            nodes=(
                NodeFacts(
                    node_id=f"n{uid}",
                    gpus=merge_groups([GpuGroup("NVIDIA H100", 1, 80.0)]),
                    ramp=ramp_since(at - 60.0 * RAMP_MINUTES, at),
                    ssh=Rate(success, 10),
                    last_full_ok=True,
                    compute_capability="9.0",
                    cuda="12.8",
                    checks=Rate(success, 10),
                ),
            ),
            profile_updated_at=at,
            last_success_at=at,
        )
        for uid, success in ((1, logins), (2, 10))
    )
    context = RoundContext(now=at)
    scored = score_round("documented", miners, EMISSION, context)
    vector = json.dumps([list(entry) for entry in scored.allocation.vector])
    inputs = inputs_to_json(miners, EMISSION, context)
    return WeightSet(at, block, "documented", block, ok, 1, "" if ok else "refused", vector, inputs)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Ten of ten logins at the first vector, five of ten at the second; the third was refused by the chain."""
    found = f"sqlite:{tmp_path / 'v.db'}"
    asyncio.run(
        _keep(found, [vector_at(FIRST, 360, 10), vector_at(SECOND, 720, 5), vector_at(THIRD, 1080, 0, ok=False)])
    )
    return found


async def _keep(url: str, records: Sequence[WeightSet]) -> None:
    store = await open_store(url, clock=ManualClock(THIRD))
    for record in records:
        await store.weights.add(record)
    await store.close()


def explain(url: str, *words: str) -> Result:
    return CliRunner().invoke(weights_app, ["explain", "1", "--database", url, *words])


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


@pytest.mark.parametrize(
    ("words", "block", "share", "ssh"),
    [
        (("--at", "360"), 360, 0.5, "10/10"),
        (("--at", "719"), 360, 0.5, "10/10"),
        (("--at", "720"), 720, 3 / 7, "5/10"),
        (("--at", iso(FIRST)), 360, 0.5, "10/10"),
        (("--at", iso(SECOND - 1)), 360, 0.5, "10/10"),
        (("--at", iso(SECOND)), 720, 3 / 7, "5/10"),
        (("--at", iso(THIRD + 60)), 720, 3 / 7, "5/10"),
        (("--at", "now"), 720, 3 / 7, "5/10"),
        ((), 720, 3 / 7, "5/10"),
    ],
)
def test_what_was_in_force_then(url: str, words: tuple[str, ...], block: int, share: float, ssh: str) -> None:
    """By block and by time the last vector that the chain had taken, with its own scores; a refused one never was."""
    found = json.loads(explain(url, *words, "--json").stdout)
    assert (found["block"], found["agrees"]) == (block, True)
    assert found["share"] == pytest.approx(share, abs=2e-5)
    assert any(ssh in line for line in found["lines"]), found["lines"]


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("359", "no weights were set at block 359 or before"),
        (iso(FIRST - 60), "no weights were set at 2026-09-21 14:12:20 UTC or before"),
        ("yesterday-ish", "--at yesterday-ish: write a block, or a time such as 2h"),
    ],
)
def test_when_there_was_none(url: str, at: str, words: str) -> None:
    """Nothing in force then, or no time at all, is said so; the status is 2."""
    result = explain(url, "--at", at)
    assert (result.exit_code, words in result.stderr) == (2, True), result.output
