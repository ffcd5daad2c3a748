"""The doctor inside a running engine: examine, show a plan, run it. What it finds becomes events, and so read models.

A plan runs only with the digest of exactly the text that was shown. What needs an administrator's password is left to
``basilica-tui doctor``: the engine never holds one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.chain import Chain
from engine.clock import Clock
from engine.control.actions import ActionTable, Report
from engine.diagnostics.doctor import Doctor, Progress, Tools
from engine.diagnostics.fixes import Case, plan_fix
from engine.diagnostics.fixing import Fixer, Hands
from engine.diagnostics.model import Report as Findings
from engine.diagnostics.model import Result, Scope, Verdict
from engine.diagnostics.patient import NodePatient, Patient
from engine.diagnostics.plan import Plan, render_plan
from engine.diagnostics.render import render_json
from engine.errors import ControlRefused
from engine.events import EventSink, ExaminationStarted, FixEnded, SubjectExamined
from engine.ssh.host_keys import HostKeys
from engine.ssh.pool import NodePool

Args = Mapping[str, object]
_NODE_SCOPES = frozenset({Scope.NODE, Scope.ACCESS})
_TEXT_LIMIT = 600


@dataclass(frozen=True)
class Surgery:
    """What the doctor works with in this engine. ``read`` gives the configuration as its file says it now."""

    read: Callable[[], Patient]
    clock: Clock
    emit: EventSink
    pins: HostKeys
    pool: NodePool | None = None
    chain: Chain | None = None
    actions: ActionTable | None = None
    """The engine's other verbs, which some fixes are made of."""


class DoctorActions:
    """The verbs ``doctor.run``, ``doctor.plan`` and ``doctor.fix``."""

    def __init__(self, surgery: Surgery) -> None:
        self._surgery = surgery
        self._results: dict[tuple[str, str], Result] = {}

    async def act(self, verb: str, args: Args, report: Report) -> Mapping[str, object]:
        """Perform one of the verbs. Raises ControlRefused."""
        verbs = {"doctor.run": self._run, "doctor.plan": self._plan, "doctor.fix": self._fix}
        return await verbs[verb](args, report)

    async def _run(self, args: Args, report: Report) -> Mapping[str, object]:
        node_id = _text(args, "node_id")
        patient = self._surgery.read()
        node = self._node(patient, node_id) if node_id else None
        found = await self._examine(patient, node, report)
        return {"report": json.loads(render_json(found))}

    async def _plan(self, args: Args, report: Report) -> Mapping[str, object]:
        del report
        plan = self._plan_of(args)
        text = render_plan(plan)
        return {
            "fix": plan.fix,
            "plan": text,
            "consent": _digest(text),
            "reversible": plan.is_reversible,
            "needs_admin": _needs_terminal(plan),
        }

    async def _fix(self, args: Args, report: Report) -> Mapping[str, object]:
        plan = self._plan_of(args)
        if _text(args, "consent") != _digest(render_plan(plan)):
            raise ControlRefused(
                "that is not the plan that was shown", hint="look at the plan again", reason="other_plan"
            )
        if _needs_terminal(plan):
            raise ControlRefused(
                f"{plan.fix} needs a login that this engine does not have",
                hint=f"on a terminal: basilica-tui doctor --fix --node {plan.subject or 'NODE'} --admin USER",
                reason="needs_admin",
            )
        before = self._results[(plan.check, plan.subject)]
        hands = Hands(
            self._surgery.clock, self._surgery.pins, self._surgery.pool, act=self._act, actor="operator (console)"
        )

        async def recheck() -> Result | None:
            patient = self._surgery.read()
            node = self._node(patient, plan.subject) if plan.subject else None
            return (await self._examine(patient, node, report)).find(plan.check, plan.subject)

        outcome = await Fixer(hands, report=report).run(plan, recheck, before)
        self._surgery.emit(
            FixEnded(
                at=self._surgery.clock.now(),
                fix=plan.fix,
                check=plan.check,
                node_id=plan.subject,
                ending=outcome.ending,
                message=outcome.message[:_TEXT_LIMIT],
                actor="operator",
            )
        )
        return {"ending": outcome.ending, "message": outcome.message}

    async def _act(self, verb: str, args: Args) -> object:
        actions = self._surgery.actions
        if actions is None:
            raise ControlRefused(f"this engine knows no action {verb!r}", reason="unknown_action")
        return await actions.run(verb, args, role="operator", actor="doctor")

    async def _examine(self, patient: Patient, node: NodePatient | None, report: Report) -> Findings:
        emit, clock = self._surgery.emit, self._surgery.clock
        subjects = [node.target.node_id] if node else ["", *(one.target.node_id for one in patient.nodes())]
        for subject in subjects:
            emit(ExaminationStarted(at=clock.now(), node_id=subject))

        def tell(progress: Progress) -> None:
            report(f"{progress.done}/{progress.total} {progress.subject.label}")

        tools = Tools(clock, self._surgery.pool, chain=self._surgery.chain, inside=True)
        doctor = Doctor(patient, tools, on_progress=tell)
        if node is not None:
            found = await doctor.examine(_NODE_SCOPES, [node.target.node_id])
        else:
            found = await doctor.examine()
        for subject in subjects:
            of_it = [one for one in found.results if one.subject.id == subject]
            self._results |= {(one.check, subject): one for one in of_it}
            emit(_examined(subject, of_it, clock.now()))
        return found

    def _plan_of(self, args: Args) -> Plan:
        check, node_id = _text(args, "check"), _text(args, "node_id")
        result = self._results.get((check, node_id))
        if result is None or not result.is_finding:
            raise ControlRefused(
                f"nothing is known to be wrong with {check}", hint="examine first", reason="no_finding"
            )
        patient = self._surgery.read()
        node = self._node(patient, node_id) if node_id else None
        pool = self._surgery.pool
        line = pool.key.public_line if pool is not None else ""
        plan = plan_fix(Case(result, patient, node, line), _text(args, "fix") or None)
        if isinstance(plan, str):
            raise ControlRefused(plan, reason="no_plan")
        return plan

    def _node(self, patient: Patient, node_id: str) -> NodePatient:
        found = next((one for one in patient.nodes() if one.target.node_id == node_id), None)
        if found is None:
            raise ControlRefused("no such node", reason="unknown_node")
        return found


def _examined(node_id: str, results: list[Result], at: float) -> SubjectExamined:
    counts = {verdict: sum(one.verdict is verdict for one in results) for verdict in Verdict}
    return SubjectExamined(
        at=at,
        node_id=node_id,
        ok=counts[Verdict.OK],
        warnings=counts[Verdict.WARNING],
        failed=counts[Verdict.FAILED],
        skipped=counts[Verdict.SKIPPED],
        rungs=tuple(map(_rung, results)),
    )


def _rung(result: Result) -> str:
    values = {
        "check": result.check,
        "title": result.title,
        "verdict": result.verdict.value,
        "cause": result.cause,
        "cause_words": result.cause_words,
        "evidence": "; ".join(result.evidence)[:_TEXT_LIMIT],
        "meaning": result.meaning if result.is_finding else "",
        "fixes": " ".join(result.fixes),
        "advice": result.advice,
        "reason": result.reason[:_TEXT_LIMIT],
    }
    return json.dumps({name: value for name, value in values.items() if value})


def _needs_terminal(plan: Plan) -> bool:
    return plan.needs_admin or plan.needs_password


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _text(args: Args, name: str) -> str:
    value = args.get(name)
    return value if isinstance(value, str) else ""
