"""Every mistake is one clear sentence that names the place, the key, the value and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from engine.config import MinerConfig, check_miner_config, detect_role, load_miner_config, load_validator_config
from engine.errors import ConfigInvalid

HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
NODE = {"host": "10.0.0.1", "port": 22, "username": "basilica"}
UUID = "ca02cf98-b31a-4ccc-ab1c-9d5596bde209"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.touch(0o600)
    return path


def base(key: Path) -> dict[str, Any]:
    return {
        "bittensor": {"axon_port": 50051},
        "validator_comms": {"port": 50051},
        "node_management": {"nodes": [NODE]},
        "ssh_session": {"miner_node_key_path": str(key)},
    }


def write(key: Path, changes: dict[str, Any], name: str = "miner.toml", *, bare: bool = False) -> Path:
    data = {} if bare else base(key)
    for dotted, value in changes.items():
        *sections, last = dotted.split(".")
        table = data
        for section in sections:
            table = table.setdefault(section, {})
        table[last] = value
    path = key.with_name(name)
    path.write_text(tomli_w.dumps(data))
    return path


def test_a_sound_file_has_neither_problems_nor_warnings(key: Path) -> None:
    """The base of the cases below is clean, so that each case shows only its own finding."""
    assert load_miner_config(write(key, {}), env={}).warnings == ()


PROBLEMS: list[tuple[dict[str, Any], str]] = [
    ({"bittensor.axon_port": 0}, "bittensor.axon_port is 0, but must be a port from 1 to 65535"),
    ({"validator_comms.port": 65536}, "validator_comms.port is 65536, but must be a port from 1 to 65535"),
    ({"metrics.prometheus.port": 0}, "metrics.prometheus.port is 0"),
    ({"health.port": -1}, "health.port is -1"),
    ({"bittensor.axon_port": "50051"}, 'bittensor.axon_port is "50051", but must be a port'),
    ({"bittensor.axon_port": True}, "bittensor.axon_port is true"),
    ({"bittensor.netuid": 3.9}, "bittensor.netuid is 3.9, but must be a whole number"),
    ({"bittensor.netuid": 0}, "bittensor.netuid is 0, but must be 1 or more"),
    ({"bittensor.wallet_name": ""}, 'bittensor.wallet_name is "", but must be at least one character long'),
    ({"bittensor.hotkey_name": "  "}, "must be more than blanks"),
    ({"bittensor.wallet_name": 123}, "bittensor.wallet_name is 123, but must be text in quotes"),
    ({"metrics.enabled": "yes"}, 'metrics.enabled is "yes", but must be true or false, without quotes'),
    ({"metrics": 7}, "metrics is 7, but must be a section"),
    ({"bittensor.fallback_endpoints": "wss://x"}, "must be an array in square brackets"),
    ({"node_management.health_check_interval": 0}, "must be more than 0"),
    ({"node_management.health_check_interval": -5}, "must be a duration from 0 seconds to 100 years"),
    ({"node_management.health_check_interval": "60s"}, "must be a number of seconds, or a table"),
    ({"validator_comms.request_timeout": {"secs": 1.5}}, "a duration table"),
    ({"validator_comms.request_timeout": {"seconds": 1}}, "a duration table"),
    ({"logging.level": "loud"}, "logging.level is \"loud\", but must be one of 'debug', 'info', 'warning', 'error'"),
    ({"validator_assignment.strategy": "random"}, "one of 'highest_stake', 'fixed_assignment'"),
    ({"validator_assignment.min_stake_threshold": -1.0}, "must be 0 or more"),
    ({"bittensor.network": "mainnet"}, "did you mean finney?"),
    ({"bittensor.network": "finny"}, "did you mean finney?"),
    ({"bittensor.network": "moon"}, "one of finney, test, local"),
    ({"bittensor.chain_endpoint": "file:/x.db"}, 'needs bittensor.network = "local"'),
    ({"bittensor.chain_endpoint": "https://x"}, "must be a ws:// or wss:// URL"),
    ({"bittensor.fallback_endpoints": ["nonsense"]}, "bittensor.fallback_endpoints[0] is"),
    ({"bittensor.external_ip": "gpu.example"}, "must be an IP address"),
    ({"database.url": "mysql://x"}, "must be sqlite:PATH or postgresql://"),
    ({"database.url": ""}, "database.url is"),
    ({"database.max_connections": 0}, "must be 1 or more"),
    ({"database.min_connections": 11}, "must not be more than database.max_connections (10)"),
    ({"bittensor.axon_port": 8080}, "validator_comms.port is 50051"),
    ({"advertised_addresses.grpc_endpoint": "somewhere"}, "must be HOST:PORT"),
    ({"health.port": 50051}, "validator_comms.port uses that port already"),
    ({"metrics.prometheus.port": 8091}, ""),
    ({"validator_comms.host": "not a host"}, "must be an address to listen on"),
    ({"validator_comms.tls_enabled": True}, "needs it; name the PEM file"),
    ({"validator_assignment.strategy": "fixed_assignment"}, "needs the hotkey of the one validator"),
    ({"validator_assignment.validator_hotkey": "5G3qVaXz..."}, "is no SS58 address"),
    ({"validator_assignment.validator_hotkey": HOTKEY[:-1] + "Z"}, "the checksum does not match"),
    ({"ssh_session.miner_node_key_path": "/nowhere/key"}, "there is no such file; make one with: basilica-tui keys"),
    ({"ssh_session.miner_node_key_path": "/"}, "is not a file"),
    ({"ssh_session.miner_node_key_path": ""}, "must be a path in quotes"),
    ({"node_management.nodes": [{"host": "h", "port": 22}]}, "node_management.nodes[0].username is missing"),
    ({"node_management.nodes": [{**NODE, "host": ""}]}, "node_management.nodes[0].host is"),
    ({"node_management.nodes": [{**NODE, "port": 0}]}, "node_management.nodes[0].port is 0"),
    ({"node_management.nodes": [{**NODE, "host": "a;b"}]}, "must be a host name or an IP address"),
    ({"node_management.nodes": [{**NODE, "host": "[::1]"}]}, "IPv6 without brackets"),
    ({"node_management.nodes": [{**NODE, "host": "-oProxy"}]}, "must be a host name"),
    ({"node_management.nodes": [{**NODE, "username": "a@b"}]}, "must be a plain user name"),
    ({"node_management.nodes": [{**NODE, "id": "node-1"}]}, "must be a UUID"),
    ({"node_management.nodes": [{**NODE, "gpu_count": 0}]}, "must be 1 or more"),
    ({"node_management.nodes": [{**NODE, "extra_mount_path": "/a/../b"}]}, "must be an absolute path"),
    ({"node_management.nodes": [{**NODE, "hourly_rate_per_gpu": -1.0}]}, "must be 0 or more"),
    ({"node_management.nodes": [NODE, NODE]}, "nodes[0] is the same host and port 22; remove one"),
    ({"node_management.nodes": [NODE, {**NODE, "username": "root"}]}, "nodes[0] is the same host and port 22"),
    (
        {"node_management.nodes": [{**NODE, "host": "::1"}, {**NODE, "host": "0:0:0:0:0:0:0:1"}]},
        "nodes[0] is the same host",
    ),
    (
        {"node_management.nodes": [{**NODE, "id": UUID}, {**NODE, "port": 23, "id": UUID.upper()}]},
        "nodes[0] has the same id",
    ),
    (
        {
            "node_management.nodes": [
                {**NODE, "id": UUID},
                {"host": "192.168.1.100", "port": 22, "username": "basilica"},
            ]
        },
        "nodes[0] has the same id",
    ),
]


@pytest.mark.parametrize(
    ("changes", "words"), PROBLEMS, ids=[f"{i}-{next(iter(c[0]))}" for i, c in enumerate(PROBLEMS)]
)
def test_each_mistake_is_one_sentence(key: Path, changes: dict[str, Any], words: str) -> None:
    """One mistake gives exactly one problem, which names file, key and remedy."""
    path = write(key, changes)
    if not words:
        # The health listener was not placed by the operator, so it makes room instead.
        assert load_miner_config(path, env={}).config.health.port == 8092
        return
    with pytest.raises(ConfigInvalid) as caught:
        load_miner_config(path, env={})
    problems = [problem for problem in caught.value.problems if words in problem]
    assert problems, caught.value.problems
    assert len(caught.value.problems) == (2 if "tls_enabled" in str(changes) else 1), caught.value.problems
    assert problems[0].startswith(f"{path}: ")
    assert next(iter(changes)).split(".", maxsplit=1)[0] in problems[0]
    assert problems[0] in str(caught.value)


WARNINGS: list[tuple[dict[str, Any], str]] = [
    ({"bittensor.netuid": 387}, "which is the subnet of network test"),
    ({"bittensor.network": "test"}, "which is the subnet of network finney"),
    ({"bittensor.netuid": 1}, "which is not a Basilica subnet"),
    ({"metrics.prometheus.host": "0.0.0.0"}, "everyone who reaches this host"),
    ({"health.host": "0.0.0.0"}, "everyone who reaches this host"),
    ({"database.max_connections": 51}, "more than this engine can use"),
    ({"security.verify_signatures": False}, "anyone can claim to be a validator"),
    ({"validator_assignment.enabled": False}, "every validator with a permit"),
    ({"node_management.nodes": []}, "nothing to offer yet"),
    ({"node_management.health_check_interval": 5}, "60 is usual"),
    ({"node_management.max_retry_attempts": 11}, "hides dead nodes"),
    ({"bittensor.axon_port": 443, "validator_comms.port": 443}, "CAP_NET_BIND_SERVICE"),
    ({"advertised_addresses.grpc_endpoint": "1.2.3.4:9"}, "validators call bittensor.axon_port"),
    ({"access.discovery_deadline": 120}, "validators give up after 120 seconds"),
    ({"access.node_deadline": 90}, "never reached"),
    ({"node_managment.nodes": []}, "node_managment is not known and has no effect; did you mean node_management?"),
    (
        {"bittensor.walet_name": "x"},
        "bittensor.walet_name is not known and has no effect; did you mean bittensor.wallet",
    ),
    ({"node_management.nodes": [{**NODE, "hots": 1}]}, "node_management.nodes[0].hots is not known"),
    ({"bittensor.min_stake_threshold": 1.0}, "did you mean validator_assignment.min_stake_threshold?"),
    ({"zzz.a": 1}, "zzz is not known and has no effect"),
]


@pytest.mark.parametrize(
    ("changes", "words"), WARNINGS, ids=[f"{i}-{next(iter(c[0]))}" for i, c in enumerate(WARNINGS)]
)
def test_each_doubt_is_one_warning(key: Path, changes: dict[str, Any], words: str) -> None:
    """A doubtful value loads and warns once."""
    loaded = load_miner_config(write(key, changes), env={})
    assert len(loaded.warnings) == 1, loaded.warnings
    assert words in loaded.warnings[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"bittensor.network": "local", "bittensor.chain_endpoint": "file:/tmp/chain.db"},
        {"bittensor.network": "local", "bittensor.chain_endpoint": "ws://127.0.0.1:9944", "bittensor.netuid": 2},
        {"bittensor.axon_port": 8080, "advertised_addresses.grpc_endpoint": "http://203.0.113.7:8080"},
        {"bittensor.axon_port": 8080, "advertised_addresses.axon_endpoint": "203.0.113.7:8080"},
        {"validator_assignment.strategy": "fixed_assignment", "validator_assignment.validator_hotkey": HOTKEY},
        {"node_management.nodes": [NODE, {**NODE, "port": 23}]},
        {"database.url": "postgresql://basilica@db/miner"},
        {"health.host": "127.0.0.2", "metrics.prometheus.port": 8091, "health.port": 8091},
        {"node_management.nodes": [{**NODE, "id": UUID.upper(), "name": "rack 1"}]},
    ],
)
def test_what_is_right_is_left_alone(key: Path, changes: dict[str, Any]) -> None:
    """Local chains, NAT, pinned validators, two ports of one host and PostgreSQL need no word."""
    assert load_miner_config(write(key, changes), env={}).warnings == ()


def test_all_problems_come_together(key: Path) -> None:
    """Wrong types do not hide wrong values elsewhere: everything is reported in one go."""
    changes = {
        "bittensor.axon_port": "x",
        "bittensor.network": "moon",
        "database.url": "mysql://x",
        "node_management.nodes": [{**NODE, "port": "22"}],
        "validator_assignment.strategy": "fixed_assignment",
        "ssh_session.miner_node_key_path": "/nowhere",
    }
    with pytest.raises(ConfigInvalid, match="has 6 problems") as caught:
        load_miner_config(write(key, changes), env={})
    assert len(caught.value.problems) == 6


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_an_open_key_file_is_answered_with_the_command(key: Path, mode: int) -> None:
    """A key that others can open is refused, and the sentence holds the chmod."""
    key.chmod(mode)
    with pytest.raises(ConfigInvalid, match=f"mode {mode:04o}.*run: chmod 600 {key}"):
        load_miner_config(write(key, {}), env={})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[bittensor]\nwallet_name = \n", "line 2"),
        (b"[bittensor\n", "line 1"),
        (b"a = 1\nb = [1,\n", "line 3, the end of the document"),
        (b"[a]\nx = 1\n[a]\n", "line 3"),
        (b"x = 1\ny = '\xff'\n", "not UTF-8 text .line 2."),
        (b"x = " + b"[" * 5000, "not valid TOML"),
    ],
)
def test_broken_toml_names_the_line(tmp_path: Path, content: bytes, words: str) -> None:
    """Syntax errors name the file and the line."""
    path = tmp_path / "miner.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigInvalid, match=words) as caught:
        load_miner_config(path, env={})
    assert str(path) in caught.value.problems[0]


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    """A mistyped path never runs on defaults, and a directory is told from a file."""
    with pytest.raises(ConfigInvalid, match="there is no such file; check --config"):
        load_miner_config(tmp_path / "minre.toml", env={})
    with pytest.raises(ConfigInvalid, match="this is a directory"):
        load_validator_config(tmp_path, env={})
    with pytest.raises(ConfigInvalid, match="no such file"):
        load_miner_config(None, env={"BASILICA_CONFIG_PATH": str(tmp_path / "gone.toml")})


def test_a_byte_order_mark_is_tolerated(key: Path) -> None:
    """A file saved by a Windows editor loads."""
    path = write(key, {})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_miner_config(path, env={}).config.bittensor.axon_port == 50051


def test_checks_can_be_left_out_and_asked_for(tmp_path: Path, key: Path) -> None:
    """check=False keeps to types; check_miner_config finds the rest later."""
    loaded = load_miner_config(
        write(key, {"ssh_session.miner_node_key_path": str(tmp_path / "x")}), env={}, check=False
    )
    with pytest.raises(ConfigInvalid, match="no such file"):
        check_miner_config(loaded.config)
    check_miner_config(load_miner_config(write(key, {}), env={}).config)


def test_secrets_stay_out_of_sentences(key: Path) -> None:
    """A URL's password is masked where the URL is quoted."""
    with pytest.raises(ConfigInvalid) as caught:
        load_miner_config(write(key, {"database.url": "mysql://u:hunter2@db/x"}), env={})
    assert "hunter2" not in str(caught.value)
    assert "********@db" in str(caught.value)


