"""Everything on screen as plain text or JSON: ``basilica-tui show``. Pure, no Textual."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from basilica_tui.columns import GAP, Query, Table, place_columns, select
from basilica_tui.config_table import CONFIG, config_rows
from basilica_tui.exports import log_text
from basilica_tui.fix_first import rank_fixes
from basilica_tui.format import Line, Look, plural
from basilica_tui.lines import safe
from basilica_tui.log_table import LOGS
from basilica_tui.panels.boxes import box_lines
from basilica_tui.panels.fixes import fix_lines
from basilica_tui.panels.node_card import node_lines
from basilica_tui.panels.reach import reach_line
from basilica_tui.panels.sentences import all_is_well, empty_table
from basilica_tui.panels.services import status_line
from basilica_tui.scores_table import SCORES
from basilica_tui.ssh_table import SSH, ladder_lines, row_of, rungs_of
from basilica_tui.store import ConsoleStore
from basilica_tui.symbols import UNICODE, Symbols
from basilica_tui.tables import ALL_TABLES
from basilica_tui.text import fit
from engine.control.models import LogRecord, NodeView, View, view_to_json

SHOWABLE = (*ALL_TABLES, "scores", "dashboard")
"""What a snapshot is enough for; ``render_logs`` and ``render_config`` need the engine's own answers."""
_TABLES: Mapping[str, Table[Any]] = {**ALL_TABLES, "scores": SCORES}


class TimedSnapshot(Protocol):
    """What is read of ``engine.control.client.Snapshot``."""

    @property
    def views(self) -> dict[str, dict[str, View]]: ...
    @property
    def counters(self) -> dict[str, int]: ...
    @property
    def at(self) -> float: ...


def render_show(
    snapshot: TimedSnapshot, what: str, *, json: bool = False, width: int = 120, symbols: Symbols = UNICODE
) -> str:
    """One collection of a snapshot as a table of at most ``width`` cells, or as a JSON array; ends with a newline.

    ``width`` 0 or less means no limit: every column in full.

    Raises:
        KeyError: ``what`` is none of ``SHOWABLE``.
    """
    look = Look(snapshot.at, symbols)
    if what == "dashboard":
        return _dashboard(snapshot, look, width, json=json)
    table = _TABLES[what]
    rows = snapshot.views.get(table.collection, {})
    order = select(table, rows.items(), Query(), look)
    if json:
        return jsonlib.dumps([view_to_json(rows[row_id]) for row_id in order], indent=2, ensure_ascii=False) + "\n"
    if not order:
        store = ConsoleStore()
        store.apply_snapshot(snapshot)
        return empty_table(store, table.collection, look) + "\n"
    lines = _table_lines(table, [rows[row_id] for row_id in order], look, width)
    return "\n".join([*lines, f"{plural(len(order), table.noun)}"]) + "\n"


def render_logs(
    records: Sequence[LogRecord], *, at: float, json: bool = False, width: int = 120, symbols: Symbols = UNICODE
) -> str:
    """The engine's log: a table, or one JSON object per line."""
    if json:
        return log_text(records)
    return "\n".join([*_table_lines(LOGS, list(records), Look(at, symbols), width)] if records else ["no lines"]) + "\n"


def render_config(
    result: Mapping[str, object], *, json: bool = False, width: int = 120, symbols: Symbols = UNICODE
) -> str:
    """The answer to ``config.show``: settings with their origin, or the answer itself."""
    if json:
        return jsonlib.dumps(result, indent=2, ensure_ascii=False) + "\n"
    rows = sorted(config_rows(result).values(), key=lambda r: r.id)
    return "\n".join(_table_lines(CONFIG, rows, Look(0.0, symbols), width) if rows else ["only defaults"]) + "\n"


def nodes_called(snapshot: TimedSnapshot, name: str) -> list[NodeView]:
    """The nodes of that id, label or address; without one, those on that host, or whose id begins so."""
    nodes = [view for view in snapshot.views.get("nodes", {}).values() if isinstance(view, NodeView)]
    exact = [node for node in nodes if name in {node.id, node.label, node_address(node)}]
    return exact or [node for node in nodes if name and (node.host == name or node.id.startswith(name))]


