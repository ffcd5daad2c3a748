"""Loading: defaults, then the file, then the environment; every problem in one error, every doubt a warning."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from engine.config.check_miner import find_in_miner, settle_ports
from engine.config.check_validator import find_in_validator
from engine.config.common import RoleConfig
from engine.config.detect import detect_role
from engine.config.environment import EnvironmentLayer, read_environment
from engine.config.findings import Findings
from engine.config.miner import MinerConfig
from engine.config.problems import dotted, sentences
from engine.config.retired import IDLE, OLDER, Role
from engine.config.shape import leaves, stray_keys
from engine.config.toml_file import TomlText, read_toml
from engine.config.validator import ValidatorConfig
from engine.errors import ConfigInvalid

PATH_VARIABLES = ("BASILICA_CONFIG_PATH", "BASILCA_CONFIG_PATH")
C = TypeVar("C", bound=RoleConfig)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[C]):
    """A configuration and where it came from."""

    config: C
    warnings: tuple[str, ...]
    sources: Mapping[str, str]
    """Dotted key to ``default``, ``file`` or ``environment``."""
    path: Path | None
    sha256: str | None = None
    """Of the file as it was read; ``save_config`` compares."""


def load_miner_config(
    path: Path | None, *, env: Mapping[str, str] | None = None, check: bool = True
) -> Loaded[MinerConfig]:
    """Load miner.toml; raises ConfigInvalid with all problems.

    Without a path BASILICA_CONFIG_PATH names the file, and without that there are only defaults and environment.
    ``check=False`` skips what looks beyond types: ports that disagree, key files, duplicate nodes.
    """
    source = _Source(path, os.environ if env is None else env, MinerConfig, "miner")
    config, failed = source.validate(MinerConfig)
    settled, changes = settle_ports(config)
    for key, words in changes:
        source.findings.warnings.append((key, f"{source.where(key)}: {key} {words}; set it to say so"))
    if source.raw("validator_assignment", "strategy") == "round_robin":
        source.findings.warn("validator_assignment.strategy", "round_robin", "which is read as highest_stake")
    return source.finish(settled, failed, find_in_miner if check else None)


def load_validator_config(
    path: Path | None, *, env: Mapping[str, str] | None = None, check: bool = True
) -> Loaded[ValidatorConfig]:
    """Load validator.toml; the same rules as ``load_miner_config``."""
    source = _Source(path, os.environ if env is None else env, ValidatorConfig, "validator")
    config, failed = source.validate(ValidatorConfig)
    return source.finish(config, failed, find_in_validator if check else None)


def load_config(
    path: Path, *, env: Mapping[str, str] | None = None, check: bool = True
) -> Loaded[MinerConfig] | Loaded[ValidatorConfig]:
    """Load a file as what it is, a miner's or a validator's; the same rules as ``load_miner_config``."""
    if detect_role(path) == "validator":
        return load_validator_config(path, env=env, check=check)
    return load_miner_config(path, env=env, check=check)


class _Source:
    """One load: the layers, and the findings so far."""

    def __init__(self, path: Path | None, env: Mapping[str, str], model: type[RoleConfig], role: Role) -> None:
        named = next((env[variable] for variable in PATH_VARIABLES if env.get(variable)), None)
        self.path = path if path is not None else Path(named).expanduser() if named else None
        self.file: TomlText | None = read_toml(self.path) if self.path is not None else None
        self.layer: EnvironmentLayer = read_environment(model, env)
        self.data: dict[str, Any] = merge(self.file.data if self.file else {}, self.layer.data)
        self.findings = Findings(self.where)
        self.problems: list[str] = []
        self.warnings = [*self._stray_warnings(model, role), *self.layer.warnings]

    def where(self, key: str) -> str:
        """The variable that sets this key or something around it, else the file."""
        for name, variable in self.layer.variables.items():
            if key == name or key.startswith((f"{name}.", f"{name}[")):
                return f"environment {variable}"
        return str(self.path) if self.path is not None else "configuration"

    def raw(self, section: str, key: str) -> object:
        """What the layers say, before the model reads it."""
        table = self.data.get(section)
        return table.get(key) if isinstance(table, dict) else None

    def validate(self, model: type[C]) -> tuple[C, frozenset[str]]:
        """The configuration, and the keys that were refused and stand at their defaults meanwhile."""
        failed: set[str] = set()
        data = deepcopy(self.data)
        while True:
            try:
                return model.model_validate(data), frozenset(failed)
            except ValidationError as error:
                # Later rounds can only repeat: a refused key is gone, and an array with a refused item is gone whole.
                self.problems += sentences(error, self.where) if not failed else ()
                for item in error.errors(include_url=False):
                    failed.add(dotted(_drop(data, item["loc"])))

    def finish(self, config: C, failed: frozenset[str], find: Callable[[C, Findings], None] | None) -> Loaded[C]:
        """Run the checks, raise what stops the engine, and hand the rest over."""
        if find is not None:
            find(config, self.findings)
        self.problems += [text for key, text in self.findings.problems if not _is_within(key, failed)]
        if self.problems:
            where = str(self.path) if self.path is not None else "the configuration"
            count = len(self.problems)
            message = self.problems[0] if count == 1 else f"{where} has {count} problems: {'; '.join(self.problems)}"
            raise ConfigInvalid(message, problems=tuple(self.problems), warnings=tuple(self.warnings))
        self.warnings += [text for _, text in self.findings.warnings]
        sources = {key: self._source_of(key) for key, _ in leaves(config)}
        return Loaded(config, tuple(self.warnings), sources, self.path, self.file.sha256 if self.file else None)

    def _source_of(self, key: str) -> str:
        if self.where(key).startswith("environment "):
            return "environment"
        value: Any = self.file.data if self.file else {}
        for part in key.replace("[", ".").replace("]", "").split("."):
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            else:
                return "default"
        return "file"

    def _stray_warnings(self, model: type[RoleConfig], role: Role) -> list[str]:
        older, idle, warnings = [], [], []
        for stray in stray_keys(model, self.file.data if self.file else {}):
            if stray.plain in OLDER[role]:
                older.append(stray.key)
            elif stray.plain in IDLE[role]:
                idle.append(stray.key)
            else:
                hint = f"; did you mean {stray.suggestion}?" if stray.suggestion else ""
                warnings.append(f"{self.path}: {stray.key} is not known and has no effect{hint}")
        if older:
            warnings.append(f"{self.path}: only older {role}s knew {', '.join(older)}; this has no effect")
        if idle:
            warnings.append(f"{self.path}: {', '.join(idle)} mean nothing to this engine and have no effect")
        return warnings


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merge key by key, everything else is replaced whole, as the deployed loader does."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return merged


def _drop(data: dict[str, Any], location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Remove the refused value, or what holds it, so that the rest can still be checked; returns what went."""
    tables = [data]
    for part in location[:-1]:
        inner = tables[-1].get(str(part))
        if not isinstance(inner, dict):
            break
        tables.append(inner)
    # A missing key cannot be removed, so the table that lacks it goes.
    for depth in range(len(tables), 0, -1):
        name = str(location[depth - 1])
        if name in tables[depth - 1]:
            del tables[depth - 1][name]
            return location[:depth]
    return location


def _is_within(key: str, failed: frozenset[str]) -> bool:
    return any(key == name or key.startswith((f"{name}.", f"{name}[")) for name in failed)
