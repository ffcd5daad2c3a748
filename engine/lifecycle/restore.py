"""Restoring a backup: everything is verified before the first byte is written, and nothing is overwritten unasked."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.config import load_config
from engine.config.common import RoleConfig
from engine.config.save import save_config
from engine.errors import BackupFailed, ConfigInvalid
from engine.filelock import FileLock
from engine.lifecycle.archive import Entry, Manifest, Unpacker
from engine.lifecycle.backup import check_database, sync_directory
from engine.lifecycle.sealed import unseal
from engine.store.url import SqliteFiles

_DATABASES = ("state", "events")


@dataclass(frozen=True, slots=True)
class Restored:
    """What was written where, what was set aside for it, and what the configuration still says differently."""

    manifest: Manifest
    files: tuple[Path, ...]
    set_aside: tuple[Path, ...]
    notes: tuple[str, ...]


def verify_backup(source: Path, passphrase: str) -> Manifest:
    """Read a backup to its end and return its table of contents; writes nothing.

    Raises:
        BackupPassphraseWrong, BackupDamaged, BackupFailed.
    """
    with _opened(source, passphrase) as unpacker:
        for _, content in unpacker.files():
            for _ in content:
                pass
        unpacker.finish()
        return unpacker.manifest


def restore_backup(
    source: Path, passphrase: str, directory: Path, *, now: float, force: bool = False, adapt: bool = False
) -> Restored:
    """Put the files of a backup into ``directory``.

    With ``force`` files that are in the way are set aside under another name. With ``adapt`` the restored
    configuration is changed to name the restored files.

    Raises:
        BackupPassphraseWrong, BackupDamaged: nothing was written.
        BackupFailed: files are in the way, or cannot be written.
        EngineAlreadyRunning: an engine uses the databases there.
    """
    manifest = verify_backup(source, passphrase)
    directory = directory.expanduser().resolve()
    in_the_way = [path for entry in manifest.entries if os.path.lexists(path := directory / entry.name)]
    if in_the_way and not force:
        names = ", ".join(str(path) for path in in_the_way)
        raise BackupFailed(f"would overwrite {names}", hint="restore to another directory, or set them aside: --force")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _database_lock(manifest, directory):
            return _put(source, passphrase, manifest, directory, now=now, adapt=adapt)
    except OSError as error:
        raise BackupFailed(
            f"the backup was not restored: {error.filename or directory}: {error.strerror or error}",
            hint="check space, owner and mode there",
        ) from error


def _put(source: Path, passphrase: str, manifest: Manifest, directory: Path, *, now: float, adapt: bool) -> Restored:
    staging = Path(tempfile.mkdtemp(prefix=".restore-", dir=directory))
    try:
        with _opened(source, passphrase) as unpacker:
            if unpacker.manifest != manifest:
                raise BackupFailed(f"{source} was changed while it was read", hint="nothing was restored; try again")
            for entry, content in unpacker.files():
                _write(staging / entry.name, content)
            unpacker.finish()
        for entry in manifest.entries:
            _check(entry, staging / entry.name)
        notes = _settle_config(manifest, staging, directory, adapt=adapt)
        set_aside = _make_way(manifest, directory, now)
        files = tuple(directory / entry.name for entry in manifest.entries)
        for entry, file in zip(manifest.entries, files, strict=True):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (staging / entry.name).replace(file)
            sync_directory(file.parent)
        return Restored(manifest, files, tuple(set_aside), (*manifest.notes, *notes))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def _opened(source: Path, passphrase: str) -> Iterator[Unpacker]:
    try:
        file = source.expanduser().open("rb")
    except OSError as error:
        raise BackupFailed(f"{source} cannot be read: {error.strerror}", hint="check the path and its mode") from error
    with file:
        yield Unpacker(unseal(file, passphrase))


@contextmanager
def _database_lock(manifest: Manifest, directory: Path) -> Iterator[None]:
    state = manifest.entry("state")
    if state is None or not (directory / state.name).parent.is_dir():
        yield
        return
    lock = FileLock(SqliteFiles(directory / state.name).lock)
    lock.acquire(f"database {directory / state.name}")
    try:
        yield
    finally:
        lock.release()


def _write(path: Path, content: Iterator[bytes]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for part in content:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _check(entry: Entry, path: Path) -> None:
    if entry.what in _DATABASES:
        try:
            check_database(path)
        except sqlite3.Error as error:
            raise BackupFailed(
                f"{entry.name} in the backup is damaged: {error}", hint="use an earlier backup"
            ) from error


def _make_way(manifest: Manifest, directory: Path, now: float) -> list[Path]:
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    moved = []
    for entry in manifest.entries:
        # A journal that stayed beside a restored database would be replayed into it.
        suffixes = ("", "-wal", "-shm") if entry.what in _DATABASES else ("",)
        for suffix in suffixes:
            path = directory / f"{entry.name}{suffix}"
            if os.path.lexists(path):
                aside = path.with_name(f"{path.name}.before-restore-{stamp}")
                path.rename(aside)
                moved.append(aside)
    return moved


def _settle_config(manifest: Manifest, staging: Path, directory: Path, *, adapt: bool) -> list[str]:
    """Make the configuration name the restored files, or say where it names others."""
    entry = manifest.entry("config")
    if entry is None:
        return []
    path = staging / entry.name
    try:
        config = _config(path)
        wanted = _places(manifest, directory, config)
        if adapt and wanted:
            backup = save_config(path, wanted)
            backup.unlink()
            return [f"{directory / entry.name}: {key} is {value} now" for key, value in wanted.items()]
    except ConfigInvalid as error:
        return [f"the configuration in the backup was restored as it is: {error.message}"]
    return [
        f"{directory / entry.name}: {key} names another place; the restored one is {v}" for key, v in wanted.items()
    ]


def _config(path: Path) -> RoleConfig:
    return load_config(path, env={}, check=False).config


def _places(manifest: Manifest, directory: Path, config: RoleConfig) -> dict[str, object]:
    """Keys whose value is not where the restored files are, with the value that would be."""
    wanted: dict[str, object] = {}
    state, key, hotkey = manifest.entry("state"), manifest.entry("node_key"), manifest.entry("hotkey")
    if state is not None:
        place = directory / state.name
        file = config.database.file
        if file is None or file.resolve() != place:
            wanted["database.url"] = f"sqlite:{place}"
        if config.engine.data_dir is not None and config.engine.data_dir.resolve() != place.parent:
            wanted["engine.data_dir"] = str(place.parent)
    if key is not None:
        name = "miner_node_key_path" if manifest.role == "miner" else "persistent_ssh_key_path"
        named = getattr(config, "ssh_session")  # noqa: B009 - both roles have it, their base does not
        if getattr(named, name, None) != directory / key.name:
            wanted[f"ssh_session.{name}"] = str(directory / key.name)
    if hotkey is not None and config.bittensor.wallet_path != directory / "wallets":
        wanted["bittensor.wallet_path"] = str(directory / "wallets")
    return wanted
