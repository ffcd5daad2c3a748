"""The filter language of ``/``, of which every term must hold.

Words, ``field:value``, ``field:<14`` and other comparisons, ``checked:>5m`` for ages, ``a|b``, ``!not``, ``~fuzzy``,
``/regex/`` and ``field:/regex/``. Pure.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from basilica_tui.patterns import Pattern


@dataclass(frozen=True, slots=True)
class Term:
    """One word of a filter; an empty field means any text of the row."""

    text: str
    field: str = ""
    negated: bool = False
    fuzzy: bool = False
    """Its letters need to occur in one word in this order only: ``~nd7`` finds ``node-07``."""
    compare: str = ""
    """One of < <= > >= = where the field is compared with ``amount``, a number or (``is_age``) seconds of age."""
    amount: float = 0.0
    is_age: bool = False
    pattern: Pattern | None = None
    """Instead of the text: ``/node-0[1-3]/``."""

    @property
    def alternatives(self) -> list[str]:
        """``a|b`` finds either."""
        return [text for text in self.text.split("|") if text] or [self.text]


_WORD = re.compile(r"!?(?:\w+:)?/(?:[^/\\]|\\.)+/(?=\s|$)|\S+")
"""A regular expression may hold blanks, everything else ends at one."""
_COMPARISON = re.compile(r"(<=|>=|<|>|=)(-?\d+(?:\.\d+)?)(s|m|min|h|d|%)?")
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq,
}  # fmt: skip
TIMES_FROM = 1e9
"""A figure as large as this is a time, and an age is compared with how long ago, or how far off, it is."""


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

    @property
    def problem(self) -> str:
        """What is wrong with a regular expression in it; empty when nothing is."""
        return next((t.pattern.problem for t in self.terms if t.pattern is not None and t.pattern.problem), "")


def words_of(source: str) -> list[str]:
    """The terms as they were typed."""
    return _WORD.findall(source)


def is_pattern(word: str) -> bool:
    """Whether it is a regular expression between its slashes."""
    return len(word) > 2 and word[0] == word[-1] == "/"


def parse_filter(source: str) -> Filter:
    """Read what was typed. Nothing is an error: a word with an unknown field, or a wrong pattern, finds nothing."""
    terms = []
    for word in words_of(source):
        negated = word.startswith("!") and len(word) > 1
        body = word[1:] if negated else word
        name, colon, value = body.partition(":")
        if is_pattern(body):
            terms.append(Term(body, "", negated, pattern=Pattern.of(body[1:-1])))
        elif body.startswith("~"):
            if len(body) > 1:
                terms.append(Term(body[1:].lower(), "", negated, fuzzy=True))
        elif colon and value and name.isidentifier() and is_pattern(value):
            terms.append(Term(value, name.lower(), negated, pattern=Pattern.of(value[1:-1])))
        elif colon and value and name.isidentifier():
            terms.append(_field_term(name.lower(), value.lower(), negated=negated))
        elif body:
            terms.append(Term(body.lower(), "", negated))
    return Filter(" ".join(source.split()), tuple(terms))


def _field_term(name: str, value: str, *, negated: bool) -> Term:
    found = _COMPARISON.fullmatch(value)
    if found is None:
        return Term(value, name, negated)
    unit = found[3] or ""
    amount = float(found[2]) * _SECONDS.get(unit, 1.0)
    return Term(value, name, negated, compare=found[1], amount=amount, is_age=unit in _SECONDS)


def _compares(term: Term, value: float | None, now: float) -> bool:
    if value is None:
        return False
    if term.is_age and value >= TIMES_FROM:
        value = abs(now - value)
    elif term.is_age and term.amount % 86_400 == 0:
        return _HOLDS[term.compare](value, term.amount / 86_400)  # ramp:<14d says the days as they are shown
    return _HOLDS[term.compare](value, term.amount)


def _no_number(name: str) -> float | None:
    return None


def matches(
    wanted: Filter,
    text: str,
    field: Callable[[str], str | None],
    number: Callable[[str], float | None] = _no_number,
    now: float = 0.0,
) -> bool:
    """Whether a row passes.

    ``text`` is all it shows, ``field`` looks up one named value (None: no such field), ``number`` the figure behind it.
    """
    lowered = text.lower()
    for term in wanted.terms:
        if term.compare:
            found = _compares(term, number(term.field), now)
        elif term.pattern is not None:
            value = field(term.field) if term.field else text
            found = value is not None and term.pattern.finds(value)
            if term.pattern.problem:
                return False  # a pattern that is none finds nothing, turned round or not
        elif term.field:
            value = field(term.field)
            found = value is not None and any(_starts_a_word(t, value.lower()) for t in term.alternatives)
        elif term.fuzzy:
            found = any(is_subsequence(term.text, word) for word in lowered.split())
        else:
            found = any(text in lowered for text in term.alternatives)
        if found == term.negated:
            return False
    return True
