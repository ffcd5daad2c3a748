"""One phase's work, the same for the wizard and an answers file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from engine.errors import BasilicaError, ConfigInvalid
from engine.setup import keys, work
from engine.setup.checking import check, progress_words
from engine.setup.phases import Phase, Setup


async def attempt(
    setup: Setup,
    say: Callable[[str], None],
    *,
    ask: Callable[[], str] | None = None,
    passing: Callable[[str], None] | None = None,
) -> str:
    """Do the present phase's work; returns why it cannot go on, or nothing. Raises ConfigInvalid.

    ``passing`` gets what only matters while the work goes on; without it that is said like the rest.
    """
    try:
        return await perform(setup, say, ask=ask, passing=passing)
    except ConfigInvalid:
        raise
    except BasilicaError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or ''}: {error.strerror or error}"


async def perform(
    setup: Setup,
    say: Callable[[str], None],
    *,
    ask: Callable[[], str] | None = None,
    password: str | None = None,
    passing: Callable[[str], None] | None = None,
) -> str:
    """Do the present phase's work; returns why it cannot go on, or nothing. Raises BasilicaError, OSError."""
    answers = setup.answers
    if setup.phase is Phase.KEYS:
        if answers.is_validator:
            await keys.open_hotkey(answers, say)
            return ""
        done = await keys.prepare_keys(answers, say, ask=ask, password=password)
        closed = sum(not one.is_in_place for one in done)
        if done and closed == len(done):
            return "the key is on none of the nodes"
        if closed:
            say(f"{closed} of {len(done)} nodes stay closed for now; the others serve")
    elif setup.phase is Phase.VERIFY:
        checked = await check(answers, lambda progress: (passing or say)(progress_words(progress)))
        for line in checked.lines or ("no findings",):
            say(line)
        return checked.refusal
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
