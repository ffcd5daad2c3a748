"""``basilica-tui keys``: which keys open the nodes, and a new key for the miner's own logins, from the engine."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from basilica_tui.cli_engine import attached, chosen_way, here_only

if TYPE_CHECKING:
    from basilica_tui.ways import Way
    from engine.control.client import ControlClient
    from engine.control.models import NodeView
    from engine.setup.key_deployment import Deployed
    from engine.ssh.target import NodeTarget

keys_app = typer.Typer(
    help="Keys on the nodes: who may enter, since when, until when.", no_args_is_help=True, rich_markup_mode=None
)
AT_ONCE = 16
SocketOption = Annotated[
    Path | None, typer.Option("--socket", help="The engine's control socket; default: the one engine running here.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="miner.toml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_WORDS = {
    "own": "the miner's own key",
    "operator": "operator's baseline",
    "drift": "UNEXPLAINED",
    "orphan": "UNEXPLAINED, marked like a grant",
    "leftover": "left by an earlier miner",
    "authority": "authority",
    "certificate": "certificate",
}


@keys_app.callback()
def keys(context: typer.Context) -> None:
    """Keys on the nodes: who may enter, since when, until when."""
    if context.invoked_subcommand not in {"audit", "protect", "rotate"}:
        here_only(context)


@keys_app.command("audit")
def audit_keys(
    context: typer.Context,
    node: Annotated[str | None, typer.Option("--node", help="One node: its id, label or host.")] = None,
    socket: SocketOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read every node's key file now; status 1 when a node could not be read or a line is unexplained."""
    found = asyncio.run(_audit(chosen_way(context, socket), node))
    if node is not None and not found:
        typer.echo(f"basilica-tui: no node is called '{node}'", err=True)
        raise typer.Exit(2)
    typer.echo(json.dumps({"nodes": found}, indent=2) if as_json else "\n\n".join(_text(one) for one in found))
    is_clean = all(not one["error"] and not any(_is_unexplained(line) for line in one["lines"]) for one in found)
    raise typer.Exit(0 if is_clean else 1)


