"""What a deployed set-up of each era means here, what is written, and that the old file stays as it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePosixPath

import pytest

from engine.config import load_miner_config
from engine.config.toml_file import read_toml
from engine.errors import ImportFailed
from engine.identity import node_id_for
from engine.lifecycle.imports.deployment import Deployment, Mount, Surroundings
from engine.lifecycle.imports.era import detect_era
from engine.lifecycle.imports.plan import ImportPlan, Kind, plan_import
from engine.lifecycle.imports.report import report_json, report_text
from engine.lifecycle.imports.write import problems_of, render_import, write_import
from tests.unit.test_config_eras import D1, D2, D3, E0, R2

ERAS = {"E0": E0, "D1": D1, "D2": D2, "D3": D3, "R2": R2}
AROUND = Surroundings("systemd", PurePosixPath("/opt/basilica"), PurePosixPath("/root"), "root")
R2_ID = "c99618f3-8cdb-496d-8970-078aec5cfc5e"
"""Of host 192.168.1.100 alone, a published example."""


def deployed(tmp_path: Path, text: str, around: Surroundings = AROUND) -> Deployment:
    path = tmp_path / "old" / "miner.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text.replace("KEY", "~/.ssh/miner_node_key"))
    return Deployment(path, read_toml(path).data, around, Path("/"))


def planned(tmp_path: Path, text: str, around: Surroundings = AROUND, *, honour: bool = False) -> ImportPlan:
    found = deployed(tmp_path, text, around)
    return plan_import(found, target=tmp_path / "miner.toml", honour_assignment=honour)


def rows(plan: ImportPlan, kind: Kind) -> dict[str, str]:
    return {row.key: row.new for row in plan.rows if row.kind == kind}


@pytest.mark.parametrize("era", list(ERAS))
def test_every_era_is_recognised_and_taken_over(tmp_path: Path, era: str) -> None:
    """The written file loads, its keys are known ones, ports agree, and only the node key of this test is missing."""
    plan = planned(tmp_path, ERAS[era])
    assert plan.era.tag == era
    text = render_import(plan)
    problems = problems_of(text, tmp_path / "miner.toml")
    assert all("miner_node_key_path" in problem for problem in problems), problems
    write_import(plan, tmp_path / "miner.toml", text)
    loaded = load_miner_config(tmp_path / "miner.toml", env={}, check=False)
    assert not [w for w in loaded.warnings if "effect" in w or "follows" in w]
    config = loaded.config
    assert config.bittensor.axon_port == config.validator_comms.port
    assert config.bittensor.wallet_path == Path("/root/.bittensor/wallets")
    assert config.ssh_session.miner_node_key_path == Path("/root/.ssh/miner_node_key")
    assert config.database.file == Path("/opt/basilica/data/engine.db")


@pytest.mark.parametrize("era", ["D1", "D2", "D3", "R2"])
def test_ids_are_kept(tmp_path: Path, era: str) -> None:
    """Every node of the written file has the id that validators know, by the rule of its own era."""
    plan = planned(tmp_path, ERAS[era])
    write_import(plan, tmp_path / "miner.toml", render_import(plan))
    new = load_miner_config(tmp_path / "miner.toml", env={}, check=False).config.node_management.nodes
    assert [node.node_id for node in new] == [node.old_id for node in plan.nodes]
    assert all((node.id is not None) == (era == "R2") for node in new)


def test_ids_of_the_latest_era_come_from_the_host_alone(tmp_path: Path) -> None:
    """They are written down, and match the published example; the price of the category goes into the node."""
    text = """
bid_grpc_port = 50052
[bidding.strategy.static.static_prices]
h100 = 2.5
[node_management]
nodes = [{ host = "192.168.1.100", port = 22, username = "root", gpu_category = "H100", gpu_count = 8 }]
"""
    plan = planned(tmp_path, text)
    assert [(node.old_id, node.new_id) for node in plan.nodes] == [(R2_ID, R2_ID)]
    assert plan.nodes[0].values["id"] == R2_ID
    assert plan.nodes[0].values["hourly_rate_per_gpu"] == 2.5
    assert node_id_for("root", "192.168.1.100", 22) != R2_ID
    assert "called the validator" in plan.comments["bittensor.axon_port"]


def test_one_machine_is_one_node(tmp_path: Path) -> None:
    """A second entry for the same host and port is named and not taken over."""
    text = """
