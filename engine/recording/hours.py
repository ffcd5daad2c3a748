"""A validator's hours in a recording: score, logins and checks of each node, each miner and all of them. Pure.

The engine answers these from the sums of its checks; a recording carries each hour that is over. The hour in progress
is made of the events, which tell logins and checks, not the score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from engine.control.models import place_id
from engine.events import Event, NodeVerified
from engine.observe.history_rules import FLEET, HOURLY_SERIES, Bucket, Tier, Value
from engine.scores.curves import HOUR_S, MOST_HOURS, value_of
from engine.store.records import HourSums
from engine.store.verifications import has_logged_in

HOURS: Final = Tier("hours", HOUR_S, MOST_HOURS * HOUR_S)
"""Not one of the engine's own tiers: there the hours stand in the database."""


def hour_bucket(hour: int, rows: Mapping[tuple[str, str], HourSums], *, by_checks: bool) -> Bucket:
    """Everything about one hour since 1970; ``by_checks`` as in ``value_of``."""
    bucket = Bucket(hour * HOUR_S)
    of_miner: dict[str, list[HourSums]] = {}
    for (hotkey, node_id), row in rows.items():
        of_miner.setdefault(hotkey, []).append(row)
        _add(bucket, place_id(hotkey, node_id), [row], by_checks=by_checks)
    for hotkey, owned in of_miner.items():
        _add(bucket, hotkey, owned, by_checks=by_checks)
    _add(bucket, FLEET, list(rows.values()), by_checks=False)
    return bucket


def told_of_hour(event: Event) -> Iterator[Value]:
    """What a verification says about the hour in which it was."""
    if type(event) is not NodeVerified:
        return
    for subject in (place_id(event.miner_hotkey, event.node_id), event.miner_hotkey, FLEET):
        yield "verified", subject, 100.0 * event.ok
        yield "ssh", subject, 100.0 * has_logged_in(event.error_code)


def _add(bucket: Bucket, subject: str, rows: list[HourSums], *, by_checks: bool) -> None:
    for series in HOURLY_SERIES:
        value = value_of(series, rows, by_checks=by_checks)
        if value is not None:
            bucket.add(series, subject, value)
