"""``basilica-tui api-keys``: who may read a validator's REST API. Works with the engine running or stopped."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from basilica_tui.cli_ask import ask_validator

if TYPE_CHECKING:
    from engine.clock import Clock
    from engine.store import Store

api_keys_app = typer.Typer(help="Keys of a validator's REST API.", no_args_is_help=True, rich_markup_mode=None)
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="validator.toml; default: BASILICA_CONFIG_PATH.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@api_keys_app.callback()
def api_keys() -> None:
    """Keys of a validator's REST API."""


@api_keys_app.command("create")
def create_api_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom or what it is for.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="read (default), config or rentals; may be repeated.")
    ] = None,
    days: Annotated[float | None, typer.Option("--days", help="How long it is good; default: for ever.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it: once, it is not kept."""
    result = _ask(config, "create", {"name": name, "scopes": " ".join(scope or ["read"]), "days": days})
    if as_json:
        typer.echo(json.dumps(result))
        return
    end = "for ever" if result["expires_at"] is None else f"until {_day(result['expires_at'])}"
    typer.echo(f"{name} may {' and '.join(result['scopes'])} {end}. Keep this, it is not shown again:", err=True)
    typer.echo(result["key"])


@api_keys_app.command("list")
def list_api_keys(
    show_all: Annotated[bool, typer.Option("--all", help="Expired and revoked ones too.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the keys that work, without their secrets."""
    now = time.time()
    rows = [
        row
        for row in _ask(config, "list", {})["keys"]
        if show_all or (row["revoked_at"] is None and (row["expires_at"] is None or row["expires_at"] > now))
    ]
    if as_json:
        typer.echo(json.dumps({"keys": rows}, indent=2))
        return
    if not rows:
        typer.echo("no keys; make one with: basilica-tui api-keys create NAME")
        return
    columns = [("ID", "NAME", "SCOPES", "CREATED", "UNTIL", "LAST USED")]
    columns += [
        (
            row["id"],
            row["name"],
            " ".join(row["scopes"]),
            _day(row["created_at"]),
            f"revoked {_day(row['revoked_at'])}" if row["revoked_at"] else _day(row["expires_at"]),
            _day(row["last_used_at"]),
        )
        for row in rows
    ]
    widths = [max(len(line[place]) for line in columns) for place in range(len(columns[0]))]
    for line in columns:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@api_keys_app.command("revoke")
def revoke_api_key(
    key: Annotated[str, typer.Argument(metavar="ID_OR_NAME")], config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """End a key, at once."""
    result = _ask(config, "revoke", {"id": key})
    typer.echo(json.dumps(result) if as_json else f"{result['name']} ({result['id']}) is revoked")


def _day(at: float | None) -> str:
    return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def _ask(config: Path | None, verb: str, args: Mapping[str, object]) -> dict[str, Any]:
    return ask_validator(config, "api_key", verb, args, _on_store)


async def _on_store(store: Store, clock: Clock, verb: str, args: Mapping[str, object]) -> dict[str, Any]:
    from engine.rest.key_actions import create_key, list_keys, revoke_key
    from engine.rest.keys import ApiKeys

    keys = ApiKeys(store.api_keys, clock)
    if verb == "create":
        return await create_key(keys, args)
    return await (list_keys(keys) if verb == "list" else revoke_key(keys, args))
