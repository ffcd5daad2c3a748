"""Putting a copy of the configuration back: the newest, the named, never a broken one by accident."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from basilica_tui.cli import app
from engine.config.save import back_up_config, copies_of

VALID = '[bittensor]\nnetwork = "test"\nnetuid = 387\n[validator_comms]\nport = {port}\n[node_management]\nnodes = []\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration with its key."""
    key = tmp_path / "key"
    key.write_text("x")
    key.chmod(0o600)
    path = tmp_path / "miner.toml"
    path.write_text(VALID.format(port=1111) + f'[ssh_session]\nminer_node_key_path = "{key}"\n')
    return path


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["config", "restore", *words])
    return done.exit_code, done.output + (str(done.exception) if done.exception else "")


def test_the_newest_copy_comes_back_and_the_present_file_is_kept(file: Path) -> None:
    """Restoring twice is undoing: nothing is lost on the way."""
    before = file.read_text()
    copy = back_up_config(file, now=1000.0)
    file.write_text(before.replace("1111", "2222"))
    status, text = run("--yes", "--config", str(file))
    assert (status, file.read_text()) == (0, before), text
    kept = [one for one in copies_of(file) if one != copy]
    assert [one.read_text() for one in kept] == [before.replace("1111", "2222")]


def test_a_copy_that_the_engine_would_refuse_needs_force(file: Path) -> None:
    """The list says which copies can be used; a broken one is not restored by accident."""
    good = back_up_config(file, now=1000.0)
    bad = file.with_name("miner.toml.bak-20990101T000000Z")
    bad.write_text("[bittensor]\nnetwork = 'nowhere'\n[node_management]\n")
    os.utime(good, (1, 1))
    status, text = run("--list", "--config", str(file))
    assert status == 0
    assert f"{bad}  refused" in text
    assert f"{good}  valid" in text
    before = file.read_text()
    assert run("--yes", "--config", str(file))[0] != 0
    assert file.read_text() == before
    assert run(str(bad), "--yes", "--force", "--config", str(file))[0] == 0
    assert file.read_text() == bad.read_text()


def test_without_a_copy_it_says_how_to_make_one(file: Path) -> None:
    """No copy, no guess."""
    status, text = run("--yes", "--config", str(file))
    assert status != 0
    assert "no copy" in text
    status, text = run("--list", "--config", str(file))
    assert (status, "there is no copy" in text, "config backup" in text) == (0, True, True)
