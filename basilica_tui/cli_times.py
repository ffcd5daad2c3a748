"""Times as people write them on the command line."""

from __future__ import annotations

import re
import time
from datetime import datetime

_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"-?\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)\s*(?:ago)?")


def time_of(text: str, now: float) -> float | None:
    """``2h``, ``2h ago``, ``14:05`` (today's or yesterday's, local), ``now``, ISO 8601 (local without a zone)."""
    text = text.strip()
    if text == "now":
        return now
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - float(ago[1]) * _SECONDS[ago[2]]
    for form in ("%H:%M", "%H:%M:%S"):
        try:
            found = time.strptime(text, form)
        except ValueError:
            continue
        at = time.mktime((*time.localtime(now)[:3], *found[3:6], 0, 0, -1))
        return at if at <= now else at - 86_400  # a time of day that is still to come was yesterday's
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
