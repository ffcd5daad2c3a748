"""``basilica-tui keys``: which keys open the nodes, and a new key for the miner's own logins, from the engine."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from basilica_tui.cli_engine import attached, chosen_way, here_only

if TYPE_CHECKING:
    from basilica_tui.ways import Way
    from engine.control.client import ControlClient
    from engine.control.models import NodeView

keys_app = typer.Typer(
    help="Keys on the nodes: who may enter, since when, until when.", no_args_is_help=True, rich_markup_mode=None
)
AT_ONCE = 16
SocketOption = Annotated[
    Path | None, typer.Option("--socket", help="The engine's control socket; default: the one engine running here.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="miner.toml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_WORDS = {
    "own": "the miner's own key",
    "operator": "operator's baseline",
    "drift": "UNEXPLAINED",
    "orphan": "UNEXPLAINED, marked like a grant",
    "leftover": "left by an earlier miner",
    "authority": "authority",
    "certificate": "certificate",
}


@keys_app.callback()
def keys(context: typer.Context) -> None:
    """Keys on the nodes: who may enter, since when, until when."""
    if context.invoked_subcommand not in {"audit", "protect", "rotate"}:
        here_only(context)


@keys_app.command("audit")
def audit_keys(
    context: typer.Context,
    node: Annotated[str | None, typer.Option("--node", help="One node: its id, label or host.")] = None,
    socket: SocketOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read every node's key file now; status 1 when a node could not be read or a line is unexplained."""
    found = asyncio.run(_audit(chosen_way(context, socket), node))
    if node is not None and not found:
        typer.echo(f"basilica-tui: no node is called '{node}'", err=True)
        raise typer.Exit(2)
    typer.echo(json.dumps({"nodes": found}, indent=2) if as_json else "\n\n".join(_text(one) for one in found))
    is_clean = all(not one["error"] and not any(_is_unexplained(line) for line in one["lines"]) for one in found)
    raise typer.Exit(0 if is_clean else 1)


async def _audit(way: Way, only: str | None) -> list[dict[str, Any]]:
    from engine.control.models import NodeView

    async with attached(way) as client:
        snapshot = await client.snapshot()
        views = [view for view in snapshot.views.get("nodes", {}).values() if isinstance(view, NodeView)]
        chosen = [view for view in views if only is None or only in {view.id, view.label, view.host}]
        slots = asyncio.Semaphore(AT_ONCE)
        return list(await asyncio.gather(*(_audit_node(client, view, slots) for view in chosen)))


async def _audit_node(client: ControlClient, view: NodeView, slots: asyncio.Semaphore) -> dict[str, Any]:
    from engine.errors import ControlRefused

    entry: dict[str, Any] = {
        "node_id": view.id,
        "label": view.label,
        "address": f"{view.username}@{view.host}:{view.port}",
        "expiry_enforced": view.expiry_enforced,
        "live_sessions": view.live_sessions,
        "lines": [],
        "error": "",
    }
    try:
        async with slots:
            result = await client.act("node.inventory", {"node_id": view.id})
    except ControlRefused as error:
        entry["error"] = error.message
        return entry
    lines = result.get("lines")
    entry["lines"] = lines if isinstance(lines, list) else []
    return entry


def _text(node: Mapping[str, Any]) -> str:
    title = f"{node['label']}  {node['address']}  {node['node_id']}"
    expiry = f"  expiry on the node: {node['expiry_enforced'] or 'not known yet'}"
    sessions = node["live_sessions"]
    if sessions:
        expiry += f"; {sessions} open connections that belong to no grant as far as can be told"
    if node["error"]:
        return f"{title}\n  cannot be read: {node['error']}"
    return "\n".join([title, expiry, *(_line(line) for line in node["lines"])])


def _line(line: Mapping[str, Any]) -> str:
    times = f"since {_when(line['since'])}"
    if line["until"] is not None:
        times += f" until {_when(line['until'])}"
    who = line["holder"] or line["comment"] or "no comment"
    what = _WORDS.get(line["kind"], "wrapped grant" if line["wrapped"] else "grant")
    where = "" if line["file"] == "authorized_keys" else f" ({line['file']})"
    return f"  {line['fingerprint']}  {what}{where}: {who}, {times}"


def _when(at: object) -> str:
    if not isinstance(at, int | float):
        return "unknown"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _is_unexplained(line: Mapping[str, Any]) -> bool:
    return line["kind"] in {"drift", "orphan"}