[node_management]
nodes = [
  { host = "10.0.0.1", port = 22, username = "a" },
  { host = "10.0.0.1", port = 22, username = "b" },
]
"""
    plan = planned(tmp_path, text)
    assert [node.is_taken for node in plan.nodes] == [True, False]
    assert "# b@10.0.0.1:22 was not taken over" in render_import(plan)


ASSIGNMENT = """
[validator_assignment]
enabled = false
strategy = "highest_stake"
min_stake_threshold = 12000.0
validator_hotkey = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
"""


def test_keys_that_were_ignored_do_not_begin_to_act(tmp_path: Path) -> None:
    """They are written as comments with the reason, so that the same validator is served as before."""
    plan = planned(tmp_path, D2 + ASSIGNMENT)
    assert set(plan.left_out) == {
        "validator_assignment.enabled",
        "validator_assignment.min_stake_threshold",
        "validator_assignment.validator_hotkey",
    }
    text = render_import(plan)
    assert "# enabled = false  # the deployed miner has ignored this" in text
    write_import(plan, tmp_path / "miner.toml", text)
    section = load_miner_config(tmp_path / "miner.toml", env={}, check=False).config.validator_assignment
    assert (section.enabled, section.min_stake_threshold, section.validator_hotkey) == (True, 0.0, None)


def test_they_act_when_told_or_when_they_acted(tmp_path: Path) -> None:
    """On the operator's word, in the first era, and for the one fixed validator they are kept."""
    honoured = planned(tmp_path, D2 + ASSIGNMENT, honour=True)
    assert honoured.left_out == {}
    assert honoured.values["validator_assignment.enabled"] is False
    fixed = planned(tmp_path, D2 + ASSIGNMENT.replace("highest_stake", "fixed_assignment").replace("enabled", "x"))
    assert "validator_assignment.validator_hotkey" in fixed.values
    first = planned(tmp_path, E0)
    assert first.values["validator_assignment.min_stake_threshold"] == 6000


@pytest.mark.parametrize(
    ("bittensor", "comms", "axon", "bound", "endpoint"),
    [
        ("", "", 50051, 50051, None),
        ("axon_port = 8080", "port = 8080", 8080, 8080, None),
        ("axon_port = 8080", "", 8080, 8080, None),
        ('axon_port = 9000\nexternal_ip = "203.0.113.7"', "port = 50051", 9000, 50051, "http://203.0.113.7:9000"),
    ],
)
def test_ports(tmp_path: Path, bittensor: str, comms: str, axon: int, bound: int, endpoint: str | None) -> None:
    """Both ports are written; different ones stay different only with a forwarding endpoint."""
    plan = planned(tmp_path, f"[bittensor]\n{bittensor}\n[validator_comms]\n{comms}\n[node_management]\nnodes = []\n")
    assert (plan.values["bittensor.axon_port"], plan.values["validator_comms.port"]) == (axon, bound)
    assert plan.values.get("advertised_addresses.grpc_endpoint") == endpoint
    assert not [p for p in problems_of(render_import(plan), Path("m.toml")) if "port" in p]


def test_different_ports_without_an_address_are_to_do(tmp_path: Path) -> None:
    """What only the operator knows is asked for, not guessed."""
    plan = planned(tmp_path, "[bittensor]\naxon_port = 9000\n[validator_comms]\nport = 50051\n[node_management]\n")
    assert "advertised_addresses.grpc_endpoint" in rows(plan, "to do")
    assert any("axon_port" in problem for problem in problems_of(render_import(plan), Path("m.toml")))


