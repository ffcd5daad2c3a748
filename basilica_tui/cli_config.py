"""``basilica-tui config``: check, show, compare and copy configuration files."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from basilica_tui.cli_engine import attached, chosen_way, here_only

if TYPE_CHECKING:
    from basilica_tui.ways import Way
    from engine.config.common import RoleConfig
    from engine.lifecycle.plan import ReloadPlan

config_app = typer.Typer(
    help="The configuration file: check it, show it, compare it, copy it.",
    no_args_is_help=True,
    rich_markup_mode=None,  # help texts hold [brackets]
)


@config_app.callback()
def configuration(context: typer.Context) -> None:
    """The configuration file: check it, show it, compare it, edit it, copy it."""
    if context.invoked_subcommand != "diff":
        here_only(context)


NAMES = ("miner.toml", "validator.toml")
FileOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", "--path", "-p", help="Default: BASILICA_CONFIG_PATH, miner.toml, validator.toml."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def config_path(context: typer.Context, given: Path | None) -> Path:
    """The file that a verb works on: its own option, the program's, the environment's, or the one in this directory."""
    named = given or context.find_root().params.get("config") or os.environ.get("BASILICA_CONFIG_PATH")
    if named:
        return Path(named)
    found = [Path(name) for name in NAMES if Path(name).is_file()]
    if len(found) == 1:
        return found[0]
    from engine.errors import ConfigInvalid

    what = "both miner.toml and validator.toml are here" if found else "there is no miner.toml or validator.toml here"
    raise ConfigInvalid(what, hint="name the file with --config")


@config_app.command("validate")
def validate(context: typer.Context, config: FileOption = None, as_json: JsonOption = False) -> None:
    """Check a file as the engine would; exit status 2 when the engine would refuse it."""
    from engine.configured import load
    from engine.errors import ConfigInvalid

    path = config_path(context, config)
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    try:
        warnings = load(path).warnings
    except ConfigInvalid as error:
        problems, warnings = error.problems or (error.message,), error.warnings
    if as_json:
        answer = {"path": str(path), "valid": not problems, "problems": problems, "warnings": warnings}
        typer.echo(json.dumps(answer, indent=2))
    else:
        for problem in problems:
            typer.echo(f"problem: {problem}")
        for warning in warnings:
            typer.echo(f"warning: {warning}")
        count = len(problems)
        words = f"{count} problem{'' if count == 1 else 's'}" if problems else f"valid, {len(warnings)} warnings"
        typer.echo(f"{path}: {words}")
    raise typer.Exit(2 if problems else 0)


@config_app.command("show")
def show(
    context: typer.Context,
    config: FileOption = None,
    only_set: Annotated[bool, typer.Option("--set", help="Without what stands at its default.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print every value in force and where it comes from; secrets are masked."""
    from engine.config import describe, load_config

    path = config_path(context, config)
    loaded = load_config(path, check=False)
    rows = [row for row in describe(loaded) if row[2] != "default" or not only_set]
    if as_json:
        values = {key: {"value": value, "source": source} for key, value, source in rows}
        typer.echo(json.dumps({"path": str(path), "values": values}, indent=2))
        return
    width = max((len(key) for key, _, _ in rows), default=0)
    for key, value, source in rows:
        typer.echo(f"{key:<{width}}  {value}  ({source})")
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)


