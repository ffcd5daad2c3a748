"""The command line. Imports what a verb needs only when that verb runs, so that ``--help`` costs nothing."""

from __future__ import annotations

import asyncio
import errno
import sys
from pathlib import Path
from typing import Annotated

import typer

from basilica_tui.cli_act import act
from basilica_tui.cli_api_keys import api_keys_app
from basilica_tui.cli_audit import audit_app
from basilica_tui.cli_backup import backup_app
from basilica_tui.cli_complete import complete_engines
from basilica_tui.cli_config import config_app
from basilica_tui.cli_doctor import doctor
from basilica_tui.cli_engine import ATTACHING, fail, find_socket, must_answer
from basilica_tui.cli_import import import_set_up
from basilica_tui.cli_info import info
from basilica_tui.cli_keys import keys_app
from basilica_tui.cli_keys_place import deploy_keys, generate_key
from basilica_tui.cli_keys_protect import protect_keys
from basilica_tui.cli_keys_rotate import rotate_keys
from basilica_tui.cli_rentals import rentals_app
from basilica_tui.cli_replay import record_app, replay
from basilica_tui.cli_serve import serve
from basilica_tui.cli_service import service_app
from basilica_tui.cli_setup import set_up
from basilica_tui.cli_show import show
from basilica_tui.cli_support import support_bundle
from basilica_tui.cli_weights import weights_app
from engine.errors import BasilicaError, ConfigInvalid
from engine.version import __version__

