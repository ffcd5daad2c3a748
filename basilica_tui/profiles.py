"""Engines that the operator has given names: ``[engines.NAME]`` in console.toml, ``@NAME`` everywhere else. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_KEYS = frozenset({"socket", "ssh", "read_only", "theme", "edge"})
ENGINES_LIMIT = 64


@dataclass(frozen=True, slots=True)
class SshAddress:
    """``user@host:port``; what is left out comes from the SSH configuration."""

    host: str
    port: int | None = None
    user: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{f'{self.user}@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """Where an engine is. ``socket`` is on this host, or on the one behind ``ssh``; None looks for it."""

    name: str
    socket: Path | None = None
    ssh: SshAddress | None = None
    read_only: bool = False
    theme: str = ""
    """Its own colours, so that it is not taken for another one; empty for those of all."""
    edge: str = ""
    """The colour of its name in the header and of every frame, such as red for what earns money."""

    @property
    def where(self) -> str:
        """For people."""
        place = str(self.socket) if self.socket is not None else ""
        return f"{self.ssh}{f':{place}' if place else ''}" if self.ssh is not None else place


def parse_ssh_address(text: str) -> SshAddress | None:
    """``[user@]host[:port]``, an IPv6 address in brackets; None for anything else."""
    found = re.fullmatch(
        r"(?:(?P<user>[A-Za-z_][\w.-]*)@)?(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9][\w.-]*))(?::(?P<port>\d+))?",
        text.strip(),
    )
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 1 <= port <= 65_535:
        return None
    return SshAddress(found["six"] or found["host"], port, found["user"] or "")


def parse_profiles(table: object) -> tuple[dict[str, EngineProfile], list[str]]:
    """The ``engines`` table of console.toml, and a sentence for each mistake in it."""
    if not isinstance(table, dict):
        return {}, ["console.toml: [engines.NAME] is a table with socket or ssh"]
    profiles: dict[str, EngineProfile] = {}
    problems: list[str] = []
    for name, values in table.items():
        found, problem = _profile(str(name), values)
        if problem:
            problems.append(f"console.toml: engines.{name}: {problem}")
        elif found is not None and len(profiles) < ENGINES_LIMIT:
            profiles[found.name] = found
    return profiles, problems


def _profile(name: str, values: object) -> tuple[EngineProfile | None, str]:
    if not _NAME.fullmatch(name):
        return None, "a name has letters, digits, dots and dashes"
    if not isinstance(values, Mapping):
        return None, "is a table with socket or ssh"
    ssh, socket = values.get("ssh"), values.get("socket")
    address = parse_ssh_address(ssh) if isinstance(ssh, str) else None
    problem = _problem(values, address)
    if problem:
        return None, problem
    path = None if socket is None else Path(str(socket))
    if path is not None and address is None:
        try:
            path = path.expanduser()
        except RuntimeError:
            return None, f"{path}: there is no such user"
    looks = (str(values.get(key, "")) for key in ("theme", "edge"))
    return EngineProfile(name, path, address, values.get("read_only") is True, *looks), ""


def _problem(values: Mapping[str, object], address: SshAddress | None) -> str:
    unknown = [str(key) for key in values if key not in _KEYS]
    socket, ssh = values.get("socket"), values.get("ssh")
    if unknown:
        return f"{', '.join(unknown)} is not known; socket, ssh, read_only, theme and edge are"
    if (socket is None and ssh is None) or not isinstance(values.get("read_only", False), bool):
        return "needs socket or ssh; read_only is true or false"
    if socket is not None and not (isinstance(socket, str) and socket.strip()):
        return "socket is a path"
    if not all(isinstance(values.get(key, ""), str) for key in ("theme", "edge")):
        return "theme is the name of one, edge a colour"
    if ssh is not None and address is None:
        return f"ssh is user@host or user@host:port, not {str(ssh)[:60]}"
    return ""
