"""The configuration file from a console: values with origin, setting a key, backups."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

import pytest

from engine.clock import ManualClock
from engine.config import Loaded, load_miner_config
from engine.config.miner import MinerConfig
from engine.control.actions import ActionTable
from engine.errors import ControlRefused
from engine.lifecycle.config_actions import ConfigActions, parse_value

FILE = """# the house of GPUs
[bittensor]
wallet_name = "house"  # not the default
network = "test"
netuid = 387

[alerts]
urls = ["https://user:secret@hook.example/x"]
"""


class Desk:
    """The actions of an engine that was started from a file, without the engine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.running: MinerConfig = self._read().config
        self.table = ActionTable(lambda _: None, ManualClock())
        ConfigActions(lambda: self.running, self._load).register(self.table)

    def _read(self) -> Loaded[MinerConfig]:
        return load_miner_config(self.path, env={}, check=False)

    async def _load(self) -> Loaded[MinerConfig]:
        return await asyncio.to_thread(self._read)

    async def act(self, verb: str, **args: object) -> dict[str, object]:
        """As an operator."""
        return dict(await self.table.run(verb, args, role="operator", actor="test"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    path = tmp_path / "miner.toml"
    path.write_text(FILE)
    return Desk(path)


async def test_each_value_says_where_it_came_from_and_what_the_file_says_by_now(desk: Desk) -> None:
    """Secrets are stars on both sides; a change of the file shows before it is in force."""
    desk.path.write_text(FILE.replace("387", "39"))
    answer = await desk.act("config.show")
    values = answer["values"]
    assert isinstance(values, dict)
    assert values["bittensor.wallet_name"] == {"value": "house", "file": "house", "source": "file"}
    assert values["bittensor.netuid"] == {"value": "387", "file": "39", "source": "file"}
    assert values["bittensor.hotkey_name"]["source"] == "default"
    assert "secret" not in str(answer)
    assert answer["problems"] == [] and answer["path"] == str(desk.path)


async def test_a_broken_file_is_said_and_what_runs_is_still_shown(desk: Desk) -> None:
    """Also when it is no TOML any more."""
    desk.path.write_text("[bittensor\n")
    answer = await desk.act("config.show")
    assert answer["problems"]
    assert isinstance(answer["values"], dict) and answer["values"]["bittensor.netuid"]["value"] == "387"


async def test_a_key_is_set_with_a_backup_and_restored_from_it(desk: Desk) -> None:
    """Comments stay; the backup is the file as it was, byte for byte."""
    sha256 = (await desk.act("config.show"))["sha256"]
    done = await desk.act("config.set", key="bittensor.netuid", value="39", sha256=sha256)
    text = desk.path.read_text()
    assert tomllib.loads(text)["bittensor"]["netuid"] == 39 and "# not the default" in text
    backups = (await desk.act("config.backups"))["backups"]
    assert isinstance(backups, list) and [b["name"] for b in backups] == [done["backup"]]
    await desk.act("config.restore", name=done["backup"])
    assert desk.path.read_text() == FILE
    assert len(list(desk.path.parent.glob("miner.toml.bak-*"))) == 2


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({"key": "bittensor.netuid", "value": "many"}, "config_invalid"),
        ({"key": "bittensor.netuid", "value": "39", "sha256": "0" * 64}, "config_invalid"),
        ({"key": "", "value": "39"}, "bad_argument"),
        ({"key": "bittensor.netuid"}, "bad_argument"),
    ],
)
async def test_what_cannot_be_saved_changes_nothing(desk: Desk, args: dict[str, object], reason: str) -> None:
    """A value that the key cannot hold, a file that somebody else changed meanwhile, nothing given."""
    await desk.act("config.show")
    with pytest.raises(ControlRefused) as refusal:
        await desk.act("config.set", **args)
    assert refusal.value.reason == reason
    assert desk.path.read_text() == FILE
    assert list(desk.path.parent.glob("*.bak-*")) == []


async def test_only_a_backup_of_this_file_is_restored(desk: Desk, tmp_path: Path) -> None:
    """No path out of its directory, and no other file in it."""
    (tmp_path / "other.toml").write_text("x = 1\n")
    for name in ("../miner.toml", "other.toml", "miner.toml.bak-none"):
        with pytest.raises(ControlRefused) as refusal:
            await desk.act("config.restore", name=name)
        assert refusal.value.reason == "unknown_backup"


@pytest.mark.parametrize(
    ("text", "value"),
    [("39", 39), ("true", True), ('"a b"', "a b"), ("finney", "finney"), ("[1, 2]", [1, 2]), ("", None), ("  ", None),
     ("1.5", 1.5), ("5G3q = x", "5G3q = x")],
)  # fmt: skip
def test_what_is_typed_is_a_toml_value_or_a_text(text: str, value: object) -> None:
    """Nobody has to quote a word."""
    assert parse_value(text) == value
