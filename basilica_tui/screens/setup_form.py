"""One page of questions: a label, a field, and what a mistake would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input

from basilica_tui.format import Line
from basilica_tui.widgets.lines import Lines
from basilica_tui.widgets.own_keys import OwnKeys
from engine.setup.nodes import one_line
from engine.setup.questions import Question

LABEL_WIDTH = 16


class TextField(OwnKeys, Input):
    """One line of text, without a frame; several pasted lines become one, separated by commas."""

    def __init__(self, key: str, value: str, empty: str = "", *, is_default: bool = False) -> None:
        """``empty`` is shown where nothing is typed: what that means. Typing replaces a default whole."""
        self._given = self._heard = value
        super().__init__(
            value, placeholder=empty, id=f"field-{key}", classes="setup-field", select_on_focus=is_default, compact=True
        )
        self.cursor_blink = False
        self.key = key

    def is_news(self, text: str) -> bool:
        """Whether a person changed the text to this. A field tells its first text too, and late on a busy machine."""
        is_news, self._heard = text != self._heard, text
        return is_news

    def on_blur(self) -> None:
        """Once somebody has typed it is theirs, and coming back must not put all of it at the mercy of one key."""
        self.select_on_focus = self.select_on_focus and self.value == self._given

    def _on_paste(self, event: events.Paste) -> None:
        join = one_line if self.key == "nodes" else _joined
        text = join(event.text)
        start, end = sorted((self.selection.start, self.selection.end))
        if len(event.text.strip().splitlines()) > 1:  # a list of its own: not part of the word before or behind it
            before, behind = self.value[:start].rstrip(), self.value[end:].lstrip()
            text = f"{', ' if before and before[-1] != ',' else ''}{text}{', ' if behind[:1] not in ('', ',') else ''}"
        self.replace("".join(c for c in text if c.isprintable()), start, end)
        event.stop()
        event.prevent_default()


class ChoiceField(OwnKeys, Lines, can_focus=True):
    """One of a few words; left and right, or the first letter, choose."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "turn(-1)", show=False),
        Binding("right,space", "turn(1)", show=False),
    ]

    class Changed(Message):
        """Another choice."""

        def __init__(self, key: str, value: str) -> None:
            super().__init__()
            self.key, self.value = key, value

    def __init__(self, key: str, value: str, choices: Sequence[str]) -> None:
        super().__init__(1, id=f"field-{key}", classes="setup-field")
        self.key, self.value, self._choices = key, value, tuple(choices)

    def on_mount(self) -> None:
        """Show the choices."""
        self._draw()

    def watch_has_focus(self, has_focus: bool) -> None:
        """The present choice is marked while the cursor is here."""
        super().watch_has_focus(has_focus)
        self._draw()

    def on_key(self, event: events.Key) -> None:
        """A first letter chooses."""
        found = next((c for c in self._choices if event.character and c.startswith(event.character)), None)
        if found is not None:
            event.stop()
            self._choose(found)

    def action_turn(self, step: int) -> None:
        """The next or the former choice."""
        index = self._choices.index(self.value) if self.value in self._choices else 0
        self._choose(self._choices[(index + step) % len(self._choices)])

    def _choose(self, value: str) -> None:
        self.value = value
        self._draw()
        self.post_message(self.Changed(self.key, value))

    def _draw(self) -> None:
        line: list[tuple[str, str]] = []
        for choice in self._choices:
            chosen = choice == self.value
            mark = ("[" if self.has_focus else "(") if chosen else " "
            close = ("]" if self.has_focus else ")") if chosen else " "
            line.append((f"{mark}{choice}{close} ", "key" if chosen else "dim"))
        self.set_lines([tuple(line)])


class Row(Horizontal):
    """A label and its field."""

    def __init__(self, label: str, field: TextField | ChoiceField) -> None:
        super().__init__(classes="setup-row")
        self._label, self._field = label, field

    def compose(self) -> ComposeResult:
        """Label left, field right."""
        label = Lines(1, classes="setup-label")
        label.set_lines([((self._label, "dim"),)])
        yield label
        yield self._field


def rows_of(questions: Sequence[Question], values: Mapping[str, object], defaults: Mapping[str, object]) -> list[Row]:
    """The rows of a page."""
    rows = []
    for question in questions:
        value, is_default = _text(question.key, values[question.key]), values[question.key] == defaults[question.key]
        field = (
            ChoiceField(question.key, value, question.choices)
            if question.choices
            else TextField(question.key, value, question.empty, is_default=is_default)
        )
        rows.append(Row(question.label, field))
    return rows


def steps_line(number: int, titles: Sequence[str], done: Sequence[bool], width: int, *, ascii_only: bool) -> list[Line]:
    """Where one is: the title, and a mark for each step."""
    marks = ("x", ">", ".") if ascii_only else ("✓", "▶", "·")
    bar: list[tuple[str, str]] = []
    for index, is_done in enumerate(done, start=1):
        mark = marks[1] if index == number else marks[0] if is_done else marks[2]
        tone = "key" if index == number else "good" if is_done else "dim"
        bar.append((f"{index}{mark} ", tone))
    title = f" basilica-tui setup   {number}/{len(titles)}  {titles[number - 1]}"
    gap = max(width - len(title) - 3 * len(done) - 1, 1)
    return [((title, "title"), (" " * gap, ""), *bar)]


def _joined(text: str) -> str:
    return ", ".join(line.strip() for line in text.splitlines() if line.strip())


def _text(key: str, value: object) -> str:
    if isinstance(value, float):
        return "" if value < 0 else f"{value:.12g}"
    return one_line(str(value)) if key == "nodes" and "\n" in str(value) else str(value)
