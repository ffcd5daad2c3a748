"""The check phase: what the doctor says of a configuration that is not written yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from engine.clock import SystemClock
from engine.diagnostics.doctor import Doctor, Progress, Tools
from engine.diagnostics.model import Scope
from engine.diagnostics.patient import patient_of
from engine.lean import load_sdk
from engine.setup.answers import Answers
from engine.setup.draft import draft_config
from engine.setup.judging import Checked, is_of_a_setup, judge

SCOPES = (Scope.CONFIG, Scope.WALLET, Scope.HOST, Scope.CHAIN, Scope.NODE)


async def check(answers: Answers, on_progress: Callable[[Progress], None] = lambda _: None) -> Checked:
    """The doctor's checks of the configuration that is to be written. Raises ConfigInvalid."""
    patient = patient_of(draft_config(answers))
    tools = Tools(SystemClock(), with_container=False)
    await asyncio.to_thread(load_sdk)  # a second of work, and a wizard is looked at meanwhile
    report = await Doctor(patient, tools, on_progress=on_progress).examine(SCOPES)
    return judge(replace(report, results=tuple(filter(is_of_a_setup, report.results))))


def progress_words(progress: Progress) -> str:
    """One line about what has just been looked at."""
    found = sum(one.is_finding and is_of_a_setup(one) for one in progress.results)
    subject = progress.subject.label if progress.scope is Scope.NODE else progress.scope.value
    words = f"{found} finding{'s' if found > 1 else ''}" if found else "ok"
    return f"{progress.done}/{progress.total} {subject}: {words}"
