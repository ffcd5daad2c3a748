"""The doctor's verdict where nobody can read it: a full disk is no warning, and no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def _run(*words: str) -> tuple[int, str]:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "basilica_tui", *words],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("words", "status"), [(["doctor", "--scope", "config", "--json"], 3), (["config", "show"], 1)], ids=str
)
def test_a_full_disk_is_said_and_has_its_status(tmp_path: Path, words: list[str], status: int) -> None:
    """Cron that mails on status 2 must not take a report that was never written for a healthy host or a warning."""
    config = tmp_path / "miner.toml"
    config.write_text('[bittensor]\nwallet_name = "w"\nhotkey_name = "h"\n')
    code, said = _run(*words, "--config", str(config))
    assert code == status
    assert "No space left on device" in said
    assert "Traceback" not in said