def test_an_ambiguous_file_has_no_role(tmp_path: Path) -> None:
    """A file that could be either is refused with what to add."""
    (tmp_path / "x.toml").write_text("[bittensor]\n")
    with pytest.raises(ConfigInvalid, match="could be a miner's or a validator's"):
        detect_role(tmp_path / "x.toml")


VALIDATOR_BASE = {"api.bind_address": "127.0.0.1:8080", "emission.gpu_allocations": {"H100": 100}}
VALIDATOR_PROBLEMS: list[tuple[dict[str, Any], str]] = [
    ({"api.bind_address": "8080"}, "must be HOST:PORT"),
    ({"api.trusted_proxies": ["*"]}, "must be addresses or networks"),
    ({"api.trusted_proxies": ["10.0.0.5/24"]}, "must be addresses or networks"),
    ({"api.bind_address": "127.0.0.1:9090"}, "uses that port already"),
    ({"emission.gpu_allocations": {"H100": 80}}, "must sum to 100, not 80"),
    ({"emission.gpu_allocations": {"H100": -1}}, "emission.gpu_allocations.H100"),
    ({"emission.gpu_allocations": {"H100": {"min_gpu_count": 2}}}, "emission.gpu_allocations.H100.weight is missing"),
    ({"emission.burn_percentage": 100.1}, "must be 100 or less"),
    ({"emission.burn_percentage": -0.1}, "must be 0 or more"),
    ({"emission.weight_set_interval_blocks": 0}, "must be 1 or more"),
    ({"server.advertised_port": 0}, "must be a port from 1 to 65535"),
    ({"server.advertised_host": ""}, "at least one character"),
    ({"verification.verification_interval": {"secs": 0}}, "must be more than 0"),
    ({"verification.max_concurrent_verifications": 0}, "must be 1 or more"),
    ({"bittensor.advertised_axon_endpoint": "1.2.3.4:80"}, "must be an http:// or https:// URL"),
    ({"ssh_session.persistent_ssh_key_path": "/nowhere"}, "no such file"),
    ({"verification.binary_validation.executor_binary_path": "/", "verification.binary_validation.enabled": True}, "/"),
]


