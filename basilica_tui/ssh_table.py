"""The SSH check as a table of nodes and a ladder of rungs. Pure, no Textual."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields

from basilica_tui.columns import Column, Table
from basilica_tui.format import Line, Look, age
from basilica_tui.text import clean, wrap

_ORDER = {"failed": 0, "warning": 1, "checking": 2, "": 3, "ok": 4}
_WORDS = {"": "not checked"}
_TONES = {"ok": "good", "warning": "warn", "failed": "bad", "skipped": "dim", "checking": "accent", "": "dim"}


@dataclass(frozen=True, slots=True)
class SshRow:
    """One node's newest climb; ``verdict`` is ok, warning, failed, checking, or empty before the first."""

    id: str
    label: str = ""
    verdict: str = ""
    check: str = ""
    title: str = ""
    cause: str = ""
    fix: str = ""
    findings: int = 0
    passed: int = 0
    rungs: int = 0
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Rung:
    """One check of a ladder, as the engine tells it."""

    check: str = ""
    title: str = ""
    meaning: str = ""
    verdict: str = ""
    evidence: tuple[str, ...] = ()
    cause: str = ""
    cause_words: str = ""
    fixes: tuple[str, ...] = ()
    advice: str = ""
    reason: str = ""

    @property
    def is_finding(self) -> bool:
        """Whether it is a warning or a failure."""
        return self.verdict in ("failed", "warning")


def row_of(data: Mapping[str, object]) -> SshRow | None:
    """A row from a line of progress or an answer; None for what is none."""
    node_id = data.get("node_id")
    if not isinstance(node_id, str):
        return None
    kinds = {"findings": int, "passed": int, "rungs": int}
    values: dict[str, object] = {}
    for field in fields(SshRow):
        value = data.get(field.name)
        if field.name == "at":
            values["at"] = value if isinstance(value, int | float) else None
        elif isinstance(value, kinds.get(field.name, str)):
            values[field.name] = value
    return SshRow(**{**values, "id": node_id})  # type: ignore[arg-type]  # checked one by one above


def row_of_progress(text: str) -> SshRow | None:
    """The same from a progress line's JSON."""
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return row_of(data) if isinstance(data, dict) else None


def rungs_of(answer: Mapping[str, object]) -> tuple[Rung, ...]:
    """The ladder in an answer of ``ssh.ladder``."""
    listed = answer.get("rungs")
    return tuple(_rung(item) for item in (listed if isinstance(listed, list) else ()) if isinstance(item, dict))


def _rung(item: Mapping[str, object]) -> Rung:
    def text(name: str) -> str:
        value = item.get(name)
        return value if isinstance(value, str) else ""

    def texts(name: str) -> tuple[str, ...]:
        value = item.get(name)
        return tuple(str(one) for one in value) if isinstance(value, list) else ()

    return Rung(
        text("check"), text("title"), text("meaning"), text("verdict"), texts("evidence"), text("cause"),
        text("cause_words"), texts("fixes"), text("advice"), text("reason"),
    )  # fmt: skip


def ladder_lines(rungs: Iterable[Rung], look: Look, width: int, *, full: bool = False) -> list[Line]:
    """Findings first in full, then what passed in a few lines; ``full``: every rung in its order with its evidence."""
    rungs = tuple(rungs)
    marks = look.symbols
    glyph = {"ok": marks.tick, "warning": marks.warn, "failed": marks.bad, "skipped": marks.unknown}
    lines: list[Line] = []
    for rung in rungs if full else [one for one in rungs if one.is_finding]:
        tone = _TONES.get(rung.verdict, "")
        head = f" {glyph.get(rung.verdict, marks.unknown)} {rung.title}"
        cause = rung.cause_words or rung.reason
        lines.append(((head, tone), (f"  {rung.check.removeprefix('node.')}", "dim")))
        if not full and not rung.is_finding:
            continue
        for label, text in (("cause", cause if rung.is_finding else ""), ("why", "" if rung.is_finding else cause),
                            ("seen", "; ".join(rung.evidence)), ("costs", rung.meaning if rung.is_finding else ""),
                            ("fix", _fix(rung))):  # fmt: skip
            for index, part in enumerate(wrap(clean(text), max(width - 12, 20)) if text else ()):
                lines.append(((f"     {label if index == 0 else '':<6}", "dim"), (part, "")))
    passed = [one.title for one in rungs if one.verdict == "ok"]
    if passed and not full:
        text = f"{marks.tick} " + f" {marks.dot} ".join(one.check.removeprefix("node.") for one in rungs
                                                        if one.verdict == "ok")  # fmt: skip
        lines += [((f" {part}", "good"),) for part in wrap(text, width - 2)]
    skipped = [one for one in rungs if one.verdict == "skipped"]
    if skipped and not full:
        names = ", ".join(one.check.removeprefix("node.") for one in skipped)
        reason = skipped[0].reason
        lines += [((f" {part}", "dim"),) for part in wrap(clean(f"not looked at ({reason}): {names}"), width - 2)]
    return lines


def _fix(rung: Rung) -> str:
    if not rung.is_finding:
        return ""
    return f"{rung.fixes[0]} (F shows it first)" if rung.fixes else rung.advice


def report_text(label: str, rungs: Iterable[Rung]) -> str:
    """One node's ladder for pasting."""
    lines = [f"SSH check of {clean(label)}"]
    for rung in rungs:
        lines.append(f"- {rung.verdict:<7} {rung.check}: {clean(rung.cause_words or rung.reason or rung.title)}")
        if rung.is_finding:
            lines += [f"    {clean(text)}" for text in rung.evidence]
    return "\n".join(lines)


SSH: Table[SshRow] = Table(
    collection="ssh",
    noun="node",
    first_sort="verdict",
    is_problem=lambda r: r.verdict in ("failed", "warning"),
    copy_text=lambda r: json.dumps(asdict(r), ensure_ascii=False),
    columns=(
        Column("node", "node", 14, lambda r, k: (r.label or r.id, ""), lambda r: r.label or r.id, 1, grow=1),
        Column("verdict", "verdict", 11,
               lambda r, k: (_WORDS.get(r.verdict, r.verdict), _TONES.get(r.verdict, "")),
               lambda r: _ORDER.get(r.verdict, 3), 1, value=lambda r: _WORDS.get(r.verdict, r.verdict)),
        Column("rungs", "rungs", 5,
               lambda r, k: (f"{r.passed}/{r.rungs}" if r.rungs else k.symbols.dash, ""),
               lambda r: float(r.passed) if r.rungs else None, 2, align="right"),
        Column("rung", "decided by", 12, lambda r, k: (r.check.removeprefix("node.") or k.symbols.dash, ""),
               lambda r: r.check or None, 2),
        Column("cause", "cause", 20, lambda r, k: (r.cause or k.symbols.dash, "dim"), lambda r: r.cause or None, 1,
               grow=3),
        Column("at", "checked", 8, lambda r, k: (age(r.at, k), "dim"),
               lambda r: r.at, 3, align="right", descending=True),
    ),
)  # fmt: skip
