"""Several engines: names in console.toml, switching, and the overview over all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from basilica_tui.app import ConsoleApp
from basilica_tui.cli import with_names
from basilica_tui.cli_ways import named_way, ssh_way
from basilica_tui.engine_rows import EngineRow, told
from basilica_tui.link import Client
from basilica_tui.profiles import SshAddress, parse_profiles, parse_ssh_address
from basilica_tui.settings import load_settings
from basilica_tui.ways import Way
from engine.control.state import LiveState
from engine.control.summary import summary_of
from engine.errors import EngineUnreachable, ProtocolMismatch
from tests.console.conftest import MakeApp, make_engine
from tests.console.screen import settle, text_of
from tests.console.world import NOW, TestEngine, miner_events

SnapCompare = Callable[..., bool]


async def _dead(path: Path, *, role: str) -> Client:
    raise EngineUnreachable("rig.example: nothing listens for SSH there")


def ways() -> tuple[dict[str, Way], TestEngine, TestEngine]:
    """A miner, a validator, and one that is down."""
    miner, validator = make_engine(), make_engine(role="validator")
    found = {
        "home": Way("home", Path("/run/home.sock"), miner.connect),
        "val": Way("val", Path("/run/val.sock"), validator.connect, read_only=True),
        "far": Way("far", Path("ops@rig.example"), _dead),
    }
    return found, miner, validator


async def shows(pilot: Pilot[int], *texts: str) -> str:
    """Wait until the screen says so."""
    app = pilot.app
    assert isinstance(app, ConsoleApp)
    try:
        async with asyncio.timeout(60):
            while not all(text in text_of(app) for text in texts):
                await asyncio.sleep(0.02)
                await settle(pilot)
    except TimeoutError:
        pytest.fail(f"{texts} never appeared in\n{text_of(app)}")
    return text_of(app)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_overview_shows_all_of_them_and_tolerates_the_dead(make_app: MakeApp, size: tuple[int, int]) -> None:
    """One row each: role, nodes, alerts; the dead one says why, the others do not wait for it."""
    found, _, _ = ways()
    app = make_app(ways=found, profile="home", connect=found["home"].connect)
    async with app.run_test(size=size) as pilot:
        await pilot.press("0")
        text = await shows(pilot, "@home (here)", "@val", "@far", "2 answer", "✖ gone", "rig.example")
        assert "4/6" in text
        await pilot.press("1")
        await settle(pilot)


async def test_it_asks_only_while_somebody_looks(make_app: MakeApp) -> None:
    """Leaving the overview hangs up on every engine but the one that is shown."""
    found, miner, validator = ways()
    app = make_app(ways=found, profile="home", connect=found["home"].connect)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("0")
        await shows(pilot, "2 answer")
        assert (len(miner.clients), len(validator.clients)) == (2, 1)
        await pilot.press("1")
        async with asyncio.timeout(60):
            while validator.clients:
                await asyncio.sleep(0.02)
        assert len(miner.clients) == 1


@pytest.mark.parametrize("how", ["enter", ":@val", ":engine @val"])
async def test_switching_attaches_to_the_other_one(make_app: MakeApp, how: str) -> None:
    """Its data, its role, its rights; nothing of the engine before is left on any screen."""
    found, miner, validator = ways()
    app = make_app(ways=found, profile="home", connect=found["home"].connect)
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, "gpu-house-1", "basilica-tui @home")
        await pilot.press("6")
        await shows(pilot, "door.refused")
        if how == "enter":
            await pilot.press("0")
            await shows(pilot, "2 answer")
            app.screen.table.select_id("val")  # type: ignore[attr-defined]
            await pilot.press("enter")
        else:
            app.run_command(how[1:])
        text = await shows(pilot, "validator val-1", "basilica-tui @val", "read-only")
        assert "gpu-house-1" not in text
        assert miner.clients == []
        await pilot.press("2")
        await shows(pilot, "MINERS")
        app.run_command("@home")
        await shows(pilot, "gpu-house-1", "operator")
        async with asyncio.timeout(60):
            while validator.clients:
                await asyncio.sleep(0.02)
        app.run_command("@nobody")
        await shows(pilot, "there is no engine called nobody; there is @home, @val, @far")


async def test_without_names_the_overview_says_how_to_give_them(make_app: MakeApp) -> None:
    """No empty box."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("0")
        await shows(pilot, "No engine has a name yet", "[engines.home]")


async def test_another_version_is_said_in_words(make_app: MakeApp) -> None:
    """Neither "gone" nor "no engine": which side is too old, and what to do; then it goes on by itself."""
    engine = make_engine()
    is_old = True

    async def connect(path: Path, *, role: str) -> Client:
        if is_old:
            raise ProtocolMismatch(
                "this engine (0.1.0) speaks protocol 0 to 0, the console 1 to 1: the console is too new",
                hint="upgrade and restart the engine",
                reason="protocol_mismatch",
            )
        return await engine.connect(path, role=role)

    app = make_app(connect=connect)
    async with app.run_test(size=(120, 40)) as pilot:
        text = await shows(pilot, "the console is too new", "upgrade and restart the engine", "different versions")
        assert "No engine answers" not in text
        is_old = False
        await app.link.resync()
        await shows(pilot, "● live")


