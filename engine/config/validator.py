"""validator.toml: the sections that deployed validators know and still mean something, plus ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from engine.config.common import BittensorConfig, DatabaseConfig, HealthConfig, RoleConfig
from engine.config.values import (
    Count,
    Duration,
    DurationTable,
    FilePath,
    Interval,
    IntervalTable,
    ListOf,
    Name,
    Port,
    Section,
)

RouteGroup = Literal["health", "docs", "miners", "nodes", "gpus", "verification", "rentals", "config"]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class ValidatorBittensorConfig(BittensorConfig):
    """``[bittensor]`` with the validator's defaults.

    The deployed default of netuid is 1, which is no Basilica subnet; here it is 39.
    """

    axon_port: Port = 9090
    advertised_axon_endpoint: str | None = None
    advertised_axon_tls: bool = False


class ValidatorDatabaseConfig(DatabaseConfig):
    """``[database]`` with the validator's default file."""

    url: Name = "sqlite:./data/validator.db"


class ValidatorHealthConfig(HealthConfig):
    """``[health]``: the REST API serves health too, so a listener of its own is off unless asked for."""

    enabled: bool = False


class ServerConfig(Section):
    """``[server]``: where the deployed validator's own status command looks for it."""

    host: Name = "0.0.0.0"
    port: Port = 8080
    advertised_host: Name | None = None
    advertised_port: Port | None = None
    advertised_tls: bool = False


class ApiConfig(Section):
    """``[api]``: the REST listener."""

    bind_address: Name = "0.0.0.0:8080"
    api_key: str | None = None
    """A key with every scope; better ones, with scopes and an end, are made by ``basilica-tui api-keys create``."""
    open: Annotated[tuple[RouteGroup, ...], ListOf] = ("health", "docs")
    """What everybody may read without a key."""
    max_body_size: Count = 1048576
    trusted_proxies: Annotated[tuple[Name, ...], ListOf] = ("127.0.0.1", "::1")
    """Addresses and networks of the proxies in front: their ``X-Forwarded-For`` names the caller whose rate counts."""
    requests_per_minute: Count = 120
    """From one address."""
    requests_per_minute_with_key: Count = 1200
    """With one API key or one hotkey."""


class DockerValidationConfig(Section):
    """``[verification.docker_validation]``."""

    docker_image: Name = "nvidia/cuda:12.8.0-runtime-ubuntu22.04"
    pull_timeout_secs: Count = 1800


class StorageValidationConfig(Section):
    """``[verification.storage_validation]``."""

    min_required_storage_bytes: Annotated[int, Field(ge=0)] = 1099511627776


class BinaryValidationConfig(Section):
    """``[verification.binary_validation]``: the proof programs that full verification runs; off when none are there."""

    enabled: bool = False
    validator_binary_path: FilePath = Path("./validator-binary")
    executor_binary_path: FilePath = Path("./executor-binary")
    execution_timeout_secs: Count = 1200
    score_weight: Annotated[float, Field(ge=0, le=1)] = 0.8


class AttestationConfig(Section):
    """``[verification.attestation]``: the program that full verification runs on a node."""

    enabled: bool = True
    timeout: Interval = 300.0
    matrix_size: Literal[1024, 2048, 4096, 8192] = 4096
    """Dimension of the matrices that each GPU multiplies; checking costs this host about a second at 4096."""
    require_compute: bool | None = None
    """Whether a node without a computed product fails; when not given, everywhere but on network local."""


class SpeedTestConfig(Section):
    """``[verification.speed_test]``: an optional step; each full verification then loads and sends this much."""

    enabled: bool = False
    download_url: Name = "https://speed.cloudflare.com/__down?bytes=50000000"
    upload_url: Name = "https://speed.cloudflare.com/__up"
    download_bytes: Annotated[int, Field(ge=1, le=1_000_000_000)] = 50_000_000
    upload_bytes: Annotated[int, Field(ge=1, le=100_000_000)] = 15_000_000
    timeout: Interval = 30.0
    """For each direction."""


class GatesConfig(Section):
    """``[verification.gates]``: which steps a node must pass, beside host key, login, GPUs and attestation."""

    docker: bool | None = None
    """When not given, everywhere but on network local."""
    nat: bool | None = None
    """Whether a port must be reachable from outside; when not given, everywhere but on network local."""
    storage: bool = False
    """The deployed validator only records it."""
    clock: bool = False


