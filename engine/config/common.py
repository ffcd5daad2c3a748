"""Sections that miner.toml and validator.toml share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from engine.config.values import (
    Count,
    DurationTable,
    FilePath,
    Interval,
    IntervalTable,
    Name,
    Names,
    Netuid,
    Port,
    Section,
)

NETWORKS = ("finney", "test", "local")
_LEVELS = {"warn": "warning", "trace": "debug", "err": "error"}
_OLD_FORMATS = {"compact": "pretty", "full": "pretty", "text": "pretty"}


class BittensorConfig(Section):
    """``[bittensor]``: the wallet, the subnet and the way to the chain."""

    wallet_path: FilePath = Path("~/.bittensor/wallets").expanduser()
    """Directory of the wallets."""
    wallet_name: Name = "default"
    """Folder under wallet_path."""
    hotkey_name: Name = "default"
    """File under the wallet's hotkeys folder."""
    password_file: FilePath | None = None
    """File with the password of an encrypted hotkey, mode 600."""
    network: str = "finney"
    """finney, test or local."""
    netuid: Netuid = 39
    """39 on finney, 387 on test."""
    chain_endpoint: str | None = None
    """URL that replaces the network's own; file:PATH is the embedded chain of network local."""
    fallback_endpoints: Names = ()
    """URLs to try after the first."""
    axon_port: Port = 8091
    """Port published on chain."""
    external_ip: str | None = None
    """Address published on chain; found out when not given."""
    metagraph_max_age: Interval = 3600.0
    """How old the last good metagraph may be and still decide who is a validator."""


class DatabaseConfig(Section):
    """``[database]``."""

    url: Name = "sqlite:./data/engine.db"
    """sqlite:PATH or postgresql://USER@HOST/NAME."""
    max_connections: Count = 10
    min_connections: Annotated[int, Field(ge=0)] = 1
    connect_timeout: IntervalTable = 30.0
    run_migrations: bool = True

    @property
    def file(self) -> Path | None:
        """The SQLite file, or None for another database or one in memory."""
        scheme, _, rest = self.url.partition(":")
        name = rest.partition("?")[0]
        if name.startswith("//"):
            name = name.removeprefix("//")
        if scheme != "sqlite" or not name or ":memory:" in name:
            return None
        return Path(name).expanduser()


class PrometheusConfig(Section):
    """``[metrics.prometheus]``: where metrics are served."""

    host: Name = "127.0.0.1"
    port: Port = 9090
    path: str = "/metrics"


class MetricsConfig(Section):
    """``[metrics]``."""

    enabled: bool = True
    collection_interval: IntervalTable = 30.0
    retention_period: DurationTable = 604800.0
    default_labels: dict[str, str] = Field(default_factory=dict)
    prometheus: PrometheusConfig = PrometheusConfig()


class HealthConfig(Section):
    """``[health]``: where ``/health`` is served."""

    enabled: bool = True
    host: Name = "127.0.0.1"
    port: Port = 8091


class EngineConfig(Section):
    """``[engine]``: this process."""

    name: str = ""
    """Tells several engines of one host apart; the role's name when empty."""
    data_dir: FilePath | None = None
    """Directory of everything the engine keeps; the database file's directory when not given."""
    socket: FilePath | None = None
    """Control socket; the default depends on the user and the name."""
    compressed_time: bool = False
    """Set by the demo, so that the console can say that hours pass in seconds."""


def _level(value: object) -> object:
    return _LEVELS.get(value.lower(), value.lower()) if isinstance(value, str) else value


def _format(value: object) -> object:
    return _OLD_FORMATS.get(value.lower(), value.lower()) if isinstance(value, str) else value


class LoggingConfig(Section):
    """``[logging]``."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_level)] = "info"
    format: Annotated[Literal["auto", "pretty", "json"], BeforeValidator(_format)] = "auto"
    """auto is pretty on a terminal and JSON elsewhere."""


class RoleConfig(Section):
    """What both roles have."""

    bittensor: BittensorConfig = BittensorConfig()
    database: DatabaseConfig = DatabaseConfig()
    metrics: MetricsConfig = MetricsConfig()
    health: HealthConfig = HealthConfig()
    engine: EngineConfig = EngineConfig()
    logging: LoggingConfig = LoggingConfig()

    @property
    def data_dir(self) -> Path:
        """Where the engine keeps its files: ``engine.data_dir``, else beside the database, else ./data."""
        if self.engine.data_dir is not None:
            return self.engine.data_dir
        file = self.database.file
        return file.parent if file is not None else Path("data")
