"""Backups of files: what is in them, what a restore writes, and that nothing is lost or overwritten unasked."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from engine.config import Loaded, MinerConfig, load_miner_config
from engine.errors import BackupDamaged, BackupFailed, BackupPassphraseWrong, EngineAlreadyRunning
from engine.filelock import FileLock
from engine.lifecycle.archive import Manifest
from engine.lifecycle.backup import create_backup
from engine.lifecycle.restore import restore_backup, verify_backup
from engine.lifecycle.sealed import Cost

CHEAP = Cost(1, 64)
WORD = "correct horse"
NOW = 1_700_000_000.0
Backup = Callable[..., Manifest]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An engine's files as they lie on a disk, with a coldkey beside the hotkey."""
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    (home / "keys").mkdir()
    hotkeys = home / "wallets" / "miner" / "hotkeys"
    hotkeys.mkdir(parents=True)
    (hotkeys / "default").write_text("the hotkey")
    (home / "wallets" / "miner" / "coldkey").write_text("the coldkey")
    (home / "keys" / "node_key").write_text("the node key")
    (home / "keys" / "node_key").chmod(0o600)
    (home / "keys" / "node_key.pub").write_text("the public key")
    (home / "data" / "known_hosts").write_text("gpu1 ssh-ed25519 AAAA\n")
    for name in ("miner.db", "miner.events.db"):
        with sqlite3.connect(home / "data" / name) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE things (name TEXT)")
            database.execute("INSERT INTO things VALUES (?)", (name,))
    document = {
        "bittensor": {"wallet_path": str(home / "wallets")},
        "database": {"url": f"sqlite:{home / 'data' / 'miner.db'}"},
        "ssh_session": {"miner_node_key_path": str(home / "keys" / "node_key")},
    }
    (home / "miner.toml").write_text("# mine\n" + tomli_w.dumps(document))
    return home


def loaded(home: Path) -> Loaded[MinerConfig]:
    return load_miner_config(home / "miner.toml", env={})


def back_up(home: Path, target: Path, *, with_hotkey: bool = False, overwrite: bool = False) -> Manifest:
    return create_backup(loaded(home), target, WORD, now=NOW, with_hotkey=with_hotkey, overwrite=overwrite, cost=CHEAP)


def names(manifest: Manifest) -> set[str]:
    return {entry.name for entry in manifest.entries}


def things(path: Path) -> list[tuple[str]]:
    with sqlite3.connect(path) as database:
        return database.execute("SELECT name FROM things").fetchall()


def test_what_a_backup_holds(home: Path, tmp_path: Path) -> None:
    """Configuration, both databases, pinned host keys and the node key; no wallet unless asked, never a coldkey."""
    target = tmp_path / "a.backup"
    assert names(back_up(home, target)) == {
        "miner.toml",
        "data/miner.db",
        "data/miner.events.db",
        "data/known_hosts",
        "keys/node_key",
        "keys/node_key.pub",
    }
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert names(back_up(home, tmp_path / "b.backup", with_hotkey=True)) >= {"wallets/miner/hotkeys/default"}
    for file in (target, tmp_path / "b.backup"):
        for secret in (b"the node key", b"the hotkey", b"the coldkey", b"SQLite format"):
            assert secret not in file.read_bytes()
    assert not any("coldkey" in entry.name for entry in verify_backup(tmp_path / "b.backup", WORD).entries)
    assert not list((home / "data").glob(".backup-*"))


def test_a_restore_brings_everything_back(home: Path, tmp_path: Path) -> None:
    """The files come back as they were, private to their owner, and the notes say where the configuration differs."""
    back_up(home, tmp_path / "a.backup", with_hotkey=True)
    done = restore_backup(tmp_path / "a.backup", WORD, tmp_path / "new", now=NOW)
    new = tmp_path / "new"
    assert (new / "miner.toml").read_bytes() == (home / "miner.toml").read_bytes()
    assert (new / "keys" / "node_key").read_text() == "the node key"
    assert (new / "wallets" / "miner" / "hotkeys" / "default").read_text() == "the hotkey"
    assert things(new / "data" / "miner.db") == [("miner.db",)]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in done.files)
    assert {note.split(": ")[1].split()[0] for note in done.notes} == {
        "database.url",
        "ssh_session.miner_node_key_path",
        "bittensor.wallet_path",
    }
    assert not list(new.glob(".restore-*"))


