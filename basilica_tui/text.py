"""Text from other machines made safe and measured in terminal cells. Pure, no Textual.

A node's banner, a miner's error message or a GPU's name may hold escape sequences, markup, direction
overrides or nothing but combining marks. ``clean`` is the only door through which text reaches the screen.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Literal

from rich.cells import cell_len

Align = Literal["left", "right"]

REPLACEMENT = "\ufffd"
CLEAN_LIMIT = 2000
"""Characters that are looked at; what is longer is never shown in one line anyway."""

_SPACES = frozenset("\t\n\r\v\f\u0085\u2028\u2029\u00a0")


@lru_cache(maxsize=16384)
def clean(text: str) -> str:
    """The text as one harmless line: no control, escape, direction or invisible characters, no stacked marks.

    Line breaks and tabs become a space, everything else that a terminal could obey becomes U+FFFD, so that
    the reader sees that something was there.
    """
    text = text[:CLEAN_LIMIT]
    if text.isascii() and text.isprintable():
        return text
    return "".join(_harmless(c) for c in unicodedata.normalize("NFC", text))


def _harmless(char: str) -> str:
    if char in _SPACES:
        return " "
    category = unicodedata.category(char)
    if category in {"Mn", "Me", "Mc"}:
        return ""
    if category[0] == "C" or category in {"Zl", "Zp"}:
        return REPLACEMENT
    return " " if category == "Zs" else char


def to_ascii(text: str) -> str:
    """The text for a terminal that knows ASCII only; each foreign cell becomes a question mark."""
    return text if text.isascii() else "".join(c if c.isascii() else "?" * max(cell_len(c), 1) for c in text)


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """At most ``width`` cells of the text; a wide character is never split."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    room = width - cell_len(ellipsis)
    if room < 0:
        return ellipsis[:width]
    kept, used = [], 0
    for char in text:
        size = cell_len(char)
        if used + size > room:
            break
        kept.append(char)
        used += size
    return "".join(kept) + ellipsis


def fit(text: str, width: int, align: Align = "left", ellipsis: str = "…") -> str:
    """The text in exactly ``width`` cells, cut or padded."""
    short = cut(text, width, ellipsis)
    padding = " " * (width - cell_len(short))
    return padding + short if align == "right" else short + padding


def wrap(text: str, width: int) -> list[str]:
    """The text in lines of at most ``width`` cells, broken at spaces where it has them; never empty, nothing is lost.

    What goes on is set in as far as the text began.
    """
    if cell_len(text) <= width:
        return [text]
    indent = " " * min(len(text) - len(text.lstrip(" ")), width // 2)
    lines: list[str] = []
    line = ""
    for word in text.split():
        candidate = f"{line} {word}" if line else indent + word
        if cell_len(candidate) <= width:
            line = candidate
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(word, width - len(indent))
        lines += [indent + piece for piece in full]
        line = indent + line
    return [*lines, line] if line or not lines else lines


def _pieces(word: str, width: int) -> list[str]:
    pieces: list[str] = []
    while cell_len(word) > width and (piece := cut(word, width, "")):
        pieces.append(piece)
        word = word[len(piece) :]
    return [*pieces, word]
