"""Where the files are: on the command line without an engine, and in the console with one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from basilica_tui.cli import app
from tests.console.conftest import MakeApp
from tests.console.screen import settle, text_of

MINER = """
[bittensor]
wallet_name = "alpha"
hotkey_name = "first"
wallet_path = "{home}/wallets"
[database]
url = "postgres://miner:hunter2@db.example/miner"
[engine]
name = "gpu-house"
data_dir = "{home}/data"
[logging]
file = "{home}/engine.log"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, folder in (("XDG_CONFIG_HOME", "c"), ("XDG_STATE_HOME", "s"), ("XDG_RUNTIME_DIR", "r")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.delenv("BASILICA_CONFIG_PATH", raising=False)
    (tmp_path / "miner.toml").write_text(MINER.format(home=tmp_path))
    return tmp_path


def told(*words: str) -> dict[str, dict[str, tuple[str, str]]]:
    done = CliRunner().invoke(app, ["info", "--json", *words])
    assert done.exit_code == 0, done.output
    return {
        title: {s["name"]: (s["where"], s["source"]) for s in spots} for title, spots in json.loads(done.stdout).items()
    }


def test_every_place_is_told_with_who_said_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the file, from the environment, or by default; a password in a URL stays hidden."""
    monkeypatch.setenv("BASILICA_LOGGING__FILE", str(home / "other.log"))
    groups = told("--config", str(home / "miner.toml"))
    assert groups["console"]["settings"] == (str(home / "c" / "basilica-tui" / "console.toml"), "XDG_CONFIG_HOME")
    engine = groups["engine (miner)"]
    assert engine["configuration"] == (str(home / "miner.toml"), "--config")
    assert engine["data directory"] == (str(home / "data"), "engine.data_dir (file)")
    assert engine["recording"] == (str(home / "data" / "recording"), "default")
    assert engine["hotkey file"][0] == str(home / "wallets" / "alpha" / "hotkeys" / "first")
    assert engine["control socket"][0].endswith("gpu-house/engine.sock")
    assert "hunter2" not in json.dumps(groups)
    assert "db.example" in engine["database"][0]
    assert set(engine) >= {"log file", "wallets", "node key"}


def test_without_a_configuration_it_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is told nevertheless, in words."""
    monkeypatch.chdir("/")
    done = CliRunner().invoke(app, ["info"])
    assert done.exit_code == 0
    assert "there is no miner.toml or validator.toml here" in done.stdout
    assert "views.json  (not there, XDG_STATE_HOME)" in done.stdout


async def test_the_console_tells_its_own_places_and_the_engines(make_app: MakeApp) -> None:
    """``:info``; what the engine does not say is asked for in words."""
    console = make_app()
    async with console.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        console.run_command("info")
        await settle(pilot)
        await settle(pilot)
        shown = text_of(console)
        assert "CONSOLE" in shown
        assert "views.json" in shown
        assert "ENGINE" in shown
        assert "asking the engine" not in shown
        assert "no such command: config.show" in shown or "configuration" in shown
