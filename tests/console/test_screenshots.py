"""The pictures of the README are of today's console: made by ``make screenshots``, never by hand."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from basilica_tui.bindings import BINDINGS, SCREEN_IDS
from basilica_tui.format import Look
from basilica_tui.lines import plain
from basilica_tui.panels.footer import footer_line
from basilica_tui.tables import ALL_TABLES
from tests.screenshots import MINER, TARGET, VALIDATOR

ROOT = Path(__file__).parents[2]
WITHOUT_FOOTER = {"setup"}
"""The wizard has keys of its own."""


def words_of(picture: str) -> str:
    """The picture's text, blanks as single ones."""
    text = " ".join(re.findall(r">([^<>]+)</text>", (TARGET / f"{picture}.svg").read_text()))
    return " ".join(html.unescape(text).replace("\xa0", " ").split())


@pytest.mark.parametrize("picture", [*MINER, *VALIDATOR, "dashboard-80x24"])
def test_a_picture_shows_todays_keys(picture: str) -> None:
    """The screens' names in its footer are those of the binding table; there is a PNG beside it."""
    assert (TARGET / f"{picture}.png").is_file()
    if picture in WITHOUT_FOOTER:
        return
    screen, width = picture.removesuffix("-80x24"), 80 if picture.endswith("80x24") else 120
    line = footer_line(BINDINGS, screen, Look(), width, read_only=False, is_validator=picture in VALIDATOR)
    # The keys at the right depend on what is selected; the screens at the left do not.
    screens = " ".join(re.findall(r"\d \w+", plain(line)))
    assert screens in words_of(picture)


@pytest.mark.parametrize("picture", ["nodes", "sessions", "alerts", "miners"])
def test_a_table_shows_todays_columns(picture: str) -> None:
    """The first columns of each table have the titles that they have in the code."""
    titles = [column.title for column in ALL_TABLES[picture].columns if column.priority == 1]
    words = words_of(picture)
    assert titles
    assert [title for title in titles if title not in words] == []


def test_every_screen_has_its_picture() -> None:
    """Each numbered screen, and whatever picture the documents show."""
    assert set(SCREEN_IDS) <= set(MINER)
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for name in re.findall(r"\(screenshots/([^)]+)\)", document.read_text()):
            assert (TARGET / name).is_file(), f"{document.name} shows {name}"
