"""One step of a verification: its verdict, evidence in words, and how long it took."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from engine.clock import Clock
from engine.errors import BasilicaError, SshTimeout
from engine.probes.gpu import clean
from engine.ssh.target import NodeTarget

Verdict = Literal["ok", "failed", "skipped", "impossible"]
Work: TypeAlias = Callable[[], Awaitable[tuple[Verdict, str]]]
MAX_EVIDENCE = 400


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step's outcome."""

    step: str
    verdict: Verdict
    evidence: str
    duration_ms: float
    error: BasilicaError | None = None


async def take_step(name: str, limit_s: float, work: Work, *, target: NodeTarget, clock: Clock) -> StepResult:
    """Do ``work`` within the limit; whatever the node does, it ends in a verdict."""
    started = clock.monotonic()
    error: BasilicaError | None = None
    verdict: Verdict
    try:
        async with asyncio.timeout(limit_s):
            verdict, evidence = await work()
    except BasilicaError as failure:
        verdict, evidence, error = "failed", failure.message, failure
    except TimeoutError:
        verdict, evidence = "failed", f"did not finish within {limit_s:g} s"
        error = SshTimeout(f"{target.address}: {name} {evidence}")
    elapsed = (clock.monotonic() - started) * 1000
    return StepResult(name, verdict, clean(evidence, MAX_EVIDENCE), round(elapsed, 1), error)
