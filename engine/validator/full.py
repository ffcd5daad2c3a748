"""The full verification of one node: its steps in order, each with a verdict, evidence and a deadline.

Every step ends in a verdict, whatever the node does; no exception and no endless wait leaves this module.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.clock import Clock
from engine.errors import (
    AttestationRefused,
    BasilicaError,
    ProbeFailed,
    SshHostKeyChanged,
    VerificationFailed,
)
from engine.probes.gpu import GpuFacts, probe_gpus
from engine.probes.host import HostFacts, probe_host
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.validator.attestation import Attestation, Device, new_challenge, read_attestation
from engine.validator.docker_step import docker_gpu_command, judge_docker_gpu
from engine.validator.entrance import Entrance
from engine.validator.envelopes import envelope_of, envelope_problems
from engine.validator.launch import run_program
from engine.validator.nat import check_host_port, check_port
from engine.validator.network_step import network_evidence
from engine.validator.product import ProductTask
from engine.validator.slots import BriefSlots
from engine.validator.speed import SpeedTest, check_speed
from engine.validator.steps import StepResult, Verdict, Work, take_step

STEPS = (
    "host_key",
    "ssh_login",
    "gpu",
    "attestation",
    "compute",
    "hardware",
    "docker",
    "docker_gpu",
    "storage",
    "network",
    "nat",
    "speed",
    "clock",
)
MAX_CLOCK_SKEW_S = 60.0
CLAIM_MEMORY_SLACK = 0.03


@dataclass(frozen=True, slots=True)
class FullSettings:
    """What a full verification asks for. ``gates`` are the steps that a node must pass."""

    docker_image: str
    docker_timeout_s: float
    min_storage_bytes: int
    attestation: bool
    attestation_timeout_s: float
    task: ProductTask
    gates: frozenset[str]
    command_timeout_s: float
    is_local: bool
    speed: SpeedTest | None = None
    """None: no speed test."""


@dataclass(slots=True)
class FullFinding:
    """Everything that a full verification found; ``error`` is None when the node passed."""

    steps: list[StepResult] = field(default_factory=list)
    gpus: GpuFacts | None = None
    attestation: Attestation | None = None
    host: HostFacts | None = None
    error: BasilicaError | None = None
    misbehaviour: str = ""
    """Why this is more than a failure; empty when it is not."""
    duration_ms: float = 0.0

    def verdict(self, step: str) -> Verdict | None:
        """A step's verdict, None before it."""
        return next((item.verdict for item in self.steps if item.step == step), None)


