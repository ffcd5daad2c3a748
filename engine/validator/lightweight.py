"""The lightweight check of one node: log in with the validator's key and read the GPUs' UUIDs, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.clock import Clock
from engine.errors import BasilicaError, ProbeFailed
from engine.probes.gpu import GpuFacts, probe_gpus
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.validator.entrance import Entrance
from engine.validator.steps import StepResult, Verdict, Work, take_step

LIGHT_STEPS = ("host_key", "ssh_login", "gpu")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; ``error`` is None when it passed."""

    duration_ms: float
    gpus: GpuFacts | None
    error: BasilicaError | None
    steps: tuple[StepResult, ...] = ()


async def check_lightly(
    pool: NodePool,
    target: NodeTarget,
    *,
    clock: Clock,
    timeout_s: float,
    held_uuids: frozenset[str] = frozenset(),
    report: Callable[[StepResult], None] = lambda _: None,
) -> Finding:
    """Log in, ask, log out. The connection is closed so that it does not outlive the granted access.

    At least one GPU must be one of ``held_uuids``, those that the last full verification found; none means any.
    ``timeout_s`` bounds each step; ``report`` is told of each.
    """
    started = clock.monotonic()
    gpus: GpuFacts | None = None

    async def read_gpus() -> tuple[Verdict, str]:
        nonlocal gpus
        gpus = await probe_gpus(pool, target)
        if not gpus.uuids:
            raise ProbeFailed("no GPU with a UUID answers", reason="no_gpu", hint="check nvidia-smi on the node")
        if held_uuids and held_uuids.isdisjoint(gpus.uuids):
            raise ProbeFailed("none of the node's GPUs is one of those that were verified", reason="gpu_uuid_mismatch")
        known = len(held_uuids.intersection(gpus.uuids))
        return "ok", f"{gpus.count} x {gpus.model}, {known} of {len(held_uuids)} verified UUIDs seen"

    pool.resume(target)  # the miner says that our key is in place now: an earlier refusal proves nothing
    way_in = Entrance(pool, target, accepts_change=False)
    works: tuple[Work, ...] = (way_in.host_key, way_in.login, read_gpus)
    steps: list[StepResult] = []
    try:
        for name, work in zip(LIGHT_STEPS, works, strict=True):
            steps.append(await take_step(name, timeout_s, work, target=target, clock=clock))
            report(steps[-1])
            if steps[-1].error is not None:
                break
    finally:
        await pool.drop(target)
    error = steps[-1].error
    skipped = [StepResult(name, "skipped", f"{steps[-1].step} failed", 0.0) for name in LIGHT_STEPS[len(steps) :]]
    for step in skipped:
        report(step)
    return Finding((clock.monotonic() - started) * 1000, gpus, error, (*steps, *skipped))
