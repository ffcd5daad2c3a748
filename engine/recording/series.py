"""Buckets of the time series as lines of a recording. Pure.

A line holds the means of one bucket, in columns: ``nodes`` has a list per series, in the order of ``ids``, which the
first line of a segment gives to all that follow in it. An id costs more than all its values, so it is said once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final

from engine.observe.history_rules import FLEET, NODE_SERIES, TIERS, Bucket, Tier
from engine.recording.hours import HOURS

CARRIED: Final[Mapping[str, Tier]] = {tier.name: tier for tier in (*TIERS[1:], HOURS)}
"""What a recording carries; the finest tier is made of the events themselves."""

Record = Mapping[str, object]


class SeriesLines:
    """Makes the lines of one segment."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._is_first = True

    def line(self, tier: str, bucket: Bucket) -> bytes:
        """One bucket."""
        subjects = {s for values in bucket.values.values() for s in values if s != FLEET}
        record: dict[str, object] = {"at": bucket.start, "tier": tier}
        if self._is_first:
            self._is_first = False
            self._ids = {subject: index for index, subject in enumerate(sorted(subjects))}
            record["ids"] = list(self._ids)
        fleet, nodes, more = {}, {}, {}
        for series in bucket.values:
            value = bucket.mean(series, FLEET)
            if value is not None:
                fleet[series] = _short(value)
            means = [bucket.mean(series, subject) for subject in self._ids]
            if any(mean is not None for mean in means):
                nodes[series] = [None if mean is None else _short(mean) for mean in means]
        for subject in sorted(subjects - self._ids.keys()):
            found = {series: bucket.mean(series, subject) for series in bucket.values}
            more[subject] = {series: _short(mean) for series, mean in found.items() if mean is not None}
        record |= {name: part for name, part in (("fleet", fleet), ("nodes", nodes), ("more", more)) if part}
        return json.dumps(record, separators=(",", ":")).encode("ascii")


class SeriesReader:
    """Reads the lines of one segment, in their order."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def take(self, record: Record) -> tuple[Tier, float] | None:
        """The tier and the start of a line's bucket; None for what is no such line."""
        ids = record.get("ids")
        if isinstance(ids, list):
            self._places = {str(subject): index for index, subject in enumerate(ids)}
        tier, at = CARRIED.get(str(record.get("tier"))), _number(record.get("at"))
        return None if tier is None or at is None else (tier, at)

    def value(self, record: Record, series: str, subject: str) -> float | None:
        """The mean of a series of an object; of the fleet it is the mean over the nodes where it has none itself."""
        if subject != FLEET:
            place = self._places.get(subject)
            column = _part(record, "nodes").get(series)
            if place is not None and isinstance(column, list) and place < len(column):
                return _number(column[place])
            return _number(_part(_part(record, "more"), subject).get(series))
        own = _number(_part(record, "fleet").get(series))
        if own is not None or series not in NODE_SERIES:
            return own
        column = _part(record, "nodes").get(series)
        means = [_number(value) for value in (column if isinstance(column, list) else ())]
        means += [_number(_part(_part(record, "more"), one).get(series)) for one in _part(record, "more")]
        known = [mean for mean in means if mean is not None]
        return sum(known) / len(known) if known else None

    def bucket(self, record: Record, start: float) -> Bucket:
        """The whole bucket, each mean as one value."""
        bucket = Bucket(start)
        for series, value in _part(record, "fleet").items():
            _add(bucket, series, FLEET, value)
        for series, column in _part(record, "nodes").items():
            for subject, value in zip(self._places, column if isinstance(column, list) else (), strict=False):
                _add(bucket, series, subject, value)
        for subject in _part(record, "more"):
            for series, value in _part(_part(record, "more"), subject).items():
                _add(bucket, series, subject, value)
        return bucket


def _add(bucket: Bucket, series: str, subject: str, value: object) -> None:
    number = _number(value)
    if number is not None:
        bucket.add(series, subject, number)


def _part(record: Record, name: str) -> Record:
    part = record.get(name)
    return part if isinstance(part, dict) else {}


def _number(value: object) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None  # type: ignore[arg-type]


def _short(value: float) -> float:
    """Four digits: what a plot can show."""
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() else short
