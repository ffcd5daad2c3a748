"""The dialog for a login on a node: whose, and the password, which is handed on once and kept nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from basilica_tui.format import Line
from basilica_tui.lines import fit_line
from basilica_tui.screens.answering import AnswersOnce
from basilica_tui.text import clean, wrap
from basilica_tui.widgets.lines import Lines
from basilica_tui.widgets.prompt import PlainInput

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp

WIDTH = 72


@dataclass(frozen=True, slots=True)
class NodeLogin:
    """What was typed. Without ``admin`` the password is the account's own; without ``password`` a key has to do."""

    admin: str
    password: str = field(repr=False)


class AskLogin(AnswersOnce[NodeLogin | None], ModalScreen[NodeLogin | None]):
    """Two fields; enter goes to the second and then on, esc means no."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "no", show=False),
        Binding("tab,down", "other", show=False, priority=True),
        Binding("shift+tab,up", "other", show=False, priority=True),
    ]

    def __init__(self, question: str, lines: Sequence[str], *, admin: str, account: str = "") -> None:
        super().__init__()
        self._question = question
        self._text = list(lines)
        self._owner = account
        """Whose own password would do; empty when only an administrator's login helps."""
        self._who, self._word = PlainInput(), PlainInput()
        self._who.value, self._word.password = admin, True

    def compose(self) -> ComposeResult:
        """Question, explanation, both fields with their labels, how to answer."""
        width = min(WIDTH, self.app.size.width - 8)
        nobody = f" (empty: {self._owner} itself)" if self._owner else ""
        with Vertical(id="dialog") as frame:
            frame.styles.width = width + 6
            head: list[Line] = [((clean(self._question), "title"),), ()]
            for text in self._text:
                head += [((part, ""),) for part in wrap(clean(text), width)]
            yield self._lines([*head, (), (("administrator", "dim"), (nobody, "dim"))], width, "dialog-text")
            yield self._who
            yield self._lines([(), (("password (empty: by key)", "dim"),)], width, "dialog-word")
            yield self._word
            keys: Line = (("enter", "key"), (" go on     ", ""), ("esc", "key"), (" leave everything as it is", ""))
            yield self._lines([(), keys], width, "dialog-keys")

    def _lines(self, lines: Sequence[Line], width: int, name: str) -> Lines:
        shown = Lines(len(lines), id=name)
        shown.ascii_only = cast("ConsoleApp", self.app).symbols.is_ascii
        shown.set_lines([fit_line(line, width) for line in lines])
        return shown

    def on_mount(self) -> None:
        """A known administrator needs the password only."""
        (self._word if self._who.value else self._who).focus()

    def action_other(self) -> None:
        """The other field."""
        (self._word if self._who.has_focus else self._who).focus()

    def action_no(self) -> None:
        """No."""
        self.answer(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """From the name to the password, and from there on."""
        event.stop()
        if event.input is self._who:
            self._word.focus()
        elif self._who.value.strip() or self._owner:
            self.answer(NodeLogin(self._who.value.strip(), self._word.value))
            self._word.value = ""
        else:
            self._who.focus()
