"""Text from other machines: made harmless, measured, cut."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from basilica_tui.format import Line
from basilica_tui.lines import fold_line, line_width, plain
from basilica_tui.text import REPLACEMENT, clean, cut, fit, to_ascii, wrap


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("[bold red]markup[/]", "[bold red]markup[/]"),
        ("\x1b[2Jgone", f"{REPLACEMENT}[2Jgone"),
        ("\x9b31mC1", f"{REPLACEMENT}31mC1"),
        ("\x1b]52;c;AAAA\x07", f"{REPLACEMENT}]52;c;AAAA{REPLACEMENT}"),
        ("two\nlines\tand\rmore", "two lines and more"),
        ("user\u202egnp.exe", f"user{REPLACEMENT}gnp.exe"),
        ("zero\u200bwidth", f"zero{REPLACEMENT}width"),
        ("z\u0335\u0336a\u0337l", "zal"),
        ("e\u0301", "é"),
        ("節点", "節点"),
        ("\u2028", " "),
        ("\ud800", REPLACEMENT),
    ],
)
def test_hostile_text_becomes_one_harmless_line(text: str, shown: str) -> None:
    """Whatever a terminal could obey is replaced where the reader sees it."""
    assert clean(text) == shown


@given(st.text())
def test_clean_text_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    """No control, format, surrogate or combining character survives, for any input."""
    for char in clean(text):
        assert char == REPLACEMENT or unicodedata.category(char)[0] not in {"C", "M"}
        assert unicodedata.category(char) not in {"Zl", "Zp"}


@given(st.text(), st.integers(min_value=0, max_value=40))
def test_a_cell_is_exactly_as_wide_as_its_column(text: str, width: int) -> None:
    """Cutting and padding count cells, so wide characters never push a column."""
    assert cell_len(fit(clean(text), width)) == width


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [("節点節点", 5, "節点…"), ("節点節点", 4, "節…"), ("abc", 3, "abc"), ("abcd", 3, "ab…"), ("abc", 0, "")],
)
def test_wide_characters_are_never_split(text: str, width: int, shown: str) -> None:
    """A character of two cells that would only half fit is left out."""
    assert cut(text, width) == shown


def test_ascii_terminals_get_a_question_mark_per_foreign_cell() -> None:
    """The width stays what it was."""
    assert to_ascii("節é x") == "??? x"


def test_long_sentences_break_at_spaces() -> None:
    """Short ones keep their own spacing."""
    assert wrap("pinned     SHA", 20) == ["pinned     SHA"]
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("", 7) == [""]


def test_a_word_that_is_too_long_is_broken_and_not_cut() -> None:
    """Who agrees to a command or a fingerprint has seen all of it; an indent stays."""
    assert wrap("presented SHA256:0123456789", 10) == ["presented", "SHA256:012", "3456789"]
    assert wrap("  echo aaaa bbbb cccccccccc", 10) == ["  echo", "  aaaa", "  bbbb", "  cccccccc", "  cc"]
    assert wrap("節点節点", 5) == ["節点", "節点"]


@pytest.mark.parametrize(
    ("line", "width", "wanted"),
    [
        ((("name  ", "dim"), ("short", "")), 20, ["name  short"]),
        ((("name  ", "dim"), ("one two three four", "")), 14, ["name  one two", "      three", "      four"]),
        ((("a-long-word-without-a-space", ""),), 10, ["a-long-wor", "d-without-", "a-space"]),
        ((("0123456789", ""), (" abcdefgh", "")), 12, ["0123456789", "    abcdefgh"]),
        ((("0123456789", ""), (" abcdefghi", "")), 12, ["0123456789 a", "    bcdefghi"]),
        ((("a bcdefghi jk", ""),), 10, ["a bcdefghi", "jk"]),
        ((("漢字漢字漢字", ""),), 5, ["漢字", "漢字", "漢字"]),
    ],
)
def test_a_line_that_is_too_long_goes_on_below(line: Line, width: int, wanted: list[str]) -> None:
    """Set in to where the part that did not fit began; nothing is lost and nothing is wider than the screen."""
    folded = fold_line(line, width)
    assert [plain(part).rstrip() for part in folded] == wanted
    assert all(line_width(part) <= width for part in folded)
