"""Everything on screen as plain text or JSON: ``basilica-tui show``. Pure, no Textual."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping
from typing import Any, Protocol

from basilica_tui.columns import GAP, Query, Table, place_columns, select
from basilica_tui.format import Look, plural
from basilica_tui.lines import safe
from basilica_tui.panels.sentences import empty_table
from basilica_tui.store import ConsoleStore
from basilica_tui.symbols import UNICODE, Symbols
from basilica_tui.tables import ALL_TABLES
from basilica_tui.text import fit
from engine.control.models import View, view_to_json

SHOWABLE = tuple(ALL_TABLES)


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
    table: Table[Any] = ALL_TABLES[what]
    rows = snapshot.views.get(what, {})
    look = Look(snapshot.at, symbols)
    order = select(table, rows.items(), Query(), look)
    if json:
        return jsonlib.dumps([view_to_json(rows[row_id]) for row_id in order], indent=2, ensure_ascii=False) + "\n"
    if not order:
        store = ConsoleStore()
        store.apply_snapshot(snapshot)
        return empty_table(store, what, look) + "\n"
    lines = _table_lines(table, [rows[row_id] for row_id in order], look, width)
    return "\n".join([*lines, f"{plural(len(order), table.noun)}"]) + "\n"


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
