"""Rules of the time series: which there are, how they are thinned out, which points answer a question. Pure.

Every value goes into one bucket of each tier. A tier keeps its span, so the whole history has as many buckets as
the tiers have, and a question about a longer time is answered from wider ones.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from engine.control.state import LiveState
from engine.events import Event, NodeChecked, NodeVerified

HOUR_S, DAY_S = 3600.0, 86_400.0
ENTRIES_LIMIT = 20_000
"""Series times objects in one bucket; what is more is counted and left out."""
RECORD_LIMIT = 8 * 1024 * 1024
"""Bytes of one unpacked bucket; a larger one is not ours."""

FLEET = ""
"""The object of series about the whole engine."""

NODE_SERIES = ("ssh", "latency", "load", "temperature", "ramp", "estimated", "observed")
ENGINE_SERIES = ("sessions", "keys", "healthy", "incentive", "emission", "observed", "miners", "verified")
HOURLY_SERIES = ("score", "ssh", "verified")
"""What a validator tells of its miners and their nodes: by the hour, out of the sums of its checks."""
SERIES = frozenset({*NODE_SERIES, *ENGINE_SERIES, *HOURLY_SERIES})


@dataclass(frozen=True, slots=True)
class Tier:
    """Buckets of ``width_s``, kept for ``span_s``."""

    name: str
    width_s: float
    span_s: float


TIERS = (
    Tier("1h", 30.0, HOUR_S),
    Tier("24h", 300.0, DAY_S),
    Tier("14d", HOUR_S, 14 * DAY_S),
    Tier("90d", 6 * HOUR_S, 90 * DAY_S),
)
QUICK_TIERS = (Tier("1h", 5.0, HOUR_S), *TIERS[1:])
"""Where time is compressed, an hour is a long time."""


def tier_for(tiers: Iterable[Tier], seconds: float) -> Tier:
    """The finest tier that reaches so far back; the widest for more than all of them."""
    known = list(tiers)
    return next((tier for tier in known if tier.span_s >= seconds * 0.99), known[-1])


@dataclass(slots=True)
class Bucket:
    """Counts and sums of everything that fell into one stretch of time."""

    start: float
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """By series and object: how many values, and their sum."""
    entries: int = 0
    left_out: int = 0

    def add(self, series: str, subject: str, value: float) -> None:
        """Count one value in; one more object than fits is left out."""
        by_subject = self.values.setdefault(series, {})
        entry = by_subject.get(subject)
        if entry is None:
            if self.entries >= ENTRIES_LIMIT:
                self.left_out += 1
                return
            entry = by_subject[subject] = [0, 0.0]
            self.entries += 1
        entry[0] += 1
        entry[1] += value

    def mean(self, series: str, subject: str) -> float | None:
        """The mean value; None where nothing was seen."""
        entry = self.values.get(series, {}).get(subject)
        return entry[1] / entry[0] if entry and entry[0] else None

    def fleet_mean(self, series: str) -> float | None:
        """The mean over all nodes' means, each node the same."""
        found = self.values.get(series, {})
        means = [entry[1] / entry[0] for subject, entry in found.items() if subject != FLEET and entry[0]]
        return sum(means) / len(means) if means else None

    def pack(self) -> bytes:
        """As a row of the store."""
        rounded = {
            series: {subject: [count, round(total, 6)] for subject, (count, total) in by_subject.items()}
            for series, by_subject in self.values.items()
        }
        return zlib.compress(json.dumps(rounded, separators=(",", ":")).encode(), 6)


Value = tuple[str, str, float]
"""Series, object and what was seen of it."""


def told_by(event: Event) -> Iterator[Value]:
    """What an event says: logins and what they told, verifications."""
    if isinstance(event, NodeChecked):
        yield "ssh", event.node_id, 100.0 * event.ok
        if event.ok:
            yield "latency", event.node_id, event.latency_ms
            yield from _known(("load", event.node_id, event.utilisation_percent))
            yield from _known(("temperature", event.node_id, event.temperature_c))
    elif type(event) is NodeVerified:
        yield "verified", FLEET, 100.0 * event.ok


def standing_in(state: LiveState) -> Iterator[Value]:
    """What stands at a moment: ramps, scores, sessions."""
    for node in state.nodes.values():
        yield from _known(
            ("ramp", node.id, node.ramp_percent),
            ("estimated", node.id, node.estimated_score),
            ("observed", node.id, node.observed_multiplier),
        )
    engine = state.engine
    yield from _known(
        ("incentive", FLEET, engine.incentive),
        ("emission", FLEET, engine.emission),
        ("observed", FLEET, engine.observed_score),
    )
    if engine.role == "validator":
        yield "miners", FLEET, float(sum(m.state == "answered" for m in state.miners.values()))
        return
    yield "sessions", FLEET, float(sum(s.state == "active" for s in state.sessions.values()))
    yield "keys", FLEET, float(sum(n.keys_in_place for n in state.nodes.values()))
    yield "healthy", FLEET, float(sum(n.state == "healthy" for n in state.nodes.values()))


def _known(*values: tuple[str, str, float | None]) -> Iterator[Value]:
    for series, subject, value in values:
        if value is not None:
            yield series, subject, value


def bucket_start(at: float, tier: Tier) -> float:
    """The start of the bucket that this time falls into."""
    return at // tier.width_s * tier.width_s


def unpack(start: float, record: bytes) -> Bucket:
    """A stored bucket; what does not read as one is empty."""
    bucket = Bucket(start)
    try:
        unpacked = zlib.decompressobj().decompress(record, RECORD_LIMIT)
        data = json.loads(unpacked)
    except (ValueError, zlib.error):
        return bucket
    for series, by_subject in data.items() if isinstance(data, dict) else ():
        for subject, entry in by_subject.items() if isinstance(by_subject, dict) else ():
            if isinstance(entry, list) and len(entry) == 2 and all(isinstance(v, (int, float)) for v in entry):
                bucket.values.setdefault(series, {})[subject] = [float(entry[0]), float(entry[1])]
                bucket.entries += 1
    return bucket


def points_of(buckets: Iterable[Bucket], series: str, subject: str) -> list[tuple[float, float]]:
    """Start of bucket and mean; a node series asked of the fleet is the mean over its nodes."""
    points = []
    for bucket in buckets:
        value = bucket.mean(series, subject)
        if value is None and subject == FLEET and series in NODE_SERIES:
            value = bucket.fleet_mean(series)
        if value is not None:
            points.append((bucket.start, value))
    return points
