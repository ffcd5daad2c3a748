"""Engines that are not simply the one on this host: ``@NAME`` and ``--ssh``."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path

from basilica_tui.preferences import config_folder
from basilica_tui.profiles import EngineProfile, parse_ssh_address
from basilica_tui.settings import load_settings
from basilica_tui.ways import Way, way_to
from engine.errors import EngineUnreachable


def named_way(name: str) -> Way:
    """The way to an engine of console.toml. Raises EngineUnreachable when there is none of that name."""
    settings = load_settings(config_folder(os.environ))
    profile = settings.engines.get(name)
    if profile is not None:
        return way_to(profile, ask=_ask())
    file = config_folder(os.environ) / "console.toml"
    wrong = [p for p in settings.problems if f"engines.{name}:" in p]
    if wrong:
        raise EngineUnreachable(f"@{name} cannot be used", hint=wrong[0])
    known = ", ".join(f"@{n}" for n in settings.engines)
    raise EngineUnreachable(
        f"there is no engine called @{name}" + (f"; there is {known}" if known else ""),
        hint=f'name it in {file}: [engines.{name}] with socket = "PATH" or ssh = "user@host"',
    )


def ssh_way(text: str, socket: Path | None) -> Way:
    """The way to an engine on another host; ``socket`` is a path there. Raises EngineUnreachable."""
    address = parse_ssh_address(text)
    if address is None:
        raise EngineUnreachable(f"'{text}' is not USER@HOST or USER@HOST:PORT", hint="an IPv6 address in brackets")
    return way_to(EngineProfile("", socket, address), ask=_ask())


async def must_answer(way: Way) -> None:
    """Say at once what is wrong, before a screen is in the way. Raises what connecting raises."""
    client = await way.connect(way.where, role="read-only")
    await client.close()


def _ask() -> Callable[[str], str] | None:
    """A password is asked for where somebody can type it."""
    return getpass.getpass if sys.stdin.isatty() else None
