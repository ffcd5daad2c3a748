"""``:config edit``: the console steps aside for the operator's editor, then shows what would change and asks."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from basilica_tui.config_edit import Edited, copy_to_edit, editor_of, judge_copy, put_in_place, without_header
from basilica_tui.screens.confirm import Confirm
from basilica_tui.screens.engine_actions import reload_engine
from engine.errors import BasilicaError

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp

TOLD_S = 15.0


async def edit_config(desk: ConsoleApp) -> None:
    """Edit the file of the engine that is shown; whatever stands against it is said, with what to do instead."""
    try:
        answer = await desk.link.act("config.show", {})
    except BasilicaError as error:
        desk.say(f"the configuration cannot be read: {error}", "bad", TOLD_S)
        return
    place = str(answer.get("path") or "")
    refusal = _why_not(desk, place)
    if refusal:
        desk.say(refusal, "warn", TOLD_S)
        return
    try:
        with copy_to_edit(Path(place)) as (copy, sha256):
            edited = await _until_valid(desk, Path(place), copy)
        if edited is None:
            return
        kept = await asyncio.to_thread(put_in_place, Path(place), edited.text, sha256)
    except BasilicaError as error:
        desk.say(f"nothing was saved: {error}", "bad", TOLD_S)
        return
    desk.say(f"saved; the file before is {kept.name if kept else 'none'}", "good", TOLD_S)
    reload_engine(desk)


def _why_not(desk: ConsoleApp, place: str) -> str:
    if not place:
        return "this engine was not started from a file"
    if desk.is_remote:
        return f"the file is on the engine's host; there:   basilica-tui config edit -c {place}"
    if not Path(place).is_file():
        return f"{place} is not to be found from here"
    if not desk.can_step_aside:
        return f"there is no terminal to edit in: change {place} yourself, then   :engine reload"
    if not editor_of(os.environ):
        return f"no editor is named: set EDITOR, or change {place} yourself, then   :engine reload"
    return ""


async def _until_valid(desk: ConsoleApp, path: Path, copy: Path) -> Edited | None:
    while True:
        failure = await _run_editor(desk, copy)
        if failure:
            desk.say(f"nothing was changed: {failure}", "warn", TOLD_S)
            return None
        edited = await asyncio.to_thread(judge_copy, path, copy)
        if not edited.diff:
            desk.say("nothing was changed")
            return None
        if not edited.problems:
            lines = [*without_header(edited.diff), "", *(f"warning: {w}" for w in edited.warnings[:3])]
            return edited if await _ask(desk, f"Save {path.name}?", lines, "save, after a backup") else None
        lines = ["The engine would refuse it:", *edited.problems]
        if not await _ask(desk, f"Edit {path.name} again?", lines, "edit again"):
            desk.say("nothing was changed")
            return None


async def _run_editor(desk: ConsoleApp, copy: Path) -> str:
    """Returns why it did not work, if it did not."""
    words = editor_of(os.environ)
    # ctrl+c in the editor's terminal reaches this program too; a handler, unlike ignoring, is not inherited.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with desk.stepping_aside():
            process = await asyncio.create_subprocess_exec(*words, str(copy))
            status = await process.wait()
    except OSError as error:
        return f"{words[0]} cannot be started: {error.strerror}"
    finally:
        signal.signal(signal.SIGINT, before)
    return f"{words[0]} ended with status {status}" if status else ""


async def _ask(desk: ConsoleApp, question: str, lines: Sequence[str], verb: str) -> bool:
    answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def decided(is_sure: bool | None) -> None:
        if not answered.done():
            answered.set_result(bool(is_sure))

    desk.push_screen(Confirm(question, lines, verb), decided)
    return await answered