@config_app.command("diff")
def diff(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="The file to compare with.")] = None,
    config: FileOption = None,
    running: Annotated[bool, typer.Option("--running", help="Compare with what the running engine has.")] = False,
    socket: Annotated[Path | None, typer.Option("--socket", help="That engine's control socket.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the configuration with FILE, or the running engine's with FILE or with its configuration."""
    from engine.errors import ConfigInvalid
    from engine.lifecycle.plan import is_same_role, plan_reload

    if running:
        path = file or config_path(context, config)
        new = _masked(_load(path))  # as the engine masks what it tells
        old = asyncio.run(_running_config(_way(context, socket, path), type(new)))
        names = ("the running engine", str(path))
    elif file is not None:
        path = config_path(context, config)
        old, new = _load(path), _load(file)
        names = (str(path), str(file))
    else:
        raise ConfigInvalid("there is nothing to compare with", hint="name another FILE, or use --running")
    if not is_same_role(old, new):
        raise ConfigInvalid(f"{names[0]} and {names[1]} configure different roles")
    plan = plan_reload(old, new)
    if as_json:
        typer.echo(json.dumps(_plan_json(plan, names), indent=2))
        return
    typer.echo(f"from {names[0]} to {names[1]}:")
    for title, changes in (("a reload applies", plan.apply), ("a restart is needed for", plan.waiting)):
        for change in changes:
            typer.echo(f"  {title}: {change.words}")
    if not (plan.apply or plan.waiting):
        typer.echo("  no difference")


@config_app.command("edit")
def edit(context: typer.Context, config: FileOption = None) -> None:
    """Open a copy in $VISUAL or $EDITOR; what the engine would accept is shown, asked about, and replaces the file."""
    import subprocess

    from basilica_tui.config_edit import copy_to_edit, editor_of, judge_copy, put_in_place
    from engine.errors import ConfigInvalid

    path = config_path(context, config)
    words = editor_of(os.environ)
    if not words:
        raise ConfigInvalid("no editor is named", hint="set EDITOR, as in: EDITOR=nano basilica-tui config edit")
    with copy_to_edit(path) as (copy, sha256):
        while True:
            try:
                status = subprocess.run([*words, str(copy)], check=False).returncode
            except OSError as error:
                raise ConfigInvalid(f"{words[0]} cannot be started: {error.strerror}") from error
            if status:
                raise ConfigInvalid(f"{words[0]} ended with status {status}; nothing was changed")
            edited = judge_copy(path, copy)
            if not edited.diff:
                typer.echo("nothing was changed")
                return
            typer.echo("\n".join(edited.diff))
            for problem in edited.problems:
                typer.echo(f"problem: {problem}", err=True)
            if not edited.problems:
                break
            typer.confirm("The engine would refuse it. Edit again?", default=True, abort=True, err=True)
        for warning in edited.warnings:
            typer.echo(f"warning: {warning}", err=True)
        typer.confirm(f"Save {path}?", abort=True, err=True)
        kept = put_in_place(path, edited.text, sha256)
    typer.echo(f"{path}: saved" + (f"; what was there is kept as {kept}" if kept else ""))
    typer.echo("an engine that runs takes it over with :engine reload or SIGHUP", err=True)


@config_app.command("backup")
def backup(context: typer.Context, config: FileOption = None) -> None:
    """Copy the file as it is to NAME.bak-TIME beside it, as every change by this program does first."""
    from engine.config.save import back_up_config

    typer.echo(str(back_up_config(config_path(context, config))))


@config_app.command("restore")
def restore(
    context: typer.Context,
    copy: Annotated[
        Path | None, typer.Argument(metavar="COPY", help="Default: the newest copy beside the file.")
    ] = None,
    config: FileOption = None,
    listing: Annotated[bool, typer.Option("--list", help="List the copies and whether each can be used.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also a copy that the engine would refuse.")] = False,
) -> None:
    """Put a copy back; the present file is copied first, so that this too can be taken back."""
    from engine.config.save import copies_of, write_config
    from engine.config.toml_file import read_toml
    from engine.errors import ConfigInvalid

    path = config_path(context, config)
    copies = copies_of(path)
    if listing:
        if not copies:
            typer.echo(f"there is no copy of {path} yet; one is made with: basilica-tui config backup", err=True)
        for one in copies:
            typer.echo(f"{one}  {_usable(one)}")
        return
    chosen = copy or next(iter(copies), None)
    if chosen is None:
        raise ConfigInvalid(f"there is no copy of {path}", hint="make one with: basilica-tui config backup")
    verdict = _usable(chosen)
    if verdict != "valid" and not force:
        raise ConfigInvalid(f"{chosen}: {verdict}", hint="choose another (--list), or restore it all the same: --force")
    if not yes:
        typer.confirm(f"Put {chosen} in the place of {path}?", abort=True, err=True)
    kept = write_config(path, read_toml(chosen).text)
    typer.echo(f"{path}: as in {chosen}" + (f"; what was there is kept as {kept}" if kept else ""))
    typer.echo("an engine that runs takes it over with :engine reload or SIGHUP", err=True)


def _usable(path: Path) -> str:
    from engine.configured import load
    from engine.errors import ConfigInvalid

    try:
        load(path)
    except ConfigInvalid as error:
        return f"refused: {error.message}"
    return "valid"


def _load(path: Path) -> RoleConfig:
    from engine.config import load_config

    loaded = load_config(path, check=False)
    for (
        warning
    ) in loaded.warnings:  # an unknown key makes no difference to the engine, and may be the one that was meant
        typer.echo(f"{path}: {warning}", err=True)
    return loaded.config


def _masked(config: RoleConfig) -> RoleConfig:
    from engine.config import mask_config

    data = config.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    return type(config).model_validate(mask_config(data))


def _way(context: typer.Context, socket: Path | None, path: Path) -> Way:
    from engine.configured import socket_of

    given = context.find_root().params
    is_here = socket is None and given.get("ssh") is None and given.get("engine") is None
    return chosen_way(context, socket_of(path) if is_here else socket)


async def _running_config(way: Way, model: type[RoleConfig]) -> RoleConfig:
    from pydantic import ValidationError

    from engine.errors import ControlRefused

    async with attached(way) as client:
        answer = await client.act("config.show", {})
    try:
        return model.model_validate(answer.get("config"))
    except ValidationError as error:
        raise ControlRefused(
            "the engine's configuration cannot be read here", hint="it may be another role's"
        ) from error


def _plan_json(plan: ReloadPlan, names: tuple[str, str]) -> dict[str, object]:
    return {
        "from": names[0],
        "to": names[1],
        "changes": [
            {"key": c.key, "old": c.old, "new": c.new, "needs_restart": c.area is None}
            for c in (*plan.apply, *plan.waiting)
        ],
    }
