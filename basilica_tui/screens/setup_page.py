"""What a page of the setup asks: its fields, and below them what a mistake in the present one would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from textual.app import ComposeResult
from textual.containers import Vertical

from basilica_tui.screens.setup_form import ChoiceField, TextField, rows_of
from basilica_tui.text import clean, wrap
from basilica_tui.widgets.lines import Lines
from engine.setup.answers import Answers, defaults_of
from engine.setup.questions import QUESTIONS, problems_of

PRICE_ROWS = 2


class SetupPage(Vertical):
    """The form and the price line."""

    def compose(self) -> ComposeResult:
        """Both empty."""
        yield Vertical(id="setup-form")
        yield Lines(PRICE_ROWS, id="setup-price")

    @property
    def key(self) -> str:
        """Of the field that has the focus; empty when none has."""
        field = self.screen.focused
        return field.key if isinstance(field, TextField | ChoiceField) else ""

    @property
    def is_at_end(self) -> bool:
        """Whether enter has no further field to go to."""
        fields = list(self.query(".setup-field"))
        return not fields or self.screen.focused is fields[-1]

    async def ask(self, keys: Sequence[str], answers: Answers, *, focus: str = "") -> None:
        """Fields for these keys instead of the former ones; the named or the first one gets the focus."""
        form = self.query_one("#setup-form", Vertical)
        await form.remove_children()
        rows = rows_of([QUESTIONS[key] for key in keys], asdict(answers), asdict(defaults_of(answers.role)))
        await form.mount(*rows)
        form.display = bool(rows)
        if rows:
            self.go_to(focus or keys[0])
        else:
            self.screen.set_focus(None)

    def go_to(self, key: str) -> None:
        """Focus a field."""
        self.query_one(f"#field-{key}").focus()

    def price(self, answers: Answers, unread: Mapping[str, str], width: int) -> None:
        """What is wrong with the present field, or what a mistake in it would cost. ``unread``: what is no answer."""
        key = self.key
        problem = unread.get(key) or (problems_of(answers).get(key, "") if key and getattr(answers, key) else "")
        text, tone = problem or (QUESTIONS[key].price if key else ""), "bad" if problem else "dim"
        lines = wrap(clean(text), width)[:PRICE_ROWS]
        self.query_one("#setup-price", Lines).set_lines([((f" {line}", tone),) for line in lines])
