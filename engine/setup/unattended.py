"""A setup from an answers file, without a question: the same phases and the same checks as the wizard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine.errors import BasilicaError, ConfigInvalid
from engine.setup import work
from engine.setup.answers import problems_of
from engine.setup.phases import TITLES, Phase, Setup, finish
from engine.setup.state_file import save_state

SERVES, INVALID, FAILED = 0, 2, 3
"""Exit codes."""


async def run_unattended(setup: Setup, say: Callable[[str], None], *, state_file: Path | None = None) -> int:
    """Go from the first unfinished phase to a serving engine; returns the exit code. Consent was given by calling."""
    problems = problems_of(setup.answers)
    if problems:
        for key, text in problems.items():
            say(f"{key}: {text}")
        return INVALID
    while not setup.is_complete:
        say(f"{setup.number}/6 {TITLES[setup.phase]}")
        try:
            refusal = await perform(setup, lambda text: say(f"    {text}"))
        except ConfigInvalid as error:
            for problem in error.problems or (error.message,):
                say(f"    {problem}")
            return INVALID
        except BasilicaError as error:
            refusal = str(error)
        except OSError as error:
            refusal = f"{error.filename or ''}: {error.strerror or error}"
        if refusal:
            say(f"    stopped: {refusal}")
            return FAILED
        setup = finish(setup)
        if state_file is not None:
            await asyncio.to_thread(save_state, state_file, setup)
    return SERVES


async def perform(
    setup: Setup, say: Callable[[str], None], *, ask: Callable[[], str] | None = None, password: str | None = None
) -> str:
    """Do the present phase's work; returns why it cannot go on, or nothing. Raises BasilicaError, OSError."""
    answers = setup.answers
    if setup.phase is Phase.KEYS:
        done = await work.prepare_keys(answers, say, ask=ask, password=password)
        closed = sum(not one.is_in_place for one in done)
        if done and closed == len(done):
            return "the key is on none of the nodes"
        if closed:
            say(f"{closed} of {len(done)} nodes stay closed for now; the others serve")
    elif setup.phase is Phase.VERIFY:
        checked = await work.check(answers)
        for finding in checked.findings:
            say(finding)
        if not checked.findings:
            say("no findings")
        if checked.blocking:
            return checked.blocking[0]
    elif setup.phase is Phase.INSTALL:
        await asyncio.to_thread(work.install, answers, say)
    elif setup.phase is Phase.DEPLOY:
        plan = work.service_plan(answers)
        for line in plan.lines(with_texts=False) if plan else ():
            say(line)
        await asyncio.to_thread(work.deploy, plan, say)
    elif setup.phase is Phase.START:
        say(await work.start(answers, say))
    return ""


def with_defaults(setup: Setup) -> Setup:
    """The setup with what this host suggests filled in, so that a page can show it."""
    if setup.answers.service:
        return setup
    return replace(setup, answers=replace(setup.answers, service=work.suggested_service()))
