"""Verbs on a validator's records: through its running engine, else on the store itself, which the engine would lock."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

if TYPE_CHECKING:
    from engine.clock import Clock
    from engine.store import Store

Args = Mapping[str, object]
OnStore = Callable[["Store", "Clock", str, Args], Awaitable[dict[str, Any]]]


def ask_validator(config: Path | None, noun: str, verb: str, args: Args, on_store: OnStore) -> dict[str, Any]:
    """Run the action ``noun.verb``; without an engine ``on_store`` gets the verb. Ends the program on an error."""
    from engine.errors import BasilicaError

    path = config or Path(os.environ.get("BASILICA_CONFIG_PATH", "validator.toml"))
    try:
        return asyncio.run(_ask(path, noun, verb, args, on_store))
    except BasilicaError as error:
        typer.echo(f"basilica-tui: {error}", err=True)
        raise typer.Exit(1) from None


async def _ask(path: Path, noun: str, verb: str, args: Args, on_store: OnStore) -> dict[str, Any]:
    from engine.clock import SystemClock
    from engine.config import load_validator_config
    from engine.configured import socket_of
    from engine.control.client import ControlClient
    from engine.errors import EngineUnreachable
    from engine.store import open_store

    database = load_validator_config(path).config.database
    try:
        client = await ControlClient.connect(socket_of(path))
    except EngineUnreachable:
        clock = SystemClock()
        store = await open_store(database.url, clock=clock)
        try:
            return await on_store(store, clock, verb, args)
        finally:
            await store.close()
    try:
        return cast("dict[str, Any]", dict(await client.act(f"{noun}.{verb}", args)))
    finally:
        await client.close()
