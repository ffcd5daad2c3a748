"""The marks that the console draws with, once for Unicode and once for terminals that know ASCII only."""

from __future__ import annotations

import locale
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Symbols:
    """One character each, except the sparkline's steps."""

    good: str
    warn: str
    bad: str
    unknown: str
    half: str
    cursor: str
    mark: str
    ellipsis: str
    dash: str
    dot: str
    times: str
    tau: str
    degree: str
    up: str
    down: str
    tick: str
    bar_full: str
    bar_empty: str
    rule: str
    step: str
    sparks: str

    @property
    def is_ascii(self) -> bool:
        """Whether everything else on the screen must be ASCII too."""
        return self.good.isascii()


UNICODE = Symbols(
    good="●", warn="▲", bad="✖", unknown="○", half="◐", cursor="▸", mark="◆", ellipsis="…", dash="–", dot="·",
    times="×", tau="τ", degree="°", up="▴", down="▾", tick="✓", bar_full="█", bar_empty="·", rule="─", step="›",
    sparks="▁▂▃▄▅▆▇█",
)  # fmt: skip
ASCII = Symbols(
    good="+", warn="!", bad="x", unknown="?", half="o", cursor=">", mark="*", ellipsis="~", dash="-", dot="|",
    times="x", tau="TAO", degree="C", up="^", down="v", tick="+", bar_full="#", bar_empty=".", rule="-", step=">",
    sparks="_.-=*#",
)  # fmt: skip


def speaks_utf8(env: Mapping[str, str]) -> bool:
    """Whether the locale in these variables promises UTF-8; the first one that is set decides."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if value := env.get(name, ""):
            return "utf-8" in value.lower() or "utf8" in value.lower()
    return "utf" in locale.getpreferredencoding(False).lower()
