"""How the command line says that a configuration cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from basilica_tui.cli import main


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: Path) -> list[str]:
    """The lines on stderr of a daemon that does not start."""
    monkeypatch.setattr(sys, "argv", ["basilica-tui", "--daemon", "--config", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()


def test_one_problem_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is not there is one line, not a line and a list with the same line."""
    (line,) = refused(monkeypatch, capsys, tmp_path / "none.toml")
    assert line.startswith(f"basilica-tui: {tmp_path / 'none.toml'}: there is no such file")


def test_several_problems_are_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each mistake of a file is a line of its own that names file, key and value, each once."""
    path = tmp_path / "miner.toml"
    path.write_text('[validator_comms]\nport = 0\n[metrics]\nenabled = "perhaps"\n')
    first, *rest = refused(monkeypatch, capsys, path)
    assert first == f"basilica-tui: {len(rest)} problems"
    assert len(set(rest)) == len(rest)
    places = [line.split(" is ")[0] for line in rest]
    assert {f"  - {path}: validator_comms.port", f"  - {path}: metrics.enabled"} <= set(places)


def test_a_misspelt_key_is_told_beside_the_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that has no effect is often why something is missing: it is told by the daemon and by config validate."""
    path = tmp_path / "miner.toml"
    path.write_text(f'[validator_comms]\nport = 0\n[ssh_sesion]\nminer_node_key_path = "{tmp_path}/key"\n')
    lines = refused(monkeypatch, capsys, path)
    (also,) = [line for line in lines if line.startswith("  also: ")]
    assert "ssh_sesion is not known and has no effect; did you mean ssh_session?" in also
    monkeypatch.setattr(sys, "argv", ["basilica-tui", "config", "validate", "--config", str(path)])
    with pytest.raises(SystemExit):
        main()
    assert also.replace("  also: ", "warning: ") in capsys.readouterr().out.splitlines()
