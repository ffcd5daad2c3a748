"""Where a local subnet keeps its things below one directory, and the configuration files of its engines."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.config import render_config
from engine.config.common import (
    AlertsConfig,
    EngineConfig,
    HealthConfig,
    LoggingConfig,
    MetricsConfig,
    PrometheusConfig,
)
from engine.config.miner import (
    AccessConfig,
    MinerBittensorConfig,
    MinerConfig,
    MinerDatabaseConfig,
    MinerSshConfig,
    NodeConfig,
    NodeManagementConfig,
    ObservedConfig,
    ValidatorAssignmentConfig,
    ValidatorCommsConfig,
)
from engine.config.validator import (
    ApiConfig,
    EmissionConfig,
    GpuAllocation,
    StorageConfig,
    ValidatorBittensorConfig,
    ValidatorConfig,
    ValidatorDatabaseConfig,
    ValidatorHealthConfig,
    ValidatorSshConfig,
    VerificationConfig,
)
from engine.localnet.files import private_directory, write_atomic
from engine.localnet.identities import Member
from engine.localnet.pace import Pace
from engine.localnet.ports import HOST, PortBook
from engine.localnet.stand_in_node import StandInNode

NETUID = 39
_SHARES = {name: GpuAllocation(weight=share) for name, share in (("H100", 60.0), ("A100", 25.0), ("B200", 15.0))}
_BURN_UID = 1
"""The first validator's. A real subnet burns to its owner's uid; nobody owns this one."""
_WEIGHTS_EVERY = 20
"""Blocks; the network's 360 would be an hour."""
_LONGEST_SOCKET_PATH = 100
"""Bytes. The kernel takes 107; lock files beside the socket want a few of their own."""


class Layout:
    """Paths below the directory of a localnet."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.chain = directory / "chain.db"
        self.wallets = directory / "wallets"
        self.document = directory / "localnet.json"
        self.ports = directory / "ports.json"
        self.lock = directory / "localnet.lock"
        self.miner_key = directory / "miner_node_key"
        self.operator_key = directory / "operator_key"
        self._short: Path | None = None

    @property
    def chain_endpoint(self) -> str:
        """The endpoint under which engines find the chain."""
        return f"file:{self.chain}"

    def config(self, engine: str) -> Path:
        """``miner.toml`` or ``validator-K.toml``."""
        return self.directory / f"{engine}.toml"

    def log(self, engine: str) -> Path:
        """What the engine says on its standard output."""
        return self.directory / "logs" / f"{engine}.log"

    def data(self, engine: str) -> Path:
        """The engine's own directory."""
        return self.directory / "data" / engine

    def node(self, name: str) -> Path:
        """The directory of a stand-in node, ``node-1`` being the first."""
        return self.directory / "nodes" / name

    def socket(self, engine: str) -> Path:
        """The engine's control socket; in a private temporary directory where this one's path is too long."""
        path = self.directory / "run" / engine / "engine.sock"
        if len(bytes(path)) > _LONGEST_SOCKET_PATH:
            if self._short is None:
                self._short = Path(tempfile.mkdtemp(prefix="basilica-"))
            path = self._short / engine / "engine.sock"
        private_directory(path.parent)
        return path

    def remove_short(self) -> None:
        """Remove the temporary directory of the sockets, if there is one."""
        if self._short is not None:
            shutil.rmtree(self._short, ignore_errors=True)
            self._short = None


@dataclass(frozen=True, slots=True)
class EngineFiles:
    """What is known about one engine before it runs. Ports are on loopback; 0 where it has no such listener."""

    name: str
    config: Path
    socket: Path
    log: Path
    grpc: int = 0
    health: int = 0
    metrics: int = 0
    rest: int = 0

    @property
    def listeners(self) -> tuple[int, ...]:
        """The ports that must answer before the engine counts as serving."""
        return tuple(port for port in (self.grpc, self.health, self.metrics, self.rest) if port)


def url(port: int) -> str:
    """The base of an HTTP service on loopback."""
    return f"http://{HOST}:{port}"


