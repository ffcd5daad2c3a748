"""miner.toml: the sections that deployed miners know and still mean something, plus ours.

``[access]``, ``[engine]``, ``[health]`` and ``[logging]`` are our own; the rest loads from files of the deployed miner.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from engine.config.common import BittensorConfig, DatabaseConfig, RoleConfig
from engine.config.values import Count, FilePath, Interval, ListOf, Name, Port, Section
from engine.identity.node_ids import node_id_for

_WEB_URL = r"^https?://[^\s/?#@]+(?:/[^\s?#]*)?$"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _node_id(value: object) -> object:
    if isinstance(value, str) and not _UUID.fullmatch(value.lower()):
        raise ValueError("a UUID such as ca02cf98-b31a-4ccc-ab1c-9d5596bde209")
    return value.lower() if isinstance(value, str) else value


def _strategy(value: object) -> object:
    # The oldest miners also offered round_robin; the loader warns that it is read as highest_stake.
    return "highest_stake" if value == "round_robin" else value


class MinerBittensorConfig(BittensorConfig):
    """``[bittensor]`` with the miner's defaults."""

    wallet_name: Name = "miner"


class MinerDatabaseConfig(DatabaseConfig):
    """``[database]`` with the miner's default file."""

    url: Name = "sqlite:./data/miner.db"


class ValidatorCommsConfig(Section):
    """``[validator_comms]``: where validators are served. The published port is ``bittensor.axon_port``."""

    host: Name = "0.0.0.0"
    port: Port = 50051
    request_timeout: Interval = 30.0
    tls_enabled: bool = False
    tls_cert_path: FilePath | None = None
    tls_key_path: FilePath | None = None


class NodeConfig(Section):
    """One entry of ``node_management.nodes``: a GPU host that this miner reaches by SSH."""

    host: Name
    port: Port
    username: Name
    additional_opts: str | None = None
    hourly_rate_per_gpu: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """US dollars."""
    gpu_category: str | None = None
    gpu_count: Count | None = None
    extra_mount_path: str | None = None
    id: Annotated[str, BeforeValidator(_node_id)] | None = None
    """Replaces the derived id, to keep a ramp when the address changes."""
    name: str | None = None
    """Label for people."""

    @property
    def node_id(self) -> str:
        """The id that validators know this node by."""
        return self.id or node_id_for(self.username, self.host, self.port)

    @property
    def address(self) -> str:
        """``username@host:port``."""
        return f"{self.username}@{self.host}:{self.port}"


class NodeManagementConfig(Section):
    """``[node_management]``: the fleet and its health check."""

    nodes: Annotated[tuple[NodeConfig, ...], ListOf] = ()
    health_check_interval: Interval = 60.0
    health_check_timeout: Interval = 10.0
    max_retry_attempts: Annotated[int, Field(ge=0)] = 3
    """Failed checks at the normal pace; after them the pauses double, up to ten minutes."""
    auto_recovery: bool = True
    """False: after max_retry_attempts a failing node is checked only when an operator asks."""
    success_window: Annotated[Interval, Field(ge=60)] = 86400.0
    """The SSH success rate looks back this long."""
    ramp_profile: Literal["documented", "deployed-2025-10"] = "documented"
    """Whose rules end a ramp in the estimate: documented takes every failure that a validator saw."""


class SecurityConfig(Section):
    """``[security]``."""

    verify_signatures: bool = True
    private_key_file: FilePath | None = None


class MinerSshConfig(Section):
    """``[ssh_session]``: the miner's own way into its nodes."""

    miner_node_key_path: FilePath = Path("~/.ssh/miner_node_key").expanduser()
    default_node_username: str = "node"
    adopt_leftovers: bool = False
    """Remove validator keys that an older miner left on the nodes."""


class ValidatorAssignmentConfig(Section):
    """``[validator_assignment]``: which validator may use the nodes."""

    enabled: bool = True
    """False is open access for every permitted validator."""
    strategy: Annotated[Literal["highest_stake", "fixed_assignment"], BeforeValidator(_strategy)] = "highest_stake"
    validator_hotkey: str | None = None
    """The only validator (fixed_assignment), or the preferred one while it qualifies (highest_stake)."""
    min_stake_threshold: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """TAO. Current deployed miners have no threshold, so a file without one must not gain one."""
    interval: Interval = 600.0


class AdvertisedAddressesConfig(Section):
    """``[advertised_addresses]``: what the outside sees behind NAT."""

    grpc_endpoint: str | None = None
    discovery_endpoint: str | None = None
    axon_endpoint: str | None = None
    metrics_endpoint: str | None = None


class AccessConfig(Section):
    """``[access]``: how long keys stay on nodes and how long a discovery may take."""

    session_lifetime: Interval = 3600.0
    """A validator's access ends this long after its last discovery."""
    node_deadline: Interval = 20.0
    """Time that one node gets within a discovery."""
    discovery_deadline: Interval = 60.0
    """Time that a whole discovery gets; validators give up after 120 s."""
    revoke_on_exit: bool = False
    max_sessions_per_validator: Count = 5
    """Different SSH keys of one validator that are valid at the same time."""
    new_sessions_per_hour: Count = 20
    """New SSH keys that one validator may bring per hour; a renewal with the same key is not one."""
    reconcile_interval: Interval = 30.0
    session_wrapper: Literal["off", "ours", "all"] = "ours"
    """Whose key lines mark sessions and end them at the deadline: nobody's, those of validators that speak our
    dialect (proved to work with it), or everybody's."""
    ssh_certificates: bool = False
    """Validators that can (ours) enter with short certificates instead of a key line; nodes show certified keys."""


class ObservedConfig(Section):
    """``[observed]``: what a validator publishes about this miner's nodes, shown beside the estimate."""

    metrics_url: Annotated[str, Field(pattern=_WEB_URL)] | None = None
    """A validator's Prometheus text."""
    rest_url: Annotated[str, Field(pattern=_WEB_URL)] | None = None
    """A validator's REST API, without a path of its own."""
    rest_hotkey: str | None = None
    """That validator's hotkey, for which requests are signed; the assigned validator's when not given."""
    interval: Annotated[Interval, Field(ge=1)] = 60.0
    timeout: Interval = 10.0


class MinerConfig(RoleConfig):
    """The whole of miner.toml."""

    bittensor: MinerBittensorConfig = MinerBittensorConfig()
    database: MinerDatabaseConfig = MinerDatabaseConfig()
    validator_comms: ValidatorCommsConfig = ValidatorCommsConfig()
    node_management: NodeManagementConfig = NodeManagementConfig()
    security: SecurityConfig = SecurityConfig()
    ssh_session: MinerSshConfig = MinerSshConfig()
    validator_assignment: ValidatorAssignmentConfig = ValidatorAssignmentConfig()
    advertised_addresses: AdvertisedAddressesConfig = AdvertisedAddressesConfig()
    access: AccessConfig = AccessConfig()
    observed: ObservedConfig = ObservedConfig()
