"""``basilica-tui keys generate`` and ``deploy``: the miner's SSH key, and its way onto nodes."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from basilica_tui.cli_interrupt import Interrupted, run_interruptibly
from basilica_tui.format import plural

if TYPE_CHECKING:
    from engine.setup.key_deployment import Deployed
    from engine.ssh.target import NodeTarget

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="miner.toml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AGAIN = "the same command again goes on: a node that has the key is left as it is"


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

    Each node is proved by a login with the key. Status 1 when a node is not open then; interrupted, it says which
    nodes are done, and ends with 130 or 143.
    """
    from engine.clock import SystemClock
    from engine.observe.logs import silence
    from engine.setup.key_deployment import KeyDeployment, usual_way_in
    from engine.ssh.host_keys import HostKeys
    from engine.ssh.keys import ClientKey

    silence()
    targets, pins = _targets(context, config, nodes or [])
    key = ClientKey.from_file((key_file or _key_path(context, config)).expanduser())
    told: dict[NodeTarget, Deployed] = {}

    def tell(done: Deployed) -> None:
        told[done.target] = done
        if not as_json:
            typer.echo(_outcome(done))

    deployment = KeyDeployment(key, HostKeys(pins), clock=SystemClock(), on_done=tell)
    way = usual_way_in(Path.home())
    # A terminal is needed for a question; elsewhere the first line of standard input is not taken for a secret.
    can_ask = ask_password and sys.stdin.isatty()
    try:
        done = run_interruptibly(deployment.run(targets, way, ask=_password if can_ask else None))
    except Interrupted as stopped:
        left = [target for target in targets if target not in told]
        if as_json:
            typer.echo(json.dumps({"nodes": [*_entries(told.values()), *map(_unfinished, left)]}, indent=2))
        _tell_interrupted(stopped, list(told.values()), left)
        raise typer.Exit(stopped.exit_code) from None
    if as_json:
        typer.echo(json.dumps({"nodes": _entries(done)}, indent=2))
    else:
        for one in done:
            if one.ending == "needs_password":
                typer.echo(_outcome(one))
    raise typer.Exit(0 if all(one.is_in_place for one in done) else 1)


def _entries(done: Iterable[Deployed]) -> list[dict[str, str]]:
    return [{"node": one.target.label, "ending": one.ending, "message": one.words, "hint": one.hint} for one in done]


def _unfinished(target: NodeTarget) -> dict[str, str]:
    return {"node": target.label, "ending": "not_finished", "message": "interrupted", "hint": AGAIN}


def _tell_interrupted(stopped: Interrupted, told: list[Deployed], left: list[NodeTarget]) -> None:
    done, failed = ([one.target for one in told if one.is_in_place is is_done] for is_done in (True, False))
    words = [
        f"{plural(len(done), 'node')} done",
        *([f"{len(failed)} failed"] if failed else []),
        f"{len(left)} not finished",
    ]
    typer.echo(f"basilica-tui: {stopped.name}: {', '.join(words)}", err=True)
    for mark, targets in (("done", done), ("failed", failed), ("not finished", left)):
        for target in targets:
            typer.echo(f"  {mark}: {target.label}", err=True)
    typer.echo(f"  {AGAIN}", err=True)


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