class VerificationConfig(Section):
    """``[verification]``: when and how nodes are checked."""

    verification_interval: IntervalTable = 600.0
    node_validation_interval: IntervalTable = 21600.0
    """Time between two full verifications of a node."""
    max_concurrent_verifications: Count = 50
    max_concurrent_full_validations: Count = 1024
    max_miners_per_round: Count = 20
    min_verification_interval: DurationTable = 1800.0
    min_score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.1
    use_dynamic_discovery: bool = True
    discovery_timeout: IntervalTable = 30.0
    cache_miner_info_ttl: DurationTable = 300.0
    grpc_port_offset: Annotated[int, Field(ge=-65535, le=65535)] | None = None
    """Added to the axon's port before calling; normally absent."""
    gpu_assignment_cleanup_ttl: DurationTable | None = 7200.0
    docker_validation: DockerValidationConfig = DockerValidationConfig()
    storage_validation: StorageValidationConfig = StorageValidationConfig()
    binary_validation: BinaryValidationConfig = BinaryValidationConfig()
    attestation: AttestationConfig = AttestationConfig()
    speed_test: SpeedTestConfig = SpeedTestConfig()
    gates: GatesConfig = GatesConfig()


class ValidatorSshConfig(Section):
    """``[ssh_session]``: the validator's own key and its limits."""

    ssh_key_directory: FilePath = Path("./data/ssh_keys")
    """Created with mode 0700. The deployed default lies in /tmp, where a persistent key should not."""
    persistent_ssh_key_path: FilePath | None = None
    key_algorithm: Literal["ed25519"] = "ed25519"
    ssh_connection_timeout: IntervalTable = 30.0
    ssh_command_timeout: IntervalTable = 60.0
    ssh_retry_attempts: Annotated[int, Field(ge=0)] = 3
    ssh_retry_delay: DurationTable = 2.0
    default_session_duration: Interval = 300.0
    max_session_duration: Interval = 3600.0
    rental_session_duration: Duration = 0.0
    """0 is as long as the rental."""
    max_concurrent_sessions: Count = 5
    session_rate_limit: Count = 20


class GpuAllocation(Section):
    """One category's share of the emission."""

    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    min_gpu_count: Count = 1
    min_gpu_vram: Count | None = None


def _allocation(value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"weight": value} if is_number else value


class EmissionConfig(Section):
    """``[emission]``: how weights are divided and how often they are set."""

    burn_percentage: Percent = 0.0
    burn_uid: Annotated[int, Field(ge=0, le=65535)] = 204
    gpu_allocations: dict[str, Annotated[GpuAllocation, BeforeValidator(_allocation)]] = Field(default_factory=dict)
    """Category to weight, or to a table with weight, min_gpu_count, min_gpu_vram; the weights sum to 100."""
    min_miners_per_category: Count = 1
    weight_set_interval_blocks: Count = 360
    weight_version_key: Annotated[int, Field(ge=0)] = 0


class ScoringConfig(Section):
    """``[scoring]``: by which rules nodes are scored."""

    profile: Literal["documented", "deployed-2025-10"] = "documented"
    """The guides' promises, or the arithmetic of the validators of October 2025."""
    failed_full_resets: bool = False
    """deployed-2025-10 only: a failed full verification ends the ramp's run; meant there, but it never happens."""


class StorageConfig(Section):
    """``[storage]``."""

    data_dir: FilePath = Path("./data")


class CleanupConfig(Section):
    """``[cleanup]``: how long records are kept."""

    enabled: bool = True
    """Whether records are ever deleted; looked at every quarter of an hour, whatever run_interval_hours says."""
    run_interval_hours: Count = 24
    profile_retention_days: Count = 30
    """Days that verifications, their steps and misbehaviour are kept."""
    lightweight_retention_days: Count | None = None
    """Days that passed lightweight checks are kept, when they should go earlier; their hourly sums stay."""
    emission_retention_days: Count = 90


class ValidatorConfig(RoleConfig):
    """The whole of validator.toml."""

    bittensor: ValidatorBittensorConfig = ValidatorBittensorConfig()
    database: ValidatorDatabaseConfig = ValidatorDatabaseConfig()
    health: ValidatorHealthConfig = ValidatorHealthConfig()
    server: ServerConfig = ServerConfig()
    api: ApiConfig = ApiConfig()
    verification: VerificationConfig = VerificationConfig()
    ssh_session: ValidatorSshConfig = ValidatorSshConfig()
    emission: EmissionConfig = EmissionConfig()
    scoring: ScoringConfig = ScoringConfig()
    storage: StorageConfig = StorageConfig()
    cleanup: CleanupConfig = CleanupConfig()
