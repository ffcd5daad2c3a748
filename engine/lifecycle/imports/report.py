"""The import as a table for people and as JSON for programs. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.lifecycle.imports.plan import KINDS, ImportPlan, Kind

_TITLES: Mapping[Kind, str] = {
    "set": "Set",
    "means something else": "Means something else here",
    "dropped": "Dropped",
    "to do": "To do",
    "kept": "Kept",
}
_WIDEST = 44


def report_text(
    plan: ImportPlan, target: Path, problems: Sequence[str] = (), *, written: bool, backup: Path | None = None
) -> str:
    """Everything in the order in which an operator needs it."""
    deployment = plan.deployment
    lines = [f"{deployment.config_path}", f"  a file of {plan.era.tag}: {plan.era.words}"]
    lines += [f"  found by {words}" for words in deployment.found_by]
    lines += [f"  also found: {path} (name it with --from to import that one)" for path in deployment.also]
    lines += ["", f"Nodes ({sum(node.is_taken for node in plan.nodes)})"]
    rows = [(n.address, n.old_id or "-", n.new_id or "not taken over", n.why) for n in plan.nodes]
    lines += _table(("address", "old id", "new id", ""), rows) if rows else ["  none"]
    for kind in KINDS:
        chosen = [(row.key, row.old, row.new, row.why) for row in plan.rows if row.kind == kind]
        if chosen:
            lines += ["", _TITLES[kind], *_table(("key", "old", "new", ""), chosen)]
    if problems:
        lines += ["", "The engine would not start yet", *(f"  {_plain(problem)}" for problem in problems)]
    lines.append("")
    if written:
        lines.append(f"written: {target}" + (f" (the one before: {backup})" if backup else ""))
    else:
        lines.append(f"nothing was written; --write writes {target}")
    return "\n".join(lines)


def report_json(
    plan: ImportPlan, target: Path, problems: Sequence[str] = (), *, written: bool, backup: Path | None = None
) -> dict[str, object]:
    """The same, for programs."""
    return {
        "from": str(plan.deployment.config_path),
        "found_by": list(plan.deployment.found_by),
        "also_found": [str(path) for path in plan.deployment.also],
        "era": plan.era.tag,
        "nodes": [{"address": n.address, "old_id": n.old_id, "new_id": n.new_id, "why": n.why} for n in plan.nodes],
        "rows": [dataclasses.asdict(row) for row in plan.rows],
        "problems": list(problems),
        "to": str(target),
        "written": written,
        "backup": None if backup is None else str(backup),
    }


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need to be; the last one runs free."""
    cut = [[_cut(cell) for cell in row[:-1]] for row in rows]
    widths = [max(len(row[i]) for row in [list(titles), *cut]) for i in range(len(titles) - 1)]
    shown = [i for i, width in enumerate(widths) if any(row[i] for row in cut)]
    head = "  " + "  ".join(titles[i].ljust(widths[i]) for i in shown)
    body = [
        "  " + "  ".join([*(row[i].ljust(widths[i]) for i in shown), _plain(full[-1])]).rstrip()
        for row, full in zip(cut, rows, strict=True)
    ]
    return [head.rstrip(), *body]


def _plain(text: str) -> str:
    """One line that no terminal obeys."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def _cut(text: str) -> str:
    text = _plain(text)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
