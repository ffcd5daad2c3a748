"""Whom the doctor examines: a configuration, whole or broken, and what it names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.config import MinerConfig, ValidatorConfig, load_config
from engine.config.check_miner import find_in_miner
from engine.config.check_validator import find_in_validator
from engine.config.findings import Findings
from engine.config.toml_file import read_toml
from engine.diagnostics.node_facts import NodeLimits
from engine.errors import ConfigInvalid
from engine.ssh.target import NodeTarget

Config = MinerConfig | ValidatorConfig


@dataclass(frozen=True)
class Patient:
    """One engine's configuration. ``config`` is None when the file cannot even be read as one."""

    config: Config | None = None
    path: Path | None = None
    read_error: str = ""
    problems: tuple[tuple[str, str], ...] = ()
    """Key (empty when it is not one key's) and sentence: what stops the engine."""
    warnings: tuple[tuple[str, str], ...] = ()

    @property
    def role(self) -> str:
        """``miner``, ``validator``, or empty."""
        if self.config is None:
            return ""
        return "miner" if isinstance(self.config, MinerConfig) else "validator"

    @property
    def miner(self) -> MinerConfig | None:
        """The configuration, if it is a miner's."""
        return self.config if isinstance(self.config, MinerConfig) else None

    def nodes(self) -> tuple[NodePatient, ...]:
        """The nodes of a miner."""
        if self.miner is None:
            return ()
        limits = self.miner.alerts
        return tuple(
            NodePatient(
                NodeTarget(node.node_id, node.host, node.port, node.username),
                node.name or node.address,
                NodeLimits(
                    disk_min_bytes=int(limits.node_disk_min_gb * 10**9),
                    clock_skew_max_s=limits.clock_skew_max,
                    extra_mount_path=node.extra_mount_path or "",
                    gpu_count=node.gpu_count,
                ),
                index,
            )
            for index, node in enumerate(self.miner.node_management.nodes)
        )


@dataclass(frozen=True, slots=True)
class NodePatient:
    """One node of the configuration and what is expected of it."""

    target: NodeTarget
    label: str = ""
    limits: NodeLimits = field(default_factory=NodeLimits)
    index: int = 0
    """Its place in ``node_management.nodes``."""

    def is_called(self, name: str) -> bool:
        """Whether a person means this node: by id, label, host or address."""
        return name in {self.target.node_id, self.label, self.target.host, self.target.label, self.target.address}


def patient_of(config: Config, path: Path | None = None) -> Patient:
    """A configuration that is already a value, such as a wizard's."""
    problems, warnings = _findings(config)
    return Patient(config, path, "", problems, warnings)


def load_patient(path: Path) -> Patient:
    """Read a file, however broken. Never raises for its content."""
    try:
        read_toml(path)
    except ConfigInvalid as error:
        return Patient(None, path, error.message)
    try:
        lenient = load_config(path, check=False)
    except ConfigInvalid as error:
        return Patient(None, path, "", tuple(("", text) for text in error.problems or (error.message,)))
    problems, warnings = _findings(lenient.config)
    keys = {text.partition(": ")[2]: key for key, text in warnings}
    told = tuple((keys.get(text.partition(": ")[2], ""), text) for text in lenient.warnings)
    rest = tuple(one for one in warnings if one[1].partition(": ")[2] not in {t.partition(": ")[2] for _, t in told})
    return Patient(lenient.config, path, "", problems, told + rest)


def _findings(config: Config) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    findings = Findings(lambda _: "configuration")
    if isinstance(config, MinerConfig):
        find_in_miner(config, findings)
    else:
        find_in_validator(config, findings)
    return tuple(findings.problems), tuple(findings.warnings)
