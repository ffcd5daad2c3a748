"""The doctor's repair from the console: examine, show the plan, and run exactly that after a yes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from basilica_tui.screens.confirm import Confirm
from engine.errors import BasilicaError

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp

TOLD_S = 15.0
_FINDINGS = frozenset({"failed", "warning"})


async def repair(desk: ConsoleApp, check: str, node_id: str, label: str) -> None:
    """Ask the doctor about a node (empty: host, chain, service), then show the plan for what it finds."""
    desk.say(f"{label}: the doctor looks ...", seconds=TOLD_S)
    about = {"node_id": node_id} if node_id else {}
    try:
        answer = await desk.link.act("doctor.run", about, lambda text: desk.say(f"doctor: {text}"))
        found = worst_finding(answer, check, node_id)
        if found is None or not found.get("fixes"):
            desk.say(*_nothing_to_run(label, found), TOLD_S)
            return
        args = {"check": str(found.get("check", "")), "node_id": node_id}
        plan = await desk.link.act("doctor.plan", args)
    except BasilicaError as error:
        desk.say(f"{label}: {error}", "bad", TOLD_S)
        return
    if plan.get("needs_admin"):
        desk.say(_on_a_terminal(label, node_id), "warn", TOLD_S)
        return
    ask_plan(desk, f"Repair {label}: {plan.get('fix', '')}?", str(plan.get("plan", "")),
             lambda: desk.act("doctor.fix", {**args, "consent": plan.get("consent")}, f"repair {label}"),
             is_reversible=bool(plan.get("reversible")))  # fmt: skip


def worst_finding(answer: Mapping[str, object], check: str, node_id: str) -> Mapping[str, object] | None:
    """What to repair of an examination: the check that was asked about, else the first failure, else a warning."""
    report = answer.get("report")
    results = report.get("results") if isinstance(report, Mapping) else None
    rows = [r for r in results if isinstance(r, Mapping)] if isinstance(results, list) else []
    findings = [r for r in rows if r.get("verdict") in _FINDINGS and (not node_id or r.get("node") == node_id)]
    findings.sort(key=lambda r: (r.get("check") != check, r.get("verdict") != "failed", not r.get("fixes")))
    return findings[0] if findings else None


def ask_plan(desk: ConsoleApp, question: str, text: str, go: Callable[[], object], *, is_reversible: bool) -> None:
    """Show what would be done; on a yes, go."""
    ending = [] if is_reversible else ["", "This cannot be taken back."]

    def decided(is_sure: bool | None) -> None:
        if is_sure:
            go()

    desk.push_screen(Confirm(question, [*text.splitlines(), *ending], "do this"), decided)


def _nothing_to_run(label: str, found: Mapping[str, object] | None) -> tuple[str, str]:
    if found is None:
        return f"{label}: the doctor finds nothing wrong now", "good"
    cause = found.get("cause_words") or found.get("title") or found.get("check")
    return f"{label}: {cause}; {found.get('advice') or 'no repair runs by itself; enter shows the details'}", "warn"


def _on_a_terminal(label: str, node_id: str) -> str:
    where = f"--node {label} --fix --admin USER" if node_id else "--fix"
    return f"{label}: this needs an administrator; on a terminal: basilica-tui doctor {where}"
