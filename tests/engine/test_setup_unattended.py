"""A setup without a question: from nothing to a serving engine on a network of stand-ins, and its refusals."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from engine.deployment.status import has_systemd
from engine.identity.wallets import create_wallet
from engine.setup import work
from engine.setup.answers import Answers
from engine.setup.phases import ORDER, Phase, Setup
from engine.setup.preview import preview
from engine.setup.serving import is_serving
from engine.setup.state_file import load_state
from engine.setup.unattended import FAILED, INVALID, SERVES, run_unattended
from engine.ssh.keys import ClientKey
from tests.support.empty_server import empty_server, end_engines
from tests.support.stand_in_docker import put_docker


def test_from_nothing_to_serving_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys made and deployed, everything checked, files written, engine serving; done twice it changes nothing."""
    with empty_server(tmp_path, monkeypatch) as server:
        answers, said, state = server.answers(), list[str](), tmp_path / "setup.json"

        assert asyncio.run(run_unattended(Setup(answers), said.append, state_file=state)) == SERVES
        assert sum("the miner's key is in place" in line for line in said) == 2
        assert server.config().stat().st_mode & 0o777 == 0o600
        assert answers.key_path.stat().st_mode & 0o777 == 0o600
        assert asyncio.run(is_serving(answers))
        kept = load_state(state)
        assert kept is not None
        assert kept.done == set(ORDER)
        before = set(server.config().parent.iterdir()), server.config().read_bytes()

        said.clear()
        assert asyncio.run(run_unattended(Setup(answers), said.append)) == SERVES
        assert sum("opens it already" in line for line in said) == 2
        assert (set(server.config().parent.iterdir()), server.config().read_bytes()) == before
        assert not any("engine started" in line for line in said)
        end_engines(server.config())
        # A unit without systemd: the plan is carried out, and starting says why it cannot.
        monkeypatch.setenv("BASILICA_UNIT_DIR", str(tmp_path / "units"))
        said.clear()
        if not has_systemd():
            systemd = server.answers(service="systemd", name="other")
            assert asyncio.run(run_unattended(Setup(systemd), said.append)) == FAILED
            assert any("systemd does not run here" in line for line in said)
            assert (tmp_path / "units/basilica-tui@.service").is_file()


def test_a_validator_from_nothing_to_serving_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hotkey opened, all checked, validator.toml with comments, its API served; done twice it changes nothing."""
    with empty_server(tmp_path, monkeypatch) as server:
        answers, said, state = server.validator_answers(), list[str](), tmp_path / "setup.json"

        assert asyncio.run(run_unattended(Setup(answers), said.append, state_file=state)) == SERVES
        assert any("hotkey 5" in line and "opens" in line for line in said)
        assert asyncio.run(is_serving(answers))
        config = server.config("validator")
        assert config.stat().st_mode & 0o777 == 0o600
        assert "# Percent of the emission by GPU category" in config.read_text()
        assert not server.config("miner").exists()
        kept = load_state(state)
        assert kept is not None
        assert kept.done == set(ORDER)
        assert kept.answers.is_validator
        before = set(config.parent.iterdir()), config.read_bytes()

        said.clear()
        assert asyncio.run(run_unattended(Setup(answers), said.append)) == SERVES
        assert (set(config.parent.iterdir()), config.read_bytes()) == before
        assert not any("engine started" in line for line in said)


def test_a_validator_without_its_hotkey_stops_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wallet that is not there, or whose key does not open, ends it at the first phase with the reason."""
    with empty_server(tmp_path, monkeypatch) as server:
        said: list[str] = []
        answers = server.validator_answers(wallet_name="nobody")
        assert asyncio.run(run_unattended(Setup(answers), said.append)) == FAILED
        assert any("stopped:" in line and "nobody" in line for line in said)
        assert not server.config("validator").exists()


def test_an_unregistered_hotkey_and_a_taken_port_are_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A held port stops it, as no engine would start; a hotkey without a uid is told, and left to the operator."""
    with empty_server(tmp_path, monkeypatch) as server, socket.create_server(("127.0.0.1", 0)) as taken:
        create_wallet(tmp_path / "wallets", "stranger", "default")
        answers = server.validator_answers(
            wallet_name="stranger", api=f"127.0.0.1:{taken.getsockname()[1]}", directory=str(tmp_path / "base")
        )
        said: list[str] = []
        assert asyncio.run(run_unattended(Setup(answers), said.append)) == FAILED
        assert any("no uid on this subnet" in line for line in said)
        assert any("stopped: The ports are free" in line for line in said)
        assert not server.config("validator").exists()


def test_with_compose_the_engine_is_asked_inside_its_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What of Docker is missing stops it before a file is written; then the compose file's command serves, and the
    setup sees that although the control socket is the container's own."""
    with empty_server(tmp_path, monkeypatch, nodes=1) as server:
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
        answers, said = server.answers(service="compose", name=f"compose-{os.getpid()}"), list[str]()
        for lacks, words in (("compose", "compose plugin"), ("info", "start Docker"), ("image", "docker build -f")):
            put_docker(tmp_path / "bin", lacks=(lacks,))
            said.clear()
            assert asyncio.run(run_unattended(Setup(answers), said.append)) == FAILED
            assert words in said[-1] and f"unknown command: docker {lacks}" in said[-1]
            assert not (answers.base / "compose.yaml").exists()
        put_docker(tmp_path / "bin")
        said.clear()
        assert asyncio.run(run_unattended(Setup(answers), said.append)) == SERVES, said
        assert f"docker compose -f {answers.base / 'compose.yaml'} exec -it {answers.name} basilica-tui" in said[-1]
        assert not asyncio.run(is_serving(answers))
        assert asyncio.run(is_serving(answers, "compose"))


