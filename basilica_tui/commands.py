"""The command line of ``:``: the bindings' words, the engine's actions, and what completes them. Pure, no Textual."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from basilica_tui.actions import COLLECTION_OF, Arg, EngineAction, action_of, find_action, offered
from basilica_tui.bindings import BINDINGS, NO_VERBS, REPLAY, VALIDATOR_TITLES, KeyBinding, applies, shown

ALIASES = {"q": "quit", "q!": "quit", "dash": "dashboard", "access": "sessions", "reload": "engine reload"}
ALIASES |= {title: screen for screen, title in VALIDATOR_TITLES.items()}
_NOT_IN_PALETTE = frozenset({"palette", "command", "hint", "back"})
NEAR_LIMIT = 3
NEAR_LETTERS = 3
"""Shorter aliases are not offered to who mistypes."""
COMMANDS_LIMIT = 200
"""Completions that are looked at; nobody reads more."""


@dataclass(frozen=True, slots=True)
class Command:
    """A binding's id and what was typed after its word."""

    id: str
    argument: str = ""


@dataclass(frozen=True, slots=True)
class ActionCall:
    """One of the engine's actions and the words after it."""

    action: EngineAction
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What commands may be about now: the role, the engine's verbs, names by collection, words after a command."""

    role: str = "miner"
    verbs: frozenset[str] | None = None
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """From what people type to ids, by collection; both complete."""
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Arguments of the console's own commands: themes, columns."""


NO_VOCABULARY = Vocabulary()


def parse_command(
    text: str,
    bindings: Sequence[KeyBinding] = BINDINGS,
    *,
    read_only: bool = False,
    vocabulary: Vocabulary = NO_VOCABULARY,
) -> Command | ActionCall | None:
    """What the line means; None for nothing that exists, or that this console may not do."""
    words = text.split()
    if not words:
        return None
    words = [*ALIASES.get(words[0], words[0]).split(), *words[1:]]
    known = {b.command: b for b in _usable(bindings, vocabulary, read_only=read_only) if b.command}
    for length in range(min(2, len(words)), 0, -1):
        line = " ".join(words[:length])
        binding = known.get(line)
        if binding is not None:
            return Command(binding.id, " ".join(words[length:]))
        if length > 1 and any(b.command == line for b in bindings):
            return None  # "engine stop" that is not for this console is no engine called "stop"
    action = action_of(words[0], vocabulary.verbs)
    is_offered = action in offered(vocabulary.role, vocabulary.verbs) or (action and find_action(action.verb) is None)
    if action is not None and not read_only and is_offered:
        dialogs = {b.id: b for b in bindings if b.danger and b.command}
        if action.verb in dialogs:
            return Command(action.verb, " ".join(words[1:]))
        return ActionCall(action, tuple(words[1:]))
    return None


def unknown_command(
    text: str,
    bindings: Sequence[KeyBinding] = BINDINGS,
    *,
    read_only: bool = False,
    vocabulary: Vocabulary = NO_VOCABULARY,
    refusal: str = "",
) -> str:
    """Why a line means nothing here, or what may have been meant by it; ``refusal`` is what a visitor is told."""
    words = text.split()
    if not words:
        return ""
    if read_only and parse_command(text, bindings, vocabulary=vocabulary) is not None:
        return f"{text.strip()}: {refusal}"
    for length in range(min(2, len(words)), 0, -1):
        line = " ".join(words[:length])
        binding = next((b for b in bindings if b.command == line), None)
        if binding is not None and binding.needs == REPLAY:
            return f"{line}: only in a replay"
        if binding is not None and binding.needs:
            return f"{line}: this engine knows no {binding.needs}"
    action = find_action(words[0])
    if action is not None:
        is_other = vocabulary.role and action.role not in {"", vocabulary.role}
        return f"{action.verb}: {f'only for a {action.role}' if is_other else 'this engine does not know it'}"
    near = _near(words[0].lower(), bindings, read_only=read_only, vocabulary=vocabulary)
    meant = f"did you mean {' or '.join(f':{line}' for line in near)}?" if near else "tab completes, ? lists them"
    return f"there is no command {text.strip()}; {meant}"


