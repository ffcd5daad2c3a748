"""``basilica-tui info``: where every file is, and who said so."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basilica_tui.places import Spot


def info(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="miner.toml or validator.toml; default as for the engine.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List configuration, sockets, database, logs, recording, wallets and the console's own files."""
    from basilica_tui.places import Spot, console_spots
    from engine.control.paths import find_sockets, is_listening

    found = [(path, is_listening(path)) for path in find_sockets()]
    sockets = [Spot("engine", str(p), "listening" if is_up else "left behind", "there") for p, is_up in found]
    groups: dict[str, Sequence[Spot]] = {
        "console": console_spots(os.environ),
        "sockets": sockets or [Spot("engine", "none found", "")],
        **_configured(context, config),
    }
    if as_json:
        typer.echo(
            json.dumps({title: [dataclasses.asdict(s) for s in spots] for title, spots in groups.items()}, indent=2)
        )
        return
    typer.echo(_text(groups))


def _configured(context: typer.Context, given: Path | None) -> Mapping[str, Sequence[Spot]]:
    from basilica_tui.cli_config import config_path
    from basilica_tui.places import Spot, engine_spots, spot
    from engine.config import describe, load_config
    from engine.configured import role_name, socket_to_serve
    from engine.errors import ConfigInvalid

    try:
        path = config_path(context, given)
        loaded = load_config(path, check=False)
    except ConfigInvalid as error:
        return {"engine": [Spot("configuration", error.message, error.hint or "")]}
    named = given or context.find_root().params.get("config")
    by = "--config" if named else "BASILICA_CONFIG_PATH" if os.environ.get("BASILICA_CONFIG_PATH") else "this directory"
    spots = [spot("configuration", path.absolute(), by), *engine_spots(describe(loaded))]
    values = loaded.config
    names = {one.name for one in spots}
    derived = {
        "control socket": socket_to_serve(values),
        "data directory": values.data_dir,
        "recording": values.recording_dir,
    }
    spots += [spot(name, place) for name, place in derived.items() if name not in names]
    wallet = Path(values.bittensor.wallet_path).expanduser() / values.bittensor.wallet_name
    spots.append(spot("hotkey file", wallet / "hotkeys" / values.bittensor.hotkey_name, "wallet settings"))
    if values.database.file is not None:
        spots.append(spot("database file", values.database.file, "database.url"))
    changed = [key for key, _, source in describe(loaded) if source == "environment"]
    if changed:
        spots.append(Spot("environment", ", ".join(changed), "BASILICA_* variables"))
    return {f"engine ({role_name(values)})": spots}


def _text(groups: Mapping[str, Sequence[Spot]]) -> str:
    width = max(len(one.name) for spots in groups.values() for one in spots)
    lines = []
    for title, spots in groups.items():
        lines.append(title)
        for one in spots:
            notes = ", ".join(part for part in (one.state, one.source) if part)
            lines.append(f"  {one.name:<{width}}  {one.where}{f'  ({notes})' if notes else ''}")
    return "\n".join(lines)
