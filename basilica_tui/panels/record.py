"""Any object as fields and values."""

from __future__ import annotations

from collections.abc import Mapping

from basilica_tui.format import Line, Look, remaining, stamp
from basilica_tui.lines import field


def record_lines(title: str, values: Mapping[str, object], look: Look) -> list[Line]:
    """A title and one line per field; times are written out with their age."""
    lines: list[Line] = [
        (),
        ((f" {title.upper().removesuffix('S')} ", "title"), (str(values.get("id", "")), "accent")),
        (),
    ]
    for name, value in values.items():
        if name != "id":
            lines.append(((" ", ""), *field(name.replace("_", " "), ((_value(name, value, look), ""),), 22)))
    return lines


def _value(name: str, value: object, look: Look) -> str:
    if value is None or value == "":
        return look.symbols.dash
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)) and name.endswith(("_at", "_until", "_since", "since")):
        return stamp(float(value), look) if value <= look.now else _future(float(value), look)
    if isinstance(value, (tuple, list)):
        return ", ".join(str(v) for v in value) or look.symbols.dash
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _future(at: float, look: Look) -> str:
    return f"in {remaining(at, look)} ({stamp(at, look).split(' (')[0]})"
