"""``basilica-tui act``: any action of an engine by its name, as ``:`` does it in the console."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from basilica_tui.cli_engine import attached, chosen_way, fail

if TYPE_CHECKING:
    from basilica_tui.actions import EngineAction
    from basilica_tui.ways import Way
    from engine.control.client import ControlClient


def act(
    context: typer.Context,
    verb: Annotated[str, typer.Argument(help="node.check, session.end, ...; a wrong word lists all.")],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGUMENT]...", help="In order, or as name=value.")
    ] = None,
    socket: Annotated[
        Path | None, typer.Option("--socket", help="The engine's control socket; default: the one engine running here.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, even if it is dangerous.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the engine's whole answer as JSON.")] = False,
) -> None:
    """Have an engine do something: basilica-tui act node.drain node-3; what is dangerous asks first."""
    answer = asyncio.run(_act(chosen_way(context, socket), verb, words or [], yes=yes))
    outcome = answer.get("message") or answer.get("outcome") or "done"
    typer.echo(json.dumps(dict(answer), indent=2, ensure_ascii=False) if as_json else str(outcome))


async def _act(way: Way, verb: str, words: list[str], *, yes: bool) -> Mapping[str, object]:
    from basilica_tui.actions import parse_args
    from basilica_tui.text import clean
    from basilica_tui.vocabulary import names_of

    async with attached(way) as client:
        action = await _find(client, verb)
        views = (await client.snapshot()).views
        args, problem = parse_args(action, words, names_of(lambda name: views.get(name, {})))
        if problem:
            fail(problem)
        if action.danger and not yes:
            question = " ".join([action.words, *words])
            hint = f" {action.warning}" if action.warning else ""
            # In a thread: an engine that is not listened to would be taken for gone.
            await asyncio.to_thread(typer.confirm, f"{question.capitalize()}?{hint}", abort=True, err=True)
        return await client.act(
            verb, args, key=secrets.token_hex(8), on_progress=lambda text: typer.echo(clean(text), err=True)
        )


async def _find(client: ControlClient, verb: str) -> EngineAction:
    from basilica_tui.actions import action_of

    known = frozenset(await client.actions())
    action = action_of(verb, known) if verb in known else None
    if action is None:
        fail(f"this engine knows no {verb}", f"it knows: {', '.join(sorted(known))}")
    return action
