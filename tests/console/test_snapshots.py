"""Pictures of the screens at the two sizes they are designed for; ``--snapshot-update`` after looking at them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from basilica_tui.themes import THEME_NAMES
from tests.console.conftest import MakeApp, make_engine
from tests.console.screen import rest, settle, text_of

SnapCompare = Callable[..., bool]
SIZES = [(80, 24), (120, 40)]


def _pressing(*keys: str) -> Callable[[Pilot[int]], object]:
    async def prepare(pilot: Pilot[int]) -> None:
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await settle(pilot)
        await rest(pilot)

    return prepare


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("dashboard", []),
        ("nodes", ["2"]),
        ("sessions", ["3"]),
        ("logs", ["6"]),
        ("help", ["question_mark"]),
        ("scores", ["4", "j"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_screens_look_as_before(
    snap_compare: SnapCompare, make_app: MakeApp, name: str, keys: list[str], size: tuple[int, int]
) -> None:
    """The main screens with a small fleet in trouble."""
    app = make_app(connect=make_engine(with_ramp=True).connect)
    assert snap_compare(app, terminal_size=size, run_before=_pressing(*keys))


@pytest.mark.parametrize("theme", THEME_NAMES)
async def test_every_theme_shows_the_dashboard(make_app: MakeApp, theme: str) -> None:
    """A picture of nothing would look as before, too."""
    app = make_app(theme=theme)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert "FIX FIRST" in text_of(app)
        await pilot.press("tab", "H")
        await settle(pilot)
        assert "Accept the new host key" in text_of(app)


@pytest.mark.parametrize("theme", ["light", "ansi", "high-contrast", "deuteranopia"])
def test_themes_look_as_before(snap_compare: SnapCompare, make_app: MakeApp, theme: str) -> None:
    """The dashboard in every other theme."""
    assert snap_compare(make_app(theme=theme), terminal_size=(120, 40), run_before=_pressing("tab"))


def test_node_detail_looks_as_before(snap_compare: SnapCompare, make_app: MakeApp) -> None:
    """The node whose host key changed."""
    app = make_app(connect=make_engine(with_ramp=True).connect)
    assert snap_compare(app, terminal_size=(120, 50), run_before=_pressing("tab", "enter"))


def test_the_dialog_looks_as_before(snap_compare: SnapCompare, make_app: MakeApp) -> None:
    """Before a host key is accepted."""
    assert snap_compare(make_app(), terminal_size=(120, 40), run_before=_pressing("tab", "H"))


def test_the_actions_menu_looks_as_before(snap_compare: SnapCompare, make_app: MakeApp) -> None:
    """Of two marked nodes."""
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=_pressing("2", "space", "space", "x"))


def test_the_validators_dashboard_looks_as_before(snap_compare: SnapCompare, make_app: MakeApp) -> None:
    """Miners take the place of nodes."""
    engine = make_engine(role="validator")
    assert snap_compare(make_app(connect=engine.connect), terminal_size=(120, 40), run_before=_pressing())
