"""Files that could not be written whole: nothing is left that a later command takes for a good one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.config.save import copies_of
from engine.configured import load
from engine.errors import BackupFailed
from engine.lifecycle.backup import create_backup

CONFIG = '[bittensor]\nnetwork = "test"\nnetuid = 387\n[node_management]\nnodes = []\n'


def _without_space(*words: str) -> tuple[int, str]:
    """The command where no file may grow beyond 8 bytes: its writes fail in their middle, as on a full disk."""
    done = subprocess.run(
        ["prlimit", "--fsize=8", sys.executable, "-m", "basilica_tui", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_half_a_copy_is_no_copy(tmp_path: Path) -> None:
    """It would be the newest one, which a restore takes."""
    file = tmp_path / "miner.toml"
    file.write_text(CONFIG)
    status, said = _without_space("config", "backup", "--config", str(file))
    assert (status, copies_of(file)) == (2, ())
    assert "cannot be backed up" in said
    status, said = _without_space("config", "restore", str(file), "--yes", "--config", str(file), "--force")
    assert (status, copies_of(file), file.read_text()) == (2, (), CONFIG), said


def test_half_a_key_is_no_key(tmp_path: Path) -> None:
    """An empty file would keep the next try from making one."""
    key = tmp_path / "key"
    status, said = _without_space("keys", "generate", "--path", str(key))
    assert (status, key.exists()) == (1, False)
    assert "cannot write the SSH key" in said


def test_a_backup_replaces_no_device(tmp_path: Path) -> None:
    """--force is for a backup of before; a directory or a device of that name stays what it is."""

    file = tmp_path / "miner.toml"
    key = tmp_path / "key"
    key.touch(mode=0o600)
    file.write_text(f'{CONFIG}[ssh_session]\nminer_node_key_path = "{key}"\n')
    target = tmp_path / "directory"
    target.mkdir()
    with pytest.raises(BackupFailed, match="no regular file"):
        create_backup(load(file), target, "long enough", now=1.0, overwrite=True)
    assert target.is_dir()