app = typer.Typer(
    name="basilica-tui",
    help="Console and engine for Basilica miners and validators.",
    no_args_is_help=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
CAST_OPTION = typer.Option(
    "--cast",
    metavar="PARTS",
    help="More nodes, which are not what a miner promises: all, none, or some of liar,twins,flapping,slow. "
    "Default: all for a demo with a console, else none.",
)
localnet_app = typer.Typer(help="A whole subnet on this machine, for trying things out and for tests.")
app.add_typer(localnet_app, name="localnet")
app.add_typer(weights_app, name="weights")
app.add_typer(audit_app, name="audit")
app.add_typer(config_app, name="config")
keys_app.command("rotate")(rotate_keys)
keys_app.command("generate")(generate_key)
keys_app.command("deploy")(deploy_keys)
keys_app.command("protect")(protect_keys)
app.add_typer(keys_app, name="keys")
app.add_typer(api_keys_app, name="api-keys")
app.add_typer(rentals_app, name="rentals")
app.add_typer(backup_app, name="backup")
app.add_typer(service_app, name="service")
app.add_typer(record_app, name="record")
app.command("import")(import_set_up)
app.command("setup")(set_up)
app.command("doctor")(doctor)
app.command("replay")(replay)
app.command("info")(info)
app.command("support-bundle")(support_bundle)
app.command()(serve)
app.command()(show)
app.command()(act)

SocketOption = Annotated[
    Path | None, typer.Option("--socket", help="The engine's control socket; default: the one engine running here.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback(invoke_without_command=True)
def attach(
    context: typer.Context,
    daemon: Annotated[
        bool, typer.Option("--daemon", help="Run the engine in the foreground, without a console.")
    ] = False,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="miner.toml or validator.toml.")] = None,
    socket: SocketOption = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look, but never change anything.")] = False,
    theme: Annotated[str | None, typer.Option(help="dark, light, ansi, high-contrast.")] = None,
    revoke_on_exit: Annotated[
        bool, typer.Option("--revoke-on-exit", help="With --daemon: a miner takes every key off its nodes at the end.")
    ] = False,
    ssh: Annotated[
        str | None, typer.Option("--ssh", metavar="USER@HOST[:PORT]", help="An engine on another host, through SSH.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="NAME",
            help="The engine of that name in console.toml; also @NAME.",
            autocompletion=complete_engines,
        ),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Attach the console to the running engine, or run the engine with --daemon."""
    if version:
        typer.echo(f"basilica-tui {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is not None:
        if (ssh is not None or engine is not None) and context.invoked_subcommand not in ATTACHING:
            fail(f"{context.invoked_subcommand} works on this host", "log in there, or leave --ssh and @NAME away")
        return
    if daemon:
        from engine.lean import load_structlog

        load_structlog()
        from engine.app import run_daemon

        raise typer.Exit(run_daemon(config, revoke_on_exit=revoke_on_exit))
    from basilica_tui.run import run_console

    if ssh is not None or engine is not None:
        from basilica_tui import cli_ways

        way = cli_ways.ssh_way(ssh, socket) if ssh is not None else cli_ways.named_way(engine or "")
        asyncio.run(cli_ways.must_answer(way))
        raise typer.Exit(run_console(way.where, read_only=read_only, theme=theme, way=way))
    path = find_socket(socket, config)
    asyncio.run(must_answer(path))
    raise typer.Exit(run_console(path, read_only=read_only, theme=theme))


@app.command("node-id")
def node_id(
    addresses: Annotated[list[str], typer.Argument(metavar="USER@HOST:PORT...", help="As in miner.toml.")],
) -> None:
    """Print the node id that validators will see for each address, one line each, the id last."""
    from engine.identity import node_id_for, parse_address

    for text in addresses:
        try:
            username, host, port = parse_address(text)
        except ValueError as error:
            fail(f"'{text}' is not USER@HOST:PORT", str(error))
        typer.echo(f"{text} {node_id_for(username, host, port)}")


@app.command()
def demo(
    headless: Annotated[bool, typer.Option("--headless", help="No console; print one result at the end.")] = False,
    seconds: Annotated[float, typer.Option("--for", help="With --headless: how long to run.", min=1)] = 30.0,
    json: JsonOption = False,
    nodes: Annotated[int, typer.Option(help="GPU node stand-ins.", min=1, max=200)] = 4,
    cast: Annotated[str | None, CAST_OPTION] = None,
    attach: Annotated[str, typer.Option(help="Whose console: miner or validator.")] = "miner",
    directory: Annotated[Path | None, typer.Option("--dir", help="Keep the subnet's files here.")] = None,
) -> None:
    """Start a subnet on this machine (no network, no root) and attach a console to it."""
    from engine.localnet.cast import parse_cast
    from engine.localnet.demo import headless_demo

    if attach not in ("miner", "validator"):
        fail(f"'{attach}' is no role", "one of: miner, validator")
    if headless:
        result = headless_demo(seconds, directory, nodes=nodes, cast=parse_cast(cast or "none"))
        typer.echo(result.to_json() if json else result.to_text())
        raise typer.Exit(0 if result.complete else 1)
    from basilica_tui.demo import run_demo

    raise typer.Exit(run_demo(directory, nodes=nodes, cast=parse_cast(cast or "all"), attach=attach))


@localnet_app.command("up")
def localnet_up(
    directory: Annotated[Path, typer.Option("--dir", help="Where the subnet's files live; reused next time.")],
    nodes: Annotated[int, typer.Option(help="GPU node stand-ins.", min=0, max=1000)] = 4,
    cast: Annotated[str, CAST_OPTION] = "none",
    validators: Annotated[int, typer.Option(help="Validators with a running engine.", min=0, max=32)] = 2,
    external_validators: Annotated[
        int, typer.Option(help="Registered validators without an engine, for programs of your own.", min=0, max=64)
    ] = 0,
    assignment: Annotated[str, typer.Option(help="highest_stake, fixed_assignment or open.")] = "highest_stake",
    pace: Annotated[str, typer.Option(help="normal, or demo: access ends between a validator's visits.")] = "normal",
    remove: Annotated[bool, typer.Option("--remove", hidden=True, help="Remove DIR after an orderly end.")] = False,
    json: JsonOption = False,
) -> None:
    """Run a subnet in the foreground until a signal; DIR/localnet.json says where everything is."""
    from engine.localnet.cast import parse_cast
    from engine.localnet.pace import Pace
    from engine.localnet.subnet import run_until_signal

    if assignment not in ("highest_stake", "fixed_assignment", "open"):
        fail(f"'{assignment}' is no assignment", "one of: highest_stake, fixed_assignment, open")
    if pace not in ("normal", "demo"):
        fail(f"'{pace}' is no pace", "one of: normal, demo")

    status = asyncio.run(
        run_until_signal(
            directory,
            nodes=nodes,
            cast=parse_cast(cast),
            validators=validators,
            external_validators=external_validators,
            assignment=assignment,
            json=json,
            pace=Pace.demo() if pace == "demo" else Pace.normal_local(),
        )
    )
    if remove and status == 0:
        import shutil

        shutil.rmtree(directory, ignore_errors=True)
    raise typer.Exit(status)


def with_names(arguments: list[str]) -> list[str]:
    """The command line with ``@NAME`` written as the option that it stands for.

    It may stand in front, or anywhere after a verb that works on engines wherever they are, and ``--ssh`` with it.
    """
    if arguments and len(arguments[0]) > 1 and arguments[0].startswith("@"):
        return ["--engine", arguments[0][1:], *arguments[1:]]
    if not arguments or arguments[0] not in ATTACHING:
        return arguments
    front, rest, words = list[str](), list[str](), iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == "--ssh":
            front += [word, *([following] if (following := next(words, None)) is not None else [])]
        elif word.startswith("--ssh="):
            front.append(word)
        elif len(word) > 1 and word.startswith("@"):
            front += ["--engine", word[1:]]
        else:
            rest.append(word)
    return [*front, *rest]


_OF_DISKS = frozenset(
    {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO}
)
"""What a full, failing or closed disk says; the operator's business, not the program's."""


def main() -> None:
    """The console script: every expected failure is a sentence, never a traceback."""
    try:
        app(args=with_names(sys.argv[1:]))
    except ConfigInvalid as error:
        several = error.problems if len(error.problems) > 1 else ()
        typer.echo(f"basilica-tui: {f'{len(several)} problems' if several else error.message}", err=True)
        for problem in several:
            typer.echo(f"  - {problem}", err=True)
        for warning in error.warnings:
            typer.echo(f"  also: {warning}", err=True)
        if error.hint:
            typer.echo(f"  {error.hint}", err=True)
        sys.exit(2)
    except BasilicaError as error:
        typer.echo(f"basilica-tui: {error.message}", err=True)
        if error.hint:
            typer.echo(f"  {error.hint}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _OF_DISKS:
            raise
        typer.echo(f"basilica-tui: {error.filename or 'the output'}: {error.strerror}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
