"""How long a node that misbehaves is kept out. Pure."""

from __future__ import annotations

from collections.abc import Sequence

HOUR_S = 3600.0
TRIGGER_WINDOW_S = 24 * HOUR_S
TRIGGER_ENTRIES = 3
COUNTED_S = 7 * 24 * HOUR_S
_HOURS = (1, 2, 4, 8, 24)

REASONS = (
    "deployment_failed",
    "halted_rental",
    "interrupted_rental",
    "malicious_result",
    "gpu_declaration_mismatch",
)


def banned_until(entries: Sequence[float], now: float) -> float | None:
    """When the ban ends, None without one. ``entries`` are the times of what is on record, in any order.

    An entry triggers when it is at least the third within 24 hours. The ban counts from the latest trigger and
    lasts 1, 2, 4, 8 or 24 hours, by the number of entries of the last seven days.
    """
    times = sorted(at for at in entries if at <= now)
    triggers = [
        at
        for place, at in enumerate(times)
        if sum(at - other <= TRIGGER_WINDOW_S for other in times[: place + 1]) >= TRIGGER_ENTRIES
    ]
    if not triggers:
        return None
    counted = sum(now - at <= COUNTED_S for at in times)
    if not counted:
        return None
    end = triggers[-1] + _HOURS[min(counted, len(_HOURS)) - 1] * HOUR_S
    return end if end > now else None
