"""Every screen in three themes at the sizes it is designed for, as text; ``--snapshot-update`` after looking at them.

One console walks all screens of a size; nothing of it depends on the screen before.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.theme import Theme

from basilica_tui.app import ConsoleApp
from basilica_tui.themes import THEMES as THEMES_THERE
from basilica_tui.themes import TONES
from tests.console.conftest import MakeApp, make_engine
from tests.console.frames import Frame, contrast, frame_of, pairs, written
from tests.console.screen import rest, settle
from tests.console.world import NOW, node_id

PICTURES = Path(__file__).parent / "pictures"
SIZES = ((80, 24), (120, 40), (200, 60))
THEMES = ("dark", "light", "ansi")
READABLE = 4.5
"""What WCAG 2 asks of text at level AA."""
MINER = {
    "dashboard": "1", "nodes": "2", "sessions": "3", "scores": "4", "ssh": "5", "logs": "6", "alerts": "7",
    "config": "8", "engines": "0", "node": "2 enter", "session": "3 enter", "record": "2 d",
    "plot": "2 P", "palette": "ctrl+p", "help": "1 question_mark", "dialog": "1 tab H", "actions": "2 x",
    "command": "1 colon", "filter": "2 slash", "sort": "2 s", "columns": "2 c", "wide": "2 w", "info": ":info",
}  # fmt: skip
VALIDATOR = {
    "dashboard": "1", "miners": "2", "verifications": "3", "weights": "4", "logs": "6", "alerts": "7",
    "plot": "1 P", "help": "2 question_mark",
}  # fmt: skip
CONFIGURED = {
    "path": "/etc/basilica/miner.toml",
    "config": {
        "bittensor": {"network": "finney", "netuid": 39, "wallet_name": "main", "wallet_path": "~/.bittensor/wallets"},
        "database": {"url": "sqlite:/var/lib/basilica/miner.db"},
        "access": {"session_lifetime": 3600},
    },
    "sources": {
        "bittensor.network": "default", "bittensor.netuid": "default", "bittensor.wallet_name": "file",
        "bittensor.wallet_path": "default", "database.url": "environment", "access.session_lifetime": "file",
    },
}  # fmt: skip
LARGE = {name: MINER[name] for name in ("dashboard", "nodes", "ssh", "plot")}


async def _go(pilot: Pilot[int], keys: str) -> None:
    app = pilot.app
    assert isinstance(app, ConsoleApp)
    if keys.startswith(":"):
        app.run_command(keys[1:])
        await rest(pilot)
        return
    for key in keys.split():
        await pilot.press(key)
        await rest(pilot)


async def _home(pilot: Pilot[int]) -> None:
    """The first view, whatever is open."""
    for _ in range(4):
        await pilot.press("escape")
    app = pilot.app
    assert isinstance(app, ConsoleApp)
    while len(app.screen_stack) > 2:
        app.pop_screen()
    await pilot.press("1")
    await settle(pilot)


async def _frames(app: ConsoleApp, size: tuple[int, int], screens: dict[str, str]) -> dict[str, Frame]:
    found: dict[str, Frame] = {}
    async with app.run_test(size=size) as pilot:
        await rest(pilot)
        for name, keys in screens.items():
            await _go(pilot, keys)
            found[name] = frame_of(app)
            await _home(pilot)
    return found


def _screens(role: str, width: int) -> dict[str, str]:
    if width == 200:
        return LARGE if role == "miner" else {"dashboard": "1", "miners": "2"}
    return MINER if role == "miner" else VALIDATOR


@pytest.mark.timeout(400)
@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40", "200x60"])
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("role", ["miner", "validator"])
async def test_every_screen_looks_as_before(
    make_app: MakeApp, role: str, theme: str, size: tuple[int, int], request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What is written can be read on its ground, and characters and colours are as they were."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, "/home/operator/none")
    engine = make_engine(role=role, with_ramp=True)
    engine.series[("ssh", node_id(1))] = [(NOW - 86_400 + 300.0 * n, 100.0 - 40 * (100 < n < 120)) for n in range(288)]
    engine.series[("verified", "")] = [(NOW - 86_400 + 300.0 * n, 50.0 + n % 50) for n in range(288)]
    engine.answers["config.show"] = CONFIGURED
    app = make_app(connect=engine.connect, theme=theme)
    found = await _frames(app, size, _screens(role, size[0]))
    weak, different = [], []
    for name, frame in found.items():
        weak += [f"{name}: {one} on {two}" for one, two in pairs(frame) if contrast(one, two) < READABLE]
        path = PICTURES / _file(role, name, size, theme)
        text = written(frame)
        if request.config.getoption("update_snapshots"):
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            different.append("\n".join([path.name, *frame.lines]))
    assert weak == []
    assert not different, "\n".join(different)


@pytest.mark.parametrize("theme", [theme for theme in THEMES_THERE if not theme.ansi], ids=lambda theme: theme.name)
def test_every_tone_can_be_read_on_every_ground(theme: Theme) -> None:
    """Also the quietest one on the row under the cursor."""
    grounds = [theme.background, theme.panel, theme.variables["cursor-row"]]
    tones = [theme.foreground, *(theme.variables[f"tone-{name}"] for name in TONES)]
    weak = [(tone, ground) for tone in tones for ground in grounds if contrast(str(tone), str(ground)) < READABLE]
    assert weak == []


def _file(role: str, name: str, size: tuple[int, int], theme: str) -> str:
    return f"{role}-{name}-{size[0]}x{size[1]}.{theme}.txt"


def test_no_picture_is_left_over_and_themes_differ_in_colours_alone() -> None:
    """A picture that no test looks at proves nothing; the text of a screen is the same in every theme."""
    made = {
        (role, name, size): [PICTURES / _file(role, name, size, theme) for theme in THEMES]
        for role in ("miner", "validator")
        for size in SIZES
        for name in _screens(role, size[0])
    }
    assert {path for paths in made.values() for path in paths} == set(PICTURES.glob("*.txt"))
    for paths in made.values():
        assert len({path.read_text().partition("\n===")[0] for path in paths}) == 1, paths[0].name
