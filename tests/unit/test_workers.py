"""Who runs what when tests run side by side."""

from __future__ import annotations

from pathlib import Path

from tests.support.workers import DEALT, SECONDS

ROOT = Path(__file__).parents[2]


def test_what_is_named_is_there() -> None:
    """The table of long files names no file that was moved, and the longest come first."""
    assert [name for name in (*SECONDS, *DEALT) if not (ROOT / name).is_file()] == []
    assert list(SECONDS.values()) == sorted(SECONDS.values(), reverse=True)
