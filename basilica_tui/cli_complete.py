"""What the shell completes: screens, engines with a name, nodes of the engine that runs. Never an error, never long."""

# ruff: noqa: PLC0415 - --help must not import what a completion needs

from __future__ import annotations

import asyncio
import os
import re
import tomllib
from collections.abc import Iterable

ANSWER_S = 1.5
NODES_LIMIT = 200
_PLAIN = re.compile(r"[A-Za-z0-9_.:@+-]+")
"""A shell puts what is completed on its command line as it is."""


def complete_shown(incomplete: str) -> list[str]:
    """What ``show`` can print."""
    from basilica_tui.show import SHOWABLE

    return _that_begin(sorted((*SHOWABLE, "node", "logs", "config", "ssh-check")), incomplete)


def complete_engines(incomplete: str) -> list[str]:
    """Names of console.toml; read without the rest of the console's settings, which would bring Textual."""
    from basilica_tui.preferences import config_folder
    from basilica_tui.profiles import parse_profiles

    try:
        data = tomllib.loads((config_folder(os.environ) / "console.toml").read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return _that_begin(parse_profiles(data.get("engines", {}))[0], incomplete)


def complete_nodes(incomplete: str) -> list[str]:
    """Nodes of the only engine that runs here, asked now."""
    from engine.control.paths import find_listening
    from engine.errors import BasilicaError

    found = find_listening()
    if len(found) != 1:
        return []
    try:
        names = asyncio.run(_node_names(str(found[0])))
    except (BasilicaError, OSError, TimeoutError):
        return []
    return _that_begin(names, incomplete)[:NODES_LIMIT]


async def _node_names(socket: str) -> list[str]:
    from pathlib import Path

    from engine.control.client import ControlClient

    async with asyncio.timeout(ANSWER_S):
        client = await ControlClient.connect(Path(socket), role="read-only", timeout_s=ANSWER_S)
        try:
            nodes = (await client.snapshot()).nodes.values()
        finally:
            await client.close()
    names = {node.label or node.host or node.id for node in nodes}
    return sorted(name for name in names if _PLAIN.fullmatch(name))


def _that_begin(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
