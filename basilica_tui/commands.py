"""The command line of ``:``, read from the same table as the keys. Pure, no Textual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from basilica_tui.bindings import BINDINGS, VALIDATOR_TITLES, KeyBinding, shown

ALIASES = {"q": "quit", "q!": "quit", "detach": "quit", "dash": "dashboard", "access": "sessions"}
ALIASES |= {title: screen for screen, title in VALIDATOR_TITLES.items()}


@dataclass(frozen=True, slots=True)
class Command:
    """A binding's id and what was typed after its word."""

    id: str
    argument: str = ""


def parse_command(text: str, bindings: Sequence[KeyBinding] = BINDINGS, *, read_only: bool = False) -> Command | None:
    """What the line means; None for nothing that exists, or that this console may not do."""
    words = text.split()
    if not words:
        return None
    words[0] = ALIASES.get(words[0], words[0])
    known = {b.command: b for b in shown(bindings, read_only=read_only) if b.command}
    for length in (2, 1):
        binding = known.get(" ".join(words[:length]))
        if binding is not None and len(words) >= length:
            return Command(binding.id, " ".join(words[length:]))
    return None


def completions(text: str, bindings: Sequence[KeyBinding] = BINDINGS, *, read_only: bool = False) -> list[str]:
    """The commands that start like this, in alphabetical order."""
    start = text.lstrip().lower()
    return sorted(b.command for b in shown(bindings, read_only=read_only) if b.command.startswith(start) and b.command)
