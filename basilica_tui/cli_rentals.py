"""``basilica-tui rentals``: tell a validator which nodes are rented. Works with the engine running or stopped."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from basilica_tui.cli_ask import ask_validator

if TYPE_CHECKING:
    from engine.clock import Clock
    from engine.store import Store

rentals_app = typer.Typer(help="Rented nodes of a validator.", no_args_is_help=True, rich_markup_mode=None)
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="validator.toml; default: BASILICA_CONFIG_PATH.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@rentals_app.callback()
def rentals() -> None:
    """Rented nodes of a validator."""


@rentals_app.command("begin")
def begin_rental(
    node: Annotated[str, typer.Argument(metavar="NODE_ID")],
    miner: Annotated[str, typer.Option("--miner", metavar="HOTKEY", help="Whose, where several have that id.")] = "",
    rental_id: Annotated[str, typer.Option("--id", help="Your own id for it; default: one is made.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """A node is rented from now on: it is verified lightly only, and clean-up spares it."""
    result = _ask(config, "begin", {"node_id": node, "miner": miner, "id": rental_id})
    typer.echo(json.dumps(result) if as_json else f"{result['node_id']} is rented: {result['id']}")


@rentals_app.command("end")
def end_rental(
    rental_id: Annotated[str, typer.Argument(metavar="ID")],
    reason: Annotated[str, typer.Option("--reason", help="For the record.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """A rental is over: the node is verified fully in the next round."""
    result = _ask(config, "end", {"id": rental_id, "reason": reason})
    typer.echo(json.dumps(result) if as_json else f"{result['node_id']} is free")


@rentals_app.command("list")
def list_rentals(
    show_all: Annotated[bool, typer.Option("--all", help="Those that ended too.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the rentals that stand."""
    rows = [row for row in _ask(config, "list", {})["rentals"] if show_all or row["ended_at"] is None]
    if as_json:
        typer.echo(json.dumps({"rentals": rows}, indent=2))
        return
    if not rows:
        typer.echo("no node is rented")
        return
    for row in rows:
        until = f" until {_day(row['ended_at'])} ({row['end_reason']})" if row["ended_at"] is not None else ""
        typer.echo(f"{row['id']}  {row['node_id']}  {row['miner_hotkey']}  since {_day(row['started_at'])}{until}")


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def _ask(config: Path | None, verb: str, args: Mapping[str, object]) -> dict[str, Any]:
    return ask_validator(config, "rental", verb, args, _on_store)


async def _on_store(store: Store, clock: Clock, verb: str, args: Mapping[str, object]) -> dict[str, Any]:
    from engine.validator.rentals import RentalRegistry

    registry = RentalRegistry(store, clock, lambda _event: None)
    if verb == "list":
        return await registry.all()
    return await (registry.begin(args, "operator") if verb == "begin" else registry.end(args))
