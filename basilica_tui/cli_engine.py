"""What verbs share: which engine they talk to, and how they give up."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import typer


def find_socket(socket: Path | None, config: Path | None) -> Path:
    """The socket that was named, the configuration's, or that of the only engine running here. Exits with 2."""
    from engine.control.paths import find_sockets  # noqa: PLC0415 - --help must stay cheap

    if socket is not None:
        return socket
    if config is not None:
        from engine.app import socket_of  # noqa: PLC0415 - --help must stay cheap

        return socket_of(config)
    found = find_sockets()
    if len(found) > 1:
        fail("several engines are running here", "choose one: --socket " + "  --socket ".join(map(str, found)))
    if not found:
        fail(
            "no engine is running here",
            "start one with: basilica-tui --daemon --config miner.toml   or try: basilica-tui demo",
        )
    return found[0]


async def must_answer(path: Path) -> None:
    """Raises EngineUnreachable, or another BasilicaError, when nothing usable answers there."""
    from engine.control.client import ControlClient  # noqa: PLC0415 - --help must stay cheap

    client = await ControlClient.connect(path, role="read-only")
    await client.close()


def fail(message: str, hint: str = "") -> NoReturn:
    """Say what is wrong and what to do, and exit with 2."""
    typer.echo(f"basilica-tui: {message}", err=True)
    if hint:
        typer.echo(f"  {hint}", err=True)
    raise typer.Exit(2)
