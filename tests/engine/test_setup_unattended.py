"""A setup without a question: from nothing to a serving engine on a network of stand-ins, and its refusals."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.deployment.status import has_systemd
from engine.setup import work
from engine.setup.answers import Answers
from engine.setup.phases import ORDER, Phase, Setup
from engine.setup.state_file import load_state
from engine.setup.unattended import FAILED, INVALID, SERVES, run_unattended
from tests.support.empty_server import empty_server, end_engines


def test_from_nothing_to_serving_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys made and deployed, everything checked, files written, engine serving; done twice it changes nothing."""
    with empty_server(tmp_path, monkeypatch) as server:
        answers, said, state = server.answers(), list[str](), tmp_path / "setup.json"

        assert asyncio.run(run_unattended(Setup(answers), said.append, state_file=state)) == SERVES
        assert sum("the miner's key is in place" in line for line in said) == 2
        assert server.config.stat().st_mode & 0o777 == 0o600
        assert answers.key_path.stat().st_mode & 0o777 == 0o600
        assert asyncio.run(work.is_serving(answers))
        kept = load_state(state)
        assert kept is not None
        assert kept.done == set(ORDER)
        before = server.config.read_bytes()

        said.clear()
        assert asyncio.run(run_unattended(Setup(answers), said.append)) == SERVES
        assert sum("opens it already" in line for line in said) == 2
        assert server.config.read_bytes() == before
        assert not any("engine started" in line for line in said)
        end_engines(server.config)
        # A unit without systemd: the plan is carried out, and starting says why it cannot.
        monkeypatch.setenv("BASILICA_UNIT_DIR", str(tmp_path / "units"))
        said.clear()
        if not has_systemd():
            systemd = server.answers(service="systemd", name="other")
            assert asyncio.run(run_unattended(Setup(systemd), said.append)) == FAILED
            assert any("systemd does not run here" in line for line in said)
            assert (tmp_path / "units/basilica-tui@.service").is_file()


def test_nodes_that_take_no_key_stop_it_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a way in the setup ends at its first phase with a hint, and resumes there."""
    with empty_server(tmp_path, monkeypatch) as server:
        (server.home / ".ssh/id_ed25519").unlink()
        said, state = list[str](), tmp_path / "setup.json"
        assert asyncio.run(run_unattended(Setup(server.answers()), said.append, state_file=state)) == FAILED
        assert any("takes none of your keys" in line for line in said)
        assert not server.config.exists()


def test_a_missing_wallet_blocks_before_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check phase stops what could never start, in the doctor's words."""
    with empty_server(tmp_path, monkeypatch) as server:
        said: list[str] = []
        answers = server.answers(wallet_name="nobody")
        assert asyncio.run(run_unattended(Setup(answers), said.append)) == FAILED
        assert any("stopped:" in line for line in said)
        assert any(line.startswith("3/6") for line in said)
        assert not server.config.exists()


def test_answers_that_mean_nothing_start_nothing(tmp_path: Path) -> None:
    """Problems are said field by field, and nothing is touched."""
    said: list[str] = []
    setup = Setup(Answers(nodes="", network="mainnet", directory=str(tmp_path / "b")))
    assert asyncio.run(run_unattended(setup, said.append)) == INVALID
    assert {line.partition(":")[0] for line in said} == {"network", "nodes"}
    assert not (tmp_path / "b").exists()
    assert setup.phase is Phase.KEYS
