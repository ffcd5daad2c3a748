"""The overview over several engines as a table: what each last said, and how long ago. Pure, no Textual."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

from basilica_tui import format as f
from basilica_tui.columns import Column, Table
from basilica_tui.format import Look, Span


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One engine; ``id`` is its profile's name. ``state``: asking, live, gone."""

    id: str
    where: str = ""
    state: str = "asking"
    error: str = ""
    seen_at: float | None = None
    is_here: bool = False
    role: str = ""
    name: str = ""
    build: str = ""
    network: str = ""
    netuid: int = 0
    uid: int | None = None
    started_at: float | None = None
    healthy: int = 0
    total: int = 0
    inside: int = 0
    alerts: int = 0
    errors: int = 0
    services_down: int = 0
    chain_error: str = ""


def told(row: EngineRow, summary: Mapping[str, object], at: float) -> EngineRow:
    """The row after an answer; what has another type than it should is left as it was."""
    kept: dict[str, object] = {}
    for field in dataclasses.fields(EngineRow):
        value = summary.get(field.name)
        if field.name in {"id", "where", "state", "error", "seen_at", "is_here"} or value is None:
            continue
        default = field.default
        wants_number = default is None or type(default) is int
        if (wants_number and isinstance(value, int | float) and not isinstance(value, bool)) or (
            isinstance(default, str) and isinstance(value, str)
        ):
            kept[field.name] = value
    return dataclasses.replace(row, state="live", error="", seen_at=at, **kept)  # type: ignore[arg-type]  # checked


def _state(row: EngineRow, look: Look) -> Span:
    if row.state == "live":
        return f"{look.symbols.good} live", "good"
    if row.state == "asking":
        return f"{look.symbols.half} asking", "warn"
    since = f" {f.age(row.seen_at, look)}" if row.seen_at is not None else ""
    return f"{look.symbols.bad} gone{since}", "bad"


def _name(row: EngineRow, look: Look) -> Span:
    return f"@{row.id}{' (here)' if row.is_here else ''}", "accent" if row.is_here else ""


def _known(row: EngineRow, text: str, look: Look, tone: str = "") -> Span:
    if row.seen_at is None:
        return look.symbols.dash, "dim"
    return text, tone if row.state == "live" else "dim"


def _nodes(row: EngineRow, look: Look) -> Span:
    return _known(row, f"{row.healthy:,}/{row.total:,}", look, "good" if row.healthy == row.total else "warn")


def _alerts(row: EngineRow, look: Look) -> Span:
    words = f"{row.alerts} ({row.errors} bad)" if row.errors else str(row.alerts)
    return _known(row, words, look, "bad" if row.errors else "warn" if row.alerts else "good")


def trouble(row: EngineRow) -> str:
    """Why it does not answer, or what it says of itself."""
    if row.state == "gone":
        return row.error
    if row.chain_error:
        return f"chain: {row.chain_error}"
    return f"{f.plural(row.services_down, 'service')} not running" if row.services_down else ""


def _trouble(row: EngineRow, look: Look) -> Span:
    text = trouble(row)
    return (text, "warn") if text else (look.symbols.dash, "dim")


def _network(row: EngineRow) -> str:
    return f"{row.network}/{row.netuid}" if row.network else ""


ENGINES: Table[EngineRow] = Table(
    "engines",
    "engine",
    (
        Column("engine", "engine", 12, _name, lambda r: r.id, grow=1, value=lambda r: r.id),
        Column("state", "state", 11, _state, lambda r: {"gone": 0, "asking": 1}.get(r.state, 2),
               value=lambda r: r.state),
        Column("role", "role", 9, lambda r, look: _known(r, r.role, look), lambda r: r.role, priority=3),
        Column("network", "network", 10, lambda r, look: _known(r, _network(r), look), _network, priority=4),
        Column("nodes", "nodes", 8, _nodes, lambda r: r.healthy - r.total if r.seen_at else None, align="right"),
        Column("inside", "inside", 6, lambda r, look: _known(r, str(r.inside), look), lambda r: r.inside, priority=2,
               align="right"),
        Column("alerts", "alerts", 9, _alerts, lambda r: r.alerts if r.seen_at else None, align="right",
               descending=True),
        Column("up", "up", 6, lambda r, look: _known(r, f.age(r.started_at, look), look), lambda r: r.started_at,
               priority=5, align="right"),
        Column("version", "version", 9, lambda r, look: _known(r, r.build, look), lambda r: r.build, priority=6),
        Column("trouble", "trouble", 14, _trouble, trouble, priority=2, grow=3),
    ),
    lambda r: r.state != "live" or bool(r.alerts) or r.healthy < r.total or bool(trouble(r)),
    "engine",
    lambda r: json.dumps(dataclasses.asdict(r), ensure_ascii=False),
)  # fmt: skip
