"""Making a backup of an engine, running or not: configuration, databases, pinned host keys, node key.

Coldkeys are never read. The hotkey is taken only when asked for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.config import Loaded, MinerConfig, ValidatorConfig
from engine.errors import BackupFailed
from engine.lifecycle.archive import Manifest, What, entry_of, pack
from engine.lifecycle.sealed import MODERATE, Cost, seal
from engine.ssh.certificates import FILES as AUTHORITY_FILES
from engine.store.url import SqliteFiles, parse_url
from engine.version import __version__

Config = MinerConfig | ValidatorConfig
BUSY_TIMEOUT_S = 30.0
MOST_SMALL_FILE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    what: What
    path: Path


def create_backup(
    loaded: Loaded[MinerConfig] | Loaded[ValidatorConfig],
    target: Path,
    passphrase: str,
    *,
    now: float,
    with_hotkey: bool = False,
    overwrite: bool = False,
    cost: Cost = MODERATE,
) -> Manifest:
    """Write a sealed backup to ``target`` (mode 0600), whole or not at all.

    Raises:
        BackupFailed: something that belongs in it cannot be read, or the file cannot be written.
    """
    if not passphrase:
        raise BackupFailed("a backup needs a passphrase", hint="without one anyone who finds the file has the keys")
    target = target.expanduser()
    if target.exists() and not overwrite:
        raise BackupFailed(f"{target} exists", hint="choose another name, or overwrite it with --force")
    if target.exists() and not target.is_file():  # a device or a directory would be replaced
        raise BackupFailed(f"{target} is no regular file", hint="name a file, in a directory that has space")
    config = loaded.config
    sources, notes = _sources(loaded, with_hotkey=with_hotkey)
    try:
        with _workshop(config) as directory:
            files = [_still(source, directory) for source in sources]
            entries = tuple(
                entry_of(s.name, s.what, file, s.path.resolve()) for s, file in zip(sources, files, strict=True)
            )
            role = "miner" if isinstance(config, MinerConfig) else "validator"
            hotkey = f"{config.bittensor.wallet_name}/{config.bittensor.hotkey_name}"
            manifest = Manifest(now, __version__, role, hotkey, entries, tuple(notes))
            _write(target, manifest, files, passphrase, cost)
    except OSError as error:
        what = error.filename or target
        raise BackupFailed(
            f"the backup was not made: {what}: {error.strerror or error}", hint="check space, owner and mode there"
        ) from error
    return manifest


def _sources(
    loaded: Loaded[MinerConfig] | Loaded[ValidatorConfig], *, with_hotkey: bool
) -> tuple[list[_Source], list[str]]:
    config, notes = loaded.config, []
    if loaded.path is None:
        raise BackupFailed("there is no configuration file to back up", hint="name it with --config FILE")
    sources = [_Source(loaded.path.name, "config", loaded.path)]
    place = parse_url(config.database.url)
    if isinstance(place, SqliteFiles):
        sources.append(_Source(f"data/{place.state.name}", "state", place.state))
        sources.append(_Source(f"data/{place.events.name}", "events", place.events))
    else:
        notes.append("the database is PostgreSQL and not in this backup: back it up with pg_dump")
    sources.append(_Source("data/known_hosts", "known_hosts", config.data_dir / "known_hosts"))
    for name in AUTHORITY_FILES:  # there only where the miner has issued certificates
        sources.append(_Source(f"data/{name}", "authority", config.data_dir / name))
    key = _node_key(config)
    if key is not None:
        sources.append(_Source(f"keys/{key.name}", "node_key", key))
        sources.append(_Source(f"keys/{key.name}.pub", "public_key", key.with_name(f"{key.name}.pub")))
        for suffix in ("old", "new"):  # a change of the key that is under way needs both
            sources.append(_Source(f"keys/{key.name}.{suffix}", "spare_key", key.with_name(f"{key.name}.{suffix}")))
    if with_hotkey:
        section = config.bittensor
        name = f"{section.wallet_name}/hotkeys/{section.hotkey_name}"
        sources.append(_Source(f"wallets/{name}", "hotkey", section.wallet_path / name))
    present = []
    for source in sources:
        if source.path.is_file():
            present.append(source)
        elif source.what in ("config", "node_key", "hotkey"):
            raise BackupFailed(f"{source.path} does not exist", hint="a backup without it would be of no use")
        elif source.what not in ("public_key", "spare_key", "authority"):
            notes.append(f"{source.path} does not exist yet and is not in this backup")
    return present, notes


def _node_key(config: Config) -> Path | None:
    if isinstance(config, MinerConfig):
        return config.ssh_session.miner_node_key_path
    return config.ssh_session.persistent_ssh_key_path


@contextlib.contextmanager
def _workshop(config: Config) -> Iterator[Path]:
    """A directory of our own beside the database: the copies are as secret as the originals, so they stay there."""
    place = config.data_dir if config.data_dir.is_dir() else None
    directory = Path(tempfile.mkdtemp(prefix=".backup-", dir=place))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _still(source: _Source, directory: Path) -> Path:
    """A copy that does not change while it is measured and packed."""
    copy = directory / source.name.replace("/", "_")
    if source.what in ("state", "events"):
        copy_database(source.path, copy)
        return copy
    if source.path.stat().st_size > MOST_SMALL_FILE_BYTES:
        raise BackupFailed(f"{source.path} is too large to be what its name says")
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(source.path.read_bytes())
    return copy


def copy_database(path: Path, copy: Path) -> None:
    """A consistent copy of a SQLite database that an engine may be writing meanwhile. Raises BackupFailed."""
    uri = f"{path.resolve().as_uri()}?mode=rw"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        copy.chmod(0o600)
        check_database(copy)
    except sqlite3.Error as error:
        raise BackupFailed(
            f"the database {path} cannot be copied: {error}", hint="check it with the engine stopped, and its disk"
        ) from error


def check_database(path: Path) -> None:
    """Raise sqlite3.Error unless SQLite finds the file sound."""
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise sqlite3.DatabaseError(finding)


def _write(target: Path, manifest: Manifest, files: list[Path], passphrase: str, cost: Cost) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # created with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            seal(pack(manifest, files), passphrase, file, cost=cost)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def sync_directory(path: Path) -> None:
    """Make renames in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
