"""The one-line prompt for ``/`` and ``:``; it takes the footer's place while it is open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

HISTORY_LIMIT = 50


class PromptInput(Input):
    """An input without a blinking cursor whose arrows walk the history."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "history(-1)", show=False),
        Binding("down", "history(1)", show=False),
        Binding("tab", "complete", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(compact=True, select_on_focus=False)
        self.cursor_blink = False
        self.history: list[str] = []
        self.completions: Callable[[str], Sequence[str]] = lambda _: ()
        self._place = 0

    def start(self, text: str, history: list[str], completions: Callable[[str], Sequence[str]]) -> None:
        """Begin with this text."""
        self.history, self.completions = history, completions
        self._place = len(history)
        self.value = text
        self.cursor_position = len(text)

    def action_history(self, step: int) -> None:
        """An older or newer line."""
        self._place = min(max(self._place + step, 0), len(self.history))
        self.value = self.history[self._place] if self._place < len(self.history) else ""
        self.cursor_position = len(self.value)

    def action_complete(self) -> None:
        """Complete what was typed when only one command fits, or as far as all that fit agree."""
        fitting = list(self.completions(self.value))
        if not fitting:
            return
        common = fitting[0]
        for other in fitting[1:]:
            while not other.startswith(common):
                common = common[:-1]
        if len(common) > len(self.value):
            self.value = common
            self.cursor_position = len(common)


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
        yield PromptInput()

    def open(
        self, kind: str, text: str, history: list[str], completions: Callable[[str], Sequence[str]] = lambda _: ()
    ) -> None:
        """Show the prompt and give it the keyboard."""
        self.kind, self.is_open = kind, True
        self.query_one("#prompt-mark", Static).update(kind)
        self.display = True
        field = self.query_one(PromptInput)
        field.start(text, history, completions)
        field.focus()

    def close(self) -> None:
        """Hide it and give the keyboard back."""
        self.is_open = False
        self.display = False
        self.screen.set_focus(None)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell the screen as it is typed."""
        event.stop()
        if self.is_open:
            self.post_message(self.Typed(self.kind, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Tell the screen that it is complete."""
        event.stop()
        history = self.query_one(PromptInput).history
        if event.value and (not history or history[-1] != event.value):
            history.append(event.value)
            del history[:-HISTORY_LIMIT]
        self.post_message(self.Done(self.kind, event.value))
