"""What the cells of several tables share. Pure, no Textual."""

from __future__ import annotations

import json
from collections.abc import Mapping

from basilica_tui.format import Look, Span
from basilica_tui.states import StateLook, state_span
from engine.control.models import View, view_to_json


def state_cell(states: Mapping[str, StateLook], state: str, look: Look) -> Span:
    """Glyph and word of a state."""
    return state_span(states, state, look.symbols)


def row_json(view: View) -> str:
    """A row as it is copied."""
    return json.dumps(view_to_json(view), ensure_ascii=False)
