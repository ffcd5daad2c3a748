"""The node ladder inside a running engine: consoles ask, results stream in, a fix is shown before it runs.

The doctor is imported at the first question: an engine that is never asked does not carry it.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.clock import Clock
from engine.control.actions import ActionTable
from engine.errors import ControlRefused

if TYPE_CHECKING:
    from engine.config import MinerConfig
    from engine.diagnostics.clinic import Clinic
    from engine.diagnostics.doctor import Progress
    from engine.diagnostics.model import Report, Result
    from engine.diagnostics.plan import Plan

Say = Callable[[str], None]
MOST_TEXT = 400
"""Characters of one sentence: evidence comes from nodes."""


@dataclass(frozen=True, slots=True)
class _Repair:
    plan: Plan
    before: Result


class LadderActions:
    """``ssh.check``, ``ssh.ladder``, ``ssh.plan`` and ``ssh.fix``. ``config`` is asked each time: a reload counts."""

    def __init__(self, config: Callable[[], MinerConfig], clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._reports: dict[str, Report] = {}

    def add_actions(self, actions: ActionTable) -> None:
        """Register what an operator may ask."""
        actions.register("ssh.check", self._act_check, help="climb the SSH ladder of a node, or of all", danger=False)
        actions.register("ssh.ladder", self._act_ladder, help="a node's ladder as last climbed", danger=False)
        actions.register("ssh.plan", self._act_plan, help="show what would repair a finding of a ladder", danger=False)
        actions.register("ssh.fix", self._act_fix, help="repair a finding of a ladder", danger=True)

    async def _act_check(self, args: Mapping[str, object], say: Say) -> Mapping[str, object]:
        """Each node that was looked at is one line of progress: a small JSON object (``summary_of``)."""
        from engine.diagnostics.model import Scope

        node_id = args.get("node_id")
        wanted = (node_id,) if isinstance(node_id, str) and node_id else None
        clinic = self._clinic(args)
        known = {node.target.node_id for node in clinic.patient.nodes()}
        if wanted is not None and wanted[0] not in known:
            raise ControlRefused("no such node", reason="unknown_node")
        at = self._clock.now()

        def told(progress: Progress) -> None:
            if progress.subject.id:
                say(json.dumps(summary_of(progress.results, at) | {"done": progress.done, "total": progress.total}))

        report = await clinic.examine({Scope.NODE}, wanted, on_progress=told)
        summaries = []
        for node in wanted or sorted(known):
            mine = tuple(one for one in report.results if one.subject.id == node)
            self._reports[node] = replace(report, results=mine)
            if mine:
                summaries.append(summary_of(mine, at))
        self._reports = {node: kept for node, kept in self._reports.items() if node in known}
        found = sum(bool(one["findings"]) for one in summaries)
        words = f"{len(summaries)} checked, {found} with findings"
        return {"message": words, "nodes": summaries}

    async def _act_ladder(self, args: Mapping[str, object], say: Say) -> Mapping[str, object]:
        report = self._reports.get(str(args.get("node_id", "")))
        return {"rungs": [_rung(one) for one in report.results] if report is not None else []}

    async def _act_plan(self, args: Mapping[str, object], say: Say) -> Mapping[str, object]:
        from engine.diagnostics.plan import AccountScript, render_plan

        plan = self._repair(args).plan
        return {
            "fix": plan.fix,
            "title": plan.title,
            "text": render_plan(plan),
            "needs_admin": plan.needs_admin,
            "needs_password": plan.needs_password,
            "account": next((s.action.target.username for s in plan.steps if isinstance(s.action, AccountScript)), ""),
            "is_reversible": plan.is_reversible,
            "message": plan.title,
        }

    async def _act_fix(self, args: Mapping[str, object], say: Say) -> Mapping[str, object]:
        repair = self._repair(args)
        if args.get("fix") != repair.plan.fix:
            raise ControlRefused(
                "the plan is no longer the one that was shown", hint="look at it again", reason="plan_changed"
            )
        clinic = self._clinic(args)
        clinic.say = say
        outcome = await clinic.run(repair.plan, repair.before)
        if outcome.ending in ("failed", "not_helped"):
            raise ControlRefused(f"{repair.plan.fix}: {outcome.message}", reason=f"fix_{outcome.ending}")
        return {"ending": outcome.ending, "message": f"{repair.plan.fix}: {outcome.message}"}

    def _repair(self, args: Mapping[str, object]) -> _Repair:
        node_id, check = str(args.get("node_id", "")), str(args.get("check", ""))
        report = self._reports.get(node_id)
        result = report.find(check, node_id) if report is not None else None
        if report is None or result is None or not result.is_finding:
            raise ControlRefused("there is no such finding", hint="check the node first", reason="no_finding")
        (offer,) = self._clinic(args).offers(replace(report, results=(result,)))
        if offer.plan is None:
            raise ControlRefused(offer.words, reason="no_fix")
        return _Repair(offer.plan, result)

    def _clinic(self, args: Mapping[str, object]) -> Clinic:
        from engine.diagnostics.clinic import Access, Clinic

        # A login that a person typed lives as long as this one action.
        admin, password = args.get("admin"), args.get("password")
        access = Access(
            admin=admin if isinstance(admin, str) else "",
            password=password if isinstance(password, str) and password else None,
        )
        return Clinic(self._config(), self._clock, access, with_container=bool(args.get("container", False)))


def summary_of(results: tuple[Result, ...], at: float) -> dict[str, object]:
    """One node in a line: its verdict, and the rung that decided it."""
    worst = next((one for one in results if one.verdict.value == "failed"), None)
    worst = worst or next((one for one in results if one.verdict.value == "warning"), None)
    return {
        "node_id": results[0].subject.id,
        "label": results[0].subject.label[:80],
        "at": at,
        "verdict": worst.verdict.value if worst is not None else "ok",
        "check": worst.check if worst is not None else "",
        "title": worst.title[:120] if worst is not None else "",
        "cause": (worst.cause_words or "; ".join(worst.evidence))[:200] if worst is not None else "",
        "fix": worst.fixes[0] if worst is not None and worst.fixes else "",
        "findings": sum(one.is_finding for one in results),
        "passed": sum(one.verdict.value == "ok" for one in results),
        "rungs": len(results),
    }


def _rung(result: Result) -> dict[str, object]:
    return {
        "check": result.check,
        "title": result.title,
        "meaning": result.meaning,
        "verdict": result.verdict.value,
        "evidence": [text[:MOST_TEXT] for text in result.evidence[:8]],
        "cause": result.cause,
        "cause_words": result.cause_words,
        "fixes": list(result.fixes),
        "advice": result.advice,
        "reason": result.reason[:MOST_TEXT],
    }
