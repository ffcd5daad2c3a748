"""A setup from an answers file, without a question: the same phases and the same checks as the wizard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from engine.errors import ConfigInvalid
from engine.setup.perform import attempt
from engine.setup.phases import Setup, finish
from engine.setup.questions import problems_of
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
        say(f"{setup.number}/6 {setup.title}")
        try:
            refusal = await attempt(setup, lambda text: say(f"    {text}"))
        except ConfigInvalid as error:
            for problem in error.problems or (error.message,):
                say(f"    {problem}")
            return INVALID
        if refusal:
            say(f"    stopped: {refusal}")
            return FAILED
        setup = finish(setup)
        if state_file is not None:
            state_file = await _keep(state_file, setup, say)
    return SERVES


async def _keep(file: Path, setup: Setup, say: Callable[[str], None]) -> Path | None:
    """For a wizard that may come later; None where that cannot be, and then every step is merely looked at again."""
    try:
        await asyncio.to_thread(save_state, file, setup)
    except OSError as error:
        say(f"    note: where the setup stands cannot be kept in {file}: {error.strerror}")
        return None
    return file
