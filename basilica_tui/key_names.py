"""Keys as people write them, as Textual names them."""

from __future__ import annotations

import string
from collections.abc import Mapping

KEY_NAMES: Mapping[str, str] = {
    "/": "slash", "!": "exclamation_mark", "<": "less_than_sign", ">": "greater_than_sign", "?": "question_mark",
    ":": "colon", "-": "minus", "&": "ampersand", "{": "left_curly_bracket", "}": "right_curly_bracket",
    "esc": "escape", "pgup": "pageup", "pgdn": "pagedown", " ": "space", ",": "comma", ".": "full_stop",
    "+": "plus", "*": "asterisk", "#": "number_sign", "=": "equals_sign", "_": "underscore", ";": "semicolon",
    "(": "left_parenthesis", ")": "right_parenthesis", "[": "left_square_bracket", "]": "right_square_bracket",
    "@": "at", "'": "apostrophe", '"': "quotation_mark", "\\": "backslash", "|": "vertical_line", "~": "tilde",
    "`": "grave_accent", "^": "circumflex_accent", "%": "percent_sign", "$": "dollar_sign", "return": "enter",
    "del": "delete", "ins": "insert",
}  # fmt: skip
_NAMED = frozenset(KEY_NAMES.values()) | {
    "up", "down", "left", "right", "home", "end", "tab", "backspace",
    *(f"f{number}" for number in range(1, 25)),
}  # fmt: skip
_MODIFIERS = frozenset({"ctrl", "shift", "alt", "super", "hyper", "meta"})


def key_name(text: str) -> str | None:
    """``/`` is ``slash``, ``Ctrl+T`` is ``ctrl+t``, ``shift+a`` is what terminals send: ``A``; None is no key."""
    *before, last = text.split("+") if len(text) > 1 and not text.endswith("+") else [text]
    modifiers = [word.strip().lower() for word in before]
    last = last.strip() or last
    if any(word not in _MODIFIERS for word in modifiers):
        return None
    name = last if len(last) == 1 and last not in KEY_NAMES else KEY_NAMES.get(last.lower(), last.lower())
    if len(name) == 1:
        if not name.isprintable():
            return None
        if modifiers == ["shift"] and name in string.ascii_letters:
            return name.upper()
        name = name.lower() if modifiers else name
    elif name not in _NAMED:
        return None
    return "+".join([*modifiers, name])
