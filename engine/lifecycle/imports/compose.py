"""What a docker compose file says about the miner that it starts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engine.lifecycle.imports.deployment import Mount, normal
from engine.lifecycle.imports.systemd import config_argument, read_environment_file
from engine.lifecycle.imports.yaml_subset import Yaml, parse_yaml

CONTAINER_HOME = PurePosixPath("/var/lib/basilica/miner")
"""Home and working directory in the published images."""
_Text = Callable[[Yaml | None], str]
_VARIABLE = re.compile(r"\$\{(\w+)(?::?[-?]([^}]*))?\}|\$(\w+)")


@dataclass(frozen=True, slots=True)
class Service:
    """The miner's service; host paths are absolute on the machine that runs it."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...]
    ports: tuple[tuple[int, int], ...]
    working_directory: PurePosixPath = CONTAINER_HOME

    @property
    def config(self) -> PurePosixPath:
        """The file that the process reads, inside the container."""
        return normal(self.working_directory / (config_argument(self.arguments) or "miner.toml"))


def read_compose(path: Path, directory: PurePosixPath, home: PurePosixPath) -> Service | None:
    """The miner's service of a compose file that stood in ``directory``; None when it has none.

    Raises ValueError for a file that cannot be understood.
    """
    document = parse_yaml(path.read_text("utf-8", "replace"))
    services = document.get("services") if isinstance(document, dict) else None
    for name, service in (services or {}).items() if isinstance(services, dict) else ():
        if isinstance(service, dict) and _is_miner(name, service):
            variables = read_environment_file(path.parent / ".env")
            return _service(name, service, variables, path.parent, directory, home)
    return None


def _is_miner(name: str, service: Mapping[str, Yaml]) -> bool:
    words = " ".join([name, str(service.get("image", "")), str(service.get("container_name", ""))]).lower()
    return "miner" in words and "validator" not in words


def _service(
    name: str,
    service: Mapping[str, Yaml],
    variables: Mapping[str, str],
    here: Path,
    directory: PurePosixPath,
    home: PurePosixPath,
) -> Service:
    def text(value: Yaml | None) -> str:
        return _VARIABLE.sub(lambda m: variables.get(m[1] or m[3], m[2] or ""), value) if isinstance(value, str) else ""

    environment: dict[str, str] = {}
    for file in _as_list(service.get("env_file")):
        environment |= read_environment_file(here / text(file))
    given = service.get("environment")
    pairs = given.items() if isinstance(given, dict) else (str(one).partition("=")[::2] for one in _as_list(given))
    environment |= {key: text(value) for key, value in pairs}
    mounts = [_mount(one, text, directory, home) for one in _as_list(service.get("volumes"))]
    ports = [_port(one, text) for one in _as_list(service.get("ports"))]
    command = service.get("command")
    arguments = command.split() if isinstance(command, str) else [text(one) for one in _as_list(command)]
    return Service(
        name,
        tuple(text(word) for word in arguments),
        environment,
        tuple(m for m in mounts if m is not None),
        tuple(p for p in ports if p is not None),
        PurePosixPath(text(service.get("working_dir")) or CONTAINER_HOME),
    )


def _mount(one: Yaml, text: _Text, directory: PurePosixPath, home: PurePosixPath) -> Mount | None:
    if isinstance(one, dict):
        host, container = text(one.get("source")), text(one.get("target"))
    else:
        host, _, rest = text(one).partition(":")
        container = rest.partition(":")[0]
    if not container or host[:1] not in ("/", ".", "~"):
        return None  # a named volume: docker keeps it where only docker knows
    path = PurePosixPath(host)
    path = home.joinpath(*path.parts[1:]) if path.parts[:1] == ("~",) else directory / path
    return Mount(normal(path), normal(PurePosixPath(container)))


def _port(one: Yaml, text: _Text) -> tuple[int, int] | None:
    if isinstance(one, dict):
        words = [text(one.get("published")), text(one.get("target"))]
    else:
        words = text(one).partition("/")[0].split(":")[-2:]
    numbers = [int(word) for word in words if word.isdigit()]
    return (numbers[0], numbers[-1]) if numbers else None


def _as_list(value: Yaml | None) -> list[Yaml]:
    if isinstance(value, list):
        return value
    return [value] if value else []