def test_interrupted_it_says_where_it_stopped_and_how_to_go_on(tmp_path: Path) -> None:
    """SIGTERM while a node does not answer: the step, the command that goes on, and the signal's status."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        file = tmp_path / "answers.toml"
        file.write_text(
            f'network = "test"\nnodes = "basilica@127.0.0.1:{silent.getsockname()[1]}"\ndirectory = "{tmp_path}/b"\n'
        )
        with subprocess.Popen(
            [sys.executable, "-m", "basilica_tui", "setup", "--answers", str(file)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        ) as process:  # fmt: skip
            peer, _ = silent.accept()
            process.terminate()
            _, told = process.communicate(timeout=60)
            peer.close()
    assert process.returncode == 143, told
    assert "SIGTERM: stopped in step 1/6 Wallet, nodes and keys" in told
    assert f"setup --answers {file}" in told
    assert "Traceback" not in told


def test_where_the_state_cannot_be_kept_the_setup_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that cannot be written is said once, and stops nothing."""
    with empty_server(tmp_path, monkeypatch, nodes=1) as server:
        said: list[str] = []
        (tmp_path / "file").touch()
        done = run_unattended(Setup(server.answers(service="none")), said.append, state_file=tmp_path / "file/s.json")
        assert asyncio.run(done) == SERVES
        assert sum("cannot be kept" in line for line in said) == 1


def test_a_file_edited_by_hand_is_not_replaced_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be lost is named by its keys, without their values, and a copy stays."""
    monkeypatch.setenv("HOME", str(tmp_path))
    answers = Answers(nodes="10.0.0.1", directory=str(tmp_path / "b"), network="test", service="none")
    ClientKey.generate("miner").save(answers.key_path)
    said: list[str] = []
    work.install(answers, said.append)
    with answers.config_path.open("a") as file:
        file.write('[alerts]\nurls = ["discord://secret/token"]\n')
    changed = replace(answers, port=50099)
    lines = asyncio.run(preview(Setup(changed, Phase.INSTALL)))
    assert ("warn", "lost from it: alerts.urls") in lines
    assert any("changed in it: bittensor.axon_port" in text for _, text in lines)
    assert not any("secret" in text for _, text in lines)
    said.clear()
    work.install(changed, said.append)
    assert "lost from it: alerts.urls" in said
    copies = list(answers.config_path.parent.glob("miner.toml.bak-*"))
    assert len(copies) == 1
    assert "discord://secret/token" in copies[0].read_text()


def test_nodes_that_take_no_key_stop_it_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a way in the setup ends at its first phase with a hint, and resumes there."""
    with empty_server(tmp_path, monkeypatch) as server:
        (server.home / ".ssh/id_ed25519").unlink()
        said, state = list[str](), tmp_path / "setup.json"
        assert asyncio.run(run_unattended(Setup(server.answers()), said.append, state_file=state)) == FAILED
        assert any("takes none of your keys" in line for line in said)
        assert not server.config().exists()


def test_a_missing_wallet_blocks_before_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check phase stops what could never start, in the doctor's words."""
    with empty_server(tmp_path, monkeypatch) as server:
        said: list[str] = []
        answers = server.answers(wallet_name="nobody")
        assert asyncio.run(run_unattended(Setup(answers), said.append)) == FAILED
        assert any("stopped:" in line for line in said)
        assert any(line.startswith("3/6") for line in said)
        assert not server.config().exists()


def test_answers_that_mean_nothing_start_nothing(tmp_path: Path) -> None:
    """Problems are said field by field, and nothing is touched."""
    said: list[str] = []
    setup = Setup(Answers(nodes="", network="mainnet", directory=str(tmp_path / "b")))
    assert asyncio.run(run_unattended(setup, said.append)) == INVALID
    assert {line.partition(":")[0] for line in said} == {"network", "nodes"}
    assert not (tmp_path / "b").exists()
    assert setup.phase is Phase.KEYS
