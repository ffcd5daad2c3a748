"""The bar that says that this is a replay, where in time it stands, and which keys move it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from basilica_tui.bindings import KeyBinding, key_face
from basilica_tui.format import Line, Look, duration
from basilica_tui.lines import join_fitting, line_width
from basilica_tui.store import ReplayPosition

SILENT_S = 120.0
"""Longer than this without a line is worth saying."""
_KEYS = (
    (("pause",), "play"),
    (("replay.back", "replay.on"), "event"),
    (("replay.minute_back", "replay.minute_on"), "minute"),
    (("replay.hour_back", "replay.hour_on"), "hour"),
    (("pace.slower", "pace.faster"), "speed"),
    (("replay.next_error",), "next error"),
)


def timebar_lines(place: ReplayPosition, bindings: Sequence[KeyBinding], look: Look, width: int) -> tuple[Line, Line]:
    """The time with its bar, and the keys."""
    return _bar_line(place, look, width), _key_line(bindings, width)


def _bar_line(place: ReplayPosition, look: Look, width: int) -> Line:
    when = time.strftime("%a %Y-%m-%d %H:%M:%S", time.localtime(place.at))
    left = f" REPLAY  {when} "
    state = f"x{place.speed:g}" if place.is_playing else "stopped"
    length = duration(place.ends_at - place.begins_at)
    right = f" {state}  {duration(place.at - place.begins_at)} of {length} "
    if place.is_busy:
        right = " reading the recording ... "
    elif place.down_s:
        right = f" {state}  no engine ran for {duration(place.down_s)} "
    elif place.silent_s > SILENT_S:
        right = f" {state}  nothing recorded for {duration(place.silent_s)} "
    room = width - len(left) - len(right)
    bar = _bar(place, look, room) if room >= 10 else " " * max(room, 0)
    return ((f"{left}{bar}{right}"[:width].ljust(width), ""),)


def _bar(place: ReplayPosition, look: Look, width: int) -> str:
    """The whole recording from left to right: errors and alerts as marks, the moment as a cursor."""
    span = max(place.ends_at - place.begins_at, 1e-6)

    def cell(at: float) -> int:
        return min(max(int((at - place.begins_at) / span * (width - 1) + 0.5), 0), width - 1)

    cells = [look.symbols.rule] * width
    for mark in place.marks:
        cells[cell(mark)] = look.symbols.warn
    cells[cell(place.at)] = look.symbols.good
    return "".join(cells)


def _key_line(bindings: Sequence[KeyBinding], width: int) -> Line:
    by_id = {b.id: b for b in bindings}
    parts: list[Line] = []
    for ids, word in _KEYS:
        faces = " ".join(key_face(by_id[i].keys[0]) for i in ids if i in by_id and by_id[i].keys)
        if faces:
            parts.append(((faces, "key"), (f" {word}", "dim")))
    parts.append(((":seek", "key"), (" 14:05, -30m", "dim")))
    line = ((" ", ""), *join_fitting(parts, width - 2, ("   ", "") if width >= 100 else ("  ", "")))
    return (*line, (" " * max(width - line_width(line), 0), ""))
