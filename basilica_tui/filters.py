"""The filter language of ``/``: words, ``field:value``, ``a|b``, ``!not`` and ``~fuzzy``, all of which must hold.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    """One word of a filter; an empty field means any text of the row."""

    text: str
    field: str = ""
    negated: bool = False
    fuzzy: bool = False
    """Its letters need to occur in one word in this order only: ``~nd7`` finds ``node-07``."""

    @property
    def alternatives(self) -> list[str]:
        """``a|b`` finds either."""
        return [text for text in self.text.split("|") if text] or [self.text]


def _starts_a_word(text: str, value: str) -> bool:
    """Whether the text stands at the start of a word: ``healthy`` must not find ``unhealthy``."""
    return re.search(rf"(?<![a-z0-9]){re.escape(text)}", value) is not None


def is_subsequence(letters: str, text: str) -> bool:
    """Whether the letters occur in the text in their order, with anything between them."""
    rest = iter(text)
    return all(letter in rest for letter in letters)


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter; without terms everything passes."""

    source: str = ""
    terms: tuple[Term, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.terms)


def parse_filter(source: str) -> Filter:
    """Read what was typed. Nothing is an error: a word with an unknown field simply finds nothing."""
    terms = []
    for word in source.split():
        negated = word.startswith("!") and len(word) > 1
        body = word[1:] if negated else word
        name, colon, value = body.partition(":")
        if body.startswith("~"):
            if len(body) > 1:
                terms.append(Term(body[1:].lower(), "", negated, fuzzy=True))
        elif colon and value and name.isidentifier():
            terms.append(Term(value.lower(), name.lower(), negated))
        elif body:
            terms.append(Term(body.lower(), "", negated))
    return Filter(" ".join(source.split()), tuple(terms))


def matches(wanted: Filter, text: str, field: Callable[[str], str | None]) -> bool:
    """Whether a row passes: ``text`` is all it shows, ``field`` looks up one named value (None: no such field)."""
    lowered = text.lower()
    for term in wanted.terms:
        if term.field:
            value = field(term.field)
            found = value is not None and any(_starts_a_word(t, value.lower()) for t in term.alternatives)
        elif term.fuzzy:
            found = any(is_subsequence(term.text, word) for word in lowered.split())
        else:
            found = any(text in lowered for text in term.alternatives)
        if found == term.negated:
            return False
    return True
