"""``basilica-tui serve``: the console in a browser of this machine."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from basilica_tui.cli_engine import chosen_way

if TYPE_CHECKING:
    from basilica_tui.ways import Way


def serve(
    context: typer.Context,
    socket: Annotated[
        Path | None, typer.Option("--socket", help="The engine's control socket; default: the one engine running here.")
    ] = None,
    port: Annotated[int, typer.Option(help="On 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 0,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look, but never change anything.")] = False,
    theme: Annotated[str | None, typer.Option(help="dark, light, high-contrast, deuteranopia.")] = None,
) -> None:
    """Show the console in a browser: prints a link on 127.0.0.1 that opens once."""
    from basilica_tui.browser import BrowserServer, listen_on  # noqa: PLC0415 - --help must stay cheap
    from basilica_tui.cli_ways import must_answer  # noqa: PLC0415 - --help must stay cheap

    way = chosen_way(context, socket)
    asyncio.run(must_answer(way))
    words = [sys.executable, "-m", "basilica_tui", *_where(context, way, socket)]
    words += ["--read-only"] if read_only else []
    words += ["--theme", theme] if theme is not None else []
    BrowserServer(f"exec {shlex.join(words)}", listen_on(port), announce=_announce).run()


def _where(context: typer.Context, way: Way, socket: Path | None) -> list[str]:
    """The same engine, for the console that the page starts; it is asked for no password there."""
    given = context.find_root().params
    if given.get("engine") is not None:
        return ["--engine", str(given["engine"])]
    if given.get("ssh") is not None:
        return ["--ssh", str(given["ssh"]), *(["--socket", str(socket)] if socket is not None else [])]
    return ["--socket", str(way.where.resolve())]


def _announce(link: str) -> None:
    typer.echo("The console is at this address, which opens once and in one browser:")
    typer.echo(link)
    where, _, _ = link.removeprefix("http://").partition("/")
    typer.echo(
        f"From another machine: ssh -L {where.rpartition(':')[2]}:{where} USER@THIS-HOST. Ctrl+C ends all of it."
    )
