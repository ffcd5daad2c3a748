"""``basilica-tui weights``: what a weight vector would be, and why one is what it is. Only reads."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from engine.validator.scoring import Emission, Profile, Simulation

weights_app = typer.Typer(
    help="Weights: what they would be, and why.",
    no_args_is_help=True,
    rich_markup_mode=None,  # help texts hold [brackets]
)

_T = TypeVar("_T")
_PROFILE_DEFAULT = "documented"


@weights_app.callback()
def weights() -> None:
    """Weights: what they would be, and why."""


@weights_app.command("simulate")
def simulate_weights(
    emission: Annotated[
        Path, typer.Option("--emission", metavar="FILE.toml", help="An [emission] section, or its keys alone.")
    ],
    scores: Annotated[
        Path, typer.Option("--scores", metavar="FILE.json", help='{"categories": {"H100": [[uid, score], ...]}}')
    ],
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", help="documented or deployed-2025-10; default: the file's [scoring] profile, else documented."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Divide the weights among the scores of a file and print the vector, burn included."""
    from engine.errors import ScoresInvalid
    from engine.validator.scoring import read_ranking, simulate

    table = _read(emission, "TOML", tomllib.loads)
    settings, prefix, unknown = _emission(emission, table)
    chosen = _profile(emission, table, profile)
    document = _read(scores, "JSON", _parse_json)
    try:
        ranking = read_ranking(document)
    except ScoresInvalid as error:
        _fail([f"{scores}: {problem}" for problem in error.problems])
    try:
        result = simulate(chosen, settings, ranking, prefix=prefix)
    except ScoresInvalid as error:
        _fail([f"{emission}: {problem}" for problem in error.problems])
    for key in unknown:
        typer.echo(f"note: {emission}: {key} is not a setting that is known here; it has no effect", err=True)
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(_as_json(result) if as_json else _as_text(result))


@weights_app.command("explain")
def explain_weights(
    uid: Annotated[int, typer.Argument(metavar="UID", min=0, max=65535, help="The miner's uid.")],
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="BLOCK|TIME", help="The vector in force then: 5123456, 2h, 14:05, 2026-01-31T14:05."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="validator.toml; names the database.")
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", metavar="URL", help="The database itself: sqlite:PATH or postgresql://")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say why a uid has the weight that it has; reads the validator's database, changes nothing."""
    import asyncio
    import dataclasses
    import os

    from engine.config import load_validator_config
    from engine.errors import BasilicaError
    from engine.validator.explain import explain_set, read_set

    block, moment = _moment(at)
    try:
        if database is None:
            path = config or Path(os.environ.get("BASILICA_CONFIG_PATH", "validator.toml"))
            database = load_validator_config(path).config.database.url
        found = explain_set(asyncio.run(read_set(database, at_block=block, at_time=moment)), uid)
    except BasilicaError as error:
        _fail([str(error)])
    typer.echo(json.dumps(dataclasses.asdict(found)) if as_json else "\n".join(found.lines))


def _moment(at: str | None) -> tuple[int | None, float | None]:
    """Digits alone are a block; everything else is a time."""
    import time

    from basilica_tui.cli_times import time_of

    if at is None:
        return None, None
    if at.isascii() and at.isdigit() and len(at) <= 15:
        return int(at), None
    moment = time_of(at, time.time())
    if moment is None:
        _fail([f"--at {at}: write a block, or a time such as 2h, 14:05 or 2026-01-31T14:05"])
    return None, moment


def _emission(path: Path, table: Mapping[str, object]) -> tuple[Emission, str, tuple[str, ...]]:
    from engine.errors import ConfigInvalid
    from engine.validator.scoring import read_emission

    section: object = table.get("emission", table)
    prefix = "emission." if "emission" in table else ""
    if not isinstance(section, Mapping):
        _fail([f"{path}: emission = {section!r}: write a section, [emission]"])
    keys = {key: value for key, value in section.items() if prefix or key != "scoring"}
    try:
        settings, unknown = read_emission(keys, prefix=prefix)
    except ConfigInvalid as error:
        _fail([f"{path}: {problem}" for problem in error.problems])
    return settings, prefix, unknown


def _profile(path: Path, table: Mapping[str, object], asked: str | None) -> Profile:
    from engine.validator.scoring import PROFILES

    scoring = table.get("scoring")
    from_file = scoring.get("profile", _PROFILE_DEFAULT) if isinstance(scoring, Mapping) else _PROFILE_DEFAULT
    wanted = from_file if asked is None else asked
    chosen = next((known for known in PROFILES if known == wanted), None)
    if chosen is None:
        where = f"{path}: scoring.profile = {wanted!r}" if asked is None else f"--profile {asked}"
        _fail([f"{where}: choose one of {', '.join(PROFILES)}"])
    return chosen


def _read(path: Path, kind: str, parse: Callable[[str], _T]) -> _T:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        _fail([f"{path}: no such file; give the path of a {kind} file"])
    except OSError as error:
        _fail([f"{path}: {error.strerror or error}; give the path of a readable {kind} file"])
    except UnicodeDecodeError as error:
        _fail([f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8"])
    try:
        return parse(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        _fail([f"{path}: not valid {kind}: {reason}; correct that place"])


def _parse_json(text: str) -> object:
    return json.loads(text, object_pairs_hook=_without_twins)


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object whose keys are all different; a second one would silently replace the first."""
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'the key "{twin}" comes twice')
    return result


def _as_json(result: Simulation) -> str:
    allocation = result.allocation
    return json.dumps({"weights": [list(entry) for entry in allocation.vector], "burn": allocation.burn})


def _as_text(result: Simulation) -> str:
    allocation = result.allocation
    lines = [f"profile {result.profile}", "  uid  weight   share"]
    for uid, weight in allocation.vector:
        burnt = "  burn" if uid == allocation.emission.burn_uid and allocation.burn else ""
        lines.append(f"{uid:5d}  {weight:6d}  {allocation.share(uid):6.2%}{burnt}")
    return "\n".join(
        [*lines, f"burn {allocation.burn} = {allocation.burn_percentage:.2f} %", "", *allocation.explain()]
    )


def _fail(problems: list[str]) -> NoReturn:
    for problem in problems:
        typer.echo(f"basilica-tui: {problem}", err=True)
    raise typer.Exit(2)