def test_variables_of_the_service_are_written_down(tmp_path: Path) -> None:
    """What the old unit set in the environment is a value of the new file."""
    around = dataclasses.replace(AROUND, environment={"BASILCA_BITTENSOR__HOTKEY_NAME": "h2"})
    plan = planned(tmp_path, D2, around)
    assert plan.values["bittensor.hotkey_name"] == "h2"
    assert plan.comments["bittensor.hotkey_name"] == "set by the environment of the service"


def test_a_container_leaves_things_to_do(tmp_path: Path) -> None:
    """A key that lay inside the container only, and a forwarded port, are the operator's to settle."""
    root = PurePosixPath("/var/lib/basilica/miner")
    around = Surroundings(
        "docker", root, root, "root", mounts=(Mount(PurePosixPath("/srv/data"), root / "data"),), ports=((8080, 50051),)
    )
    plan = planned(tmp_path, D2, around)
    todo = rows(plan, "to do")
    assert {"ssh_session.miner_node_key_path", "bittensor.wallet_path", "validator_comms.port"} <= set(todo)
    assert plan.values["database.url"] == "sqlite:/srv/data/engine.db"


def test_executors_of_the_first_era(tmp_path: Path) -> None:
    """Hosts with an SSH user become nodes with new ids; agents without one are named."""
    hosts = (
        '[remote_executor_deployment]\nremote_machines = [{ id = "m", ssh = { host = "10.1.1.1", username = "u" } }]\n'
    )
    plan = planned(tmp_path, hosts)
    assert [(node.address, node.old_id) for node in plan.nodes] == [("u@10.1.1.1:22", "")]
    (agent,) = planned(tmp_path, E0).nodes
    assert (agent.address, agent.is_taken) == ("10.0.0.5:50051", False)


def test_the_report_hides_secrets_and_control_characters(tmp_path: Path) -> None:
    """A key of the old file that is a secret is starred, and no text can move the cursor."""
    plan = planned(tmp_path, E0.replace('"0.0.0.0"', '"0.0.0.0\\u001b[2J"', 1))
    text = report_text(plan, tmp_path / "miner.toml", written=False)
    data = report_json(plan, tmp_path / "miner.toml", written=False)
    assert "0123456789abcdef" not in text + str(data)
    assert "0123456789abcdef" not in render_import(plan)
    assert "\x1b" not in text
    assert "nothing was written" in text
    assert data["era"] == "E0"


def test_the_old_file_is_never_touched(tmp_path: Path) -> None:
    """Not by the import, not as its target; a file at the target is copied aside."""
    found = deployed(tmp_path, D2)
    before = found.config_path.read_bytes()
    with pytest.raises(ImportFailed, match="old file itself"):
        plan_import(found, target=found.config_path)
    plan = plan_import(found, target=tmp_path / "miner.toml")
    (tmp_path / "miner.toml").write_text("precious = true\n")
    backup = write_import(plan, tmp_path / "miner.toml", render_import(plan))
    assert backup is not None
    assert backup.read_text() == "precious = true\n"
    assert found.config_path.read_bytes() == before


def test_our_own_file_is_not_imported(tmp_path: Path) -> None:
    """What was written here once is used as it is."""
    with pytest.raises(ImportFailed, match="already"):
        planned(tmp_path, "[access]\nsession_lifetime = 60\n")


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("", "D2"),
        ("[server]\nport = 8092\n", "E0"),
        ("[server]\nport = 8092\n[node_management]\nnodes = [{ host = 'h', port = 22, username = 'u' }]\n", "D2"),
        ("[validator_assignment]\nstrategy = 'round_robin'\n", "D1"),
        ("[node_management]\nnodes = [{ host = 'h', hourly_rate_per_gpu = 1.0 }]\n", "D3"),
        ("[validator_comms]\nvalidator_bid_endpoint = 'x'\n", "B"),
        ("[bidding.strategy.static]\n", "R2"),
        ("[engine]\nname = 'x'\n", "ours"),
    ],
)
def test_the_era_is_seen_from_the_keys(tmp_path: Path, text: str, tag: str) -> None:
    """Later keys win; old sections beside nodes of later files are leftovers."""
    path = tmp_path / "miner.toml"
    path.write_text(text)
    assert detect_era(read_toml(path).data).tag == tag
