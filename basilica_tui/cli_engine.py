"""What verbs share: which engine they talk to, and how they give up."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from basilica_tui.ways import Way
    from engine.control.client import ControlClient

ATTACHING = frozenset({"show", "act", "keys", "config", "serve"})
"""Verbs that work on an engine wherever it is: with ``--ssh`` and ``@NAME`` as the console itself."""


def chosen_way(context: typer.Context, socket: Path | None) -> Way:
    """The engine that the command line names: through SSH, by its name, by its socket, or the only one running here.

    Raises EngineUnreachable for a name that means nothing; exits with 2 where it is not clear which one is meant.
    """
    from basilica_tui import cli_ways
    from basilica_tui.link import connect_to_engine
    from basilica_tui.ways import Way

    given = context.find_root().params
    socket = socket or given.get("socket")
    if given.get("ssh") is not None:
        return cli_ways.ssh_way(str(given["ssh"]), socket)
    if given.get("engine") is not None:
        return cli_ways.named_way(str(given["engine"]))
    return Way("", find_socket(socket, given.get("config")), connect_to_engine)


def here_only(context: typer.Context) -> None:
    """For verbs that work on files of this host: ``--ssh`` and ``@NAME`` would mean nothing to them. Exits with 2."""
    given = context.find_root().params
    if given.get("ssh") is not None or given.get("engine") is not None:
        words = " ".join(filter(None, [context.info_name, context.invoked_subcommand]))
        fail(f"{words} works on this host", "log in there, or leave --ssh and @NAME away")


@asynccontextmanager
async def attached(way: Way, *, role: str = "operator") -> AsyncIterator[ControlClient]:
    """A connection to that engine for the block; one that is only to be looked at is never more than that.

    Raises:
        EngineUnreachable, ProtocolMismatch, ControlRefused: as connecting to it does.
    """
    from engine.control.client import ControlClient

    client = await way.connect(way.where, role="read-only" if way.read_only else role)
    assert isinstance(client, ControlClient), "ways lead to engines"
    try:
        yield client
    finally:
        await client.close()


def find_socket(socket: Path | None, config: Path | None) -> Path:
    """The socket that was named, the configuration's, or that of the only engine running here. Exits with 2."""
    from engine.control.paths import find_listening, find_sockets

    if socket is not None:
        return socket
    if config is not None:
        from engine.configured import socket_of

        return socket_of(config)
    found = find_listening()
    if len(found) > 1:
        fail("several engines are running here", "choose one:\n" + "\n".join(f"--socket {path}" for path in found))
    left = find_sockets()
    if not found and len(left) == 1:
        return left[0]  # whoever calls there is told why it does not answer
    if not found:
        fail(
            "no engine is running here",
            "the first time:   basilica-tui setup\n"
            "start one:        basilica-tui --daemon --config miner.toml\n"
            "look around:      basilica-tui demo",
        )
    return found[0]


async def must_answer(path: Path) -> None:
    """Raises EngineUnreachable, or another BasilicaError, when nothing usable answers there."""
    from engine.control.client import ControlClient

    client = await ControlClient.connect(path, role="read-only")
    await client.close()


def fail(message: str, hint: str = "") -> NoReturn:
    """Say what is wrong and what to do, and exit with 2."""
    typer.echo(f"basilica-tui: {message}", err=True)
    if hint:
        typer.echo("\n".join(f"  {line}" for line in hint.splitlines()), err=True)
    raise typer.Exit(2)
