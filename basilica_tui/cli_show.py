"""``basilica-tui show``: what a screen shows, as text for people and JSON for programs."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from basilica_tui.cli_complete import complete_nodes, complete_shown
from basilica_tui.cli_engine import attached, chosen_way, fail

if TYPE_CHECKING:
    from basilica_tui.ways import Way
    from engine.control.client import ControlClient


_FOR_OPERATORS = ("config", "ssh-check")


def show(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            help="dashboard, nodes, sessions, scores, logs, config, …; a wrong word lists all.",
            autocompletion=complete_shown,
        ),
    ],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NODE]", help="With 'node': its id, address or id's beginning.", autocompletion=complete_nodes
        ),
    ] = None,
    socket: Annotated[
        Path | None, typer.Option("--socket", help="The engine's control socket; default: the one engine running here.")
    ] = None,
    tail: Annotated[int, typer.Option(help="With 'logs': how many of the newest lines.", min=1, max=5000)] = 100,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a screen shows, as text or JSON; @NAME or --ssh USER@HOST for an engine that is elsewhere."""
    from basilica_tui.show import SHOWABLE  # noqa: PLC0415 - --help must stay cheap

    known = (*SHOWABLE, "node", "logs", "config", "ssh-check")
    if what not in known:
        fail(f"'{what}' cannot be shown", f"one of: {', '.join(sorted(known))}")
    if (what == "node") != (name is not None):
        fail("'node' wants one node, and nothing else does", "as in: basilica-tui show node basilica@10.0.0.7:22")
    # A pipe has no width: nothing is cut there.
    width = shutil.get_terminal_size((120, 40)).columns if sys.stdout.isatty() else 0
    way = chosen_way(context, socket)
    typer.echo(asyncio.run(_rendered(way, what, name or "", tail, json=json, width=width)), nl=False)


async def _rendered(way: Way, what: str, name: str, tail: int, *, json: bool, width: int) -> str:
    # What the engine has to act for is for operators only; everything else asks for no more than it needs.
    async with attached(way, role="operator" if what in _FOR_OPERATORS else "read-only") as client:
        return await _render(client, what, name, tail, json=json, width=width)


async def _render(client: ControlClient, what: str, name: str, tail: int, *, json: bool, width: int) -> str:
    from basilica_tui import show as text  # noqa: PLC0415 - --help must stay cheap

    if what == "config":
        return text.render_config(await client.act("config.show", {}), json=json, width=width)
    if what == "ssh-check":
        return await _ssh_check(client, json=json, width=width)
    snapshot = await client.snapshot()
    if what == "logs":
        records = await client.logs(max(0, snapshot.log_seq - tail), tail)
        return text.render_logs(records, at=snapshot.at, json=json, width=width)
    if what == "node":
        found = text.nodes_called(snapshot, name)
        if len(found) != 1:
            known = ", ".join(sorted(text.node_address(node) for node in found or snapshot.nodes.values())[:12])
            fail(f"{len(found) or 'no'} nodes are called '{name}'", f"there are: {known or 'none at all'}")
        return text.render_node(found[0], at=snapshot.at, json=json, width=width)
    return text.render_show(snapshot, what, json=json, width=width)


async def _ssh_check(client: ControlClient, *, json: bool, width: int) -> str:
    """Every node's ladder is climbed now, by the engine; progress goes to standard error."""
    from basilica_tui import show as text  # noqa: PLC0415 - --help must stay cheap

    done = 0

    def told(_: str) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty():
            typer.echo(f"\r{done} nodes looked at", err=True, nl=False)

    answer = await client.act("ssh.check", {}, on_progress=told)
    if sys.stderr.isatty():
        typer.echo("\r\x1b[K", err=True, nl=False)
    found = answer.get("nodes")
    nodes = [node for node in (found if isinstance(found, list) else ()) if isinstance(node, dict)]
    ladders = {str(n.get("node_id")): await client.act("ssh.ladder", {"node_id": str(n.get("node_id"))}) for n in nodes}
    return text.render_ssh_check(nodes, ladders, json=json, width=width)
