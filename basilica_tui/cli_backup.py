"""``basilica-tui backup``: sealed backups of an engine, made while it runs, and restored anywhere."""

# ruff: noqa: PLC0415 - --help must not import what a verb needs

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from engine.lifecycle.archive import Manifest

backup_app = typer.Typer(
    help="Sealed backups: configuration, databases, pinned host keys, node key.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

VARIABLE = "BASILICA_BACKUP_PASSPHRASE"
SHORTEST = 8

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help=f"Its first line is the passphrase; mode 600. Else {VARIABLE}, else asked."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@backup_app.command("create")
def create(
    context: typer.Context,
    file: FileArgument,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="miner.toml or validator.toml.")] = None,
    passphrase_file: PassphraseFile = None,
    with_hotkey: Annotated[
        bool, typer.Option("--with-hotkey", help="Take the hotkey too. Coldkeys are never taken.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Back up an engine, also while it runs."""
    from basilica_tui.cli_config import config_path
    from engine.configured import load
    from engine.errors import BackupFailed
    from engine.lifecycle.backup import create_backup

    loaded = load(config_path(context, config))
    if file.expanduser().exists() and not file.expanduser().is_file():
        raise BackupFailed(f"{file} is no file", hint="nothing there is replaced; name a file")
    if file.expanduser().exists() and not force:  # said before anybody types a passphrase
        raise BackupFailed(f"{file} exists", hint="choose another name, or overwrite it with --force")
    passphrase = _passphrase(passphrase_file, is_new=True)
    manifest = create_backup(loaded, file, passphrase, now=time.time(), with_hotkey=with_hotkey, overwrite=force)
    if as_json:
        typer.echo(json.dumps({"file": str(file), **manifest.to_json()}, indent=2))
        return
    typer.echo(f"{file}: {file.expanduser().stat().st_size} bytes, sealed")
    _tell(manifest)
    for note in manifest.notes:
        typer.echo(f"note: {note}", err=True)


@backup_app.command("verify")
def verify(file: FileArgument, passphrase_file: PassphraseFile = None, as_json: JsonOption = False) -> None:
    """Read a backup to its end and list what it holds; writes nothing."""
    from engine.lifecycle.restore import verify_backup

    manifest = verify_backup(file, _passphrase(passphrase_file, is_new=False))
    if as_json:
        typer.echo(json.dumps(manifest.to_json(), indent=2))
        return
    made = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(manifest.created_at))
    typer.echo(f"{file}: a sound backup of a {manifest.role} ({manifest.hotkey}), made {made} by {manifest.build}")
    _tell(manifest)


@backup_app.command("restore")
def restore(
    file: FileArgument,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where the files go.")],
    passphrase_file: PassphraseFile = None,
    force: Annotated[bool, typer.Option("--force", help="Set files aside that are in the way.")] = False,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Change the restored configuration to name the restored files.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Verify a backup, then put its files into a directory."""
    from engine.lifecycle.restore import restore_backup

    passphrase = _passphrase(passphrase_file, is_new=False)
    done = restore_backup(file, passphrase, to, now=time.time(), force=force, adapt=adapt)
    if as_json:
        answer = {"files": done.files, "set_aside": done.set_aside, "notes": done.notes}
        typer.echo(json.dumps({key: [str(item) for item in items] for key, items in answer.items()}, indent=2))
        return
    for path in done.files:
        typer.echo(str(path))
    for path in done.set_aside:
        typer.echo(f"set aside: {path}")
    for note in done.notes:
        typer.echo(f"note: {note}", err=True)


def _tell(manifest: Manifest) -> None:
    for entry in manifest.entries:
        typer.echo(f"  {entry.name}  {entry.size} bytes  from {entry.source}")


def _passphrase(file: Path | None, *, is_new: bool) -> str:
    from engine.errors import BackupFailed

    if file is not None:
        passphrase = _from_file(file)
    elif VARIABLE in os.environ:
        passphrase = os.environ[VARIABLE]
    else:
        passphrase = typer.prompt("passphrase", hide_input=True, confirmation_prompt=is_new, err=True)
    if is_new and len(passphrase) < SHORTEST:
        raise BackupFailed(
            f"the passphrase is shorter than {SHORTEST} characters", hint="whoever has the file can guess it; use more"
        )
    return passphrase


def _from_file(file: Path) -> str:
    from engine.errors import BackupFailed

    try:
        status = file.expanduser().stat()
        text = file.expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BackupFailed(f"the passphrase file {file} cannot be read: {error}") from error
    if stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) & 0o077:
        raise BackupFailed(f"the passphrase file {file} is open to other users", hint=f"run: chmod 600 {file}")
    lines = text.splitlines()
    if not lines or not lines[0]:
        raise BackupFailed(f"the first line of {file} is empty", hint="write the passphrase there")
    return lines[0]
