"""What a page of the setup shows before its work, and its work: the engine's part, told to a screen."""

# ruff: noqa: PLC0415 - engine.setup brings SSH and the doctor, which only the pages' work needs

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from textual.app import App

from basilica_tui.format import plural
from basilica_tui.screens.setup_password import ask_password
from engine.errors import BasilicaError, ConfigInvalid
from engine.setup.phases import Setup

_MARKS = {"bad": "!! ", "warn": "! "}
"""Colour is never the only sign."""


async def do_work(
    setup: Setup, say: Callable[[str], None], app: App[Any], *, passing: Callable[[str], None] | None = None
) -> str:
    """The present page's work, told line by line; returns why it cannot go on, or nothing. Asks for a password once.

    ``passing`` gets what only matters while the work goes on.
    """
    from engine.setup.perform import attempt

    loop = asyncio.get_running_loop()

    def say_here(text: str) -> None:
        loop.call_soon_threadsafe(say, text)

    def ask() -> str:
        return asyncio.run_coroutine_threadsafe(ask_password(app), loop).result()

    try:
        refusal = await attempt(setup, say_here, ask=ask, passing=passing)
    except ConfigInvalid as error:
        refusal = str(error)
    await asyncio.sleep(0)  # what was said from threads comes first
    return refusal


async def look_ahead(setup: Setup, problems: Sequence[str]) -> list[tuple[str, str]]:
    """Tone and text of what a page shows; ``problems`` of its own answers come first."""
    from engine.setup import preview

    try:
        lines = await preview.preview(setup)
    except ConfigInvalid as error:
        lines = [] if problems or not setup.answers.nodes else [("bad", problem) for problem in error.problems]
    except BasilicaError as error:
        lines = [("bad", str(error))]
    told = [*(("bad", problem) for problem in problems), *lines]
    return [(tone, f"{_MARKS.get(tone, '')}{text}") for tone, text in told]


def check_words(refusal: str, found: Sequence[str]) -> str:
    """The check's verdict in one line: what stops a setup, or that the rest is left to the operator."""
    if refusal:
        return f"!! {refusal}"
    failed = sum(line.startswith("!!") for line in found)
    if failed:
        return f"! {plural(failed, 'failure')} to weigh; the engine starts all the same, and ctrl+n goes on"
    return "ok nothing stops the engine; ctrl+n goes on"
