"""A validator's tables: miners and verifications. Pure, no Textual."""

from __future__ import annotations

from basilica_tui import format as f
from basilica_tui.cells import row_json, state_cell
from basilica_tui.columns import Column, Table
from basilica_tui.format import Look, Span
from basilica_tui.panels.verification import progress_words
from basilica_tui.states import (
    MINER_STATES,
    VERIFICATION_STATES,
    look_of,
)
from engine.control.models import (
    MinerView,
    VerificationView,
)


def _milliseconds(value: float | None, look: Look) -> str:
    if value is None:
        return look.symbols.dash
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.0f} s"


def miner_trouble(miner: MinerView, look: Look) -> Span:
    """What went wrong last and how long ago, or why it is not called; without what other columns say."""
    if not miner.last_error:
        return look.symbols.dash, "dim"
    if not miner.is_called:
        return miner.last_error, "dim"
    words = miner.last_error
    for known in ("discovery: ", f"miner {miner.hotkey}", f" at {miner.endpoint}", ": ", " "):
        words = words.removeprefix(known)
    return f"{f.age(miner.last_error_at, look)} {words}", "" if miner.state != "answered" else "dim"


MINERS: Table[MinerView] = Table(
    collection="miners",
    noun="miner",
    first_sort="uid",
    is_problem=lambda m: m.state not in {"answered", "discovered", "skipped"},
    copy_text=row_json,
    watched=frozenset({"state", "nodes", "endpoint"}),
    columns=(
        Column("uid", "uid", 4, lambda m, k: (f.number(m.uid, k), ""), lambda m: m.uid, 1, "right"),
        Column("hotkey", "miner", 12, lambda m, k: (f.short_hotkey(m.hotkey or m.id, k), "accent"),
               lambda m: m.hotkey, 1, value=lambda m: m.hotkey or m.id),
        Column("state", "state", 13, lambda m, k: state_cell(MINER_STATES, m.state, k),
               lambda m: look_of(MINER_STATES, m.state).rank, 1, value=lambda m: m.state),
        Column("nodes", "nodes", 5, lambda m, k: (f.number(m.nodes, k), ""), lambda m: float(m.nodes), 2, "right",
               descending=True),
        Column("answered", "answered", 8, lambda m, k: (f.age(m.last_answer_at, k), ""), lambda m: m.last_answer_at, 2,
               "right", descending=True),
        Column("duration", "took", 8, lambda m, k: (_milliseconds(m.duration_ms, k), ""), lambda m: m.duration_ms, 6,
               "right", descending=True),
        Column("dialect", "dialect", 7, lambda m, k: (m.dialect or k.symbols.dash, ""), lambda m: m.dialect, 7),
        Column("endpoint", "axon", 21, lambda m, k: (m.endpoint or k.symbols.dash, "dim"), lambda m: m.endpoint, 3),
        Column("trouble", "last trouble", 18, miner_trouble, lambda m: m.last_error_at, 2, grow=3, descending=True,
               comfort=40),
    ),
)  # fmt: skip


def verification_word(view: VerificationView, look: Look) -> Span:
    """What happened; without the row's address at its front, as the width is for what comes after it."""
    first, _, rest = view.message.partition(" ")
    is_address = ":" in first and view.endpoint.endswith(first)
    words = rest if is_address else view.message
    return words or look.symbols.dash, "" if view.state not in {"passed", ""} else "dim"


def _running_first(view: VerificationView) -> float:
    """Full verifications that run before those that wait, then by verdict.

    Lightweight checks come and go by the dozen: rows that change places for them could not be read.
    """
    phase = "" if view.phase_tier == "lightweight" else view.phase
    return {"running": 0, "queued": 1}.get(phase, 2) * 100.0 + look_of(VERIFICATION_STATES, view.state).rank


VERIFICATIONS: Table[VerificationView] = Table(
    collection="verifications",
    noun="verified node",
    first_sort="now",
    is_problem=lambda v: v.state in {"failed", "access_lost"},
    copy_text=row_json,
    watched=frozenset({"state", "tally"}),
    columns=(
        Column("node", "node", 10, lambda v, k: (f.short_node(v.node_id), ""), lambda v: v.node_id, 1,
               value=lambda v: v.node_id),
        Column("state", "result", 13, lambda v, k: state_cell(VERIFICATION_STATES, v.state, k),
               lambda v: look_of(VERIFICATION_STATES, v.state).rank, 1, value=lambda v: v.state),
        Column("now", "now", 14, progress_words, _running_first, 2, value=lambda v: v.phase),
        Column("miner", "miner", 12, lambda v, k: (f.short_hotkey(v.miner_hotkey, k), "accent"),
               lambda v: v.miner_hotkey, 2, value=lambda v: v.miner_hotkey),
        Column("uid", "uid", 4, lambda v, k: (f.number(v.miner_uid, k), ""), lambda v: v.miner_uid, 4, "right"),
        Column("tier", "tier", 11, lambda v, k: (v.tier or k.symbols.dash, ""), lambda v: v.tier, 5),
        Column("gpus", "GPUs", 12,
               lambda v, k: (f.gpus(len(v.gpu_uuids) or None, v.gpu_model, None, k), ""),
               lambda v: float(len(v.gpu_uuids)), 3, descending=True),
        Column("at", "when", 7, lambda v, k: (f.age(v.at, k), ""), lambda v: v.at, 2, "right", descending=True),
        Column("duration", "took", 8, lambda v, k: (_milliseconds(v.duration_ms, k), ""), lambda v: v.duration_ms, 5,
               "right", descending=True),
        Column("tally", "ok / bad", 9, lambda v, k: (f"{v.passed:,} / {v.failed:,}", "warn" if v.failed else ""),
               lambda v: float(v.failed), 5, "right", descending=True),
        Column("endpoint", "address", 21, lambda v, k: (v.endpoint or k.symbols.dash, "dim"), lambda v: v.endpoint, 6,
               grow=1),
        Column("message", "message", 18, verification_word, lambda v: v.message or None, 3, grow=3,
               comfort=40),
    ),
)  # fmt: skip
