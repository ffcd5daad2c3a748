"""Files written for the deployed programs of every era load unchanged and say what has no effect any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import detect_role, load_miner_config, load_validator_config

E0 = """
[bittensor]
wallet_name = "old"
hotkey_name = "default"
network = "finney"
netuid = 39
axon_port = 8092
coldkey_name = "default"
skip_registration = false

[server]
host = "0.0.0.0"
port = 8092
request_timeout = { secs = 30, nanos = 0 }

[logging]
level = "WARN"
format = "compact"
stdout = true
max_file_size = 104857600

[validator_comms]
host = "0.0.0.0"
port = 8092
max_concurrent_sessions = 100
request_timeout = { secs = 30, nanos = 0 }
[validator_comms.auth]
enabled = true
method = "bittensor_signature"
[validator_comms.rate_limit]
enabled = true
requests_per_second = 10

[executor_management]
executors = [{ id = "e1", grpc_address = "10.0.0.5:50051" }]

[security]
enable_mtls = false
jwt_secret = "0123456789abcdef0123456789abcdef"
token_expiration = { secs = 3600, nanos = 0 }

[ssh_session]
miner_node_key_path = "KEY"
miner_executor_key_path = "~/.ssh/miner_executor_key"
max_session_duration = 3600
key_cleanup_interval = { secs = 300, nanos = 0 }

[validator_assignment]
enabled = true
strategy = "round_robin"
min_stake_threshold = 6000.0
"""

D1 = """
[bittensor]
wallet_name = "miner1"
network = "test"
netuid = 387
axon_port = 8080
skip_registration = true
[validator_comms]
port = 8080
[node_management]
health_check_interval = 60
nodes = [{ host = "192.168.1.100", port = 22, username = "basilica", additional_opts = "-o X=y" }]
[ssh_session]
miner_node_key_path = "KEY"
default_node_username = "node"
[validator_assignment]
enabled = true
strategy = "highest_stake"
min_stake_threshold = 12000
"""

D2 = """
[bittensor]
wallet_name = "miner2"
hotkey_name = "hot"
network = "finney"
netuid = 39
weight_interval_secs = 300
connection_pool_size = 3
health_check_interval = { secs = 60, nanos = 0 }
circuit_breaker_threshold = 5
circuit_breaker_recovery = { secs = 60, nanos = 0 }
axon_port = 50051
external_ip = "203.0.113.7"
max_weight_uids = 256
fallback_endpoints = ["wss://archive.example:443"]

[database]
url = "sqlite:./data/miner.db?mode=rwc"
max_connections = 10
run_migrations = true
idle_timeout = { secs = 600 }
[database.connect_timeout]
secs = 30
nanos = 0

[metrics]
enabled = true
collection_interval = { secs = 15, nanos = 500000000 }
[metrics.prometheus]
host = "127.0.0.1"
port = 9090

[validator_comms]
host = "0.0.0.0"
port = 50051
request_timeout = 60

[node_management]
health_check_interval = 60
health_check_timeout = 10
[[node_management.nodes]]
host = "gpu1.example"
port = 22
username = "basilica"
[[node_management.nodes]]
host = "10.0.0.50"
port = 2222
username = "root"

[security]
verify_signatures = true

[ssh_session]
miner_node_key_path = "KEY"

