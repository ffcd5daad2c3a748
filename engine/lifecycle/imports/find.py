"""Finding a deployed miner's configuration, and what started it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from engine.config.toml_file import read_toml
from engine.errors import ConfigInvalid, ImportFailed
from engine.lifecycle.imports.compose import Service, read_compose
from engine.lifecycle.imports.container import PREFIX, ask_docker
from engine.lifecycle.imports.deployment import Deployment, Surroundings, normal, on_root
from engine.lifecycle.imports.systemd import Unit, read_unit

USUAL = (
    "opt/basilica",
    "opt/basilca",
    "opt/basilica/miner",
    "opt/basilica-miner",
    "etc/basilica",
    "etc/basilca",
    "var/lib/basilica/miner",
    "var/lib/basilca/miner",
    "root/.config/basilca",
    "root/.config/basilica",
)
"""Where deployed miners live; the network spells its own name in two ways."""
FILE_NAMES = ("miner.toml", "config/miner.toml", "config.toml", "config/config.toml", "miner.prod.toml")
UNIT_FOLDERS = ("etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
COMPOSE_NAMES = ("compose.yml", "compose.yaml", "docker-compose.yml", "docker-compose.yaml", "compose.prod.yml")
_ROOT_HOME = PurePosixPath("/root")


def find_deployment(source: Path | None = None, *, root: Path = Path("/")) -> Deployment:
    """The set-up that ``source`` names or that lies in the usual places below ``root``.

    Raises:
        ImportFailed: nothing was found, or more than one and none was named.
        ConfigInvalid: the file that was found is no TOML.
    """
    root = root.expanduser().resolve()
    if source is None:
        return _first([*_from_units(root), *_from_usual_places(root)], f"no deployed miner was found below {root}")
    if str(source).startswith(PREFIX):
        service = ask_docker(str(source).removeprefix(PREFIX))
        return _in_container(str(source), service, _around(Path(str(source)), service, Path("/")))
    source = source.expanduser()
    if not source.exists() and source.is_absolute():
        source = on_root(root, PurePosixPath(source))
    if not source.exists():
        raise ImportFailed(f"{source}: there is no such file or directory", hint="check --from")
    source = source.resolve()
    if source.is_dir():
        is_machine = (source / "etc").is_dir() and ((source / "opt").is_dir() or (source / "var").is_dir())
        if is_machine:
            return find_deployment(root=source)
        return _first(_from_directory(source, root), f"no miner configuration was found in {source}")
    return _first(_from_file(source, root), f"{source} starts no miner")


def _from_file(path: Path, root: Path) -> Iterable[Deployment]:
    if path.suffix == ".service":
        unit = read_unit(path, root)
        return [_of_unit(unit, root)] if unit else []
    if path.suffix in (".yml", ".yaml"):
        return _of_compose(path, root)
    return [_of_toml(path, root)]


def _from_directory(directory: Path, root: Path) -> Iterator[Deployment]:
    for path in sorted([*directory.glob("*.service"), *directory.glob("systemd/*.service")]):
        unit = read_unit(path, root)
        if unit is not None and _exists(root, unit.config):
            yield _of_unit(unit, root)
    for name in COMPOSE_NAMES:
        if (directory / name).is_file():
            yield from _of_compose(directory / name, root)
    for name in FILE_NAMES:
        if (directory / name).is_file():
            yield _of_toml(directory / name, root)


def _from_units(root: Path) -> Iterator[Deployment]:
    for unit in _units(root):
        if _exists(root, unit.config):
            yield _of_unit(unit, root)


def _from_usual_places(root: Path) -> Iterator[Deployment]:
    for place in USUAL:
        if (root / place).is_dir():
            yield from _from_directory(root / place, root)


def _first(found: Iterable[Deployment], otherwise: str) -> Deployment:
    by_file: dict[Path, Deployment] = {}
    for one in found:
        by_file.setdefault(one.config_path.resolve(), one)
    if not by_file:
        raise ImportFailed(otherwise, hint="name the file with --from /path/to/miner.toml")
    first, *others = by_file.values()
    return dataclasses.replace(first, also=tuple(one.config_path for one in others))


def _of_toml(path: Path, root: Path) -> Deployment:
    """A bare file: a unit of this machine that starts with it says more."""
    for unit in _units(root):
        if on_root(root, normal(unit.config)).resolve() == path:
            return _of_unit(unit, root)
    folder = path.parent
    home = "/" / PurePosixPath(*(folder.parent if folder.name == "config" else folder).relative_to("/").parts)
    if root != Path("/") and path.is_relative_to(root):
        home = PurePosixPath("/", *PurePosixPath(home).relative_to(root).parts)
    around = Surroundings("file", home, PurePosixPath(str(Path.home())) if root == Path("/") else _ROOT_HOME)
    return Deployment(path, read_toml(path).data, around, root, (f"{path}; relative paths are taken from {home}",))


def _of_unit(unit: Unit, root: Path) -> Deployment:
    path = on_root(root, normal(unit.config))
    around = Surroundings(
        "systemd",
        PurePosixPath(unit.working_directory or "/"),
        _home_of(unit.user or "root", root),
        unit.user or "root",
        unit.arguments[1:],
        _settings(unit.environment),
    )
    words = f"{unit.path}: runs as {around.user} in {around.working_directory} with {normal(unit.config)}"
    return Deployment(path, _read(path), around, root, (words,))


def _of_compose(path: Path, root: Path) -> list[Deployment]:
    directory = PurePosixPath("/", *path.parent.relative_to(root).parts) if path.is_relative_to(root) else None
    home = PurePosixPath(str(Path.home())) if root == Path("/") else _ROOT_HOME
    try:
        service = read_compose(path, directory or PurePosixPath(str(path.parent)), home)
    except (OSError, ValueError) as error:
        raise ImportFailed(f"{path} cannot be read: {error}", hint="name the miner.toml itself with --from") from error
    if service is None:
        return []
    blank = _around(path, service, root if directory is not None else Path("/"))
    return [_in_container(str(path), service, blank)]


def _around(path: Path, service: Service, root: Path) -> Deployment:
    """Everything but the configuration's content."""
    around = Surroundings(
        "docker",
        service.working_directory,
        service.working_directory,
        "root",
        service.arguments,
        _settings(service.environment),
        service.mounts,
        service.ports,
    )
    return Deployment(path, {}, around, root)


