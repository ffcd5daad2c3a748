"""The wizard's pages in three themes as text, beside the pictures of every screen; ``--snapshot-update`` likewise."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from basilica_tui.screens.setup_output import SetupOutput
from basilica_tui.setup_app import SetupApp
from engine.setup.answers import ROLES
from engine.setup.phases import Phase, Setup
from tests.console.frames import Frame, contrast, frame_of, pairs, written
from tests.console.test_pictures import READABLE, THEMES
from tests.console.test_setup_screen import text_of, unreal, until

PICTURES = Path(__file__).parent / "pictures" / "setup"
SIZES = ((80, 24), (120, 40))
PAGES = (Phase.KEYS, Phase.CONFIG, Phase.INSTALL)
"""Those that name nothing of this machine."""


async def _at_rest(pilot: Pilot[bool], app: SetupApp) -> Frame:
    output = app.wizard.query_one(SetupOutput)
    await until(pilot, lambda: "ctrl+" in text_of(app.wizard) and bool(output.lines), "the page and what it says")
    same, before = 0, frame_of(app)
    while same < 4:
        await pilot.pause(0.2)
        same, before = (same + 1 if frame_of(app) == before else 0), frame_of(app)
    return before


def _file(role: str, page: Phase, size: tuple[int, int], theme: str) -> Path:
    return PICTURES / f"{role}-{page}-{size[0]}x{size[1]}.{theme}.txt"


@pytest.mark.timeout(200)
@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("role", ROLES)
async def test_every_page_of_the_setup_looks_as_before(
    tmp_path: Path, role: str, theme: str, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    """What is written can be read on its ground, and characters and colours are as they were."""
    weak, different = [], []
    for page in PAGES:
        app = SetupApp(Setup(unreal(role), page), tmp_path / f"{page}.json", theme=theme)
        async with app.run_test(size=size) as pilot:
            frame = await _at_rest(pilot, app)
        weak += [f"{page}: {one} on {two}" for one, two in pairs(frame) if contrast(one, two) < READABLE]
        path = _file(role, page, size, theme)
        if request.config.getoption("update_snapshots"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(written(frame))
        elif not path.exists() or path.read_text() != written(frame):
            different.append("\n".join([path.name, *frame.lines]))
    assert weak == []
    assert not different, "\n".join(different)


def test_no_picture_of_the_setup_is_left_over() -> None:
    """And the text of a page is the same in every theme."""
    made = [[_file(role, page, size, theme) for theme in THEMES] for role in ROLES for page in PAGES for size in SIZES]
    assert {path for paths in made for path in paths} == set(PICTURES.glob("*.txt"))
    for paths in made:
        assert len({path.read_text().partition("\n===")[0] for path in paths}) == 1, paths[0].name
