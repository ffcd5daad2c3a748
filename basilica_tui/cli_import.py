"""``basilica-tui import``: take over a deployed miner's set-up. Shows what would change; writes only when told."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def import_set_up(
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR|FILE|docker:NAME",
            help="The deployed miner's directory, miner.toml, systemd unit, compose file or docker:CONTAINER; default: "
            "the usual places.",
        ),
    ] = None,
    to: Annotated[Path, typer.Option("--to", help="The new configuration file.")] = Path("miner.toml"),
    write: Annotated[bool, typer.Option("--write", help="Write it; an existing one is copied aside first.")] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Status 1, and nothing written, if the engine would not start with it."),
    ] = False,
    root: Annotated[
        Path, typer.Option("--root", help="Where the old machine's file system is mounted, if not here.")
    ] = Path("/"),
    honour_assignment: Annotated[
        bool,
        typer.Option(
            "--honour-assignment", help="Keep assignment keys that the deployed miner ignored and that act here."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read a deployed miner's set-up, show the differences, and write a miner.toml with --write."""
    from engine.lifecycle.imports.find import find_deployment
    from engine.lifecycle.imports.plan import plan_import
    from engine.lifecycle.imports.report import report_json, report_text
    from engine.lifecycle.imports.write import problems_of, render_import, write_import

    deployment = find_deployment(source, root=root)
    plan = plan_import(deployment, target=to, honour_assignment=honour_assignment)
    text = render_import(plan)
    problems = problems_of(text, to)
    is_written = write and not (strict and problems)
    backup = write_import(plan, to, text) if is_written else None
    if as_json:
        typer.echo(json.dumps(report_json(plan, to, problems, written=is_written, backup=backup), indent=2))
    else:
        typer.echo(report_text(plan, to, problems, written=is_written, backup=backup))
    if strict and problems:
        typer.echo(f"nothing was written: {problems[0]}", err=True)
        raise typer.Exit(1)