class FullVerification:
    """One run over one node. ``judging`` bounds how many products are checked at once: that is processor time.

    ``answers`` bounds how many answers of the program are held at once: that is memory, megabytes each.
    """

    def __init__(
        self,
        pool: NodePool,
        target: NodeTarget,
        settings: FullSettings,
        *,
        clock: Clock,
        judging: asyncio.Semaphore,
        report: Callable[[StepResult], None],
        answers: BriefSlots | None = None,
    ) -> None:
        self._pool = pool
        self._target = target
        self._settings = settings
        self._clock = clock
        self._judging = judging
        self._report = report
        self._answers = answers or BriefSlots(1, 0.0)
        self._found = FullFinding()
        self._program_ms = 0.0

    async def run(self) -> FullFinding:
        """All steps; the connection is closed in the end, so that it does not outlive the granted access."""
        found, settings = self._found, self._settings
        started = self._clock.monotonic()
        limit = settings.command_timeout_s
        self._pool.resume(self._target)
        try:
            # A full verification begins from nothing, so the node may be another machine now.
            way_in = Entrance(self._pool, self._target, accepts_change=True)
            await self._step("host_key", limit, way_in.host_key)
            if found.verdict("host_key") == "ok":
                await self._step("ssh_login", limit, way_in.login)
            if found.verdict("ssh_login") == "ok":
                await self._step("gpu", limit, self._gpus)
                async with self._answers.taken():  # waiting for a place is no part of the step's time
                    await self._step("attestation", settings.attestation_timeout_s + 60.0, self._attest)
                await self._step("compute", 10.0, self._compute)
                await self._step("hardware", 10.0, self._hardware)
                await self._step("docker", limit, self._docker)
                await self._step("docker_gpu", settings.docker_timeout_s + 60.0, self._docker_gpu)
                await self._step("storage", 10.0, self._storage)
                await self._step("network", 10.0, self._network)
                await self._step("nat", 60.0, self._nat)
                await self._step("speed", 30.0 + (2 * settings.speed.limit_s if settings.speed else 0.0), self._speed)
                await self._step("clock", 10.0, self._clock_step)
        finally:
            await self._pool.drop(self._target)
        for name in STEPS[len(found.steps) :]:
            self._add(StepResult(name, "skipped", "the node could not be entered", 0.0))
        found.error = self._first_failure()
        found.duration_ms = (self._clock.monotonic() - started) * 1000
        return found

    def _first_failure(self) -> BasilicaError | None:
        for item in self._found.steps:
            if isinstance(item.error, SshHostKeyChanged):
                return item.error  # another machine answered than the one that was verified
            if item.step in self._settings.gates and item.verdict in ("failed", "impossible"):
                return item.error or VerificationFailed(f"{item.step}: {item.evidence}", step=item.step)
        return None

    async def _step(self, name: str, limit_s: float, work: Work) -> None:
        self._add(await take_step(name, limit_s, work, target=self._target, clock=self._clock))

    def _add(self, result: StepResult) -> None:
        self._found.steps.append(result)
        self._report(result)

    # --- the steps --------------------------------------------------------------------------------------------

    async def _gpus(self) -> tuple[Verdict, str]:
        gpus = await probe_gpus(self._pool, self._target, timeout_s=self._settings.command_timeout_s)
        if not gpus.uuids or len(gpus.uuids) != gpus.count:
            raise ProbeFailed("a GPU without a UUID is listed", hint="check nvidia-smi on the node")
        self._found.gpus = gpus
        problem = _memory_problem(gpus)
        if problem:
            self._found.misbehaviour = "gpu_declaration_mismatch"
            return "failed", problem
        return "ok", f"{gpus.count} x {gpus.model}, driver {gpus.driver}, CUDA {gpus.cuda or 'not known'}"

    async def _attest(self) -> tuple[Verdict, str]:
        settings = self._settings
        if not settings.attestation:
            return "skipped", "switched off in the configuration"
        challenge = new_challenge()
        started = self._clock.monotonic()
        output = await run_program(
            self._pool, self._target, challenge, settings.task, timeout_s=settings.attestation_timeout_s
        )
        self._program_ms = (self._clock.monotonic() - started) * 1000
        async with self._judging:
            try:
                found = await asyncio.to_thread(read_attestation, output, challenge=challenge, task=settings.task)
            except AttestationRefused as error:
                if error.reason != "malformed":
                    self._found.misbehaviour = "malicious_result"
                raise
        self._found.attestation = found
        if self._found.gpus is not None and (problem := other_gpus(self._found.gpus, found)):
            self._found.misbehaviour = "gpu_declaration_mismatch"
            return "failed", problem
        return "ok", f"signed by an ephemeral P-256 key over our challenge, {len(found.gpus)} GPUs, {found.cpu_model}"

    async def _compute(self) -> tuple[Verdict, str]:
        attestation = self._found.attestation
        if attestation is None:
            return "skipped", "no attestation"
        compute = attestation.compute
        if not compute.possible:
            return "impossible", f"not possible here: {compute.reason}"
        models = {gpu.uuid: gpu.model for gpu in attestation.gpus}
        problems = [*compute.problems, *time_problems(compute.devices, self._program_ms)]
        for device in compute.devices:
            problems += envelope_problems(
                models.get(device.uuid, device.name),
                memory_bytes=device.memory_bytes,
                compute_capability=device.compute_capability,
                multiprocessors=device.multiprocessors,
                kernel_ms=device.kernel_ms,
                size=compute.size,
            )
        if problems:
            self._found.misbehaviour = "malicious_result"
            return "failed", "; ".join([*problems, *compute.errors])
        if compute.errors:
            return "failed", "; ".join(compute.errors)
        slowest = max(device.kernel_ms for device in compute.devices)
        known = sum(envelope_of(device.name) is not None for device in compute.devices)
        return "ok", (
            f"{len(compute.devices)} products of {compute.size} x {compute.size} checked, slowest {slowest:.2f} ms, "
            f"{known} within their model's envelope"
        )

    async def _hardware(self) -> tuple[Verdict, str]:
        found = self._found.attestation
        if found is None:
            return "skipped", "no attestation"
        ram, disk = found.memory_bytes / 1e9, found.disk_total_bytes / 1e9
        return "ok", f"{found.cpu_model}, {found.cpu_threads} threads, {ram:.0f} GB of memory, root disk {disk:.0f} GB"

    async def _docker(self) -> tuple[Verdict, str]:
        self._found.host = host = await probe_host(self._pool, self._target, timeout_s=self._settings.command_timeout_s)
        if not host.docker_ok:
            return "failed", host.docker_error or "no Docker daemon answers"
        if not host.nvidia_runtime_ok:
            return "failed", f"Docker {host.docker_version} does not know the NVIDIA runtime"
        return "ok", f"Docker {host.docker_version} with the NVIDIA runtime"

    async def _docker_gpu(self) -> tuple[Verdict, str]:
        if self._found.verdict("docker") != "ok":
            return "skipped", "Docker does not answer"
        settings = self._settings
        result = await self._pool.run(
            self._target,
            docker_gpu_command(settings.docker_image, f"basilica-eval-{uuid.uuid4()}", settings.docker_timeout_s),
            timeout_s=settings.docker_timeout_s + 30.0,
            max_output_bytes=1 << 16,
            remote_limit_s=int(settings.docker_timeout_s),
        )
        uuids = self._found.gpus.uuids if self._found.gpus else ()
        verdict, evidence = judge_docker_gpu(result, uuids)
        if verdict == "failed" and result.exit_status == 125 and settings.is_local:
            return "impossible", f"not possible here: {evidence}"
        return verdict, evidence

    async def _storage(self) -> tuple[Verdict, str]:
        free = _free_bytes(self._found)
        if free is None:
            return "failed", "no file system was seen"
        needed = self._settings.min_storage_bytes
        text = f"{free / 1e9:.0f} GB free, {needed / 1e9:.0f} GB needed"
        return ("ok" if free >= needed else "failed"), text

    async def _network(self) -> tuple[Verdict, str]:
        found = self._found.attestation
        if found is None:
            return "skipped", "no attestation"
        return "ok", network_evidence(found.hostname, found.addresses, found.machine_id, self._target.host)

    async def _nat(self) -> tuple[Verdict, str]:
        if self._found.verdict("docker_gpu") != "ok":
            return await check_host_port(self._pool, self._target)
        return await check_port(self._pool, self._target)

    async def _speed(self) -> tuple[Verdict, str]:
        if self._settings.speed is None:
            return "skipped", "switched off in the configuration"
        return await check_speed(self._pool, self._target, self._settings.speed)

    async def _clock_step(self) -> tuple[Verdict, str]:
        skew = self._found.host.clock_skew_s if self._found.host else None
        if skew is None:
            return "impossible", "not possible here: the node did not tell its time"
        return ("ok" if abs(skew) <= MAX_CLOCK_SKEW_S else "failed"), f"{skew:+.1f} s from ours"


