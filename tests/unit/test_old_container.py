"""The deployed miner in a container: which container is one, whether it comes back, and the plan that ends it."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from engine.diagnostics.container_facts import Container
from engine.diagnostics.fixes import plan_fix
from engine.diagnostics.fixes.common import Case
from engine.diagnostics.host_facts import HostFacts, OldMiner, PortFacts
from engine.diagnostics.host_network import judge_ports
from engine.diagnostics.look_docker import is_old_miner, starts_again
from engine.diagnostics.model import Result, Scope, Subject, Verdict
from engine.diagnostics.patient import Patient
from engine.diagnostics.plan import LocalCommand, Plan
from engine.errors import ImportFailed
from engine.lifecycle.imports.container import ask_docker, published, read_container
from engine.lifecycle.imports.find import find_deployment

IMAGE = "ghcr.io/one-covenant/basilica/miner:latest"
TOML = '[bittensor]\nwallet_name = "w"\n[node_management]\nnodes = []\n'


def inspected(**config: Any) -> dict[str, Any]:
    """What Docker says about a container, as far as it is read here."""
    return {
        "Id": "ab" * 32,
        "Name": "/basilica-miner",
        "Path": config.pop("Path", "/usr/local/bin/basilica-miner"),
        "Args": config.pop("Args", ["--config", "/var/lib/basilica/miner/miner.toml"]),
        "State": {"Running": True, "ExitCode": 0},
        "HostConfig": {
            "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
            "PortBindings": {"8091/tcp": [{"HostIp": "", "HostPort": "18091"}], "53/udp": [{"HostPort": "53"}]},
        },
        "Mounts": config.pop("Mounts", []),
        "Config": {"Image": IMAGE, "Env": ["RUST_LOG=debug", "BASILCA_BITTENSOR__NETUID=387"], **config},
    }


@pytest.mark.parametrize(
    ("found", "is_one"),
    [
        (inspected(), True),
        (inspected(Path="/bin/sh", Args=["-c", "start"]), True),
        (inspected(Path="/bin/sh", Args=["-c", "start"], Image="registry:5000/basilca/miner@sha256:" + "0" * 64), True),
        (inspected(Path="/sbin/tini", Args=["--", "/usr/bin/basilca-miner"], Image="mine:1"), True),
        (inspected(Path="/bin/sh", Args=[], Image="ghcr.io/one-covenant/basilica/validator:latest"), False),
        (inspected(Path="/usr/local/bin/basilica-tui", Args=["--daemon"], Image="basilica-tui:1"), False),
        (inspected(Path="/bin/sh", Args=[], Image="example.org/xmrig-miner"), False),
        ({}, False),
    ],
)
def test_the_program_or_the_image_says_what_it_is(found: dict[str, Any], is_one: bool) -> None:
    """The network's miner in either spelling; our own engine, its validator and other people's miners are not it."""
    assert is_old_miner(found) is is_one


@pytest.mark.parametrize(
    ("policy", "runs", "code", "again"),
    [
        ("always", True, 0, True),
        ("always", False, 0, True),
        ("unless-stopped", True, 0, True),
        ("unless-stopped", False, 143, False),
        ("on-failure:3", False, 143, True),
        ("on-failure", False, 0, False),
        ("no", True, 0, False),
    ],
)
def test_the_restart_policy_says_whether_it_comes_back(policy: str, runs: bool, code: int, again: bool) -> None:
    """Of those that were stopped by hand only unless-stopped stays stopped whatever its status."""
    assert starts_again(policy, runs=runs, exit_code=code) is again


def container(**values: Any) -> Container:
    """One that runs by compose."""
    given: dict[str, Any] = {
        "id": "ab" * 32,
        "name": "basilica-miner",
        "runs": True,
        "restart": "always",
        "starts_again": True,
        "control": ("docker", "compose", "--file", "/srv/my miner/compose.yaml", "miner"),
    }
    return Container(**{**given, **values})


def plan_of(tmp_path: Path, *containers: Container, **unit: Any) -> Plan | str:
    """How it is stopped."""
    old = OldMiner(containers=containers, **unit)
    result = Result("host.old_miner", Scope.HOST, "t", "m", Subject(), Verdict.FAILED, data=old.data)
    return plan_fix(Case(result, Patient(None, tmp_path / "miner.toml")), "host.stop_old_miner")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            container(),
            [
                ("docker update --restart no basilica-miner", "docker update --restart always basilica-miner"),
                (
                    "docker compose --file '/srv/my miner/compose.yaml' stop miner",
                    "docker compose --file '/srv/my miner/compose.yaml' start miner",
                ),
            ],
        ),
        (
            container(runs=False),
            [("docker update --restart no basilica-miner", "docker update --restart always basilica-miner")],
        ),
        (
            container(restart="no", starts_again=False, control=("docker", "basilica-miner")),
            [("docker stop basilica-miner", "docker start basilica-miner")],
        ),
    ],
)
def test_it_is_stopped_as_it_was_started(tmp_path: Path, given: Container, words: list[tuple[str, str]]) -> None:
    """By compose where compose made it; a policy that would start it again is taken away before, and comes back."""
    plan = plan_of(tmp_path, given)
    assert isinstance(plan, Plan)
    assert [(step.command, step.undo) for step in plan.steps] == words
    assert all(isinstance(step.action, LocalCommand) and step.action.undo for step in plan.steps)


def test_a_container_that_vanishes_when_it_stops_is_a_person_s(tmp_path: Path) -> None:
    """With --rm nothing could be started again; where a unit makes it, the unit is what is stopped."""
    assert "--rm" in str(plan_of(tmp_path, container(is_removed=True, restart="no")))
    plan = plan_of(tmp_path, container(is_removed=True, restart="no"), unit="basilica-miner.service", unit_runs=True)
    assert isinstance(plan, Plan)
    assert [step.command for step in plan.steps] == ["systemctl disable --now basilica-miner.service"]


def test_a_published_port_is_the_deployed_miner_s() -> None:
    """Docker's proxy holds it, which has another name."""
    port = PortFacts("validator_comms.port", "0.0.0.0", 8091, False, "taken", "process 7 (/usr/bin/docker-proxy)")
    boxed = OldMiner(containers=(container(ports=(8091,)),))
    assert judge_ports(HostFacts(ports=(port,), old_miner=boxed)).cause == "deployed_miner"
    assert judge_ports(HostFacts(ports=(port,))).cause == "taken"
    stopped = OldMiner(containers=(container(ports=(8091,), runs=False),))
    assert judge_ports(HostFacts(ports=(port,), old_miner=stopped)).cause == "taken"


