"""What can be plotted: charts, their curves, spans of time, ticks and gaps. Pure, no Textual."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

DAY_S = 86_400.0
LABEL_STEPS = 4
"""Between the five figures beside a picture."""
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart: the engine's series, a word for the legend, and whether only the fleet has it."""

    series: str
    label: str
    fleet_only: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture: its curves share one scale. ``low`` and ``high`` fix the scale where the quantity has ends."""

    id: str
    title: str
    unit: str
    curves: tuple[Curve, ...]
    low: float | None = 0.0
    high: float | None = None
    digits: int = 0
    role: str = ""
    by_the_hour: Literal["", "objects", "always"] = ""
    """Whether the engine knows it by the hour only: of single objects, or at all."""

    def every_s(self, subject: str) -> float:
        """How far apart points are at least."""
        is_hourly = self.by_the_hour == "always" or (self.by_the_hour == "objects" and subject != "")
        return 3600.0 if is_hourly else 0.0

    def curves_for(self, subject: str) -> tuple[Curve, ...]:
        """Those that the object has; the empty subject is the fleet."""
        return tuple(c for c in self.curves if not (subject and c.fleet_only))


CHARTS: tuple[Chart, ...] = (
    Chart("ssh", "SSH success", "%", (Curve("ssh", "logins that worked"),), 0.0, 100.0, role="miner"),
    Chart("latency", "SSH latency", "ms", (Curve("latency", "until the check was done"),), role="miner"),
    Chart("ramp", "ramp", "%", (Curve("ramp", "days of unbroken success"),), 0.0, 100.0, role="miner"),
    Chart("score", "score", "", (Curve("estimated", "estimated"), Curve("observed", "observed")), 0.0, 1.0, 2, "miner"),
    Chart("load", "GPU load", "%", (Curve("load", "GPUs busy"),), 0.0, 100.0, role="miner"),
    Chart("temperature", "GPU temperature", "°C", (Curve("temperature", "hottest GPU"),), None, role="miner"),
    Chart("sessions", "access", "", (Curve("sessions", "validators", True), Curve("keys", "keys in place", True)),
          role="miner"),
    Chart("fleet", "healthy nodes", "", (Curve("healthy", "healthy", True),), role="miner"),
    Chart("verified", "verifications passed", "%", (Curve("verified", "passed"),), 0.0, 100.0, role="validator",
          by_the_hour="objects"),
    Chart("node-score", "score", "", (Curve("score", "mean of nodes"),), 0.0, 1.0, 2, "validator", "always"),
    Chart("logins", "logins", "%", (Curve("ssh", "logins that worked"),), 0.0, 100.0, role="validator",
          by_the_hour="always"),
    Chart("miners", "miners that answer", "", (Curve("miners", "answered", True),), role="validator"),
    Chart("incentive", "incentive", "", (Curve("incentive", "on chain", True),), 0.0, None, 4),
    Chart("emission", "emission", "τ", (Curve("emission", "on chain", True),), 0.0, None, 3),
)  # fmt: skip

SPANS: tuple[tuple[str, float], ...] = (("1h", 3600.0), ("24h", DAY_S), ("14d", 14 * DAY_S), ("90d", 90 * DAY_S))
_WIDTHS = {"1h": 30.0, "24h": 300.0, "14d": 3600.0, "90d": 21_600.0}


def charts_for(role: str, subject: str) -> list[Chart]:
    """The charts of a role that say something about this object."""
    return [c for c in CHARTS if c.role in {"", role or c.role} and c.curves_for(subject)]


def find_chart(word: str, charts: Sequence[Chart]) -> Chart | None:
    """A chart by its id, or by the beginning of its id or title."""
    wanted = word.lower()
    exact = next((c for c in charts if c.id == wanted), None)
    return exact or next((c for c in charts if c.id.startswith(wanted) or c.title.lower().startswith(wanted)), None)


def pieces(points: Points, span: str, every_s: float = 0.0) -> list[Points]:
    """The curve in stretches without a hole: a gap in what is known must not look like a value."""
    width = max(_WIDTHS.get(span, 300.0), every_s)
    found: list[list[tuple[float, float]]] = []
    for at, value in points:
        if not found or at - found[-1][-1][0] > 3.5 * width:
            found.append([])
        found[-1].append((at, value))
    return list(found)


def scale(chart: Chart, points: Points) -> tuple[float, float]:
    """The lowest and the highest value that the picture has room for: high enough that its labels differ."""
    values = [value for _, value in points]
    low = chart.low if chart.low is not None else min(values, default=0.0)
    high = chart.high if chart.high is not None else max(values, default=1.0)
    if high - low < 1e-9:
        high = low + (abs(low) * 0.1 or 1.0)
    unit = 10.0**-chart.digits
    if chart.high is None and high - low < LABEL_STEPS * unit:
        low = low if chart.low is not None else math.floor(low / unit) * unit
        high = max(low + LABEL_STEPS * unit, math.ceil(high / unit) * unit)
    return low, max(high, max(values, default=high)) if chart.high is None else high


def time_ticks(since: float, until: float, count: int) -> list[tuple[float, str]]:
    """Round times of day, or days, within the span, with what to write there."""
    span = until - since
    steps = (
        300,
        600,
        900,
        1800,
        3600,
        7200,
        10_800,
        21_600,
        43_200,
        DAY_S,
        2 * DAY_S,
        7 * DAY_S,
        14 * DAY_S,
        30 * DAY_S,
    )
    step = next((s for s in steps if span / s <= count), steps[-1])
    offset = float(time.localtime(until).tm_gmtoff)
    first = -(-(since + offset) // step) * step - offset
    form = "%H:%M" if step < DAY_S else "%-d %b"
    ticks = []
    while first <= until:
        ticks.append((first, time.strftime(form, time.localtime(first))))
        first += step
    return ticks


def value_text(value: float, chart: Chart) -> str:
    """A figure with its unit."""
    return f"{value:,.{chart.digits}f}{' ' if chart.unit and chart.unit != '%' else ''}{chart.unit}"


@dataclass(frozen=True, slots=True)
class Plotted:
    """A chart with its points: what is on the screen and what is written to files."""

    chart: Chart
    subject: str
    """What it is about, as people call it."""
    span: str
    since: float
    until: float
    curves: tuple[tuple[str, Points], ...]
    every_s: float = 0.0
    """How far apart points are at least, where that is more than the span's own step."""

    @property
    def points(self) -> list[tuple[float, float]]:
        """Those of all curves."""
        return [point for _, points in self.curves for point in points]


def plot_csv(plot: Plotted) -> str:
    """Time in UTC, Unix seconds, curve and value, one line per point."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time", "unix", "object", "curve", "value"])
    for label, points in plot.curves:
        for at, value in points:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
            writer.writerow([stamp, f"{at:.0f}", plot.subject, label, f"{value:.6g}"])
    return out.getvalue()
