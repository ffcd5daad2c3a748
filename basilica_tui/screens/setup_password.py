"""The one question that is answered in dots: a password for the accounts on the nodes."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from basilica_tui.screens.answering import AnswersOnce
from basilica_tui.widgets.lines import Lines


class AskPassword(AnswersOnce[str], ModalScreen[str]):
    """One password, shown as dots, used once."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c,ctrl+q", "no", show=False, priority=True)]

    def compose(self) -> ComposeResult:
        """A line of words and the field."""
        with Vertical(id="dialog"):
            words = Lines(2)
            words.set_lines([(("Password of the account on the nodes", "title"),),
                             (("used once, never stored; esc leaves those nodes for later", "dim"),)])  # fmt: skip
            yield words
            yield Input(password=True, classes="setup-field")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Entered."""
        event.stop()
        self.answer(event.value)

    def action_no(self) -> None:
        """None."""
        self.answer("")


async def ask_password(app: App[object]) -> str:
    """Ask over whatever is shown; empty when it was not given."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    app.push_screen(AskPassword(), lambda text: future.set_result(text or ""))
    return await future