def _in_container(path: str, service: Service, blank: Deployment) -> Deployment:
    host = blank.locate(str(service.config))
    if host is None:
        raise ImportFailed(
            f"{path}: service {service.name} keeps {service.config} inside the container",
            hint="copy it out with docker cp, and name it with --from",
        )
    file = blank.here(host)
    words = f"{path}: service {service.name}, {service.config} is {host}"
    return dataclasses.replace(blank, config_path=file, data=_read(file), found_by=(words,))


def _units(root: Path) -> Iterator[Unit]:
    for folder in UNIT_FOLDERS:
        for path in sorted((root / folder).glob("*.service")):
            if any(word in path.name.lower() for word in ("basil", "cathedral", "miner")):
                unit = read_unit(path, root)
                if unit is not None:
                    yield unit


def _home_of(user: str, root: Path) -> PurePosixPath:
    try:
        lines = (root / "etc" / "passwd").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    homes = {fields[0]: fields[5] for line in lines if len(fields := line.split(":")) > 6}
    return PurePosixPath(homes.get(user) or ("/root" if user == "root" else f"/home/{user}"))


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that set configuration keys."""
    return {k: v for k, v in environment.items() if k.startswith(("BASILCA_", "BASILICA_")) and "__" in k}


def _exists(root: Path, path: PurePosixPath) -> bool:
    return on_root(root, normal(path)).is_file()


def _read(path: Path) -> Mapping[str, object]:
    try:
        return read_toml(path).data
    except ConfigInvalid as error:
        raise ImportFailed(error.message, hint="correct the file, or name another with --from") from error
