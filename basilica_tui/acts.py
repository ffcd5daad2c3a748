"""What the operator asks of the engine: one action or one on many objects, with progress and outcome in the footer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from engine.errors import BasilicaError

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp

AT_ONCE = 8
"""Of one bulk action; the engine takes 32 requests of a console."""
OUTCOME_S = 15.0
Call = tuple[Mapping[str, object], str]
"""Arguments, and the words for them."""


class Acts:
    """Sends actions; a read-only console refuses before the engine would."""

    def __init__(self, desk: ConsoleApp) -> None:
        self._desk = desk

    def one(self, verb: str, args: Mapping[str, object], words: str, then: Callable[[], None] | None = None) -> None:
        """One action; ``then`` follows a success."""
        desk = self._desk
        if desk.read_only:
            desk.say(desk.refusal, "warn")
            return
        desk.hurry()
        desk.say(f"{words} ...")
        desk.start(self._one(verb, args, words, then))

    def each(self, verb: str, calls: Sequence[Call]) -> None:
        """The same action on several objects, a few at a time; the footer counts, and names what did not work."""
        desk = self._desk
        if len(calls) == 1:
            self.one(verb, *calls[0])
        elif desk.read_only:
            desk.say(desk.refusal, "warn")
        elif calls:
            desk.hurry()
            desk.start(self._each(verb, calls))

    async def _one(self, verb: str, args: Mapping[str, object], words: str, then: Callable[[], None] | None) -> None:
        desk = self._desk
        try:
            result = await desk.link.act(verb, args, lambda text: desk.say(f"{words}: {text}"))
        except BasilicaError as error:
            desk.say(f"{words}: {error}", "bad")
        else:
            outcome = result.get("message") or result.get("outcome") or "done"
            desk.say(f"{words}: {outcome}", "good")
            if then is not None:
                then()
        desk.hurry()

    async def _each(self, verb: str, calls: Sequence[Call]) -> None:
        desk, slots, done, failed = self._desk, asyncio.Semaphore(AT_ONCE), 0, list[str]()

        async def one(args: Mapping[str, object], words: str) -> None:
            nonlocal done
            async with slots:
                try:
                    await desk.link.act(verb, args)
                except BasilicaError as error:
                    failed.append(f"{words}: {error}")
            done += 1
            desk.say(f"{verb} {done} of {len(calls)} ...")

        async with asyncio.TaskGroup() as group:
            for args, words in calls:
                group.create_task(one(args, words))
        said = f"{verb}: {len(calls) - len(failed)} of {len(calls)} done"
        desk.say(f"{said}; {failed[0]}" if failed else said, "bad" if failed else "good", OUTCOME_S)
        desk.hurry()