def _near(word: str, bindings: Sequence[KeyBinding], *, read_only: bool, vocabulary: Vocabulary) -> list[str]:
    """Up to three commands: those that begin like the word, that have it as a part, that differ by a slip."""
    usable = _usable(bindings, vocabulary, read_only=read_only)
    lines = [b.command for b in usable if b.command] + [a for a in ALIASES if len(a) > NEAR_LETTERS]
    if not read_only:
        lines += [a.verb for a in offered(vocabulary.role, vocabulary.verbs)]
    lines = sorted(dict.fromkeys(lines))
    begins = [line for line in lines if line.startswith(word)]
    holds = [line for line in lines if word in re.split(r"[ .]", line)]
    return list(dict.fromkeys([*begins, *holds, *difflib.get_close_matches(word, lines)]))[:NEAR_LIMIT]


def completions(
    text: str,
    bindings: Sequence[KeyBinding] = BINDINGS,
    *,
    read_only: bool = False,
    vocabulary: Vocabulary = NO_VOCABULARY,
) -> list[str]:
    """Whole lines that begin like this, in alphabetical order."""
    start = text.lstrip()
    lines = {b.command for b in _usable(bindings, vocabulary, read_only=read_only) if b.command}
    found = {line for line in lines if line.startswith(start.lower())}
    for command, choices in vocabulary.words.items():
        if command in lines and start.startswith(f"{command} "):
            found |= {f"{command} {c}" for c in choices if f"{command} {c}".startswith(start)}
    if not read_only:
        found |= _action_lines(start, vocabulary)
    return sorted(found)[:COMMANDS_LIMIT]


def command_list(
    bindings: Sequence[KeyBinding], screen: str, *, read_only: bool, vocabulary: Vocabulary
) -> list[tuple[str, str, str]]:
    """Everything that can be asked for on a screen as (line, explanation, key), for the palette."""
    rows = [
        (b.command or b.id, b.help, b.keys[0] if b.keys else "")
        for b in _usable(bindings, vocabulary, read_only=read_only)
        if applies(b, screen) and not b.id.startswith("nav.") and b.id not in _NOT_IN_PALETTE
    ]
    if not read_only:
        bound = {b.id for b in bindings if b.command}
        for action in offered(vocabulary.role, vocabulary.verbs):
            if action.verb not in bound:
                rows.append((action.verb, action.words.capitalize(), ""))
    return rows


def _usable(bindings: Sequence[KeyBinding], vocabulary: Vocabulary, *, read_only: bool) -> list[KeyBinding]:
    return shown(bindings, read_only=read_only, verbs=vocabulary.verbs or NO_VERBS)


def _action_lines(start: str, vocabulary: Vocabulary) -> set[str]:
    known = offered(vocabulary.role, vocabulary.verbs)
    verb, blank, rest = start.partition(" ")
    if not blank:
        every = {a.verb for a in known} | {v for v in vocabulary.verbs or () if find_action(v) is None and "." in v}
        return {v for v in every if v.startswith(verb.lower())}
    action = next((a for a in known if a.verb == verb), None)
    if action is None:
        return set()
    words = rest.split(" ")
    place = len(words) - 1
    if place >= len(action.args):
        return set()
    before = " ".join([verb, *words[:-1]])
    return {f"{before} {c}" for c in _choices(action.args[place], vocabulary) if c.startswith(words[-1])}


def _choices(arg: Arg, vocabulary: Vocabulary) -> list[str]:
    if arg.kind == "seconds":
        return ["30m", "1h", "4h", "1d"]
    names = vocabulary.names.get(COLLECTION_OF.get(arg.kind, ""), {})
    return [*names, *(i for i in names.values() if i not in names)]
