"""The dialog before anything dangerous: it names the object, and esc always means no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from basilica_tui.format import Line
from basilica_tui.lines import fit_line
from basilica_tui.text import clean, wrap
from basilica_tui.widgets.lines import Lines
from basilica_tui.widgets.prompt import PromptInput

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp

WIDTH = 72


class Confirm(ModalScreen[bool]):
    """Asks once. With ``typed`` the answer is that word, otherwise the key ``y``."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,Y", "yes", show=False),
        Binding("n,q,escape,ctrl+c", "no", show=False),
    ]

    def __init__(self, question: str, lines: Sequence[str], verb: str, *, typed: str = "") -> None:
        super().__init__()
        self._question = question
        self._text = list(lines)
        self._verb = verb
        self._typed = typed
        self._input = PromptInput()

    def compose(self) -> ComposeResult:
        """Question, explanation, how to answer."""
        desk = cast("ConsoleApp", self.app)
        width = min(WIDTH, self.app.size.width - 8)
        shown = self._layout(width)
        with Vertical(id="dialog") as frame:
            frame.styles.width = width + 6
            body = Lines(len(shown), id="dialog-text")
            body.ascii_only = desk.symbols.is_ascii
            body.set_lines(shown)
            yield body
            if self._typed:
                yield self._input

    def on_mount(self) -> None:
        """A typed answer needs the keyboard."""
        if self._typed:
            self._input.focus()

    def _layout(self, width: int) -> list[Line]:
        lines: list[Line] = [((clean(self._question), "title"),), ()]
        for text in self._text:
            lines += [((part, ""),) for part in wrap(clean(text), width)] if text.strip() else [()]
        answer: Line = (("y", "key"), (f" {self._verb}     ", ""), ("esc", "key"), (" leave everything as it is", ""))
        if self._typed:
            answer = (
                ("type ", ""),
                (self._typed, "key"),
                (f" and enter to {self._verb}     ", ""),
                ("esc", "key"),
                (" leave it", ""),
            )
        return [fit_line(line, width) for line in [*lines, (), answer]]

    def action_yes(self) -> None:
        """Yes, unless a word is asked for."""
        if not self._typed:
            self.dismiss(True)

    def action_no(self) -> None:
        """No."""
        self.dismiss(False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The word must be exactly the one asked for."""
        event.stop()
        self.dismiss(event.value == self._typed)
