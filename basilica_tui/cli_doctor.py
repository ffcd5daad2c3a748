"""``basilica-tui doctor``: examine host, wallet, chain, nodes, access, service and configuration, and repair."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import asyncio
import json
import os
import select
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from basilica_tui.cli_config import config_path

if TYPE_CHECKING:
    from engine.diagnostics.clinic import Access, Clinic
    from engine.diagnostics.doctor import Progress
    from engine.diagnostics.fixing import Act, Outcome
    from engine.diagnostics.model import Report, Scope
    from engine.diagnostics.plan import Plan

PASSWORD_VARIABLE = "BASILICA_ADMIN_PASSWORD"  # noqa: S105 - the name of a variable, not a password
COULD_NOT_RUN = 3


def doctor(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Default: BASILICA_CONFIG_PATH, miner.toml, validator.toml."),
    ] = None,
    node: Annotated[list[str] | None, typer.Option("--node", help="Only this node: id, name, host or address.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="config, host, wallet, chain, node, access or service.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Offer repairs, one by one.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --fix: do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what --fix would do, and do nothing.")] = False,
    admin: Annotated[
        str, typer.Option("--admin", help="An administrator's account on the nodes (root, or one with sudo).")
    ] = "",
    admin_key: Annotated[
        list[Path] | None, typer.Option("--admin-key", help="That account's private key; default: those in ~/.ssh.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="For a support channel: addresses, names and secrets are removed.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every check, not only the findings.")] = False,
    container: Annotated[bool, typer.Option(help="Start a test container on nodes that have a CUDA image.")] = True,
) -> None:
    """Find out what is wrong, why, and what repairs it. Status: 0 ok, 1 warnings, 2 failures, 3 could not run."""
    from engine.errors import BasilicaError

    try:
        path = config_path(context, config)
        access = _access(admin, admin_key or [])
        clinic = _clinic(path, access, with_container=container)
        scopes = _scopes(scope or [], node or [])
        nodes = _nodes(clinic, node or [])
        is_quiet = as_json or markdown
        report, outcomes = asyncio.run(
            _run(clinic, scopes, nodes, fix=fix or dry_run, yes=yes, dry_run=dry_run, is_quiet=is_quiet)
        )
    except BasilicaError as error:
        typer.echo(f"basilica-tui: {error.message}", err=True)
        if error.hint:
            typer.echo(f"  {error.hint}", err=True)
        raise typer.Exit(COULD_NOT_RUN) from None
    try:
        typer.echo(_render(report, outcomes, as_json=as_json, markdown=markdown, verbose=verbose))
    except BrokenPipeError:
        raise  # whoever reads had enough
    except OSError as error:  # the verdict would be lost, and 1 would mean warnings
        typer.echo(f"basilica-tui: the report cannot be written: {error.strerror}", err=True)
        raise typer.Exit(COULD_NOT_RUN) from None
    raise typer.Exit(report.exit_code)


async def _run(
    clinic: Clinic,
    scopes: frozenset[Scope],
    nodes: tuple[str, ...] | None,
    *,
    fix: bool,
    yes: bool,
    dry_run: bool,
    is_quiet: bool,
) -> tuple[Report, list[Outcome]]:
    show = _progress if sys.stderr.isatty() else None
    report = await clinic.examine(scopes, nodes, on_progress=show or (lambda _: None))
    if show is not None:
        typer.echo("\r\033[K", err=True, nl=False)
    if not fix:
        return report, []
    if dry_run:
        _print_offers(clinic, report, to_stderr=is_quiet)
        return report, []
    return await clinic.repair(report, lambda plan: _agree(plan, yes=yes))


async def _agree(plan: Plan, *, yes: bool) -> bool:
    from engine.asking import ask_beside
    from engine.diagnostics.plan import render_plan

    typer.echo(render_plan(plan), err=True)
    if yes:
        return True
    if not sys.stdin.isatty():
        typer.echo("  not run: nobody is there to ask; --yes agrees to everything", err=True)
        return False
    return await ask_beside(_is_agreed)


def _is_agreed() -> bool:
    """As typer.confirm; but a line is read only when it is there, so that Ctrl-C finds nobody inside a read."""
    while True:
        typer.echo("Do this? [y/N]: ", err=True, nl=False)
        select.select([sys.stdin], [], [])
        line = sys.stdin.readline()
        if not line:  # Ctrl-D
            raise typer.Abort
        if line.strip().lower() in {"", "n", "no", "y", "yes"}:
            return line.strip().lower() in {"y", "yes"}
        typer.echo("Error: invalid input", err=True)


def _print_offers(clinic: Clinic, report: Report, *, to_stderr: bool) -> None:
    from engine.diagnostics.plan import render_plan

    for offer in clinic.offers(report):
        text = offer.words if offer.plan is None else render_plan(offer.plan)
        head = f"{offer.result.check} on {offer.result.subject.label}: {offer.result.cause_words}"
        typer.echo(f"{head}\n{text}\n", err=to_stderr)


def _progress(progress: Progress) -> None:
    typer.echo(f"\r\033[K{progress.done}/{progress.total} {progress.subject.label[:40]}", err=True, nl=False)


def _access(admin: str, keys: list[Path]) -> Access:
    from engine.diagnostics.clinic import Access

    ask = (
        (lambda prompt: str(typer.prompt(prompt.rstrip(": "), hide_input=True, err=True)))
        if sys.stdin.isatty()
        else None
    )
    return Access(admin, tuple(keys), ask, os.environ.get(PASSWORD_VARIABLE) or None)


def _clinic(path: Path, access: Access, *, with_container: bool) -> Clinic:
    import logging

    import structlog

    from engine.clock import SystemClock
    from engine.diagnostics.clinic import Clinic
    from engine.errors import ConfigInvalid

    # The report says what the log would.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if not path.exists() and not list(path.parent.glob(f"{path.name}.bak-*")):
        raise ConfigInvalid(f"{path}: there is no such file", hint="name it with --config, or run basilica-tui setup")
    return Clinic(
        path,
        SystemClock(),
        access,
        act=_engine(path),
        with_container=with_container,
        say=lambda text: typer.echo(f"  {text}", err=True),
    )


def _engine(path: Path) -> Act:
    """Actions of the running engine; asked for only when a plan needs one."""

    async def act(verb: str, args: Mapping[str, object]) -> object:
        from engine.configured import socket_of
        from engine.control.client import ControlClient

        client = await ControlClient.connect(socket_of(path))
        try:
            return await client.act(verb, dict(args))
        finally:
            await client.close()

    return act


def _scopes(words: list[str], nodes: list[str]) -> frozenset[Scope]:
    from engine.diagnostics.model import Scope
    from engine.errors import ConfigInvalid

    known = {one.value for one in Scope}
    for word in words:
        if word not in known:
            raise ConfigInvalid(f"'{word}' is no scope", hint=f"one of: {', '.join(sorted(known))}")
    if words:
        return frozenset(Scope(word) for word in words)
    return frozenset({Scope.NODE, Scope.ACCESS}) if nodes else frozenset(Scope)


def _nodes(clinic: Clinic, names: list[str]) -> tuple[str, ...] | None:
    from engine.diagnostics.clinic import find_node
    from engine.errors import ConfigInvalid

    if not names:
        return None
    found = []
    for name in names:
        node = find_node(clinic.patient, name)
        if node is None:
            known = ", ".join(one.label for one in clinic.patient.nodes()[:8])
            raise ConfigInvalid(f"no node is called '{name}'", hint=f"there are: {known or 'none'}")
        found.append(node.target.node_id)
    return tuple(found)


def _render(report: Report, outcomes: list[Outcome], *, as_json: bool, markdown: bool, verbose: bool) -> str:
    from engine.diagnostics.render import render_json, render_markdown, render_text

    if as_json:
        document = json.loads(render_json(report))
        document["fixes"] = [
            {
                "fix": one.plan.fix,
                "check": one.plan.check,
                "node": one.plan.subject,
                "ending": one.ending,
                "message": one.message,
            }
            for one in outcomes
        ]
        return json.dumps(document, indent=2, ensure_ascii=False)
    if markdown:
        return render_markdown(report)
    lines = [f"{one.plan.fix} on {one.plan.where}: {one.ending}, {one.message}" for one in outcomes]
    return "\n".join([*lines, render_text(report, verbose=verbose)])
