"""A service is put back exactly as it stood: files, owners, modes, and nothing that was not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.deployment import plan_install, plan_uninstall
from engine.deployment.install import system_choice
from engine.deployment.standing import note_standing, put_back
from engine.deployment.steps import apply_plan
from engine.diagnostics.fixes.common import local_step
from engine.diagnostics.fixing import Fixer, Hands
from engine.diagnostics.model import Result, Scope, Subject, Verdict
from engine.diagnostics.plan import KeepCopy, LocalCommand, Plan

STRANGER = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A miner's files, and a folder for units."""
    monkeypatch.setenv("BASILICA_UNIT_DIR", str(tmp_path / "units"))
    keys, hotkeys = tmp_path / "m/keys", tmp_path / "m/wallets/miner/hotkeys"
    for folder in (keys, hotkeys):
        folder.mkdir(parents=True)
    (keys / "node_key").write_text("key")
    (hotkeys / "default").write_text("hotkey")
    path = tmp_path / "m/miner.toml"
    path.write_text(
        f'[engine]\ndata_dir = "{tmp_path}/m/data/deep"\n[bittensor]\nwallet_name = "miner"\n'
        f'hotkey_name = "default"\nwallet_path = "{tmp_path}/m/wallets"\n'
        f'[ssh_session]\nminer_node_key_path = "{keys}/node_key"\n'
    )
    return path


def look(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Owner, group, mode and content of everything below."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        one = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (one.st_uid, one.st_gid, one.st_mode, content)
    return found


def test_where_nothing_was_nothing_is_left(config: Path, tmp_path: Path) -> None:
    """Unit, drop-in and the directories that were made for it are gone."""
    before = look(tmp_path)
    choice = system_choice(config)
    standing = note_standing(choice, has_systemd=False)
    apply_plan(plan_install(choice, has_systemd=False), lambda _: None)
    assert (tmp_path / "m/data/deep").is_dir()
    assert choice.drop_in.is_file()

    put_back(standing)

    assert look(tmp_path) == before


def test_what_the_engine_wrote_stays(config: Path, tmp_path: Path) -> None:
    """A directory that was made and filled is not deleted."""
    choice = system_choice(config)
    standing = note_standing(choice, has_systemd=False)
    apply_plan(plan_install(choice, has_systemd=False), lambda _: None)
    (tmp_path / "m/data/deep/engine.db").write_text("grants")
    put_back(standing)
    assert (tmp_path / "m/data/deep/engine.db").read_text() == "grants"
    assert not choice.drop_in.parent.exists()


def test_an_earlier_unit_is_the_same_to_the_byte(config: Path, tmp_path: Path) -> None:
    """Also what an operator wrote into it by hand, and its mode."""
    choice = system_choice(config)
    choice.drop_in.parent.mkdir(parents=True)
    choice.drop_in.write_bytes(b"[Service]\n# by hand \xff\n")
    choice.drop_in.chmod(0o600)
    before = look(tmp_path / "units")
    standing = note_standing(choice, has_systemd=False)
    apply_plan(plan_install(choice, has_systemd=False), lambda _: None)
    assert look(tmp_path / "units") != before
    put_back(standing)
    assert look(tmp_path / "units") == before


@as_root
def test_files_that_were_given_away_come_back(config: Path, tmp_path: Path) -> None:
    """The installation gives keys to the service's user; owner, group and mode are those of before afterwards."""
    key, hotkey = tmp_path / "m/keys/node_key", tmp_path / "m/wallets/miner/hotkeys/default"
    for path in (key, key.parent):
        os.chown(path, STRANGER, STRANGER)
    key.chmod(0o600)
    key.parent.chmod(0o2750)
    os.chown(hotkey, 1, 1)  # daemon's, a user that is everywhere
    before = look(tmp_path)
    choice = system_choice(config)
    standing = note_standing(choice, has_systemd=False)
    apply_plan(plan_install(choice, has_systemd=False), lambda _: None)
    assert key.stat().st_uid == 1

    put_back(standing)

    assert look(tmp_path) == before


def test_what_is_gone_already_is_removed(config: Path) -> None:
    """An uninstallation that was interrupted may be repeated."""
    choice = system_choice(config)
    apply_plan(plan_install(choice, has_systemd=False), lambda _: None)
    for _ in range(2):
        apply_plan(plan_uninstall(choice, has_systemd=False, others=False), lambda _: None)
    assert not choice.drop_in.parent.exists()


async def test_a_copy_is_the_file_again(tmp_path: Path) -> None:
    """Taken back, content and mode are those of before and no copy is left; a copy that is there is never replaced."""
    path, copy = tmp_path / "miner.toml", tmp_path / "copy"
    path.write_text("first")
    path.chmod(0o640)
    keep = local_step("keep", "cp", KeepCopy(path, copy), "mv")
    words = ("sh", "-c", f"echo second >{path}; chmod 600 {path}; false")
    fails = local_step("fail", "false", LocalCommand(words))
    plan = Plan("fix", "a fix", "check", "", "this host", (keep, fails))
    before = Result("check", Scope.HOST, "a check", "what it means", Subject(), Verdict.FAILED)

    async def never() -> Result | None:
        raise AssertionError("nothing is checked after a failure")

    fixer = Fixer(Hands(SystemClock()))
    assert "taken back" in (await fixer.run(plan, never, before)).message
    assert (path.read_text(), path.stat().st_mode & 0o777, copy.exists()) == ("first", 0o640, False)

    copy.write_text("the first original")
    outcome = await fixer.run(plan, never, before)
    assert (outcome.ending, path.read_text(), copy.read_text()) == ("failed", "first", "the first original")