def test_an_adapted_configuration_names_the_restored_files(home: Path, tmp_path: Path) -> None:
    """With adapt the engine can start from the new place; comments stay."""
    back_up(home, tmp_path / "a.backup")
    restore_backup(tmp_path / "a.backup", WORD, tmp_path / "new", now=NOW, adapt=True)
    config = load_miner_config(tmp_path / "new" / "miner.toml", env={}).config
    assert config.database.file == tmp_path / "new" / "data" / "miner.db"
    assert config.ssh_session.miner_node_key_path == tmp_path / "new" / "keys" / "node_key"
    assert (tmp_path / "new" / "miner.toml").read_text().startswith("# mine\n")


def test_nothing_is_overwritten_unasked(home: Path, tmp_path: Path) -> None:
    """Neither by a backup nor by a restore; with force the files in the way are kept under another name."""
    target, new = tmp_path / "a.backup", tmp_path / "new"
    back_up(home, target)
    with pytest.raises(BackupFailed, match="exists"):
        back_up(home, target)
    back_up(home, target, overwrite=True)
    (new / "data").mkdir(parents=True)
    (new / "miner.toml").write_text("precious")
    (new / "data" / "miner.db-wal").write_text("a stale journal")
    with pytest.raises(BackupFailed, match="would overwrite"):
        restore_backup(target, WORD, new, now=NOW)
    assert not (new / "keys").exists()
    done = restore_backup(target, WORD, new, now=NOW, force=True)
    assert {path.name for path in done.set_aside} == {
        "miner.toml.before-restore-20231114T221320Z",
        "miner.db-wal.before-restore-20231114T221320Z",
    }
    assert (new / "miner.toml.before-restore-20231114T221320Z").read_text() == "precious"
    assert things(new / "data" / "miner.db") == [("miner.db",)]


@pytest.mark.parametrize("harm", ["truncated", "flipped", "appended", "wrong"])
def test_a_harmed_backup_writes_nothing(home: Path, tmp_path: Path, harm: str) -> None:
    """Everything is verified first: the directory is not even made."""
    target = tmp_path / "a.backup"
    back_up(home, target)
    data = target.read_bytes()
    flipped = data[:-30] + bytes([data[-30] ^ 1]) + data[-29:]
    target.write_bytes({"truncated": data[:-1], "flipped": flipped, "appended": data + b"x", "wrong": data}[harm])
    expected = BackupPassphraseWrong if harm == "wrong" else BackupDamaged
    with pytest.raises(expected):
        restore_backup(target, "other" if harm == "wrong" else WORD, tmp_path / "new", now=NOW)
    assert not (tmp_path / "new").exists()


def test_databases_in_use_are_left_alone(home: Path, tmp_path: Path) -> None:
    """A restore into the directory of a running engine is refused, even with force."""
    back_up(home, tmp_path / "a.backup")
    lock = FileLock(home / "data" / "miner.lock")
    lock.acquire("the database")
    try:
        with pytest.raises(EngineAlreadyRunning):
            restore_backup(tmp_path / "a.backup", WORD, home, now=NOW, force=True)
    finally:
        lock.release()
    assert (home / "keys" / "node_key").read_text() == "the node key"


def test_what_must_be_there_is_missed(home: Path, tmp_path: Path) -> None:
    """A missing node key or hotkey stops the backup; files that an engine has not made yet are only noted."""
    (home / "data" / "known_hosts").unlink()
    manifest = back_up(home, tmp_path / "a.backup")
    assert any("known_hosts" in note for note in manifest.notes)
    config = loaded(home)
    (home / "keys" / "node_key").unlink()
    with pytest.raises(BackupFailed, match="node_key"):
        create_backup(config, tmp_path / "b.backup", WORD, now=NOW, cost=CHEAP)
    assert not (tmp_path / "b.backup").exists()


def test_a_database_that_is_written_meanwhile_is_copied_whole(home: Path, tmp_path: Path) -> None:
    """An open transaction of the engine neither blocks the backup nor gets into it."""
    with sqlite3.connect(home / "data" / "miner.db", isolation_level=None) as database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO things VALUES ('unfinished')")
        back_up(home, tmp_path / "a.backup")
        database.execute("COMMIT")
    restore_backup(tmp_path / "a.backup", WORD, tmp_path / "new", now=NOW)
    assert things(tmp_path / "new" / "data" / "miner.db") == [("miner.db",)]
