"""Sections that miner.toml and validator.toml share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from engine.config.values import (
    Count,
    Duration,
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
_QUIET_HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")
_OLD_FORMATS = {"compact": "pretty", "full": "pretty", "text": "pretty"}


Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


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
    on_grpc_port: bool = True
    """Also on validator_comms.port (miner); that port's traffic then passes through the engine's connection limits."""


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
    file: FilePath | None = None
    """Write the log here too, as JSON unless format is pretty; rotated by size."""
    max_file_size: Annotated[int, Field(ge=4096)] = 50_000_000
    """Bytes; a file that reaches them is renamed to FILE.1, FILE.1 to FILE.2, and so on."""
    max_files: Count = 5
    """How many older files are kept."""


def _quiet_hours(value: object) -> object:
    if isinstance(value, str) and not _QUIET_HOURS.fullmatch(value):
        raise ValueError('two times of day such as "22:00-07:00"')
    return value


class AlertsConfig(Section):
    """``[alerts]``: what counts as trouble, and whom to tell."""

    enabled: bool = True
    urls: Names = ()
    """Apprise URLs: mailto://, discord://, tgram://, slack://, json:// and a hundred more. Secrets, shown masked."""
    command: Names = ()
    """A program and its arguments; gets the alerts as JSON on its standard input. No shell is involved."""
    min_level: Annotated[Literal["info", "warning", "error"], BeforeValidator(_level)] = "warning"
    """Lesser alerts are shown in the console only."""
    quiet_hours: Annotated[str, BeforeValidator(_quiet_hours)] | None = None
    """Local times of day, "22:00-07:00": what is not an error waits for their end."""
    notify_interval: Interval = 900.0
    """One alert is told at most once in this time; what comes and goes meanwhile is counted."""
    group_delay: Duration = 10.0
    """How long to wait for more before telling, so that one outage is one message."""
    check_interval: Interval = 15.0
    """How often the rules are looked at."""
    ssh_success_min: Percent = 90.0
    """Percent of a node's logins within node_management.success_window."""
    auth_success_min: Percent = 90.0
    """Percent of the authentications within auth_window."""
    auth_window: Interval = 3600.0
    node_failing_after: Duration = 3600.0
    no_validator_after: Interval = 21600.0
    no_assignment_after: Duration = 600.0
    assigned_silent_after: Interval = 1800.0
    """The assigned validator calls about every five minutes."""
    axon_mismatch_after: Duration = 300.0
    axon_unreachable_after: Duration = 120.0
    """A failed call from outside is repeated every minute."""
    clock_skew_max: Interval = 30.0
    chain_stale_after: Interval = 1800.0
    node_disk_min_gb: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1000.0
    """Gigabytes (10^9 bytes) free on a node."""
    host_disk_min_gb: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    """Gigabytes free where this engine keeps its databases."""
    certificate_expiry: Duration = 1209600.0
    key_stuck_after: Duration = 600.0
    restarts_max: Count = 3
    """Crashes of one service within restarts_window."""
    restarts_window: Interval = 600.0


class RecordingConfig(Section):
    """``[recording]``: what happened, kept on disk for ``basilica-tui replay``."""

    enabled: bool = True
    directory: FilePath | None = None
    """Where it is kept; ``recording`` below the data directory when not given."""
    retention: Interval = 1209600.0
    """How long, in seconds."""
    max_size: Annotated[int, Field(ge=10_000_000)] = 500_000_000
    """Bytes of all segments together; the oldest goes first."""
    segment_length: Interval = 3600.0
    """Seconds after which a new segment begins, with everything that is known at that time."""
    min_free: Annotated[int, Field(ge=0)] = 1_000_000_000
    """Bytes of the disk that are left to others: recording pauses below."""


class RoleConfig(Section):
    """What both roles have."""

    bittensor: BittensorConfig = BittensorConfig()
    database: DatabaseConfig = DatabaseConfig()
    metrics: MetricsConfig = MetricsConfig()
    health: HealthConfig = HealthConfig()
    engine: EngineConfig = EngineConfig()
    logging: LoggingConfig = LoggingConfig()
    alerts: AlertsConfig = AlertsConfig()
    recording: RecordingConfig = RecordingConfig()

    @property
    def recording_dir(self) -> Path:
        """Where the recording is kept."""
        return self.recording.directory or self.data_dir / "recording"

    @property
    def data_dir(self) -> Path:
        """Where the engine keeps its files: ``engine.data_dir``, else beside the database, else ./data."""
        if self.engine.data_dir is not None:
            return self.engine.data_dir
        file = self.database.file
        return file.parent if file is not None else Path("data")
