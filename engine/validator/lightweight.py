"""The lightweight check of one node: log in with the validator's key and read the GPUs' UUIDs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from engine.clock import Clock
from engine.errors import BasilicaError, ProbeFailed, SshTimeout
from engine.probes.gpu import GpuFacts, probe_gpus
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; ``error`` is None when it passed."""

    duration_ms: float
    gpus: GpuFacts | None
    error: BasilicaError | None


async def check_lightly(
    pool: NodePool,
    target: NodeTarget,
    *,
    clock: Clock,
    timeout_s: float,
    held_uuids: frozenset[str] = frozenset(),
) -> Finding:
    """Log in, ask, log out. The connection is closed so that it does not outlive the granted access.

    At least one GPU must be one of ``held_uuids``, those that the last full verification found; none means any.
    """
    started = clock.monotonic()
    gpus: GpuFacts | None = None
    error: BasilicaError | None = None
    pool.resume(target)  # the miner says that our key is in place now: an earlier refusal proves nothing
    try:
        async with asyncio.timeout(timeout_s):
            gpus = await probe_gpus(pool, target)
    except BasilicaError as failure:
        error = failure
    except TimeoutError:
        error = SshTimeout(f"{target.address} did not finish within {timeout_s:g} s")
    finally:
        await pool.drop(target)
    if error is None and (gpus is None or not gpus.uuids):
        error = ProbeFailed("no GPU with a UUID answers", reason="no_gpu", hint="check nvidia-smi on the node")
    if error is None and gpus is not None and held_uuids and held_uuids.isdisjoint(gpus.uuids):
        error = ProbeFailed("none of the node's GPUs is one of those that were verified", reason="gpu_uuid_mismatch")
    return Finding((clock.monotonic() - started) * 1000, gpus, error)
