"""The verbs ``import`` and ``config`` as an operator types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from basilica_tui.cli import app
from engine.errors import BasilicaError, ConfigInvalid
from tests.unit.test_config_eras import D2

KEY = "[ssh_session]\nminer_node_key_path = "


@pytest.fixture
def miner_toml(tmp_path: Path) -> Path:
    """A valid configuration with a password in it."""
    key = tmp_path / "key"
    key.touch(0o600)
    path = tmp_path / "miner.toml"
    nodes = '[node_management]\nnodes = [{ host = "h", port = 22, username = "u" }]\n'
    path.write_text(f'[database]\nurl = "postgresql://me:hush@host/db"\n{nodes}{KEY}"{key}"\n')
    return path


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_validate_says_yes_or_no(miner_toml: Path) -> None:
    """Exit 0 for a usable file, 2 with every problem for another; JSON for programs."""
    assert run("config", "validate", "--config", miner_toml).exit_code == 0
    miner_toml.write_text(miner_toml.read_text().replace("port = 22", "port = 0"))
    refused = run("config", "validate", "-p", miner_toml)
    assert refused.exit_code == 2
    assert "problem: " in refused.stdout
    answer = json.loads(run("config", "validate", "-c", miner_toml, "--json").stdout)
    assert (answer["valid"], len(answer["problems"])) == (False, 1)
    missing = run("config", "validate", "-c", miner_toml.with_name("no.toml"))
    assert (missing.exit_code, "no such file" in missing.stdout) == (2, True)


def test_show_names_sources_and_hides_secrets(miner_toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value with where it comes from; the password is starred, also in JSON."""
    monkeypatch.setenv("BASILICA_LOGGING__LEVEL", "debug")
    shown = run("config", "show", "-c", miner_toml).stdout
    values = json.loads(run("config", "show", "-c", miner_toml, "--json").stdout)["values"]
    assert "hush" not in shown + str(values)
    assert values["logging.level"] == {"value": "debug", "source": "environment"}
    assert values["node_management.nodes[0].host"] == {"value": "h", "source": "file"}
    assert values["access.session_lifetime"] == {"value": "3600", "source": "default"}
    assert "access.session_lifetime" not in run("config", "show", "-c", miner_toml, "--set").stdout


def test_the_file_of_this_directory_is_the_default(miner_toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name the one configuration of the working directory is meant; with two of them none is."""
    monkeypatch.chdir(miner_toml.parent)
    monkeypatch.delenv("BASILICA_CONFIG_PATH", raising=False)
    assert "miner.toml: valid" in run("config", "validate").stdout
    (miner_toml.parent / "validator.toml").touch()
    assert isinstance(run("config", "validate").exception, ConfigInvalid)


def test_backup_copies_the_file_aside(miner_toml: Path) -> None:
    """The copy is the file as it is, and its name is printed."""
    copy = Path(run("config", "backup", "-c", miner_toml).stdout.strip())
    assert copy.read_bytes() == miner_toml.read_bytes()
    assert copy.name.startswith("miner.toml.bak-")


def test_import_shows_first_and_writes_when_told(tmp_path: Path) -> None:
    """Nothing is written without --write; with it the file is there, and a second time the first is copied aside."""
    old, new = tmp_path / "old.toml", tmp_path / "miner.toml"
    old.write_text(D2.replace("KEY", "~/.ssh/key"))
    shown = run("import", "--from", old, "--to", new)
    assert shown.exit_code == 0, shown.exception
    assert "nothing was written" in shown.stdout
    assert not new.exists()
    answer = json.loads(run("import", "--from", old, "--to", new, "--write", "--json").stdout)
    assert (answer["era"], answer["written"], answer["backup"], len(answer["nodes"])) == ("D2", True, None, 2)
    again = json.loads(run("import", "--from", old, "--to", new, "--write", "--json").stdout)
    assert Path(again["backup"]).read_text() == new.read_text()
    assert isinstance(run("import", "--from", tmp_path / "no").exception, BasilicaError)
