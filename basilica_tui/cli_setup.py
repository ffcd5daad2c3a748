"""``basilica-tui setup``: from an empty server to a serving engine, by keyboard or from an answers file."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from engine.setup.phases import Setup


def set_up(
    answers: Annotated[
        Path | None, typer.Option("--answers", metavar="FILE", help="TOML; runs without a question (see --example).")
    ] = None,
    role: Annotated[str, typer.Option(help="miner or validator; the first page asks too.")] = "",
    example: Annotated[bool, typer.Option("--example", help="Print an answers file and exit.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on where an earlier setup stopped.")] = False,
    state_file: Annotated[Path | None, typer.Option("--state", hidden=True)] = None,
    theme: Annotated[str | None, typer.Option(help="dark, light, ansi, high-contrast.")] = None,
) -> None:
    """Set up a miner or a validator in six steps, each of which checks itself. Interrupted, it goes on where it was.

    With --answers: status 0 when the engine serves, 2 for answers that cannot be used, 3 when a step failed, 130 or
    143 when it was interrupted.
    """
    from engine.errors import ConfigInvalid
    from engine.observe.logs import silence
    from engine.setup.answers import MINER, ROLES, with_role
    from engine.setup.answers_file import EXAMPLES, read_answers
    from engine.setup.phases import Setup, answer, resume
    from engine.setup.state_file import default_state_file, load_state

    if role and role not in ROLES:
        raise ConfigInvalid(f"--role {role}: is no role", hint=f"one of {', '.join(ROLES)}")
    if example:
        typer.echo(EXAMPLES[role or MINER], nl=False)
        return
    silence()
    file = state_file or default_state_file(Path.home())
    setup = (None if fresh else load_state(file)) or Setup()
    if role and role != setup.answers.role:
        setup = resume(answer(setup, with_role(setup.answers, role)))
    if answers is not None:
        # From the beginning: files may have changed since, and every step may be repeated.
        raise typer.Exit(_unattended(Setup(read_answers(answers)), file, answers))
    if not sys.stdin.isatty():
        typer.echo("basilica-tui: setup asks on a terminal", err=True)
        typer.echo("  without one give --answers FILE; --example prints one", err=True)
        raise typer.Exit(2)
    from basilica_tui.setup_app import run_setup

    raise typer.Exit(run_setup(setup, file, theme=theme))


def _unattended(setup: Setup, state_file: Path, answers: Path) -> int:
    from basilica_tui.cli_interrupt import Interrupted, run_interruptibly
    from engine.setup.unattended import run_unattended

    last = ""

    def say(text: str) -> None:
        nonlocal last
        last = text if not text.startswith(" ") else last
        typer.echo(text)

    try:
        return run_interruptibly(run_unattended(setup, say, state_file=state_file))
    except Interrupted as stopped:
        typer.echo(f"basilica-tui: {stopped.name}: stopped in step {last}", err=True)
        typer.echo(f"  go on: basilica-tui setup --answers {answers}; what is in place is left as it is", err=True)
        return stopped.exit_code