def test_what_docker_says_becomes_a_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mounts (volumes, too), variables, arguments and TCP ports; paths are the host's."""
    file = tmp_path / "config/miner.toml"
    file.parent.mkdir()
    file.write_text(TOML)
    mounts = [
        {"Type": "bind", "Source": str(file), "Destination": "/var/lib/basilica/miner/miner.toml"},
        {"Type": "volume", "Source": "/var/lib/docker/volumes/d/_data", "Destination": "/var/lib/basilica/miner/data"},
        {"Type": "tmpfs", "Source": "", "Destination": "/tmp"},
    ]
    service = read_container(inspected(Mounts=mounts, WorkingDir="/var/lib/basilica/miner"))
    monkeypatch.setattr("engine.lifecycle.imports.find.ask_docker", lambda name: service)
    found = find_deployment(Path("docker:basilica-miner"))
    assert found.config_path == file
    assert found.around.ports == ((18091, 8091),)
    assert found.around.environment == {"BASILCA_BITTENSOR__NETUID": "387"}
    assert found.locate("./data/x") == PurePosixPath("/var/lib/docker/volumes/d/_data/x")
    assert found.locate("/tmp/x") is None


def test_a_file_inside_the_container_only_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how to get it out."""
    service = read_container(inspected())
    monkeypatch.setattr("engine.lifecycle.imports.find.ask_docker", lambda name: service)
    with pytest.raises(ImportFailed, match="inside the container"):
        find_deployment(Path("docker:basilica-miner"))


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "echo []", 'echo "[{}]"', "echo '[{\"Config\":[]}]'"])
def test_docker_that_says_nothing_useful_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """An unknown container, another program of that name, an answer of another shape."""
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ImportFailed) as raised:
        ask_docker("basilica-miner")
    assert "basilica-miner" in raised.value.message
    assert raised.value.hint


def test_ports_of_other_protocols_are_left_out() -> None:
    """Unpublished ones, too."""
    assert published(
        {"8091/tcp": [{"HostPort": "1"}, {"HostPort": "1"}], "9/udp": [{"HostPort": "2"}], "3/tcp": None}
    ) == [(1, 8091)]
    assert json.dumps(container().data)
