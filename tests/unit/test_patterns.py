"""Regular expressions that an operator types: right, wrong, and traps."""

from __future__ import annotations

import pytest

from basilica_tui.filters import parse_filter
from basilica_tui.patterns import PATTERN_CHARS, Pattern


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("(", "no regular expression: missing )"),
        ("[", "no regular expression: unterminated character set"),
        ("a{2}|{", ""),
        ("*", "no regular expression: nothing to repeat"),
        ("a" * (PATTERN_CHARS + 1), f"a pattern has at most {PATTERN_CHARS} characters"),
    ],
)
def test_a_wrong_pattern_says_what_is_wrong(source: str, problem: str) -> None:
    """And finds nothing."""
    pattern = Pattern.of(source)
    assert pattern.problem.startswith(problem)
    assert bool(pattern.problem) == bool(problem)
    if problem:
        assert not pattern.finds(source)


def test_a_trap_is_given_up_once_and_for_all() -> None:
    """A pattern that takes exponential time is tried on one row only, whatever else it would find."""
    pattern = Pattern.of(r"(a|aa|aaa)+\d$")
    assert pattern.finds("aaa1")
    assert not pattern.finds("a" * 5_000 + "!")
    assert "too long" in pattern.problem
    assert not pattern.finds("aaa1")


@pytest.mark.parametrize(
    ("source", "problem"), [("node /(/", True), ("state:/[/", True), ("/ok/ !state:/ok/", False), ("(", False)]
)
def test_a_filter_tells_its_patterns_trouble(source: str, problem: bool) -> None:
    """The first that is wrong; a word that is no pattern is never wrong."""
    assert bool(parse_filter(source).problem) is problem
