"""The one-line prompt for ``/``, ``&`` and ``:``; it takes the footer's place while it is open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Static

from basilica_tui.widgets.own_keys import OwnKeys

HISTORY_LIMIT = 50
WAITING_KEYS = 1_000


class PlainInput(OwnKeys, Input):
    """An input of one line without a blinking cursor."""

    def __init__(self) -> None:
        super().__init__(compact=True, select_on_focus=False)
        self.cursor_blink = False


class PromptInput(PlainInput):
    """An input whose arrows walk the history and whose tab completes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "history(-1)", show=False),
        Binding("down", "history(1)", show=False),
        Binding("tab", "complete", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.history: list[str] = []
        self.completions: Callable[[str], Sequence[str]] = lambda _: ()
        self._place = 0
        self._cycle: list[str] = []

    def start(self, text: str, history: list[str], completions: Callable[[str], Sequence[str]]) -> None:
        """Begin with this text."""
        self.history, self.completions = history, completions
        self._place = len(history)
        self.value = text
        self.cursor_position = len(text)

    def action_history(self, step: int) -> None:
        """An older or newer line."""
        self._place = min(max(self._place + step, 0), len(self.history))
        self._put(self.history[self._place] if self._place < len(self.history) else "")

    def action_complete(self) -> None:
        """Complete as far as all that fit agree; pressed again, go through them."""
        if self._cycle and self.value in self._cycle:
            self._put(self._cycle[(self._cycle.index(self.value) + 1) % len(self._cycle)])
            return
        fitting = list(self.completions(self.value))
        self._cycle = []
        if not fitting:
            return
        common = fitting[0]
        for other in fitting[1:]:
            while not other.startswith(common):
                common = common[:-1]
        if len(common) > len(self.value):
            self._put(common)
        elif len(fitting) > 1:
            self._cycle = fitting
            self._put(fitting[0] if fitting[0] != self.value else fitting[1])

    def _put(self, text: str) -> None:
        self.value = text
        self.cursor_position = len(text)


class LineInput(PromptInput):
    """The prompt's own input. What is typed behind enter is meant for what the line leads to, and waits for that."""

    def __init__(self) -> None:
        super().__init__()
        self._is_sent = False
        self._waiting: list[events.Key] = []
        self._lost = 0

    async def action_submit(self) -> None:
        """The line is complete."""
        self._is_sent = True
        await super().action_submit()

    async def take(self, event: events.Key | events.Paste) -> bool:
        """Do what the key means in the line; False when it means nothing there."""
        if self._is_sent:
            if isinstance(event, events.Key) and len(self._waiting) < WAITING_KEYS:
                self._waiting.append(event)
            else:
                self._lost += 1
            return True
        if isinstance(event, events.Key) and await self.run_own(event.key):
            return True
        text = _line_of(event)
        if text:
            self.replace(text, *self.selection)
        return bool(text)

    def release(self) -> tuple[list[events.Key], int]:
        """The line is closed: what was typed behind it, for the console, and else how many keys were too many.

        Half of a paste is not what anybody meant: where some are too many none of them is handed on.
        """
        waiting, lost = self._waiting, self._lost
        self._is_sent, self._waiting, self._lost = False, [], 0
        return ([], len(waiting) + lost) if lost else (waiting, 0)


def _line_of(event: events.Key | events.Paste) -> str:
    """What goes into a line: a letter, or the first line of what was pasted."""
    if isinstance(event, events.Paste):
        return next(iter(event.text.splitlines()), "")
    return (event.character or "") if event.is_printable else ""


class FirstOf(Suggester):
    """Shows how the line could go on; the right arrow takes it."""

    def __init__(self, completions: Callable[[str], Sequence[str]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._completions = completions

    async def get_suggestion(self, value: str) -> str | None:
        """The first line that begins like this."""
        return next((line for line in self._completions(value) if line != value), None)


class Prompt(Horizontal):
    """A mark and an input. Posts ``Typed`` while typing and ``Done`` at the end."""

    class Typed(Message):
        """The text changed."""

        def __init__(self, kind: str, text: str) -> None:
            super().__init__()
            self.kind, self.text = kind, text

    class Done(Message):
        """Enter was pressed."""

        def __init__(self, kind: str, text: str) -> None:
            super().__init__()
            self.kind, self.text = kind, text

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self.kind = ""
        self.is_open = False

    def compose(self) -> ComposeResult:
        """A mark, the input."""
        yield Static("/", id="prompt-mark", markup=False)
        yield LineInput()

    def open(
        self, kind: str, text: str, history: list[str], completions: Callable[[str], Sequence[str]] = lambda _: ()
    ) -> None:
        """Show the prompt and give it the keyboard."""
        self.kind, self.is_open = kind, True
        self.query_one("#prompt-mark", Static).update(kind)
        self.display = True
        field = self.query_one(LineInput)
        field.start(text, history, completions)
        field.suggester = FirstOf(completions) if kind == ":" else None
        self.screen.set_focus(field)  # at once: the next key may be here already

    def close(self) -> tuple[list[events.Key], int]:
        """Hide it and give the keyboard back, with what ``LineInput.release`` tells."""
        self.is_open = False
        self.display = False
        self.screen.set_focus(None)
        return self.query_one(LineInput).release()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell the screen as it is typed."""
        event.stop()
        if self.is_open:
            self.post_message(self.Typed(self.kind, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Tell the screen that it is complete."""
        event.stop()
        history = self.query_one(LineInput).history
        if event.value and (not history or history[-1] != event.value):
            history.append(event.value)
            del history[:-HISTORY_LIMIT]
        self.post_message(self.Done(self.kind, event.value))
