"""``basilica-tui replay`` and ``basilica-tui record``: recordings shown, described, and made fit to be shared."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from collections import Counter

    from engine.recording.reader import Recording

record_app = typer.Typer(
    help="What the engine recorded: describe it, or make a file of it that can be shared.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

WhereArgument = Annotated[
    Path | None,
    typer.Argument(metavar="FILE|DIR", help="A .brec file, or a directory of them; default: what --config names."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="miner.toml or validator.toml; its recording is opened.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", help='"2h ago", 14:05, or 2026-11-20T14:05; local time without a zone.')
]
UntilOption = Annotated[str | None, typer.Option("--until", help="The same, for the end.")]


def replay(
    context: typer.Context,
    where: WhereArgument = None,
    config: ConfigOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    theme: Annotated[str | None, typer.Option(help="As for the console.")] = None,
) -> None:
    """Show a recording in the console: any screen, at any moment. Needs no engine."""
    from basilica_tui.run import run_replay
    from engine.recording.player import Player

    source = _source(context, where, config)
    begin, end = _span(since, until)
    recording = _open(source)
    try:
        _check_span(recording, begin, end)
        player = Player(recording, begins_at=begin, ends_at=end)
        raise typer.Exit(run_replay(player, source, theme=theme))
    finally:
        recording.close()


@record_app.callback()
def record() -> None:
    """What the engine recorded: describe it, or make a file of it that can be shared."""


def _source(context: typer.Context, where: Path | None, config: Path | None) -> Path:
    if where is not None:
        return where
    before_the_verb = context.find_root().params.get("config")
    named = config or before_the_verb or os.environ.get("BASILICA_CONFIG_PATH")
    if named:
        from engine.configured import load

        return load(Path(named)).config.recording_dir
    local = Path("data") / "recording"
    if not local.is_dir():
        fail("no recording was named", "give a .brec file, a directory, or --config miner.toml")
    return local


def _span(since: str | None, until: str | None) -> tuple[float | None, float | None]:
    begin, end = (None if text is None else _time(text) for text in (since, until))
    if begin is not None and end is not None and begin >= end:
        fail("--since is not before --until")
    return begin, end


def _time(text: str) -> float:
    from basilica_tui.cli_times import time_of

    at = time_of(text, time.time())
    if at is None:
        fail(f"'{text}' is no time", 'such as: "2h ago", 14:05, 2026-11-20T14:05, 2026-11-20T14:05:00Z')
    return at


def _open(path: Path) -> Recording:
    from engine.recording.reader import open_recording

    return open_recording(path)


def _check_span(recording: Recording, begin: float | None, end: float | None) -> None:
    if (begin is not None and begin > recording.ends_at) or (end is not None and end < recording.begins_at):
        fail(
            "nothing is recorded of that time",
            f"the recording goes from {local_time(recording.begins_at)} to {local_time(recording.ends_at)}",
        )


def local_time(at: float) -> str:
    """``2026-11-20 14:05:00`` in local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def fail(message: str, hint: str = "") -> NoReturn:
    """Say what is wrong and end with status 2."""
    typer.echo(f"basilica-tui: {message}", err=True)
    if hint:
        typer.echo(f"  {hint}", err=True)
    raise typer.Exit(2)


@record_app.command("info")
def record_info(
    context: typer.Context, where: WhereArgument = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Say what a recording holds: from when to when, how much, and whether parts are damaged."""
    import json
    from collections import Counter

    source = _source(context, where, config)
    recording = _open(source)
    try:
        kinds = Counter(str(record.get("kind")) for record in recording.all_records())
        keyframe = recording.keyframe(recording.chapters[-1])
        facts: dict[str, object] = {
            "source": str(source),
            "begins_at": recording.begins_at,
            "ends_at": recording.ends_at,
            "bytes": recording.bytes,
            "keyframes": len(recording.chapters),
            "events": sum(kinds.values()),
            "errors_and_alerts": kinds["alert.raised"],
            "build": str(keyframe.get("build", "")),
            "redacted": keyframe.get("redacted") is True,
            "damaged": recording.damaged,
            "kinds": dict(kinds.most_common()),
        }
    finally:
        recording.close()
    typer.echo(json.dumps(facts, indent=2) if as_json else _info_text(facts, kinds))


def _info_text(facts: dict[str, object], kinds: Counter[str]) -> str:
    begin, end = float(str(facts["begins_at"])), float(str(facts["ends_at"]))
    redacted = "yes: names are stand-ins" if facts["redacted"] else "no: addresses, hotkeys and users are in it"
    lines = [
        f"{facts['source']}",
        f"from      {local_time(begin)}",
        f"to        {local_time(end)}   ({(end - begin) / 3600:.1f} h)",
        f"size      {int(str(facts['bytes'])):,} bytes in {facts['keyframes']} parts",
        f"events    {int(str(facts['events'])):,}, of them {facts['errors_and_alerts']} alerts raised",
        f"recorder  basilica-tui {facts['build']}",
        f"redacted  {redacted}",
        f"damaged   {facts['damaged']} parts" if facts["damaged"] else "damaged   nothing",
        "most frequent",
        *(f"  {count:>9,}  {_printable(kind)}" for kind, count in kinds.most_common(10)),
    ]
    return "\n".join(lines)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() and c.isascii() else "?" for c in text[:60])


@record_app.command("export")
def record_export(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it; a .brec file.")],
    context: typer.Context,
    where: WhereArgument = None,
    config: ConfigOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    no_redact: Annotated[
        bool, typer.Option("--no-redact", help="Keep addresses, hotkeys, hosts and users. Asks first.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE, and do not ask.")] = False,
) -> None:
    """Write a file that can be shared: every name is replaced by a stand-in, the same one everywhere."""
    from engine.recording.export import export_recording

    begin, end = _span(since, until)
    recording = _open(_source(context, where, config))
    try:
        _check_span(recording, begin, end)
        if output.exists() and not force:
            fail(f"{output} exists", "choose another name, or overwrite it with --force")
        if no_redact and not force:
            typer.confirm(
                "Addresses, hotkeys, host and user names will be readable in it. Go on?", abort=True, err=True
            )
        done = export_recording(recording, output, begins_at=begin, ends_at=end, redact=not no_redact)
    finally:
        recording.close()
    typer.echo(
        f"{output}: {done.events:,} events from {local_time(done.begins_at)} to {local_time(done.ends_at)}, "
        f"{done.bytes:,} bytes"
    )
    if not no_redact:
        typer.echo(f"{done.hotkeys} hotkeys and {done.addresses} addresses were replaced by stand-ins")
    typer.echo(f"look at it with: basilica-tui replay {output}")