@pytest.mark.parametrize(("changes", "words"), VALIDATOR_PROBLEMS)
def test_a_validators_mistakes_are_named(key: Path, changes: dict[str, Any], words: str) -> None:
    """validator.toml gets the same kind of sentences."""
    path = write(key, {**VALIDATOR_BASE, **changes}, "validator.toml", bare=True)
    with pytest.raises(ConfigInvalid) as caught:
        load_validator_config(path, env={})
    assert any(words in problem and str(path) in problem for problem in caught.value.problems), caught.value.problems


@pytest.mark.parametrize("weights", [{"A": 33.33, "B": 33.33, "C": 33.34}, {"A": 0.001, "B": 99.999}])
def test_allocations_may_miss_100_by_a_hundredth(key: Path, weights: dict[str, float]) -> None:
    """The sum has the deployed tolerance."""
    path = write(key, {**VALIDATOR_BASE, "emission.gpu_allocations": weights}, "validator.toml", bare=True)
    assert load_validator_config(path, env={}).warnings == ()


def test_defaults_of_a_validator_say_what_they_lack(tmp_path: Path) -> None:
    """Defaults alone load, say that no weights can be set, and open nothing that would be worth a warning."""
    warnings = load_validator_config(None, env={}).warnings
    assert any("no weights can be set" in warning for warning in warnings)
    assert not any("without a key" in warning for warning in warnings)


def test_an_open_validator_warns(key: Path) -> None:
    """Figures that everyone may read from beyond this host are named."""
    changes = {"api.bind_address": "0.0.0.0:8080", "api.open": ["health", "docs", "miners"]}
    path = write(key, {**VALIDATOR_BASE, **changes}, "validator.toml", bare=True)
    warnings = load_validator_config(path, env={}).warnings
    assert any("read miners without a key" in warning for warning in warnings)


def test_a_model_made_in_code_needs_no_file(key: Path) -> None:
    """Models validate by themselves, so that code may build them and check them."""
    config = MinerConfig.model_validate(base(key))
    check_miner_config(config)
    assert config.node_management.nodes[0].address == "basilica@10.0.0.1:22"