def time_problems(devices: Sequence[Device], program_ms: float) -> tuple[str, ...]:
    """What contradicts our own clock: GPUs compute one after the other, within the program's run as we saw it."""
    found = [
        f"{device.name}: a kernel of {device.kernel_ms:.1f} ms within {device.wall_ms:.1f} ms"
        for device in devices
        if device.kernel_ms > device.wall_ms
    ]
    claimed = sum(device.wall_ms for device in devices)
    if claimed > program_ms:
        found.append(f"the GPUs worked for {claimed:.0f} ms, but the program ran for {program_ms:.0f} ms")
    return tuple(found)


def other_gpus(said: GpuFacts, found: Attestation) -> str:
    """How the GPUs that the login was told of differ from those that the program found; empty when they do not."""
    if set(found.uuids) != set(said.uuids):
        return "the program found other GPUs than the login"
    models = {gpu.uuid: gpu.model for gpu in said.gpus}
    memory = {gpu.uuid: gpu.memory_mib for gpu in said.gpus}
    for gpu in found.gpus:
        if gpu.model != models[gpu.uuid]:
            return f"the program found {gpu.model}, the login was told {models[gpu.uuid]}"
        if memory[gpu.uuid] not in (None, gpu.memory_mib):
            return f"the program found {gpu.memory_mib} MiB on {gpu.model}, the login was told {memory[gpu.uuid]}"
    return ""


def _memory_problem(gpus: GpuFacts) -> str:
    """A claim that contradicts itself: a model that never had so much or so little memory."""
    for gpu in gpus.gpus:
        envelope = envelope_of(gpu.model)
        if envelope is None or gpu.memory_mib is None:
            continue
        low, high = (bound * 1024 for bound in envelope.memory_gib)
        if not low * (1 - CLAIM_MEMORY_SLACK) <= gpu.memory_mib <= high * (1 + CLAIM_MEMORY_SLACK):
            return f"{gpu.model} with {gpu.memory_mib} MiB: there is no such {envelope.word}"
    return ""


def _free_bytes(found: FullFinding) -> int | None:
    if found.attestation is not None:
        storage = found.attestation.facts.get("storage")
        systems = storage.get("filesystems") if isinstance(storage, dict) else None
        if isinstance(systems, list) and systems:
            free = [item.get("free") for item in systems if isinstance(item, dict)]
            return sum(value for value in free if isinstance(value, int) and 0 <= value < 1 << 60)
        return found.attestation.disk_free_bytes
    return found.host.disk_free_bytes if found.host else None
