"""``basilica-tui support-bundle``: one file for whoever is asked for help."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from basilica_tui.cli_config import config_path
from basilica_tui.cli_engine import fail

if TYPE_CHECKING:
    from engine.support.bundle import Bundle
    from engine.support.collect import AnyLoaded


def support_bundle(
    context: typer.Context,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: basilica-support-TIME.tar.gz here.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Default: BASILICA_CONFIG_PATH, miner.toml, validator.toml.")
    ] = None,
    socket: Annotated[Path | None, typer.Option("--socket", help="The engine's control socket.")] = None,
    with_nodes: Annotated[bool, typer.Option("--with-nodes", help="Diagnose the nodes too, by logging in.")] = False,
    no_redact: Annotated[
        bool, typer.Option("--no-redact", help="Keep addresses, hotkeys, hosts and users. Asks first.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE, and do not ask.")] = False,
) -> None:
    """Collect what helps to help: configuration, state, log, recording, metrics, diagnosis. Never a key or password."""
    import logging

    import structlog

    from basilica_tui.preferences import state_folder
    from engine.clock import SystemClock
    from engine.recording.pseudonyms import Pseudonyms
    from engine.support.bundle import Bundle
    from engine.support.collect import Wanted, collect

    now = time.time()
    target = output or Path(f"basilica-support-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}.tar.gz")
    if target.exists() and not target.is_file():
        fail(f"{target} is no file", "nothing there is replaced; name a file")
    if target.exists() and not force:
        fail(f"{target} exists", "choose another name, or overwrite it with --force")
    if no_redact and not force:
        typer.confirm("Addresses, hotkeys, host and user names will be readable in it. Go on?", abort=True, err=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # it says what it does
    bundle = Bundle(Pseudonyms(), redact=not no_redact)
    path, loaded = _configuration(context, config, bundle)
    wanted = Wanted(path, loaded, socket or _socket(path, loaded), state_folder(os.environ), with_nodes)
    asyncio.run(collect(bundle, wanted, SystemClock(), _progress if sys.stderr.isatty() else lambda _: None))
    if sys.stderr.isatty():
        typer.echo("\r\033[K", err=True, nl=False)
    size = bundle.write(target, now)
    typer.echo(f"{target}: {size:,} bytes, mode 600")
    for entry in bundle.entries:
        typer.echo(f"  {entry.name:<18} {entry.bytes:>10,}  {entry.what}")
    for note in bundle.notes:
        typer.echo(f"  not in it: {note}")
    words = "names are stand-ins" if bundle.redact else "NOT redacted: show it only to people you trust"
    typer.echo(f"{words}; look through it before you send it: tar xzf {target}")


def _configuration(context: typer.Context, given: Path | None, bundle: Bundle) -> tuple[Path | None, AnyLoaded | None]:
    from engine.configured import load
    from engine.errors import BasilicaError, ConfigInvalid

    try:
        path = config_path(context, given)
    except ConfigInvalid as error:
        bundle.note(f"configuration: {error.message}")
        return None, None
    try:
        return path, load(path)
    except ConfigInvalid as error:
        bundle.note("configuration: " + "; ".join([error.message, *error.problems]))
    except BasilicaError as error:
        bundle.note(f"configuration: {error.message}")
    _add_as_written(path, bundle)
    return (path, None) if path.is_file() else (None, None)


def _add_as_written(path: Path, bundle: Bundle) -> None:
    """A file that the engine refuses is what somebody who helps wants to see most."""
    import tomllib

    from engine.config.masking import mask_config

    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        bundle.note(f"configuration as written: {error}")
        return
    bundle.names.learn(data)
    bundle.add_json("config-as-written.json", "a configuration that cannot be used, secrets masked", mask_config(data))


def _socket(path: Path | None, loaded: AnyLoaded | None) -> Path | None:
    from engine.control.paths import find_listening

    if path is not None and loaded is not None:
        from engine.configured import socket_of

        return socket_of(path)
    found = find_listening()
    return found[0] if len(found) == 1 else None


def _progress(text: str) -> None:
    typer.echo(f"\r\033[Kcollecting: {text} ...", err=True, nl=False)