PROFILES = """
[engines.home]
socket = "/run/basilica/miner/engine.sock"
[engines.rack-7]
ssh = "ops@rack7.example.org:2222"
read_only = true
[engines.six]
ssh = "[2001:db8::7]:22"
socket = "/run/x.sock"
[engines.bad]
ssh = "what is this"
[engines.empty]
[engines.typo]
sokcet = "/x"
"""


def test_profiles_are_read_and_mistakes_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with one costs only that one."""
    (tmp_path / "basilica-tui").mkdir()
    (tmp_path / "basilica-tui" / "console.toml").write_text(PROFILES)
    settings = load_settings(tmp_path / "basilica-tui")
    assert set(settings.engines) == {"home", "rack-7", "six"}
    assert settings.engines["rack-7"].ssh == SshAddress("rack7.example.org", 2222, "ops")
    assert settings.engines["rack-7"].read_only
    assert settings.engines["six"].where == "[2001:db8::7]:22:/run/x.sock"
    text = "\n".join(settings.problems)
    assert "engines.bad: ssh is user@host" in text
    assert "engines.empty: needs socket or ssh" in text
    assert "engines.typo: sokcet is not known" in text
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert named_way("home").where == Path("/run/basilica/miner/engine.sock")
    with pytest.raises(EngineUnreachable, match="there is no engine called @nobody; there is @home"):
        named_way("nobody")
    with pytest.raises(EngineUnreachable, match="is not USER@HOST"):
        ssh_way("a b", None)
    assert parse_profiles(5) == ({}, ["console.toml: [engines.NAME] is a table with socket or ssh"])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("host", SshAddress("host")), ("u@h:22", SshAddress("h", 22, "u")), ("h:0", None), ("h:99999", None),
     ("-oProxyCommand=x", None), ("u@-h", None), ("", None), ("a@b@c", None), ("[::1]", SshAddress("::1")),
     ("h;rm", None)],
)  # fmt: skip
def test_ssh_addresses(text: str, wanted: SshAddress | None) -> None:
    """Nothing that could be an option or a command."""
    assert parse_ssh_address(text) == wanted


def test_a_name_in_front_is_an_option() -> None:
    """``basilica-tui @home``; a verb that works on files of this host takes its words as they are."""
    assert with_names(["@home", "--read-only"]) == ["--engine", "home", "--read-only"]
    assert with_names(["node-id", "@home"]) == ["node-id", "@home"]
    assert with_names([]) == []


def test_a_summary_is_small_and_hostile_answers_do_no_harm() -> None:
    """A thousand nodes answer in a few hundred bytes; wrong types are left out."""
    import json

    state = LiveState()
    for event in miner_events(1000):
        state.apply(event)
    summary = summary_of(state, NOW)
    assert len(json.dumps(summary)) < 500
    assert (summary["healthy"], summary["total"], summary["alerts"]) == (998, 1000, 2)
    row = told(EngineRow("x"), {"role": 5, "healthy": "all", "total": 7, "id": "evil", "state": "evil"}, NOW)
    assert (row.id, row.state, row.role, row.healthy, row.total) == ("x", "live", "", 0, 7)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_the_overview_looks_as_before(snap_compare: SnapCompare, make_app: MakeApp, size: tuple[int, int]) -> None:
    """Two that answer and one that does not."""
    found, _, _ = ways()
    app = make_app(ways=found, profile="home", connect=found["home"].connect)

    async def prepare(pilot: Pilot[int]) -> None:
        await pilot.press("0")
        await shows(pilot, "2 answer", "gone")

    assert snap_compare(app, terminal_size=size, run_before=prepare)


async def test_an_engine_with_an_edge_is_known_by_its_colour(make_app: MakeApp) -> None:
    """Its name stands on that colour on every screen, frames take it; the next engine has its own."""
    found, miner, _ = ways()
    found["prod"] = Way("prod", Path("/run/prod.sock"), miner.connect, theme="light", edge="#c01c28")
    app = make_app(ways=found)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.switch_engine("prod")
        await shows(pilot, "@prod", "live")
        assert (app.theme, app.get_css_variables()["edge"]) == ("light", "#c01c28")
        skin = app.screen.query_one("#skin")
        assert skin.styles.background.hex.lower() == "#c01c28"
        assert text_of(app).splitlines()[0].startswith(" @prod ")
        app.switch_engine("home")
        await settle(pilot)
        assert app.theme == "dark"
        assert app.screen.query_one("#skin").display is False


def test_looks_of_an_engine_are_checked(tmp_path: Path) -> None:
    """A theme or colour that does not exist is told; the engine can still be attached to."""
    (tmp_path / "console.toml").write_text(
        '[engines.prod]\nsocket = "/run/a.sock"\ntheme = "neon"\nedge = "redd"\n'
        '[engines.home]\nsocket = "/run/b.sock"\nedge = "red"\n'
    )
    settings = load_settings(tmp_path)
    assert len(settings.problems) == 2
    assert (settings.engines["prod"].theme, settings.engines["prod"].edge) == ("", "")
    assert settings.engines["home"].edge == "red"
