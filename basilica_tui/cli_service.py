"""``basilica-tui service``: run an engine under systemd or compose, and say how that stands."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from engine.deployment import Plan, ServiceChoice

service_app = typer.Typer(
    help="Run an engine as a service that comes back by itself.", no_args_is_help=True, rich_markup_mode=None
)

FileOption = Annotated[Path | None, typer.Option("--config", "-c", help="miner.toml or validator.toml.")]
UserOption = Annotated[bool, typer.Option("--user", help="This user's own service, without root.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Show the plan with every file's text; change nothing.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@service_app.command("install")
def install(
    context: typer.Context,
    config: FileOption = None,
    for_user: UserOption = False,
    compose: Annotated[
        Path | None, typer.Option("--compose", metavar="DIR", help="A compose file in DIR instead of a unit.")
    ] = None,
    run_as: Annotated[str, typer.Option("--run-as", metavar="USER", help="Default: who owns the hotkey.")] = "",
    working_directory: Annotated[
        Path | None, typer.Option("--working-directory", metavar="DIR", help="Where relative paths begin.")
    ] = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start it now, too.")] = True,
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Install and start a hardened service for a configuration, after showing what would be done."""
    from engine.deployment import plan_install
    from engine.deployment.compose import plan_compose
    from engine.deployment.status import has_systemd
    from engine.version import __version__

    choice = _choice(
        context, config, for_user, run_as=run_as, working_directory=working_directory, start=start, check=True
    )
    if compose is not None:
        plan = plan_compose(choice, compose.resolve(), version=__version__, owner=_owner_ids(choice))
    else:
        plan = plan_install(choice, has_systemd=has_systemd())
    _carry_out(plan, yes=yes, dry_run=dry_run)


@service_app.command("status")
def status(
    context: typer.Context, config: FileOption = None, for_user: UserOption = False, as_json: JsonOption = False
) -> None:
    """Say whether it is installed and active, and what its hardening hides; status 0 active, 3 not, 4 not installed."""
    from engine.deployment import look_at_service

    found = look_at_service(_choice(context, config, for_user))
    typer.echo(json.dumps(found.to_json(), indent=2) if as_json else "\n".join(found.lines()))
    raise typer.Exit(found.exit_code)


@service_app.command("uninstall")
def uninstall(
    context: typer.Context,
    config: FileOption = None,
    for_user: UserOption = False,
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Stop the service and remove its files; configuration, data and keys stay."""
    from engine.deployment import plan_uninstall
    from engine.deployment.status import has_systemd, other_instances

    choice = _choice(context, config, for_user)
    plan = plan_uninstall(choice, has_systemd=has_systemd(), others=other_instances(choice))
    _carry_out(plan, yes=yes, dry_run=dry_run)


def _choice(
    context: typer.Context,
    config: Path | None,
    for_user: bool,
    *,
    run_as: str = "",
    working_directory: Path | None = None,
    start: bool = True,
    check: bool = False,
) -> ServiceChoice:
    from basilica_tui.cli_config import config_path
    from engine.config import load_config
    from engine.deployment.install import SYSTEM_UNITS, ServiceChoice, user_units
    from engine.deployment.needs import needs_of, owner_of

    path = config_path(context, config).resolve()
    needs = needs_of(load_config(path, check=check).config, path, working_directory=working_directory)
    units = user_units(Path.home()) if for_user else Path(os.environ.get("BASILICA_UNIT_DIR") or SYSTEM_UNITS)
    user = "" if for_user else run_as or owner_of(needs.hotkey) or "root"
    return ServiceChoice(needs, for_user, units, user, start=start)


def _carry_out(plan: Plan, *, yes: bool, dry_run: bool) -> None:
    from engine.deployment import apply_plan

    for line in plan.lines(with_texts=dry_run):
        typer.echo(line)
    if dry_run:
        return
    if not yes:
        typer.confirm("Do this?", abort=True, err=True)
    apply_plan(plan, typer.echo)


def _owner_ids(choice: ServiceChoice) -> tuple[int, int]:
    try:
        found = choice.needs.hotkey.stat()
    except OSError:
        return os.geteuid(), os.getegid()
    return found.st_uid, found.st_gid
