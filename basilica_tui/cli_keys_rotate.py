"""``basilica-tui keys rotate``: a new key for the miner's own logins, from the engine, which goes on without us."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from basilica_tui.cli_engine import attached, chosen_way
from basilica_tui.cli_interrupt import Interrupted, run_interruptibly
from basilica_tui.format import plural

if TYPE_CHECKING:
    from basilica_tui.ways import Way

GO_ON = "see how far it is: basilica-tui keys rotate --status"


def rotate_keys(
    context: typer.Context,
    socket: Annotated[
        Path | None, typer.Option("--socket", help="The engine's control socket; default: the one engine running here.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Only say how far a change of key is.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Give the miner a new key for its own logins, node by node; status 1 while a node still waits for it.

    Interrupted, the engine goes on by itself, also after a restart of its own; --status says how far it is.
    """
    way = chosen_way(context, socket)
    if status:
        raise typer.Exit(_tell_status(asyncio.run(_status(way)), as_json=as_json))
    if not yes:
        typer.confirm("Replace the key that the miner logs in with on every node?", abort=True, err=True)
    result = _watched(way)
    pending = result.get("pending")
    waiting = pending if isinstance(pending, list) else []
    if as_json:
        typer.echo(json.dumps(result))
    else:
        typer.echo(
            f"new key {result.get('fingerprint')}: {plural(_count(result), 'node')} done, {len(waiting)} waiting"
        )
        for node_id in waiting:
            typer.echo(f"  waits: {node_id}; the engine tries it again by itself", err=True)
    raise typer.Exit(1 if waiting else 0)


def _watched(way: Way) -> Mapping[str, object]:
    """The engine's change of key, to its end or until somebody here has seen enough."""
    from engine.errors import EngineUnreachable

    try:
        return run_interruptibly(_rotate(way))
    except Interrupted as stopped:
        typer.echo(f"basilica-tui: {stopped.name}: no longer watched; the engine goes on with the change", err=True)
        try:
            typer.echo(f"  {_words(asyncio.run(_status(way)))}", err=True)
        except EngineUnreachable as error:
            typer.echo(f"  {error.message}; it takes the change up again when it starts", err=True)
        typer.echo(f"  {GO_ON}", err=True)
        raise typer.Exit(stopped.exit_code) from None
    except EngineUnreachable as error:
        raise EngineUnreachable(
            error.message, hint=f"a change that began is taken up when the engine starts; {GO_ON}"
        ) from None


async def _rotate(way: Way) -> Mapping[str, object]:
    async with attached(way) as client:
        return await client.act(
            "node_key.rotate", {}, key=secrets.token_hex(8), on_progress=lambda text: typer.echo(text, err=True)
        )


async def _status(way: Way) -> str:
    async with attached(way, role="read-only") as client:
        return (await client.snapshot()).engine.node_key_rotation


def _tell_status(step: str, *, as_json: bool) -> int:
    typer.echo(json.dumps({"rotation": step}) if as_json else _words(step))
    return 1 if step else 0


def _words(step: str) -> str:
    first, _, rest = step.partition(" ")
    words = {
        "": "no change of key is going on",
        "started": "the nodes get the new key beside the present one",
        "deployed": "the nodes get the new key beside the present one",
        "switched": "the new key is in use; the former one's lines are being taken off the nodes",
        "cleaned": "the new key is in use; the former one's lines are being taken off the nodes",
        "waiting": f"the new key is in use; it waits {rest}",
    }
    return words.get(first, f"the change of key: {step}")


def _count(result: Mapping[str, object]) -> int:
    done = result.get("done")
    return done if isinstance(done, int) else 0
