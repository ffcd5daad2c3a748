"""Which files an engine needs, from its configuration: what a unit must let it read and write."""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.config.common import RoleConfig
from engine.config.miner import MinerConfig
from engine.config.validator import ValidatorConfig


@dataclass(frozen=True, slots=True)
class Need:
    """One file or directory, absolute, and what it is in words."""

    what: str
    path: Path
    writable: bool = False


@dataclass(frozen=True, slots=True)
class EngineNeeds:
    """What one engine needs of its host. ``name`` is the instance of the unit."""

    role: str
    name: str
    config: Path
    working_directory: Path
    hotkey: Path
    needs: tuple[Need, ...]
    has_low_port: bool = False
    """A listener below 1024, which needs a capability."""

    @property
    def readable(self) -> tuple[Need, ...]:
        """What must be readable, and nothing more."""
        return tuple(need for need in self.needs if not need.writable)

    @property
    def writable(self) -> tuple[Need, ...]:
        """Directories in which the engine creates files."""
        return tuple(need for need in self.needs if need.writable)


def instance_of(config: RoleConfig) -> str:
    """What an engine's service is called: the instance of the template unit."""
    return config.engine.name or ("miner" if isinstance(config, MinerConfig) else "validator")


def working_directory_of(config_path: Path) -> Path:
    """Where relative paths of a configuration begin: ``/opt/basilica`` for ``/opt/basilica/config/miner.toml``."""
    folder = config_path.resolve().parent
    return folder.parent if folder.name in {"config", "etc", "conf"} and folder.parent != Path("/") else folder


def owner_of(path: Path) -> str:
    """The name of a file's owner; empty when there is no such file, or no such user."""
    try:
        return pwd.getpwuid(path.stat().st_uid).pw_name
    except (OSError, KeyError):
        return ""


def needs_of(config: RoleConfig, config_path: Path, *, working_directory: Path | None = None) -> EngineNeeds:
    """Everything that the configuration names, made absolute. Pure, but for links that are followed in no path."""
    base = working_directory or working_directory_of(config_path)
    section = config.bittensor
    wallet = section.wallet_path / section.wallet_name
    hotkey = base / wallet / "hotkeys" / section.hotkey_name
    role = "miner" if isinstance(config, MinerConfig) else "validator"
    needs = {need.path: need for need in _needs(config, config_path.resolve(), base, hotkey)}
    return EngineNeeds(
        role=role,
        name=instance_of(config),
        config=config_path.resolve(),
        working_directory=base,
        hotkey=hotkey,
        needs=tuple(needs.values()),
        has_low_port=any(port < 1024 for port in _ports(config)),
    )


def _needs(config: RoleConfig, config_path: Path, base: Path, hotkey: Path) -> Iterator[Need]:
    yield Need("the configuration", config_path)
    yield Need("the hotkey", hotkey)
    if config.bittensor.password_file is not None:
        yield Need("the hotkey's password file", base / config.bittensor.password_file)
    endpoint = config.bittensor.chain_endpoint or ""
    if endpoint.startswith("file:"):
        yield Need("the chain in a file", (base / endpoint.removeprefix("file:")).parent, writable=True)
    yield Need("the data directory", base / config.data_dir, writable=True)
    if config.recording.enabled and config.recording.directory is not None:
        yield Need("the recording's directory", base / config.recording.directory, writable=True)
    if config.database.file is not None:
        yield Need("the database's directory", (base / config.database.file).parent, writable=True)
    if config.logging.file is not None:
        yield Need("the log's directory", (base / config.logging.file).parent, writable=True)
    if config.engine.socket is not None:
        yield Need("the control socket's directory", (base / config.engine.socket).parent, writable=True)
    if isinstance(config, MinerConfig):
        yield from _miner(config, base)
    if isinstance(config, ValidatorConfig):
        yield Need("the SSH keys' directory", base / config.ssh_session.ssh_key_directory, writable=True)
        if config.ssh_session.persistent_ssh_key_path is not None:
            yield Need("the SSH key", base / config.ssh_session.persistent_ssh_key_path)


def _miner(config: MinerConfig, base: Path) -> Iterator[Need]:
    key = base / config.ssh_session.miner_node_key_path
    yield Need("the node key", key)
    # `keys rotate` makes a new key beside the old one. In somebody's own ~/.ssh that would mean to let the engine
    # write authorized_keys too, so there it stays read-only and rotation says why it cannot.
    if key.parent.name != ".ssh":
        yield Need("the node key's directory", key.parent, writable=True)
    comms = config.validator_comms
    if comms.tls_enabled:
        for what, path in (("the TLS certificate", comms.tls_cert_path), ("the TLS key", comms.tls_key_path)):
            if path is not None:
                yield Need(what, base / path)


def _ports(config: RoleConfig) -> Iterator[int]:
    if config.metrics.enabled:
        yield config.metrics.prometheus.port
    if config.health.enabled:
        yield config.health.port
    if isinstance(config, MinerConfig):
        yield config.validator_comms.port
    if isinstance(config, ValidatorConfig):
        port = config.api.bind_address.rpartition(":")[2]
        yield int(port) if port.isdigit() else 1024
