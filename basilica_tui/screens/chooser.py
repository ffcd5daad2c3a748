"""One list to choose from: the sort menu, the columns, the actions of a row, the palette."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from basilica_tui.filters import is_subsequence
from basilica_tui.format import Line
from basilica_tui.lines import line_width, spread
from basilica_tui.screens.answering import AnswersOnce
from basilica_tui.text import clean, fit
from basilica_tui.widgets.lines import Lines
from basilica_tui.widgets.prompt import PlainInput

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp

WIDTH = 72
MARGIN = 8
LOW = 16


@dataclass(frozen=True, slots=True)
class Choice:
    """One line: an id, what it says, a remark, and the key that chooses it at once. ``is_on`` None has no box."""

    id: str
    text: str
    note: str = ""
    key: str = ""
    is_on: bool | None = None
    danger: bool = False


def with_letters(choices: Sequence[Choice]) -> list[Choice]:
    """Each choice with a letter of its own, from its text where one is free; j, k, q and space move and close."""
    taken = set("jkqgG <>")
    lettered = []
    for choice in choices:
        letters = [c for c in choice.text.lower() if c.isascii() and c.isalpha()]
        key = next((c for c in (*letters, *"abcdefghilmnoprstuvwxyz") if c not in taken), "")
        taken.add(key)
        lettered.append(replace(choice, key=key))
    return lettered


def best_matches(choices: Sequence[Choice], typed: str) -> list[Choice]:
    """The choices that the letters fit, whole words first, then beginnings, then any order-keeping match."""
    wanted = typed.lower().replace(" ", "")
    if not wanted:
        return list(choices)

    def rank(choice: Choice) -> int:
        text, note = choice.text.lower(), choice.note.lower()
        if text.startswith(typed.lower()):
            return 0
        if typed.lower() in text:
            return 1
        if typed.lower() in note:
            return 2
        return 3 if is_subsequence(wanted, text) else 4

    ranked = [(rank(choice), number, choice) for number, choice in enumerate(choices)]
    return [choice for place, _, choice in sorted(ranked, key=lambda r: r[:2]) if place < 4]


class Chooser(AnswersOnce[str | None], ModalScreen[str | None]):
    """Ends with the chosen id, or None. ``toggle`` keeps it open: it is told the id and gives the new list.

    ``move`` lets ``<`` and ``>`` change the order in the same way.
    """

    AUTO_FOCUS = ""

    def __init__(
        self,
        title: str,
        choices: Sequence[Choice],
        *,
        typing: bool = False,
        toggle: Callable[[str], Sequence[Choice]] | None = None,
        move: Callable[[str, int], Sequence[Choice]] | None = None,
        start: str = "",
    ) -> None:
        super().__init__()
        self._title = title
        self._all = list(choices) if typing or toggle else with_letters(choices)
        self._shown = self._all
        self._typing = typing
        self._toggle = toggle
        self._move = move
        self._at = next((i for i, c in enumerate(self._all) if c.id == start), 0)
        self._top = 0
        self._body = Lines(1, id="dialog-text")
        self._input = PlainInput()

    @property
    def chosen(self) -> Choice | None:
        """The choice under the cursor."""
        return self._shown[self._at] if self._shown else None

    def compose(self) -> ComposeResult:
        """A list in a frame; the palette has a line to type in above it."""
        with Vertical(id="dialog", classes="chooser") as frame:
            frame.styles.width = self._width() + 6
            if self._typing:
                yield self._input
            self._body.set_rows(self._rows())
            self._body.ascii_only = cast("ConsoleApp", self.app).symbols.is_ascii
            yield self._body

    def on_mount(self) -> None:
        """Draw, and give the palette the keyboard."""
        if self._typing:
            self._input.focus()
        self._draw()

    def _width(self) -> int:
        return min(WIDTH, self.app.size.width - MARGIN)

    def _rows(self) -> int:
        # border, padding, input, and a line of the screen on each side; a low terminal has no room to spare
        height = self.app.size.height
        around = (8 if self._typing else 6) - (3 if height < LOW else 0)
        return max(min(len(self._all) + 3, height - around), 4)

    def _draw(self) -> None:
        width, room = self._width(), self._rows() - 3
        self._top = min(self._top, self._at)
        self._top = max(self._top, self._at - room + 1, 0)
        lines: list[Line] = [((clean(self._title), "title"),)]
        shown = self._shown[self._top : self._top + room]
        lines += [self._line(choice, i + self._top == self._at, width) for i, choice in enumerate(shown)]
        if not self._shown:
            lines.append((("nothing fits", "dim"),))
        lines += [()] * (room + 1 - len(lines))
        hidden = len(self._shown) - len(shown)
        answers = self._answers()
        long, short = f"{hidden} more", f"+{hidden}"
        words = long if line_width(answers) + len(long) + 2 <= width else short
        more: Line = ((f"  {words}", "dim"),) if hidden > 0 else ()
        lines += [(), spread(answers, more, width)]
        self._body.set_lines(lines)

    def _line(self, choice: Choice, is_here: bool, width: int) -> Line:
        symbols = cast("ConsoleApp", self.app).symbols
        box = "" if choice.is_on is None else f"[{'x' if choice.is_on else ' '}] "
        left: Line = ((f"{symbols.cursor if is_here else ' '} ", "accent"),)
        if not self._typing:
            left = (*left, (fit(choice.key, 2), "key"))
        tone = "title" if is_here else "bad" if choice.danger else ""
        names = max((len(c.text) for c in self._all), default=0) if self._typing else len(choice.text)
        left = (*left, (f"{box}{fit(clean(choice.text), names)}", tone))
        note: Line = ((f"  {clean(choice.note)}", "dim"),) if choice.note else ()
        right: Line = ((f" {choice.key}", "key"),) if self._typing and choice.key else ()
        return spread((*left, *note), right, width, symbols.ellipsis)

    def _answers(self) -> Line:
        verb = "run it" if self._typing else "switch" if self._toggle else "choose"
        answers: Line = (("enter", "key"), (f" {verb}   ", "dim"))
        if self._move is not None:
            answers = (*answers, ("< >", "key"), (" move   ", "dim"))
        return (*answers, ("esc", "key"), (" close", "dim"))

    def on_key(self, event: events.Key) -> None:
        """Movement, the choice's own letter, enter; a modal list takes every key."""
        key = event.key
        steps = {"down": 1, "up": -1, "pagedown": 10, "pageup": -10}
        if not self._typing:
            steps |= {"j": 1, "k": -1, "G": len(self._shown), "g": -len(self._shown), "tab": 1, "shift+tab": -1}
        if key in steps:
            self._at = max(min(self._at + steps[key], len(self._shown) - 1), 0)
            self._draw()
        elif key in {"escape", "ctrl+c"} or (key == "q" and not self._typing):
            self.answer(None)
        elif key == "enter" or (key == "space" and self._toggle is not None):
            self._take(self.chosen)
        elif key in {"less_than_sign", "greater_than_sign"} and self._move is not None:
            self._shift(-1 if key == "less_than_sign" else 1)
        elif self._typing:
            return
        elif (choice := next((c for c in self._shown if c.key == key), None)) is not None:
            self._take(choice)
        event.stop()
        event.prevent_default()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow the list while typing."""
        event.stop()
        self._shown, self._at = best_matches(self._all, event.value), 0
        self._draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the typed line."""
        event.stop()
        self._take(self.chosen)

    def _take(self, choice: Choice | None) -> None:
        if choice is not None and self._toggle is not None:
            self._all = self._shown = list(self._toggle(choice.id))
            self._draw()
        else:
            self.answer(choice.id if choice is not None else None)

    def _shift(self, step: int) -> None:
        choice = self.chosen
        if choice is not None and self._move is not None:
            self._all = self._shown = list(self._move(choice.id, step))
            self._at = next((i for i, c in enumerate(self._shown) if c.id == choice.id), 0)
            self._draw()
