"""The cursor and the marks of a table, without the table."""

from __future__ import annotations

import pytest

from basilica_tui.widgets.selection import Selection


def chosen(order: str, cursor: int = 0) -> Selection:
    """A selection over one-letter ids."""
    selection = Selection()
    selection.set_order(list(order))
    selection.move_to(cursor)
    return selection


@pytest.mark.parametrize(
    ("before", "cursor", "after", "wanted"),
    [
        ("abc", 1, "cba", "b"), ("abc", 1, "ac", "c"), ("abc", 2, "ab", "b"), ("abc", 0, "", None), ("", 0, "ab", "a"),
        ("abc", 1, "xyzb", "b"),
    ],
)  # fmt: skip
def test_the_cursor_stays_with_its_id_or_at_its_place(before: str, cursor: int, after: str, wanted: str | None) -> None:
    """Rows that come, go and change places; where its row vanished the next one in its place is taken."""
    selection = chosen(before, cursor)
    selection.set_order(list(after))
    assert selection.cursor_id == wanted
    assert not wanted or selection.order[selection.cursor_index] == wanted


@pytest.mark.parametrize(("index", "wanted"), [(-5, "a"), (0, "a"), (2, "c"), (99, "c")])
def test_beyond_the_ends_means_the_ends(index: int, wanted: str) -> None:
    """And without rows there is nowhere to go."""
    assert chosen("abc", index).cursor_id == wanted
    assert not Selection().move_to(index)


def test_marks_belong_to_ids_and_go_with_them() -> None:
    """A range goes from the last mark in the order of now; a vanished row is not acted upon."""
    selection = chosen("abcdef", 1)
    assert selection.targets() == ["b"]
    assert selection.toggle_mark()
    selection.move_to(3)
    assert selection.mark_range()
    assert selection.targets() == ["b", "c", "d"]
    selection.set_order(list("dxb"))
    assert selection.targets() == ["d", "b"]
    selection.forget()
    assert selection.targets() == []
    assert not selection.mark_range()
    assert not selection.toggle_mark()
