"""How the console reaches an engine: by a socket of this host, or through SSH."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from basilica_tui.link import Connect, connect_to_engine
from basilica_tui.profiles import EngineProfile


@dataclass(frozen=True, slots=True)
class Way:
    """One engine that can be attached to; ``name`` is empty for one that has no profile."""

    name: str
    where: Path
    connect: Connect
    read_only: bool = False
    theme: str = ""
    edge: str = ""
    is_remote: bool = False
    """Whether its files are on another host."""


def way_to(profile: EngineProfile, *, ask: Callable[[str], str] | None = None) -> Way:
    """The way that a profile describes; ``ask`` is asked for a password, once, if there is no other way in."""
    if profile.ssh is not None:
        from basilica_tui.remote import RemoteEngine  # noqa: PLC0415 - asyncssh takes 0.3 s to load

        remote = RemoteEngine(profile.ssh, profile.socket, ask=ask)
        return Way(profile.name, remote.where, remote.connect, profile.read_only, profile.theme, profile.edge, True)
    assert profile.socket is not None, "a profile has a socket or ssh"
    return Way(profile.name, profile.socket, connect_to_engine, profile.read_only, profile.theme, profile.edge)


def ways_to(profiles: Mapping[str, EngineProfile]) -> dict[str, Way]:
    """All of them, by name; none of these asks for a password, because a screen is in the way."""
    return {name: way_to(profile) for name, profile in profiles.items()}


def as_now(way: Way, ways: Mapping[str, Way]) -> Way:
    """The way that is in use, with the look that its profile has now; where that leads elsewhere now, its new way.

    The connection is kept, because it may know a password.
    """
    new = ways.get(way.name)
    if new is None or new.where != way.where:
        return new or way
    return replace(way, read_only=new.read_only, theme=new.theme, edge=new.edge)