[advertised_addresses]
"""

D3 = D2.replace('username = "basilica"', 'username = "basilica"\nhourly_rate_per_gpu = 2.5')
R2 = (
    "bid_grpc_port = 50052\n"
    + D2.replace("[validator_comms]", "[future_section]").replace(
        'username = "root"', 'username = "root"\ngpu_category = "H100"\ngpu_count = 8\nextra_mount_path = "/mnt/data"'
    )
    + "[bidding.strategy.static.static_prices]\nH100 = 2.5\n"
)

VALIDATOR_S2 = """
[database]
url = "sqlite:./data/validator.db"
[server]
host = "0.0.0.0"
port = 8080
request_timeout = { secs = 30, nanos = 0 }
[logging]
level = "info"
format = "pretty"
output = "stdout"
[bittensor]
wallet_name = "validator"
hotkey_name = "default"
network = "finney"
netuid = 39
axon_port = 9091
[verification]
verification_interval = { secs = 600, nanos = 0 }
max_concurrent_verifications = 50
netuid = 39
collateral_event_scan_interval = { secs = 12 }
grpc_port_offset = 0
[verification.binary_validation]
enabled = false
executor_binary_path = "./executor-binary"
[verification.binary_validation.server_mode]
bind_address = "127.0.0.1:4010"
[api]
bind_address = "127.0.0.1:8080"
[ssh_session]
ssh_key_directory = "/var/lib/basilica/keys"
key_cleanup_interval = { secs = 60 }
ssh_connection_timeout = { secs = 20 }
[emission]
burn_percentage = 80
burn_uid = 204
[emission.gpu_allocations]
A100 = { weight = 8.0, min_gpu_count = 1, min_gpu_vram = 1 }
H100 = { weight = 12.0 }
B200 = 80
[scoring]
gpu = 0.4
"""


def write(tmp_path: Path, text: str, name: str = "miner.toml") -> Path:
    key = tmp_path / "key"
    key.touch(0o600)
    path = tmp_path / name
    path.write_text(text.replace("KEY", str(key)))
    return path


@pytest.mark.parametrize("text", [E0, D1, D2, D3, R2], ids=["E0", "D1", "D2", "D3", "R2"])
def test_every_era_loads(tmp_path: Path, text: str) -> None:
    """A file of any era loads with its checks on, and is known for a miner's."""
    path = write(tmp_path, text)
    loaded = load_miner_config(path, env={})
    assert loaded.path == path
    assert loaded.config.bittensor.axon_port == loaded.config.validator_comms.port
    assert detect_role(path) == "miner"


def test_the_values_of_the_mission_era_arrive(tmp_path: Path) -> None:
    """What a D2 file says is what the model holds, durations in both notations included."""
    config = load_miner_config(write(tmp_path, D2), env={}).config
    assert config.bittensor.wallet_name == "miner2"
    assert config.bittensor.fallback_endpoints == ("wss://archive.example:443",)
    assert config.metrics.collection_interval == 15.5
    assert config.database.connect_timeout == 30.0
    assert config.validator_comms.request_timeout == 60.0
    assert [node.address for node in config.node_management.nodes] == [
        "basilica@gpu1.example:22",
        "root@10.0.0.50:2222",
    ]
    assert config.node_management.nodes[1].node_id == "5d59ab7c-7ed8-474f-95c3-86c0f4cbc955"
    assert config.database.file == Path("data/miner.db")
    assert config.data_dir == Path("data")


def test_keys_of_the_old_are_named_once(tmp_path: Path) -> None:
    """Sections and keys that only older miners knew share one warning, and the strategy of old is translated."""
    loaded = load_miner_config(write(tmp_path, E0), env={})
    older = [warning for warning in loaded.warnings if "only older miners knew" in warning]
    assert len(older) == 1
    for key in (
        "server",
        "executor_management",
        "validator_comms.auth",
        "validator_comms.rate_limit",
        "security.jwt_secret",
        "logging.stdout",
        "bittensor.skip_registration",
        "ssh_session.max_session_duration",
    ):
        assert key in older[0]
    assert "0123456789abcdef" not in "".join(loaded.warnings)
    assert loaded.config.validator_assignment.strategy == "highest_stake"
    assert any("round_robin" in warning for warning in loaded.warnings)
    assert loaded.config.validator_assignment.min_stake_threshold == 6000.0
    assert (loaded.config.logging.level, loaded.config.logging.format) == ("warning", "pretty")


