"""Saving, rendering and masking: what a person wrote in the file stays as it was written."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest
import tomlkit

from engine.config import load_miner_config, load_validator_config, mask_config, render_config
from engine.config.miner import MinerConfig
from engine.config.save import save_config, write_config
from engine.config.validator import ValidatorConfig
from engine.errors import ConfigInvalid

FILE = """# The miner of rack 7
top_level_unknown = 1

[bittensor]   # wallet and chain
wallet_name = "w"     # bought in 2025
netuid = 39
skip_registration = true

[node_management]
# spare nodes come and go
nodes = [
  { host = "10.0.0.1", port = 22, username = "basilica" }, # first
  { host = "10.0.0.2", port = 22, username = "basilica", rack = "b" }, # second
]

[made_up]
kept = "yes"
"""
TABLES = """[[node_management.nodes]]
host = "10.0.0.1" # first
port = 22
username = "basilica"

[[node_management.nodes]]
host = "10.0.0.2"
port = 22
username = "basilica"
"""
NODE1 = {"host": "10.0.0.1", "port": 22, "username": "basilica"}
NODE2 = {"host": "10.0.0.2", "port": 22, "username": "basilica"}
NODE3 = {"host": "10.0.0.3", "port": 2222, "username": "root", "gpu_category": None}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "miner.toml").write_text(FILE)
    (tmp_path / "miner.toml").chmod(0o640)
    return tmp_path / "miner.toml"


def test_a_change_touches_its_line_only(path: Path) -> None:
    """One key changes; comments, order and unknown keys stay to the byte."""
    save_config(path, {"bittensor.netuid": 387})
    assert path.read_text() == FILE.replace("netuid = 39", "netuid = 387")


def test_saving_nothing_changes_nothing(path: Path) -> None:
    """An empty change writes the same bytes."""
    save_config(path, {})
    assert path.read_text() == FILE


def test_the_backup_holds_what_was_there(path: Path) -> None:
    """The backup carries the time in its name, the old bytes and the old mode; two in one second both stay."""
    first = save_config(path, {"bittensor.netuid": 387}, now=1_700_000_000)
    second = save_config(path, {"bittensor.netuid": 39}, now=1_700_000_000)
    assert first == path.with_name("miner.toml.bak-20231114T221320Z")
    assert first.read_text() == FILE
    assert second == path.with_name("miner.toml.bak-20231114T221320Z-2")
    assert stat.S_IMODE(first.stat().st_mode) == stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["miner.toml", first.name, second.name]


def test_new_sections_keys_and_removals(path: Path) -> None:
    """Missing sections are made, None removes, paths and durations are written as TOML."""
    changes = {
        "metrics.prometheus.port": 9191,
        "engine.data_dir": Path("/var/lib/x"),
        "bittensor.wallet_name": None,
        "bittensor.fallback_endpoints": ("wss://a",),
        "gone.deeper.still": None,
        "node_management.nodes[1].name": "second node",
        "node_management.nodes[1].rack": None,
    }
    save_config(path, changes)
    data = tomlkit.parse(path.read_text()).unwrap()
    assert data["metrics"] == {"prometheus": {"port": 9191}}
    assert data["engine"] == {"data_dir": "/var/lib/x"}
    assert data["bittensor"] == {"netuid": 39, "skip_registration": True, "fallback_endpoints": ["wss://a"]}
    assert data["node_management"]["nodes"][1] == {**NODE2, "name": "second node"}
    assert "gone" not in data
    assert "# first" in path.read_text()


def test_nodes_of_an_inline_array_keep_their_comments(path: Path) -> None:
    """A node is added and another one removed; the rest of the array stays as it was written."""
    save_config(path, {"node_management.nodes": [NODE2, NODE3]})
    text = path.read_text()
    nodes = tomlkit.parse(text).unwrap()["node_management"]["nodes"]
    assert nodes == [{**NODE2, "rack": "b"}, {"host": "10.0.0.3", "port": 2222, "username": "root"}]
    assert "# second" in text
    assert "# spare nodes come and go" in text


def test_nodes_written_as_tables_stay_tables(tmp_path: Path) -> None:
    """[[node_management.nodes]] keeps its form and the comments of the nodes that stay."""
    path = tmp_path / "miner.toml"
    path.write_text(TABLES)
    save_config(path, {"node_management.nodes": [{**NODE1, "name": "a"}, NODE3]})
    text = path.read_text()
    assert text.count("[[node_management.nodes]]") == 2
    assert "# first" in text
    assert [node["host"] for node in tomlkit.parse(text).unwrap()["node_management"]["nodes"]] == [
        "10.0.0.1",
        "10.0.0.3",
    ]
    save_config(path, {"node_management.nodes": []})
    assert load_miner_config(path, env={}, check=False).config.node_management.nodes == ()


def test_a_file_changed_by_another_hand_is_left_alone(path: Path) -> None:
    """When the file is not the one that was loaded, nothing is written."""
    loaded = load_miner_config(path, env={}, check=False)
    assert loaded.sha256 == hashlib.sha256(FILE.encode()).hexdigest()
    path.write_text(FILE + "# edited\n")
    with pytest.raises(ConfigInvalid, match="changed by someone else"):
        save_config(path, {"bittensor.netuid": 387}, expected_sha256=loaded.sha256)
    assert path.read_text() == FILE + "# edited\n"
    assert len(list(path.parent.iterdir())) == 1
    again = load_miner_config(path, env={}, check=False)
    save_config(path, {"bittensor.netuid": 387}, expected_sha256=again.sha256)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bittensor.axon_port": 0}, "must be a port from 1 to 65535"),
        ({"bittensor.netuid": "39"}, "must be a whole number"),
        ({"node_management.nodes": [{"host": "x"}]}, "nodes.0..port is missing"),
        ({"node_management.nodes[7].name": "x"}, "does not exist"),
        ({"bittensor.netuid.x": 1}, "does not exist"),
        ({"bittensor[0]": 1}, "does not exist"),
        ({"node_management.nodes[2]": NODE1}, "does not exist"),
        ({"node_management.nodes.x": 1}, "does not exist"),
        ({"bittensor.netuid.x.y": None}, "does not exist"),
        ({"": 1}, "is not a key"),
    ],
)
def test_a_change_that_cannot_be_is_refused(path: Path, changes: dict[str, object], words: str) -> None:
    """A wrong value is refused before anything is written."""
    with pytest.raises(ConfigInvalid, match=words):
        save_config(path, changes)
    assert path.read_text() == FILE
    assert len(list(path.parent.iterdir())) == 1


def test_an_old_mistake_does_not_block_another_change(tmp_path: Path) -> None:
    """Only what a change breaks counts, so that a broken file can be repaired step by step."""
    path = tmp_path / "miner.toml"
    path.write_text('[bittensor]\naxon_port = 0\nnetuid = "x"\n')
    save_config(path, {"bittensor.axon_port": 8080})
    save_config(path, {"bittensor.netuid": 39})
    assert load_miner_config(path, env={}, check=False).config.bittensor.netuid == 39


def test_a_link_is_followed(tmp_path: Path, path: Path) -> None:
    """A symbolic link stays one; the file behind it changes."""
    link = tmp_path / "etc" / "miner.toml"
    link.parent.mkdir()
    link.symlink_to(path)
    save_config(link, {"bittensor.netuid": 387})
    assert link.is_symlink()
    assert "netuid = 387" in path.read_text()


def test_write_config_makes_and_replaces_files(tmp_path: Path) -> None:
    """A new file is private and needs no backup; a replaced one leaves a backup; broken text is never written."""
    path = tmp_path / "new" / "miner.toml"
    assert write_config(path, "[bittensor]\n") is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    backup = write_config(path, "[health]\n")
    assert backup is not None
    assert backup.read_text() == "[bittensor]\n"
    with pytest.raises(ConfigInvalid, match="not valid TOML"):
        write_config(path, "[[[")
    assert path.read_text() == "[health]\n"


def test_saving_a_missing_file_is_refused(tmp_path: Path) -> None:
    """There is nothing to change in a file that is not there."""
    with pytest.raises(ConfigInvalid, match="no such file"):
        save_config(tmp_path / "none.toml", {"bittensor.netuid": 39})


@pytest.mark.parametrize("full", [False, True])
def test_a_rendered_miner_loads_as_itself(tmp_path: Path, full: bool) -> None:
    """Rendering and loading give the same configuration, short or in full."""
    config = MinerConfig.model_validate(
        {
            "bittensor": {"network": "local", "chain_endpoint": "file:/x", "axon_port": 8091, "netuid": 39},
            "validator_comms": {"port": 8091, "request_timeout": 2.5},
            "health": {"port": 8092},
            "metrics": {"collection_interval": 1.25, "default_labels": {"rack": "a"}},
            "node_management": {"nodes": [NODE1, {**NODE2, "hourly_rate_per_gpu": 2.5}]},
            "access": {"session_lifetime": 60, "revoke_on_exit": True},
            "engine": {"data_dir": "/d", "compressed_time": True},
        }
    )
    path = tmp_path / "miner.toml"
    path.write_text(render_config(config, full=full))
    loaded = load_miner_config(path, env={}, check=False)
    assert loaded.config == config
    assert loaded.warnings == ()
    assert ("wallet_name" in path.read_text()) == full


def test_durations_are_written_as_deployed_miners_want_them() -> None:
    """Tables where the deployed miner parses tables, whole numbers where it parses numbers."""
    text = render_config(MinerConfig(), full=True)
    data = tomlkit.parse(text).unwrap()
    assert data["metrics"]["collection_interval"] == {"secs": 30, "nanos": 0}
    assert data["node_management"]["health_check_interval"] == 60
    assert isinstance(data["node_management"]["health_check_interval"], int)


def test_a_rendered_validator_loads_as_itself(tmp_path: Path) -> None:
    """The validator's file makes the same round."""
    config = ValidatorConfig.model_validate(
        {
            "emission": {"gpu_allocations": {"H100": 60, "B200": {"weight": 40.0}}},
            "api": {"bind_address": "127.0.0.1:1"},
        }
    )
    path = tmp_path / "validator.toml"
    path.write_text(render_config(config))
    assert load_validator_config(path, env={}, check=False).config == config


def test_masking_hides_values_and_keeps_places() -> None:
    """Secrets by name and passwords in URLs are stars; paths of secret files stay readable."""
    data = {
        "api": {"api_key": "s3cret", "bind": "x"},
        "database": {"url": "postgresql://u:s3cret@h/n?password=s3cret"},
        "slash": {"url": "postgresql://u:s3cret/x@h/n", "text": 'see "http://h:80/a", a@b'},
        "bittensor": {"password_file": "/etc/p", "fallback_endpoints": ["wss://a:s3cret@b"]},
        "security": {"jwt_secret": "s3cret", "private_key_file": "/k"},
        "empty": {"token": ""},
        "number": 5,
    }
    masked = mask_config(data)
    assert "s3cret" not in str(masked)
    assert masked["bittensor"] == {"password_file": "/etc/p", "fallback_endpoints": ["wss://a:********@b"]}
    assert masked["slash"]["text"] == 'see "http://h:80/a", a@b'  # type: ignore[index]  # a table, as it went in
    assert masked["number"] == 5
    assert data["api"] == {"api_key": "s3cret", "bind": "x"}
