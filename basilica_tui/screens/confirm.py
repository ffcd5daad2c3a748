"""The dialog before anything dangerous: it names the object, and esc always means no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Key
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input

from basilica_tui.format import Line
from basilica_tui.lines import fit_line, line_width, spread
from basilica_tui.screens.answering import AnswersOnce
from basilica_tui.text import clean, wrap
from basilica_tui.widgets.lines import Lines
from basilica_tui.widgets.prompt import PromptInput

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp

WIDTH = 72
FRAME = 4
"""Rows of the border and of the padding inside of it."""
INPUT_ROWS = 2
ANSWER_ROWS = 2


class Confirm(AnswersOnce[bool], ModalScreen[bool]):
    """Asks once. With ``typed`` the answer is that word, otherwise the key ``y``.

    What is longer than the screen scrolls; how to answer stays in sight.
    """

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,Y", "yes", show=False),
        Binding("n,q,escape,ctrl+c", "no", show=False),
        Binding("down", "scroll(1)", show=False, priority=True),
        Binding("up", "scroll(-1)", show=False, priority=True),
        Binding("pagedown,ctrl+d", "scroll(8)", show=False, priority=True),
        Binding("pageup,ctrl+u", "scroll(-8)", show=False, priority=True),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def __init__(self, question: str, lines: Sequence[str], verb: str, *, typed: str = "") -> None:
        super().__init__()
        self._question = question
        self._text = list(lines)
        self._verb = verb
        self._typed = typed
        self._top = 0
        self._asked_at = float("inf")
        self._body = Lines(1, id="dialog-text")
        self._input = PromptInput()

    def compose(self) -> ComposeResult:
        """Question, explanation, how to answer."""
        self._body.ascii_only = cast("ConsoleApp", self.app).symbols.is_ascii
        with Vertical(id="dialog"):
            yield self._body
            if self._typed:
                yield self._input

    def on_mount(self) -> None:
        """A typed answer needs the keyboard."""
        self._draw()
        self._asked_at = Message().time
        if self._typed:
            self._input.focus()

    def is_answered_by(self, event: Key) -> bool:
        """Whether the key was typed when the question could be read, or leaves everything as it is.

        A paste, or what a slow link brings in one piece, agrees to nothing that nobody has seen.
        """
        return event.time >= self._asked_at or event.key in {"escape", "ctrl+c"}

    def on_resize(self) -> None:
        """Another size, other lines."""
        self._draw()

    def _draw(self) -> None:
        size = self.app.size
        width = min(WIDTH, size.width - 8)
        frame = self.query_one("#dialog")
        frame.styles.width = width + 6
        text = self._explanation(width)
        rest = size.height - ANSWER_ROWS - (INPUT_ROWS if self._typed else 0)
        is_tight = len(text) > rest - FRAME
        frame.set_class(is_tight, "-tight")
        room = max(rest - (FRAME // 2 if is_tight else FRAME), 1)
        self._top = max(min(self._top, len(text) - room), 0)
        shown = text[self._top : self._top + room]
        lines = [*shown, self._position(len(text), room, width), self._answer(width)]
        self._body.set_rows(len(lines))
        self._body.set_lines([fit_line(line, width) for line in lines])

    def _explanation(self, width: int) -> list[Line]:
        lines: list[Line] = [((part, "title"),) for part in wrap(clean(self._question), width)]
        lines.append(())
        for text in self._text:
            lines += [((part, ""),) for part in wrap(clean(text), width)] if text.strip() else [()]
        return lines

    def _position(self, total: int, room: int, width: int) -> Line:
        """How much is out of sight, and the keys that show it."""
        above, below = self._top, max(total - self._top - room, 0)
        parts = [f"{count} {word}" for count, word in ((above, "above"), (below, "below")) if count]
        return spread((), (("down up", "key"), (f" {', '.join(parts)}", "warn")), width) if parts else ()

    def _answer(self, width: int) -> Line:
        if self._typed:
            long: Line = (
                *(("type ", ""), (self._typed, "key"), (f" and enter to {self._verb}     ", "")),
                *(("esc", "key"), (" leave it", "")),
            )
            return long if line_width(long) <= width else (("type ", ""), (self._typed, "key"), ("  esc", "key"))
        yes: Line = (("y", "key"), (f" {self._verb}     ", ""), ("esc", "key"))
        long = (*yes, (" leave everything as it is", ""))
        return long if line_width(long) <= width else (*yes, (" leave it", ""))

    def action_scroll(self, step: int) -> None:
        """Look at the rest."""
        self._top += step
        self._draw()

    def action_yes(self) -> None:
        """Yes, unless a word is asked for."""
        if not self._typed:
            self.answer(True)

    def action_no(self) -> None:
        """No."""
        self.answer(False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The word must be exactly the one asked for."""
        event.stop()
        self.answer(event.value == self._typed)