def node_address(node: NodeView) -> str:
    """``user@host:port``, as in miner.toml."""
    return f"{node.username}@{node.host}:{node.port}"


def render_node(node: NodeView, *, at: float, json: bool = False, width: int = 120, symbols: Symbols = UNICODE) -> str:
    """One node with everything that is known of it."""
    if json:
        return jsonlib.dumps(view_to_json(node), indent=2, ensure_ascii=False) + "\n"
    lines = node_lines(node, Look(at, symbols), width if width > 0 else 200)
    return "\n".join(_text(line, symbols) for line in lines) + "\n"


def _text(line: Line, symbols: Symbols) -> str:
    return "".join(safe(span, ascii_only=symbols.is_ascii)[0] for span in line).rstrip()


def render_ssh_check(
    nodes: Sequence[Mapping[str, object]],
    ladders: Mapping[str, Mapping[str, object]],
    *,
    json: bool = False,
    width: int = 120,
    symbols: Symbols = UNICODE,
) -> str:
    """Answers of ``ssh.check`` and ``ssh.ladder``: a table of nodes, then the ladder of each that has a finding."""
    if json:
        whole = [{**node, "ladder": ladders.get(str(node.get("node_id")), {}).get("rungs", [])} for node in nodes]
        return jsonlib.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    rows = sorted((row for node in nodes if (row := row_of(node)) is not None), key=lambda r: r.label)
    if not rows:
        return "no node is configured\n"
    look = Look(max(row.at or 0.0 for row in rows), symbols)
    lines = _table_lines(SSH, rows, look, width)
    for row in rows:
        if row.findings:
            found = ladder_lines(rungs_of(ladders.get(row.id, {})), look, width if width > 0 else 200)
            texts = ("".join(safe(span, ascii_only=symbols.is_ascii)[0] for span in line).rstrip() for line in found)
            lines += ["", safe((row.label, ""), ascii_only=symbols.is_ascii)[0], *texts]
    return "\n".join(lines) + "\n"


def _dashboard(snapshot: TimedSnapshot, look: Look, width: int, *, json: bool) -> str:
    store = ConsoleStore()
    store.apply_snapshot(snapshot)
    fixes = rank_fixes(
        store.engine, store.nodes, store.sessions, store.services, store.alerts, look=look, miners=store.miners
    )
    if json:
        told = ("level", "subject", "message", "costs", "key")
        found = [{name: getattr(x, name) for name in told} for x in fixes]
        whole = {"engine": view_to_json(store.engine), "counters": store.counters, "fix_first": found}
        return jsonlib.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    width = width if width > 0 else 200
    lines = [
        reach_line(store, look, width),
        (),
        *fix_lines(fixes, look, width, max(len(fixes), 1), nothing=all_is_well(store, look)),
        (),
        *box_lines(store, look, width),
        (),
        status_line(store, look, width),
    ]
    return "\n".join(_text(line, look.symbols) for line in lines) + "\n"


def _table_lines(table: Table[Any], rows: list[Any], look: Look, width: int) -> list[str]:
    ascii_only = look.symbols.is_ascii
    cells = [[safe(c.cell(row, look), ascii_only=ascii_only)[0] for c in table.columns] for row in rows]
    if width > 0:
        places: Mapping[int, int] = {p.index: p.width for p in place_columns(table.columns, width)}
    else:
        places = {i: max(len(c.title), *(len(r[i]) for r in cells)) for i, c in enumerate(table.columns)}
    gap = " " * GAP

    def line(texts: list[str]) -> str:
        parts = (fit(texts[i], w, table.columns[i].align, look.symbols.ellipsis) for i, w in places.items())
        return gap.join(parts).rstrip()

    return [line([c.title for c in table.columns]), *(line(row) for row in cells)]
