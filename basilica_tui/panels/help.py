"""The help screen: the binding table, by group."""

from __future__ import annotations

from collections.abc import Sequence

from basilica_tui.bindings import NO_VERBS, VALIDATOR_TITLES, KeyBinding, applies, key_face, shown
from basilica_tui.format import Line, Look
from basilica_tui.lines import beside
from basilica_tui.panels.sentences import READ_ONLY
from basilica_tui.text import fit, wrap

KEYS_WIDTH = 14


def help_lines(
    bindings: Sequence[KeyBinding],
    screen: str,
    look: Look,
    width: int,
    *,
    read_only: bool,
    is_validator: bool,
    verbs: frozenset[str] = NO_VERBS,
) -> list[Line]:
    """Every key and command; those that do something on the screen it was opened from stand out."""
    usable = [b for b in shown(bindings, read_only=read_only, verbs=verbs) if b.keys or b.command]
    if is_validator:
        usable = [b for b in usable if not b.id.startswith(("node.", "session.", "key.", "fix."))]
    groups: dict[str, list[KeyBinding]] = {}
    for binding in usable:
        groups.setdefault(binding.group, []).append(binding)
    column = (width - 4) // 2 if width >= 100 else width - 2
    blocks = {name: _block(name, rows, screen, column) for name, rows in groups.items()}
    head: list[Line] = [
        ((" KEYS AND COMMANDS", "title"), (f"   bright ones work on: {_title(screen, is_validator)}", "dim"))
    ]
    if read_only:
        head.append(((f" {READ_ONLY}", "accent"),))
    if width < 100:
        body = [line for block in blocks.values() for line in ((), *block)]
    else:
        left = [line for n in ("Screens", "Moving") if n in blocks for line in ((), *blocks[n])]
        right = [line for n in blocks if n not in {"Screens", "Moving", "Everywhere"} for line in ((), *blocks[n])]
        left += [(), *blocks.get("Everywhere", [])]
        body = beside([(left, column), (right, column)], 2, look.symbols.ellipsis)
    rules: list[Line] = [
        (),
        ((" lower case looks, a CAPITAL is the stronger form, danger asks first and names the object", "dim"),),
        (
            (
                " filters: all must hold: words, state:healthy, a|b, !node-07, ~fuzzy, /r.*x/, ramp:<14, checked:>5m",
                "dim",
            ),
        ),
    ]
    return [*head, *(((" ", ""), *line) for line in body), *rules]


def _title(screen: str, is_validator: bool) -> str:
    return VALIDATOR_TITLES.get(screen, screen) if is_validator else screen


def _block(name: str, rows: Sequence[KeyBinding], screen: str, width: int) -> list[Line]:
    lines: list[Line] = [((name.upper(), "title"),)]
    for binding in rows:
        names = [key_face(k) for k in binding.keys] + ([f":{binding.command}"] if binding.command else [])
        is_here = applies(binding, screen)
        tone = ("bad" if binding.danger else "key") if is_here else "dim"
        for number, part in enumerate(wrap(binding.help, max(width - KEYS_WIDTH - 1, 20))):
            keys = " ".join(names) if number == 0 else ""
            lines.append(((fit(keys, KEYS_WIDTH), tone), (f" {part}", "" if is_here else "dim")))
    return lines
