"""What a GPU model must look like when it computes: memory, compute capability, multiprocessors and time.

Memory, capability, enabled multiprocessors and clocks are NVIDIA's data sheets'. The time follows from them: the
program's kernel is bound by loads from shared memory, two for each multiply-add, and a multiprocessor serves 32 lanes a
cycle. So it does 16 multiply-adds per multiprocessor and cycle: n^3 / (16 x multiprocessors x clock). Measured on an
H100 SXM and an H200 (132 multiprocessors, 1.98 GHz, driver 580): 2.11, 16.49 and 131.8 ms for n = 2048, 4096 and 8192,
0.3 to 3 % above that; beside a program that keeps the tensor cores busy, 5, 43 and 261 ms. Below n = 2048 the start of
the kernel counts. Models that nobody has measured get wider bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.scores.categories import normalise_gpu_name

GIB = 1 << 30


LANES_PER_CYCLE = 16
"""Multiply-adds per multiprocessor and cycle of the program's kernel."""
START_MS = 25.0
"""What a launch may take besides, on a machine that is busy with other things."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One model. ``clock_ghz`` is the highest its multiprocessors run at; ``is_measured`` says that a real card was."""

    word: str
    memory_gib: tuple[float, float]
    compute_capability: str
    multiprocessors: tuple[int, int]
    clock_ghz: float
    is_measured: bool = False

    def kernel_ms(self, size: int, multiprocessors: int | None = None) -> tuple[float, float]:
        """Shortest and longest believable time of the product of two matrices of this size, in milliseconds.

        ``multiprocessors`` is what the card says it has; one that says nothing, or too much, gets the model's most.
        """
        most = self.multiprocessors[1]
        cores = most if multiprocessors is None else min(max(multiprocessors, 1), most)
        expected = size**3 / (LANES_PER_CYCLE * cores * self.clock_ghz * 1e9) * 1000
        fastest, slowest = (0.97, 5.0) if self.is_measured else (0.5, 10.0)
        return expected * fastest, expected * slowest + START_MS


ENVELOPES = (
    Envelope("H200", (130.0, 145.0), "9.0", (132, 132), 1.98, is_measured=True),
    Envelope("H100", (75.0, 96.0), "9.0", (114, 132), 1.98, is_measured=True),
    Envelope("B300", (250.0, 290.0), "10.3", (132, 160), 2.03),
    Envelope("B200", (170.0, 192.0), "10.0", (132, 160), 1.97),
    Envelope("A100", (38.0, 81.0), "8.0", (98, 108), 1.41),
    Envelope("L40S", (44.0, 49.0), "8.9", (128, 142), 2.52),
    Envelope("RTX 4090", (23.0, 25.0), "8.9", (114, 128), 2.76),
)
"""The first whose word is in the name counts; every other model is not judged by an envelope."""


def envelope_of(model: str) -> Envelope | None:
    """The envelope for a GPU's name."""
    name = normalise_gpu_name(model)
    words = set(name.replace("-", " ").split())
    return next((item for item in ENVELOPES if item.word in words or (" " in item.word and item.word in name)), None)


def envelope_problems(
    model: str,
    *,
    memory_bytes: int,
    compute_capability: str,
    multiprocessors: int | None,
    kernel_ms: float,
    size: int,
) -> tuple[str, ...]:
    """What does not fit the model that the card claims to be; empty when all does or nothing is known of the model."""
    item = envelope_of(model)
    if item is None:
        return ()
    found = []
    low, high = item.memory_gib
    gib = memory_bytes / GIB
    if not low <= gib <= high:
        found.append(f"{gib:.1f} GiB of memory, {item.word} has {low:g} to {high:g}")
    if compute_capability != item.compute_capability:
        found.append(f"compute capability {compute_capability}, {item.word} has {item.compute_capability}")
    if multiprocessors is None or not item.multiprocessors[0] <= multiprocessors <= item.multiprocessors[1]:
        few, many = item.multiprocessors
        found.append(f"{multiprocessors} multiprocessors, {item.word} has {few} to {many}")
    shortest, longest = item.kernel_ms(size, multiprocessors)
    if not shortest <= kernel_ms <= longest:
        found.append(f"the product took {kernel_ms:.2f} ms, {item.word} needs {shortest:.2f} to {longest:.0f} ms")
    return tuple(found)
