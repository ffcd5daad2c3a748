"""Layers: defaults, file, environment; their types, their sources, and the two spellings of the prefix."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import describe, load_miner_config, load_validator_config
from engine.config.environment import parse_text, read_environment
from engine.config.miner import MinerConfig
from engine.config.values import parse_duration
from engine.errors import ConfigInvalid

FILE = '[bittensor]\nwallet_name = "from-file"\naxon_port = 8080\n[validator_comms]\nport = 8080\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "miner.toml").write_text(FILE)
    return tmp_path / "miner.toml"


def load(path: Path | None, **env: str) -> Any:
    return load_miner_config(path, env=env, check=False)


def test_the_environment_stands_above_the_file(path: Path) -> None:
    """Each layer replaces the one below key by key, and sources say which one won."""
    loaded = load(path, BASILICA_BITTENSOR__AXON_PORT="9000", BASILICA_VALIDATOR_COMMS__PORT="9000")
    assert loaded.config.bittensor.wallet_name == "from-file"
    assert loaded.config.bittensor.axon_port == 9000
    assert loaded.config.bittensor.hotkey_name == "default"
    assert loaded.sources["bittensor.wallet_name"] == "file"
    assert loaded.sources["bittensor.axon_port"] == "environment"
    assert loaded.sources["bittensor.hotkey_name"] == "default"
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("variable", "text", "section", "key", "value"),
    [
        ("BITTENSOR__WALLET_NAME", "123", "bittensor", "wallet_name", "123"),
        ("BITTENSOR__NETUID", " 387 ", "bittensor", "netuid", 387),
        (
            "BITTENSOR__FALLBACK_ENDPOINTS",
            "wss://a, wss://b",
            "bittensor",
            "fallback_endpoints",
            ("wss://a", "wss://b"),
        ),
        ("BITTENSOR__FALLBACK_ENDPOINTS", '["wss://a"]', "bittensor", "fallback_endpoints", ("wss://a",)),
        ("BITTENSOR__FALLBACK_ENDPOINTS", "", "bittensor", "fallback_endpoints", ()),
        ("BITTENSOR__EXTERNAL_IP", "203.0.113.7", "bittensor", "external_ip", "203.0.113.7"),
        ("BITTENSOR__EXTERNAL_IP", "", "bittensor", "external_ip", None),
        ("BITTENSOR__WALLET_PATH", "/w", "bittensor", "wallet_path", Path("/w")),
        ("METRICS__ENABLED", "No", "metrics", "enabled", False),
        ("METRICS__ENABLED", "1", "metrics", "enabled", True),
        ("METRICS__COLLECTION_INTERVAL", "2.5", "metrics", "collection_interval", 2.5),
        ("METRICS__COLLECTION_INTERVAL", '{"secs": 7}', "metrics", "collection_interval", 7.0),
        ("METRICS__DEFAULT_LABELS", '{"rack": "a"}', "metrics", "default_labels", {"rack": "a"}),
        ("VALIDATOR_ASSIGNMENT__MIN_STAKE_THRESHOLD", "1e3", "validator_assignment", "min_stake_threshold", 1000.0),
    ],
)
def test_variables_are_typed_by_their_field(variable: str, text: str, section: str, key: str, value: object) -> None:
    """Text becomes what the field holds, so that a wallet called 123 stays a name."""
    loaded = load(None, **{f"BASILICA_{variable}": text})
    assert getattr(getattr(loaded.config, section), key) == value
    assert loaded.sources[f"{section}.{key}"] == "environment"


def test_nested_sections_and_nodes_come_from_the_environment() -> None:
    """Deep keys nest with double underscores; arrays of tables are JSON."""
    nodes = [{"host": "10.0.0.1", "port": 22, "username": "basilica"}]
    loaded = load(None, BASILICA_METRICS__PROMETHEUS__PORT="9191", BASILICA_NODE_MANAGEMENT__NODES=json.dumps(nodes))
    assert loaded.config.metrics.prometheus.port == 9191
    assert loaded.config.node_management.nodes[0].host == "10.0.0.1"
    assert loaded.sources["node_management.nodes[0].host"] == "environment"


def test_the_deployed_spelling_is_read_with_a_warning() -> None:
    """BASILCA_ works, warns with the right name, and yields to the right spelling."""
    loaded = load(None, BASILCA_BITTENSOR__NETUID="387", BASILCA_BITTENSOR__WALLET_NAME="old")
    assert loaded.config.bittensor.netuid == 387
    assert any("BASILCA_BITTENSOR__NETUID" in w and "write BASILICA_BITTENSOR__NETUID" in w for w in loaded.warnings)
    both = load(None, BASILCA_BITTENSOR__WALLET_NAME="old", BASILICA_BITTENSOR__WALLET_NAME="new")
    assert both.config.bittensor.wallet_name == "new"


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("BASILICA_BITTENSOR__WALET_NAME", "did you mean BASILICA_BITTENSOR__WALLET_NAME?"),
        ("BASILICA_BITENSOR__WALLET_NAME", "did you mean BASILICA_BITTENSOR__WALLET_NAME?"),
        ("BASILICA_ZZZ__QQQ", "sets no known key and has no effect"),
        ("BASILICA_BITTENSOR__WALLET_NAME__X", "sets no known key"),
    ],
)
def test_unknown_variables_warn(variable: str, words: str) -> None:
    """A misspelt variable is named, with the likely right one."""
    warnings = [warning for warning in load(None, **{variable: "x"}).warnings if variable in warning]
    assert len(warnings) == 1
    assert words in warnings[0]


def test_the_programs_own_variables_are_no_keys() -> None:
    """Single words after the prefix belong to the program and stay without a warning."""
    env = {"BASILICA_WALLET_PASSWORD": "x", "BASILICA_THEME": "dark", "BASILICA___": "", "BASILICA_": "", "HOME": "/"}
    assert read_environment(MinerConfig, env).warnings == []
    assert read_environment(MinerConfig, env).data == {}


def test_a_wrong_value_names_its_variable(path: Path) -> None:
    """The sentence points at the variable, not at the file."""
    with pytest.raises(ConfigInvalid) as caught:
        load(path, BASILICA_BITTENSOR__AXON_PORT="eighty")
    (problem,) = caught.value.problems
    assert problem.startswith('environment BASILICA_BITTENSOR__AXON_PORT: bittensor.axon_port is "eighty", but must be')


def test_the_path_may_come_from_the_environment(path: Path) -> None:
    """Without a path the variable names the file; a path given wins."""
    assert load(None, BASILCA_CONFIG_PATH=str(path)).path == path
    assert load(path, BASILICA_CONFIG_PATH="/nowhere").path == path
    assert load(None).path is None


def test_home_is_expanded_in_paths(tmp_path: Path) -> None:
    """~ works in every path, and relative ones stay relative to the working directory."""
    (tmp_path / "m.toml").write_text(
        '[engine]\ndata_dir = "~/d"\nsocket = "run/x.sock"\n[database]\nurl = "sqlite:~/m.db"'
    )
    config = load(tmp_path / "m.toml").config
    assert config.engine.data_dir == Path(os.path.expanduser("~/d"))  # noqa: PTH111 - an independent expansion
    assert config.engine.socket == Path("run/x.sock")
    assert config.database.file == Path.home() / "m.db"
    assert config.data_dir == config.engine.data_dir


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:./data/miner.db?mode=rwc", Path("data/miner.db")),
        ("sqlite:///var/lib/m.db", Path("/var/lib/m.db")),
        ("sqlite::memory:", None),
        ("postgresql://u@h/n", None),
    ],
)
def test_the_database_file_is_found_in_its_url(url: str, expected: Path | None) -> None:
    """SQLite URLs of every spelling name their file."""
    assert load(None, BASILICA_DATABASE__URL=url).config.database.file == expected


@given(st.integers(0, 10**9), st.integers(0, 10**9 - 1))
def test_both_notations_of_a_duration_are_one(secs: int, nanos: int) -> None:
    """A table and its number of seconds mean the same."""
    assert parse_duration({"secs": secs, "nanos": nanos}) == secs + nanos / 1e9
    assert parse_duration(secs) == parse_duration({"secs": secs}) == float(secs)


@pytest.mark.parametrize(
    "bad",
    [True, None, "5", [], {}, -1, float("nan"), float("inf"), 10**400, {"secs": -1}, {"secs": True}, {"nanos": 10**9}],
)
def test_what_is_no_duration_is_refused(bad: object) -> None:
    """Text, negatives, infinities and other tables are no durations."""
    with pytest.raises(ValueError, match=r"duration|number of seconds"):
        parse_duration(bad)


ANNOTATIONS = [bool, int, float, str, int | None, tuple[str, ...], dict[str, str], Path]


@given(st.sampled_from(ANNOTATIONS), st.text(max_size=30))
def test_no_text_breaks_the_environment(annotation: Any, text: str) -> None:
    """Whatever a variable holds, reading it never fails by itself."""
    parse_text(annotation, text)


def test_describe_lists_every_key_with_its_source_and_no_secret(tmp_path: Path) -> None:
    """Every leaf appears once, with secrets masked, nodes included."""
    path = tmp_path / "validator.toml"
    path.write_text('[api]\napi_key = "hunter2"\n[database]\nurl = "postgresql://u:hunter2@h/n"\n')
    rows = describe(load_validator_config(path, env={"BASILICA_METRICS__ENABLED": "off"}, check=False))
    shown = {key: (value, source) for key, value, source in rows}
    assert len(shown) == len(rows)
    assert shown["api.api_key"] == ("********", "file")
    assert shown["database.url"] == ("postgresql://u:********@h/n", "file")
    assert shown["metrics.enabled"] == ("false", "environment")
    assert shown["verification.verification_interval"] == ("600", "default")
    assert shown["bittensor.external_ip"] == ("-", "default")
    assert "hunter2" not in str(rows)
