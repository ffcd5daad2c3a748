"""``basilica-tui keys protect``: validators' keys of a node in a file that only root can write, and back."""

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
    from basilica_tui.ways import Way
    from engine.control.client import ControlClient


def protect_keys(
    context: typer.Context,
    node: Annotated[str, typer.Argument(help="Its id, label or host.")],
    login: Annotated[
        str, typer.Option("--login", help="Who is root there, or may use sudo without password.")
    ] = "root",
    undo: Annotated[bool, typer.Option("--undo", help="Back to the account's own key file.")] = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Show what would be done, and end.")] = False,
    socket: Annotated[
        Path | None, typer.Option("--socket", help="The engine's control socket; default: the one engine running here.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the engine's answer as JSON.")] = False,
) -> None:
    """Keep validators' keys of a node in a file that only root can write; the plan is shown first."""
    args = {"login": login} if not undo else {}
    way, verb = chosen_way(context, socket), "node.unprotect" if undo else "node.protect"
    answer = asyncio.run(_protect(way, node, verb, args, plan_only=plan_only, yes=yes))
    if as_json:
        typer.echo(json.dumps(dict(answer), indent=2, ensure_ascii=False))
    elif not plan_only:
        typer.echo(str(answer.get("message")))


async def _protect(
    way: Way, node: str, verb: str, args: Mapping[str, str], *, plan_only: bool, yes: bool
) -> Mapping[str, object]:
    from basilica_tui.text import clean

    async with attached(way) as client:
        node_id = await _node_id(client, node)
        plan = await client.act(verb, {"node_id": node_id, "plan": True, **args})
        for line in _plan_lines(plan):
            typer.echo(clean(line), err=not plan_only)
        if plan_only:
            return plan
        if not plan.get("steps"):
            fail(f"{node}: there is nothing to undo")
        if not yes:
            # In a thread: an engine that is not listened to would be taken for gone.
            await asyncio.to_thread(typer.confirm, "Do that?", abort=True, err=True)
        return await client.act(
            verb,
            {"node_id": node_id, **args},
            key=secrets.token_hex(8),
            on_progress=lambda text: typer.echo(clean(text), err=True),
        )


def _plan_lines(plan: Mapping[str, object]) -> list[str]:
    steps, warnings = plan.get("steps"), plan.get("warnings")
    lines = [f"{number}. {step}" for number, step in enumerate(steps if isinstance(steps, list) else [], start=1)]
    return [*lines, *(f"beware: {one}" for one in (warnings if isinstance(warnings, list) else []))]


async def _node_id(client: ControlClient, name: str) -> str:
    from engine.control.models import NodeView

    views = (await client.snapshot()).views.get("nodes", {}).values()
    found = [view.id for view in views if isinstance(view, NodeView) and name in {view.id, view.label, view.host}]
    if len(found) != 1:
        fail(f"{len(found)} nodes are called {name}", "give its id: basilica-tui show nodes")
    return found[0]