@keys_app.command("rotate")
def rotate_keys(
    context: typer.Context,
    socket: SocketOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Give the miner a new key for its own logins, node by node; status 1 while a node still waits for it."""
    if not yes:
        typer.confirm("Replace the key that the miner logs in with on every node?", abort=True, err=True)
    result = asyncio.run(_rotate(chosen_way(context, socket)))
    pending = result.get("pending")
    waiting = len(pending) if isinstance(pending, list) else 0
    if as_json:
        typer.echo(json.dumps(result))
    else:
        typer.echo(f"new key {result.get('fingerprint')}: {result.get('done')} nodes done, {waiting} waiting")
    raise typer.Exit(1 if waiting else 0)


@keys_app.command("generate")
def generate_key(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Option("--path", "-f", help="Default: what the configuration names, or ~/.ssh/miner_node_key."),
    ] = None,
    config: ConfigOption = None,
    comment: Annotated[str, typer.Option("--comment", "-C", help="Stands in the nodes' key files.")] = "basilica-miner",
    as_json: JsonOption = False,
) -> None:
    """Make the miner's SSH key (Ed25519, mode 600, without passphrase); an existing file is never replaced."""
    from engine.errors import ClientKeyUnusable
    from engine.ssh.keys import ClientKey

    file = (path or _key_path(context, config)).expanduser()
    if file.exists():
        raise ClientKeyUnusable(
            f"{file} exists already, and is not replaced",
            hint="choose another --path; to change a key in use: basilica-tui keys rotate",
        )
    key = ClientKey.generate(comment)
    key.save(file)
    if as_json:
        answer = {"path": str(file), "fingerprint": key.fingerprint, "public": key.public_line}
        typer.echo(json.dumps(answer, indent=2))
        return
    typer.echo(f"{file}  {key.fingerprint}")
    typer.echo(key.public_line)
    typer.echo("put it on the nodes with: basilica-tui keys deploy", err=True)


@keys_app.command("deploy")
def deploy_keys(
    context: typer.Context,
    nodes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NODE...", help="USER@HOST[:PORT], or a name of the configuration; default: all its nodes."
        ),
    ] = None,
    config: ConfigOption = None,
    key_file: Annotated[Path | None, typer.Option("--key", "-i", help="The miner's private key.")] = None,
    ask_password: Annotated[
        bool, typer.Option("--password/--no-password", help="Ask for one password when a node takes none of your keys.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Put the miner's public key on nodes, with your own keys, your agent, or a password that is asked once.

    Each node is proved by a login with the key. Status 1 when a node is not open then.
    """
    from engine.clock import SystemClock
    from engine.observe.logs import silence
    from engine.setup.key_deployment import KeyDeployment, usual_way_in
    from engine.ssh.host_keys import HostKeys
    from engine.ssh.keys import ClientKey

    silence()
    targets, pins = _targets(context, config, nodes or [])
    key = ClientKey.from_file((key_file or _key_path(context, config)).expanduser())
    deployment = KeyDeployment(
        key,
        HostKeys(pins),
        clock=SystemClock(),
        on_done=lambda done: None if as_json else typer.echo(_outcome(done)),
    )
    way = usual_way_in(Path.home())
    # A terminal is needed for a question; elsewhere the first line of standard input is not taken for a secret.
    can_ask = ask_password and sys.stdin.isatty()
    done = asyncio.run(deployment.run(targets, way, ask=_password if can_ask else None))
    if as_json:
        entries = [
            {"node": one.target.label, "ending": one.ending, "message": one.words, "hint": one.hint} for one in done
        ]
        typer.echo(json.dumps({"nodes": entries}, indent=2))
    else:
        for one in done:
            if one.ending == "needs_password":
                typer.echo(_outcome(one))
    raise typer.Exit(0 if all(one.is_in_place for one in done) else 1)


def _password() -> str:
    import getpass

    return getpass.getpass("Password of the account on the nodes (used once, never stored): ", sys.stderr)


def _outcome(done: Deployed) -> str:
    hint = f"\n    {done.hint}" if done.hint else ""
    return f"{done.target.label}  {done.ending.replace('_', ' ')}: {done.words}{hint}"


def _key_path(context: typer.Context, config: Path | None) -> Path:
    """The key that the configuration names; without a configuration the documents' usual place."""
    from engine.config import MinerConfig, load_miner_config

    path = _config_or_none(context, config)
    if path is None:
        return MinerConfig().ssh_session.miner_node_key_path
    return load_miner_config(path, check=False).config.ssh_session.miner_node_key_path


def _config_or_none(context: typer.Context, config: Path | None) -> Path | None:
    from basilica_tui.cli_config import config_path
    from engine.errors import ConfigInvalid

    try:
        return config_path(context, config)
    except ConfigInvalid:
        return None


def _targets(context: typer.Context, config: Path | None, names: list[str]) -> tuple[list[NodeTarget], Path]:
    from engine.config import load_miner_config
    from engine.errors import ConfigInvalid
    from engine.identity import node_id_for, parse_address
    from engine.setup.nodes import parse_node
    from engine.ssh.target import NodeTarget

    path = _config_or_none(context, config)
    known = [] if path is None else list(load_miner_config(path, check=False).config.node_management.nodes)
    pins = Path("~/.ssh/known_hosts").expanduser()
    if path is not None:
        pins = load_miner_config(path, check=False).config.data_dir / "known_hosts"
    if not names and not known:
        raise ConfigInvalid("no node was named", hint="give USER@HOST[:PORT], or --config miner.toml with its nodes")
    chosen = {node.address: node for node in known if not names}
    targets = [NodeTarget(n.node_id, n.host, n.port, n.username) for n in chosen.values()]
    for name in names:
        found = [n for n in known if name in {n.name, n.host, n.address, n.node_id}]
        if found:
            targets += [NodeTarget(n.node_id, n.host, n.port, n.username) for n in found]
            continue
        user, host, port = parse_address(parse_node(name, username="").text)
        targets.append(NodeTarget(node_id_for(user, host, port), host, port, user))
    return targets, pins


async def _audit(way: Way, only: str | None) -> list[dict[str, Any]]:
    from engine.control.models import NodeView

    async with attached(way) as client:
        snapshot = await client.snapshot()
        views = [view for view in snapshot.views.get("nodes", {}).values() if isinstance(view, NodeView)]
        chosen = [view for view in views if only is None or only in {view.id, view.label, view.host}]
        slots = asyncio.Semaphore(AT_ONCE)
        return list(await asyncio.gather(*(_audit_node(client, view, slots) for view in chosen)))


async def _audit_node(client: ControlClient, view: NodeView, slots: asyncio.Semaphore) -> dict[str, Any]:
    from engine.errors import ControlRefused

    entry: dict[str, Any] = {
        "node_id": view.id,
        "label": view.label,
        "address": f"{view.username}@{view.host}:{view.port}",
        "expiry_enforced": view.expiry_enforced,
        "live_sessions": view.live_sessions,
        "lines": [],
        "error": "",
    }
    try:
        async with slots:
            result = await client.act("node.inventory", {"node_id": view.id})
    except ControlRefused as error:
        entry["error"] = error.message
        return entry
    lines = result.get("lines")
    entry["lines"] = lines if isinstance(lines, list) else []
    return entry


async def _rotate(way: Way) -> Mapping[str, object]:
    async with attached(way) as client:
        return await client.act(
            "node_key.rotate", {}, key=secrets.token_hex(8), on_progress=lambda text: typer.echo(text, err=True)
        )


def _text(node: Mapping[str, Any]) -> str:
    title = f"{node['label']}  {node['address']}  {node['node_id']}"
    expiry = f"  expiry on the node: {node['expiry_enforced'] or 'not known yet'}"
    sessions = node["live_sessions"]
    if sessions:
        expiry += f"; {sessions} open connections that belong to no grant as far as can be told"
    if node["error"]:
        return f"{title}\n  cannot be read: {node['error']}"
    return "\n".join([title, expiry, *(_line(line) for line in node["lines"])])


def _line(line: Mapping[str, Any]) -> str:
    times = f"since {_when(line['since'])}"
    if line["until"] is not None:
        times += f" until {_when(line['until'])}"
    who = line["holder"] or line["comment"] or "no comment"
    what = _WORDS.get(line["kind"], "wrapped grant" if line["wrapped"] else "grant")
    where = "" if line["file"] == "authorized_keys" else f" ({line['file']})"
    return f"  {line['fingerprint']}  {what}{where}: {who}, {times}"


def _when(at: object) -> str:
    if not isinstance(at, int | float):
        return "unknown"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _is_unexplained(line: Mapping[str, Any]) -> bool:
    return line["kind"] in {"drift", "orphan"}
