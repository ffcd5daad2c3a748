"""Running a plan: step by step with progress, verified by the check itself, taken back where it did not help.

Nothing here asks for consent: whoever calls has shown the plan. Every run is written down.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from engine.diagnostics.fix_local import Undo
from engine.diagnostics.fix_steps import Act, Hands, Report, StepFailed, StepRunner
from engine.diagnostics.model import Result, Verdict
from engine.diagnostics.plan import Plan, Step
from engine.errors import BasilicaError
from engine.ownership import make_private_directory, take_after_directory

Ending = Literal["repaired", "changed", "not_helped", "failed", "undone"]
_JOURNAL_LIMIT_BYTES = 4 << 20
__all__ = ["Act", "Ending", "Fixer", "Hands", "Outcome", "Report"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. ``changed``: all steps ran, and the check now finds another cause."""

    plan: Plan
    ending: Ending
    message: str
    after: Result | None = None


class Fixer:
    """Runs plans, one at a time."""

    def __init__(self, hands: Hands, *, report: Report = lambda _: None) -> None:
        self._hands = hands
        self._report = report
        self._steps = StepRunner(hands, report)

    async def run(self, plan: Plan, recheck: Callable[[], Awaitable[Result | None]], before: Result) -> Outcome:
        """Perform the steps, then ask the check again. Never raises BasilicaError: the outcome says it.

        Cancelled (Ctrl-C), the step that runs ends first, then everything is taken back and written down as undone.
        """
        undos: list[Undo] = []
        try:
            return await self._run(plan, recheck, before, undos)
        except asyncio.CancelledError:
            taken_back = await self._take_back(undos)
            outcome = self._end(Outcome(plan, "undone", f"interrupted{taken_back}"))
            self._report(outcome.message)
            raise

    async def _run(
        self, plan: Plan, recheck: Callable[[], Awaitable[Result | None]], before: Result, undos: list[Undo]
    ) -> Outcome:
        try:
            for number, step in enumerate(plan.steps, 1):
                self._report(f"{number}/{len(plan.steps)} {step.title}")
                await self._perform(step, undos)
        except BasilicaError as error:
            undos += error.undos if isinstance(error, StepFailed) else []
            taken_back = await self._take_back(undos)
            return self._end(Outcome(plan, "failed", f"{error}{taken_back}"))
        self._report("checking again")
        after = await recheck()
        if after is None or (after.verdict in (Verdict.OK, Verdict.WARNING) and before.verdict is Verdict.FAILED):
            return self._end(Outcome(plan, "repaired", "the check is fine now", after))
        if not after.is_finding and after.verdict is Verdict.OK:
            return self._end(Outcome(plan, "repaired", "the check is fine now", after))
        if after.cause != before.cause:
            return self._end(Outcome(plan, "changed", f"now {after.cause or after.reason}: {after.cause_words}", after))
        taken_back = await self._take_back(undos)
        return self._end(Outcome(plan, "not_helped", f"the check still finds {after.cause}{taken_back}", after))

    async def _perform(self, step: Step, undos: list[Undo]) -> None:
        """A step is not cut in the middle: only its end knows what takes it back."""
        running = asyncio.ensure_future(self._steps.perform(step))
        try:
            undos += await asyncio.shield(running)
        except asyncio.CancelledError:
            self._report("interrupted: this step ends first, then everything is taken back; again leaves it as it is")
            try:
                undos += await running
            except BasilicaError as error:
                undos += error.undos if isinstance(error, StepFailed) else []
            raise

    async def _take_back(self, undos: list[Undo]) -> str:
        if not undos:
            return ""
        self._report("taking it back")
        failures = []
        for undo in reversed(undos):
            try:
                await undo()
            except BasilicaError as error:  # the others still go: one that stays must not keep an old service stopped
                failures.append(str(error))
        if failures:
            done = len(undos) - len(failures)
            return f"; taking it back failed: {'; '.join(failures)}" + (
                f" ({done} of {len(undos)} done)" if done else ""
            )
        return "; what was changed is taken back"

    def _end(self, outcome: Outcome) -> Outcome:
        journal = self._hands.journal
        if journal is None:
            return outcome
        plan = outcome.plan
        entry = {
            "at": self._hands.clock.now(),
            "actor": self._hands.actor,
            "fix": plan.fix,
            "check": plan.check,
            "subject": plan.subject or "host",
            "steps": [step.command for step in plan.steps],
            "ending": outcome.ending,
            "message": outcome.message,
        }
        try:
            _write_down(journal, json.dumps(entry))
        except OSError as error:
            return replace(outcome, message=f"{outcome.message}; not written down in {journal}: {error.strerror}")
        return outcome


def _write_down(journal: Path, line: str) -> None:
    make_private_directory(journal.parent)
    handle = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "a", encoding="utf-8") as file:
        take_after_directory(journal)
        if file.tell() < _JOURNAL_LIMIT_BYTES:
            file.write(line + "\n")
