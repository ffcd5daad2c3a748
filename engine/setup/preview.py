"""What a page shows before anything is done: its checks, the files, the plan."""

from __future__ import annotations

from engine.clock import SystemClock
from engine.diagnostics.doctor import Doctor, Tools
from engine.diagnostics.model import Scope, Verdict
from engine.diagnostics.patient import patient_of
from engine.setup import work
from engine.setup.draft import draft_config, draft_text
from engine.setup.overwriting import losses
from engine.setup.phases import Phase, Setup
from engine.setup.serving import door_of

Told = tuple[str, str]
"""Tone (good, warn, bad or empty) and text."""
_TONES = {Verdict.OK: "good", Verdict.WARNING: "warn", Verdict.FAILED: "bad"}
_SCOPES = {Phase.KEYS: (Scope.WALLET,), Phase.CONFIG: (Scope.CONFIG,)}


async def preview(setup: Setup) -> list[Told]:
    """The page's lines. Raises BasilicaError for answers that mean nothing."""
    answers, phase = setup.answers, setup.phase
    if phase in _SCOPES:
        return await _checks(setup)
    if phase is Phase.INSTALL:
        text = draft_text(answers)
        told = [("warn", words) for words in losses(answers.config_path, text)]
        told += [("", f"{answers.data_dir}/  database, host keys, log"), ("", f"{answers.config_path}:")]
        return [*told, *(("", f"  {line}") for line in text.splitlines())]
    if phase is Phase.DEPLOY:
        plan = work.service_plan(answers)
        if plan is None:
            return [("warn", "nobody restarts the engine when it or this host stops")]
        return [("", line) for line in plan.lines(with_texts=False)]
    if phase is Phase.START:
        return [
            ("", f"run as: {work.service_of(answers)}"),
            ("", f"port {door_of(answers)[1]}, {answers.config_path}"),
        ]
    return []


async def _checks(setup: Setup) -> list[Told]:
    """The doctor's checks that this page's answers decide. A node key that is not made yet is no finding here."""
    answers = setup.answers
    told: list[Told] = []
    if setup.phase is Phase.KEYS and not answers.is_validator:
        entries = answers.entries()
        there = "is there" if answers.key_path.exists() else "will be made"
        told.append(("", f"{len(entries)} node{'' if len(entries) == 1 else 's'}; node key {answers.key_path} {there}"))
    report = await Doctor(patient_of(draft_config(answers)), Tools(SystemClock())).examine(_SCOPES[setup.phase])
    for one in report.results:
        if one.verdict is Verdict.SKIPPED or "miner_node_key_path" in " ".join(one.evidence):
            continue
        words = one.cause_words if one.is_finding else ""
        evidence = "; ".join(one.evidence)
        told.append((_TONES[one.verdict], f"{one.title}: {words or evidence or 'ok'}"))
    # Findings first: the top is in view.
    return sorted(told, key=lambda line: ("", "bad", "warn", "good").index(line[0]))
