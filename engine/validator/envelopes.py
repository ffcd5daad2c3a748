"""What a GPU model must look like when it computes: memory, compute capability, multiprocessors and time.

Sources: NVIDIA's data sheets (memory, capability, number of enabled multiprocessors). The times are assumptions, not
measurements: the kernel is a plain 16 x 16 tile one, so the floor is what the card's integer units could do at best,
and the ceiling allows a hundred times that, for clocks, other work and a cold start. A card outside is suspicious
enough to fail; the numbers are to be narrowed when real cards have been measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.scores.categories import normalise_gpu_name

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Envelope:
    """One model. ``peak_tops`` is the most integer multiply-adds a second that the card could do, in 10^12."""

    word: str
    memory_gib: tuple[float, float]
    compute_capability: str
    multiprocessors: tuple[int, int]
    peak_tops: float

    def kernel_ms(self, size: int) -> tuple[float, float]:
        """Shortest and longest believable time of the product of two matrices of this size."""
        shortest = size**3 / (self.peak_tops * 1e12) * 1000
        return shortest, max(50.0, shortest * 100)


ENVELOPES = (
    Envelope("H200", (130.0, 145.0), "9.0", (114, 132), 33.5),
    Envelope("H100", (75.0, 96.0), "9.0", (114, 132), 33.5),
    Envelope("B300", (250.0, 290.0), "10.3", (132, 160), 45.0),
    Envelope("B200", (170.0, 192.0), "10.0", (132, 160), 40.0),
    Envelope("A100", (38.0, 81.0), "8.0", (98, 108), 19.5),
    Envelope("L40S", (44.0, 49.0), "8.9", (128, 142), 45.8),
    Envelope("RTX 4090", (23.0, 25.0), "8.9", (114, 128), 41.3),
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
    shortest, longest = item.kernel_ms(size)
    if not shortest <= kernel_ms <= longest:
        found.append(f"the product took {kernel_ms:.2f} ms, {item.word} needs {shortest:.2f} to {longest:.0f} ms")
    return tuple(found)