def write_miner(
    layout: Layout,
    ports: PortBook,
    pace: Pace,
    who: Member,
    *,
    nodes: Mapping[str, StandInNode],
    assignment: ValidatorAssignmentConfig,
    observed: ObservedConfig,
) -> EngineFiles:
    """Write ``miner.toml`` for these nodes by name, which must have their ports."""
    name = "miner"
    data = private_directory(layout.data(name))
    grpc, health, metrics = ports.port("miner.grpc"), ports.port("miner.health"), ports.port("miner.metrics")
    files = EngineFiles(
        name, layout.config(name), layout.socket(name), layout.log(name), grpc=grpc, health=health, metrics=metrics
    )
    config = MinerConfig(
        bittensor=MinerBittensorConfig(
            wallet_path=who.wallet_path,
            wallet_name=who.name,
            hotkey_name=who.hotkey_name,
            network="local",
            netuid=NETUID,
            chain_endpoint=layout.chain_endpoint,
            axon_port=grpc,
            external_ip=HOST,
        ),
        database=MinerDatabaseConfig(url=f"sqlite:{data / 'miner.db'}"),
        metrics=MetricsConfig(prometheus=PrometheusConfig(host=HOST, port=metrics)),
        health=HealthConfig(host=HOST, port=health),
        validator_comms=ValidatorCommsConfig(host=HOST, port=grpc),
        node_management=NodeManagementConfig(
            nodes=tuple(_entry(label, node) for label, node in nodes.items()),
            health_check_interval=pace.health_s,
        ),
        ssh_session=MinerSshConfig(miner_node_key_path=layout.miner_key),
        validator_assignment=assignment,
        observed=observed,
        access=AccessConfig(
            session_lifetime=pace.session_lifetime_s, reconcile_interval=pace.reconcile_s, revoke_on_exit=True
        ),
        engine=_engine(name, data, files.socket, pace),
        # The stand-ins share this host's disk, which need not be a GPU host's.
        alerts=AlertsConfig(node_disk_min_gb=0.0),
        logging=LoggingConfig(format="json"),
    )
    write_atomic(files.config, render_config(config).encode())
    return files


def write_validator(layout: Layout, ports: PortBook, pace: Pace, who: Member) -> EngineFiles:
    """Write ``validator-K.toml``, K being in the name of the member."""
    name = who.name
    data = private_directory(layout.data(name))
    rest, metrics = ports.port(f"{name}.rest"), ports.port(f"{name}.metrics")
    files = EngineFiles(name, layout.config(name), layout.socket(name), layout.log(name), rest=rest, metrics=metrics)
    config = ValidatorConfig(
        bittensor=ValidatorBittensorConfig(
            wallet_path=who.wallet_path,
            wallet_name=who.name,
            hotkey_name=who.hotkey_name,
            network="local",
            netuid=NETUID,
            chain_endpoint=layout.chain_endpoint,
            external_ip=HOST,
        ),
        database=ValidatorDatabaseConfig(url=f"sqlite:{data / 'validator.db'}"),
        metrics=MetricsConfig(prometheus=PrometheusConfig(host=HOST, port=metrics)),
        health=ValidatorHealthConfig(enabled=False),
        api=ApiConfig(bind_address=f"{HOST}:{rest}"),
        verification=VerificationConfig(
            verification_interval=pace.verification_s,
            min_verification_interval=pace.verification_s,
        ),
        ssh_session=ValidatorSshConfig(ssh_key_directory=data / "ssh_keys", ssh_command_timeout=pace.command_s),
        emission=EmissionConfig(gpu_allocations=_SHARES, weight_set_interval_blocks=_WEIGHTS_EVERY, burn_uid=_BURN_UID),
        storage=StorageConfig(data_dir=data),
        engine=_engine(name, data, files.socket, pace),
        logging=LoggingConfig(format="json"),
    )
    write_atomic(files.config, render_config(config).encode())
    return files


def assignment_config(kind: str, pace: Pace, top_hotkey: str | None) -> ValidatorAssignmentConfig:
    """``[validator_assignment]`` for highest_stake, fixed_assignment (to ``top_hotkey``) or open."""
    if kind == "fixed_assignment":
        return ValidatorAssignmentConfig(
            strategy="fixed_assignment", validator_hotkey=top_hotkey, interval=pace.assignment_s
        )
    return ValidatorAssignmentConfig(enabled=kind != "open", interval=pace.assignment_s)


def _engine(name: str, data: Path, socket: Path, pace: Pace) -> EngineConfig:
    return EngineConfig(name=name, data_dir=data, socket=socket, compressed_time=pace.compressed)


def _entry(label: str, node: StandInNode) -> NodeConfig:
    return NodeConfig(host=node.host, port=node.port, username=node.username, name=label)
