"""``basilica-tui config diff FILE``: what makes no difference to the engine may be what was meant."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from basilica_tui.cli import app

TEXT = '[bittensor]\nnetwork = "test"\n[alerts]\n{}\n[node_management]\nnodes = []\n'


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    """Two files that differ only by a misspelt key are alike for the engine, and the key is said beside that."""
    present, other = tmp_path / "miner.toml", tmp_path / "other.toml"
    present.write_text(TEXT.format("node_disk_min_gb = 1000"))
    other.write_text(TEXT.format("node_disk_min_gb = 1000\nnode_disk_mn_gb = 5"))
    for path in (present, other):
        path.chmod(0o600)

    done = CliRunner().invoke(app, ["config", "diff", str(other), "--config", str(present)])

    assert done.exit_code == 0, done.output
    assert "no difference" in done.stdout
    assert [line for line in done.stderr.splitlines() if "node_disk_mn_gb" in line and str(other) in line]