def test_keys_without_an_effect_are_no_spelling_mistakes(tmp_path: Path) -> None:
    """Live keys of the deployed miner that mean nothing here are named, without a suggestion."""
    warnings = load_miner_config(write(tmp_path, D2), env={}).warnings
    idle = [warning for warning in warnings if "mean nothing to this engine" in warning]
    assert len(idle) == 1
    assert "bittensor.connection_pool_size" in idle[0]
    assert "database.idle_timeout" in idle[0]
    assert not any("did you mean" in warning for warning in warnings)


def test_the_later_eras_bring_their_fields(tmp_path: Path) -> None:
    """Prices of D3 and GPU facts of R2 are read; sections from the future only warn."""
    assert load_miner_config(write(tmp_path, D3), env={}).config.node_management.nodes[0].hourly_rate_per_gpu == 2.5
    loaded = load_miner_config(write(tmp_path, R2), env={})
    assert loaded.config.node_management.nodes[1].gpu_count == 8
    assert any("future_section is not known" in warning for warning in loaded.warnings)
    assert any("bid_grpc_port" in warning and "bidding" in warning for warning in loaded.warnings)


def test_a_deployed_validators_file_loads(tmp_path: Path) -> None:
    """validator.toml of the mission's era loads, with allocations as numbers and as tables."""
    path = write(tmp_path, VALIDATOR_S2, "some.toml")
    loaded = load_validator_config(path, env={})
    allocations = loaded.config.emission.gpu_allocations
    assert {name: share.weight for name, share in allocations.items()} == {"A100": 8.0, "H100": 12.0, "B200": 80.0}
    assert loaded.config.verification.verification_interval == 600.0
    assert loaded.config.ssh_session.ssh_connection_timeout == 20.0
    assert detect_role(path) == "validator"
    assert any("scoring" in warning and "verification.netuid" in warning for warning in loaded.warnings)


@pytest.mark.parametrize(
    ("axon", "bound", "expected"),
    [
        (None, None, (50051, 50051)),
        (8091, None, (8091, 8091)),
        (8080, None, (8080, 8080)),
        (None, 8080, (8080, 8080)),
        (8080, 8080, (8080, 8080)),
    ],
)
def test_a_port_that_was_not_set_follows_the_other(
    tmp_path: Path, axon: int | None, bound: int | None, expected: tuple[int, int]
) -> None:
    """The deployed defaults disagree; what the operator did not say follows what was said, with a warning."""
    text = f'[ssh_session]\nminer_node_key_path = "KEY"\n[bittensor]\n{f"axon_port = {axon}" if axon else ""}\n'
    text += f"[validator_comms]\nport = {bound}\n" if bound else ""
    loaded = load_miner_config(write(tmp_path, text), env={})
    assert (loaded.config.bittensor.axon_port, loaded.config.validator_comms.port) == expected
    assert any("is not set and follows" in warning for warning in loaded.warnings) == (not (axon and bound))
    assert loaded.config.health.port == (8092 if expected[1] == 8091 else 8091)


def test_ports_stay_apart_behind_an_advertised_endpoint(tmp_path: Path) -> None:
    """With an advertised endpoint nothing is moved: a router forwards one port to the other."""
    text = '[ssh_session]\nminer_node_key_path = "KEY"\n[advertised_addresses]\ngrpc_endpoint = "http://203.0.113.7:8091"\n'
    loaded = load_miner_config(write(tmp_path, text), env={})
    assert (loaded.config.bittensor.axon_port, loaded.config.validator_comms.port) == (8091, 50051)


@pytest.mark.parametrize(
    ("name", "text", "role"),
    [
        ("miner.toml", "", "miner"),
        ("validator-dev.toml", "[bittensor]\nnetuid = 39", "validator"),
        ("x.toml", "[access]\n", "miner"),
        ("x.toml", "[emission]\n[server]\n", "validator"),
        ("validator.toml", "[node_management]\n", "miner"),
        ("x.toml", "[billing]\n", "validator"),
    ],
)
def test_the_role_is_seen_from_the_sections(tmp_path: Path, name: str, text: str, role: str) -> None:
    """Sections decide, the file's name only where they do not."""
    assert detect_role(write(tmp_path, text, name)) == role
