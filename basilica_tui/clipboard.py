"""Copying over SSH: the OSC 52 sequence, wrapped for tmux and screen, with a size limit. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping

LIMIT = 74_994
"""Encoded bytes that common terminals accept in one sequence."""


def osc52(text: str, env: Mapping[str, str]) -> str | None:
    """The sequence that puts the text on the terminal's clipboard; None when it is too long for terminals."""
    encoded = base64.b64encode(text.encode()).decode()
    if len(encoded) > LIMIT:
        return None
    sequence = f"\x1b]52;c;{encoded}\x07"
    return through_multiplexer(sequence, env)


def through_multiplexer(sequence: str, env: Mapping[str, str]) -> str:
    """The sequence so that tmux or screen hands it to the terminal that they run in."""
    if env.get("TMUX"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if env.get("TERM", "").startswith("screen"):
        return f"\x1bP{sequence}\x1b\\"
    return sequence
