"""The check phase: what the doctor says of a configuration that is not written yet, and what of it stops a setup."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.clock import SystemClock
from engine.diagnostics.doctor import Doctor, Progress, Tools
from engine.diagnostics.model import Report, Result, Scope, Verdict
from engine.diagnostics.patient import patient_of
from engine.lean import load_sdk
from engine.setup.answers import Answers
from engine.setup.draft import draft_config

SCOPES = (Scope.CONFIG, Scope.WALLET, Scope.HOST, Scope.CHAIN, Scope.NODE)
_ONLY_WHEN_SERVED = frozenset({"chain.age", "chain.axon", "chain.immunity"})
"""Findings that every engine has which never ran."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdict of the check phase. ``blocking`` sentences stop the setup; the rest is for the operator to weigh."""

    report: Report
    blocking: tuple[str, ...]
    findings: tuple[str, ...]


async def check(answers: Answers, on_progress: Callable[[Progress], None] = lambda _: None) -> Checked:
    """The doctor's checks of the configuration that is to be written. Raises ConfigInvalid."""
    patient = patient_of(draft_config(answers))
    tools = Tools(SystemClock(), with_container=False)
    await asyncio.to_thread(load_sdk)  # a second of work, and a wizard is looked at meanwhile
    report = await Doctor(patient, tools, on_progress=on_progress).examine(SCOPES)
    return judge(replace(report, results=tuple(one for one in report.results if one.check not in _ONLY_WHEN_SERVED)))


def judge(report: Report) -> Checked:
    """What stops a setup: an engine that would not start, or no node at all that can be entered."""
    failed = [one for one in report.findings if one.verdict is Verdict.FAILED]
    blocking = [
        f"{one.title}: {one.cause_words or '; '.join(one.evidence)}"
        for one in failed
        if one.scope in (Scope.CONFIG, Scope.WALLET) or one.check == "host.ports"
    ]
    logins = [one for one in report.results if one.check == "node.shell"]
    if logins and not any(one.verdict in (Verdict.OK, Verdict.WARNING) for one in logins):
        blocking.append("no node can be entered with the miner's key")
    findings = [f"{one.subject.label}: {one.title}: {_words(one)}" for one in report.findings]
    return Checked(report, tuple(blocking), tuple(findings))


def _words(result: Result) -> str:
    evidence = result.evidence[0] if result.evidence else ""
    return f"{result.cause_words} ({evidence})" if result.cause_words and evidence else result.cause_words or evidence


def progress_words(progress: Progress) -> str:
    """One line about what has just been looked at."""
    found = sum(one.is_finding and one.check not in _ONLY_WHEN_SERVED for one in progress.results)
    subject = progress.subject.label if progress.scope is Scope.NODE else progress.scope.value
    words = f"{found} finding{'s' if found > 1 else ''}" if found else "ok"
    return f"{progress.done}/{progress.total} {subject}: {words}"
