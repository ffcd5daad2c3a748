"""From where on a figure is worth a colour; ``[thresholds]`` of console.toml changes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class Threshold:
    """Warn and bad in the figure's own unit; where ``bad`` is the smaller one, low figures are the bad ones."""

    warn: float
    bad: float

    def tone(self, value: float | None) -> str:
        """The tone of a figure; none for one that is not known."""
        if value is None:
            return ""
        sign = -1 if self.bad < self.warn else 1
        if sign * value >= sign * self.bad:
            return "bad"
        return "warn" if sign * value >= sign * self.warn else ""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """One for each figure that can be too high or too low by itself."""

    temperature: Threshold = field(default=Threshold(85.0, 95.0))
    """Degrees Celsius of the hottest GPU."""
    memory: Threshold = field(default=Threshold(95.0, 99.0))
    """Percent of GPU memory in use."""
    ssh: Threshold = field(default=Threshold(95.0, 80.0))
    """Percent of checks that logged in."""
    latency: Threshold = field(default=Threshold(2000.0, 5000.0))
    """Milliseconds until a check was done."""
    checked: Threshold = field(default=Threshold(300.0, 900.0))
    """Seconds since the last check."""


USUAL = Thresholds()
NAMES = tuple(f.name for f in fields(Thresholds))


def parse_thresholds(table: object) -> tuple[Thresholds, list[str]]:
    """``name = [warn, bad]``; what is wrong stays as it was and is told."""
    if not isinstance(table, Mapping):
        return Thresholds(), ["console.toml: [thresholds] is a table of name = [warn, bad]"]
    known: dict[str, Threshold] = {}
    problems = []
    for name, value in table.items():
        if name not in NAMES:
            problems.append(f"console.toml: there is no threshold {name}; there are {', '.join(NAMES)}")
        elif _is_pair(value):
            known[name] = Threshold(float(value[0]), float(value[1]))
        else:
            problems.append(f"console.toml: thresholds.{name} is two figures: [warn, bad]")
    return Thresholds(**known), problems


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(part) in (int, float) for part in value)
