"""``basilica-tui audit``: is the audit log whole, and what does it say. Reads the database; needs no engine."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from engine.observe.audit_chain import Anchor, Verdict
    from engine.store.records import AuditRecord

audit_app = typer.Typer(
    help="The audit log: who was let in, what was done, and whether the record is whole.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="miner.toml or validator.toml; its database is read.")
]
DatabaseOption = Annotated[
    str | None, typer.Option("--database", metavar="FILE|URL", help="The database itself, in place of --config.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_UNIT = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@audit_app.callback()
def audit() -> None:
    """The audit log: who was let in, what was done, and whether the record is whole."""


@audit_app.command("verify")
def verify_audit(
    config: ConfigOption = None,
    database: DatabaseOption = None,
    head: Annotated[
        list[str] | None,
        typer.Option("--head", metavar="SEQ:HASH", help="A head from the structured log (audit.anchored)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every link of the chain; status 1 and the number of the first broken one if it does not hold."""
    anchors = [_anchor(text) for text in head or []]
    verdict = asyncio.run(_verify(_url(config, database), anchors))
    typer.echo(json.dumps(_verdict_json(verdict)) if as_json else _verdict_text(verdict))
    raise typer.Exit(0 if verdict.broken is None else 1)


@audit_app.command("show")
def show_audit(
    config: ConfigOption = None,
    database: DatabaseOption = None,
    since: Annotated[
        str | None, typer.Option("--since", help="30m, 12h, 7d, or a time such as 2026-01-31T12:00.")
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only kinds that begin so: key., grant., door.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Print the records, oldest first."""
    begin = None if since is None else _time(since)
    asyncio.run(_show(_url(config, database), begin, kind or "", as_json=as_json))


async def _verify(url: str, anchors: list[Anchor]) -> Verdict:
    from engine.observe.audit_reader import open_audit

    async with open_audit(url) as reader:
        return await reader.verify(anchors)


async def _show(url: str, since: float | None, kind: str, *, as_json: bool) -> None:
    from engine.observe.audit_reader import open_audit

    async with open_audit(url) as reader:
        records: AsyncIterator[AuditRecord] = reader.since(since)
        async for record in records:
            if record.kind.startswith(kind):
                typer.echo(_record_json(record) if as_json else _record_text(record))
        size = await reader.records.size()
    if not as_json:
        typer.echo(f"{size.records} records in all, {_bytes(size.bytes)}", err=True)


def _verdict_json(verdict: Verdict) -> dict[str, object]:
    broken = verdict.broken
    return {
        "intact": broken is None,
        "records": verdict.records,
        "bytes": verdict.bytes,
        "head": {"seq": verdict.head.seq, "hash": verdict.head.hash},
        "anchors": verdict.anchors,
        "broken_at": None if broken is None else broken.seq,
        "reason": "" if broken is None else broken.reason,
    }


def _verdict_text(verdict: Verdict) -> str:
    size = f"{verdict.records} records, {_bytes(verdict.bytes)}"
    if verdict.broken is not None:
        return f"BROKEN at record {verdict.broken.seq}: {verdict.broken.reason}\n{size}"
    anchors = f"{verdict.anchors} heads that were kept outside agree" if verdict.anchors else "no head to compare with"
    return f"intact: {size}, {anchors}\nhead {verdict.head.seq}:{verdict.head.hash}"


def _record_json(record: AuditRecord) -> str:
    try:
        details: object = json.loads(record.details)
    except ValueError:
        details = record.details
    fields = {
        "seq": record.seq,
        "at": _iso(record.at),
        "kind": record.kind,
        "actor": record.actor,
        "subject": record.subject,
        "outcome": record.outcome,
        "details": details,
        "hash": record.hash,
    }
    return json.dumps(fields)


def _record_text(record: AuditRecord) -> str:
    text = f"{record.seq:>7}  {_iso(record.at)}  {record.kind:<22} {record.actor or '-'}  {record.subject or '-'}  "
    return _printable(text + record.outcome)


def _printable(text: str) -> str:
    """Text of other machines must not move the cursor."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _iso(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(at)


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _time(text: str) -> float:
    age = _AGE.fullmatch(text)
    try:
        if age is not None:
            return (datetime.now(UTC) - timedelta(**{_UNIT[age[2]]: float(age[1])})).timestamp()
        # A time without a zone is the operator's own.
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        _fail(f"--since {text}: write 30m, 12h, 7d, or a time such as 2026-01-31T12:00")


def _anchor(text: str) -> Anchor:
    from engine.observe.audit_chain import Anchor

    number, _, digest = text.partition(":")
    if not (number.isdigit() and re.fullmatch(r"[0-9a-f]{64}", digest)):
        _fail(f"--head {text}: write SEQ:HASH as the log's audit.anchored line has them")
    return Anchor(int(number), digest)


def _url(config: Path | None, database: str | None) -> str:
    if database is not None:
        return database if re.match(r"(sqlite|postgres(ql)?(\+\w+)?):", database) else f"sqlite:{database}"
    from engine.configured import load

    return load(config).config.database.url


def _fail(message: str) -> NoReturn:
    typer.echo(f"basilica-tui: {message}", err=True)
    raise typer.Exit(2)
