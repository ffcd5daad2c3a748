"""What a time means to somebody who stands in a recording. Pure."""

from __future__ import annotations

import re
import time

from basilica_tui.log_query import parse_time

_SHIFT = re.compile(r"([+-])\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
DAY_S = 86_400.0


def seek_time(text: str, at: float, begins_at: float, ends_at: float) -> float | None:
    """``-30m``, ``+2h``, ``begin``, ``end``, a date with a time, or a time of the day that is shown.

    A time of day that the recording does not have on that day is looked for a day before and after.
    """
    text = text.strip()
    if text in {"begin", "end"}:
        return begins_at if text == "begin" else ends_at
    shift = _SHIFT.fullmatch(text)
    if shift is not None:
        return at + float(f"{shift[1]}{float(shift[2]) * _SECONDS[shift[3]]}")
    if "-" in text:
        return parse_time(text, at)
    day = time.localtime(at)
    last_second = time.mktime((*day[:3], 23, 59, 59, 0, 0, -1))
    wanted = parse_time(text, last_second)
    if wanted is None or begins_at <= wanted <= ends_at:
        return wanted
    return next((w for w in (wanted + DAY_S, wanted - DAY_S) if begins_at <= w <= ends_at), wanted)
