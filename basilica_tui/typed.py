"""Hands what is typed to what it is meant for, in the order in which it was typed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from textual.events import Event, Key, Paste

from basilica_tui.bindings import binding_of
from basilica_tui.dispatch import needs_no_screen
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.confirm import Confirm
from basilica_tui.widgets.prompt import LineInput

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp


class Typed:
    """A slow link brings many keys in one piece; each acts before the next one is looked at.

    Textual sends a key by way of the screen, to the field and back. Of ``:nodes`` in one piece the letters would be on
    their way to the screen before ``:`` had opened the prompt, and of ``/gpu``, escape, ``!`` the last one would be in
    the field before escape had closed it.
    """

    def __init__(self, desk: ConsoleApp, otherwise: Callable[[Event], Awaitable[None]]) -> None:
        """``otherwise`` is Textual's own way, for dialogs and fields in them."""
        self._desk = desk
        self._otherwise = otherwise
        self._waiting: list[Key | Paste] = []

    async def take(self, event: Key | Paste) -> None:
        """What was typed before it first."""
        self._waiting.append(event)
        await self.go_on()

    def put_first(self, keys: Sequence[Key]) -> None:
        """These were typed before anything that comes from now on."""
        self._waiting[:0] = keys
        self._desk.call_later(self.go_on)

    async def go_on(self) -> None:
        """Hand on what waits, as far as what is shown can take it."""
        while self._waiting and self._can_take(self._waiting[0]):
            await self._give(self._waiting.pop(0))

    def _can_take(self, event: Key | Paste) -> bool:
        """A screen that is not drawn yet has no row for a key to mean; going elsewhere needs none."""
        screen = self._desk.screen
        if not isinstance(screen, ConsoleScreen) or screen.is_drawn or isinstance(event, Paste):
            return True
        binding = binding_of(event.key, screen.SCREEN_ID, self._desk.bindings_table)
        return binding is None or needs_no_screen(binding.id)

    async def _give(self, event: Key | Paste) -> None:
        desk = self._desk
        screen, field = desk.screen, desk.focused
        if isinstance(screen, Confirm) and isinstance(event, Key) and not screen.is_answered_by(event):
            return
        if isinstance(screen, ConsoleScreen) and isinstance(field, LineInput):
            if await field.take(event) or isinstance(event, Paste):
                return
        elif field is not None or not isinstance(screen, ConsoleScreen) or isinstance(event, Paste):
            await self._otherwise(event)
            return
        if not await desk._check_bindings(event.key, priority=True):
            await desk._check_bindings(event.key)
