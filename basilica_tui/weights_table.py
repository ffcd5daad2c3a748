"""The weights table: one row per uid of the vector in force. Pure, no Textual."""

from __future__ import annotations

import json

from basilica_tui import format as f
from basilica_tui.columns import Column, Table
from basilica_tui.format import Look, Span
from engine.control.models import WeightView, view_to_json


def _who(row: WeightView, look: Look) -> Span:
    if row.hotkey:
        return f.short_hotkey(row.hotkey, look), "accent"
    return ("burn", "warn") if row.is_burn else (look.symbols.dash, "dim")


WEIGHTS: Table[WeightView] = Table(
    collection="weights",
    noun="weight",
    first_sort="weight",
    is_problem=lambda w: w.is_burn,
    copy_text=lambda w: json.dumps(view_to_json(w), ensure_ascii=False),
    columns=(
        Column("uid", "uid", 5, lambda w, k: (str(w.uid), ""), lambda w: w.uid, 1, "right"),
        Column("miner", "miner", 12, _who, lambda w: w.hotkey or None, 1, value=lambda w: w.hotkey),
        Column("weight", "weight", 7, lambda w, k: (f"{w.weight:,}", ""), lambda w: float(w.weight), 1, "right",
               descending=True),
        Column("share", "share", 8, lambda w, k: (f"{100 * w.share:.2f} %", ""), lambda w: w.share, 2, "right",
               descending=True),
        Column("categories", "categories", 14,
               lambda w, k: (", ".join(w.categories) or k.symbols.dash, ""), lambda w: ", ".join(w.categories) or None,
               2),
        Column("how", "how it came about", 24, lambda w, k: ("; ".join(w.how) or k.symbols.dash, "dim"),
               lambda w: None, 3, grow=1),
    ),
)  # fmt: skip
