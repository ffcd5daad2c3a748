"""What a systemd unit says about the miner that it starts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from engine.lifecycle.imports.deployment import on_root


@dataclass
class Unit:
    """The few settings that matter here."""

    path: Path
    arguments: tuple[str, ...] = ()
    working_directory: str = ""
    user: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> PurePosixPath:
        """The file that the process reads: its ``--config``, else ``miner.toml`` where it starts."""
        return PurePosixPath(self.working_directory or "/") / (config_argument(self.arguments) or "miner.toml")


def config_argument(arguments: Sequence[str]) -> str | None:
    """The value of ``--config`` or ``-c``, in every way that it can be written."""
    for index, word in enumerate(arguments):
        if word in ("--config", "-c"):
            return arguments[index + 1] if index + 1 < len(arguments) else None
        for prefix in ("--config=", "-c"):
            if word.startswith(prefix):
                return word.removeprefix(prefix)
    return None


def read_unit(path: Path, root: Path) -> Unit | None:
    """The unit with its drop-ins; None when it starts no miner of this network."""
    unit = Unit(path)
    files = [path, *sorted(path.with_name(f"{path.name}.d").glob("*.conf"))]
    for file in files:
        try:
            text = file.read_text("utf-8", "replace")
        except OSError:
            continue
        _take(unit, text, root)
    program = unit.arguments[0] if unit.arguments else ""
    names = f"{path.name} {program}".lower()
    is_miner = "miner" in names and any(word in names for word in ("basil", "cathedral"))
    return unit if is_miner and "validator" not in names else None


def _take(unit: Unit, text: str, root: Path) -> None:
    section = ""
    for raw in text.replace("\\\n", " ").splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line
        if section != "[Service]" or not line or line[0] in "#;":
            continue
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "ExecStart":
            unit.arguments = tuple(_words(value.lstrip("-@:+!")))
        elif key == "WorkingDirectory":
            unit.working_directory = value.lstrip("-").replace("~", "", 1) if value != "~" else ""
        elif key == "User":
            unit.user = value
        elif key == "Environment":
            unit.environment |= dict(word.split("=", 1) for word in _words(value) if "=" in word)
        elif key == "EnvironmentFile":
            unit.environment |= read_environment_file(on_root(root, PurePosixPath(value.lstrip("-"))))


def read_environment_file(path: Path) -> dict[str, str]:
    """``KEY=value`` lines; a file that cannot be read sets nothing."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and key and not key.startswith(("#", ";")):
            found[key.strip()] = " ".join(_words(value)) if value.strip()[:1] in ("'", '"') else value.strip()
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
