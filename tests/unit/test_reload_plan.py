"""What a changed configuration means for a running engine, by tables of cases."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import MinerConfig
from engine.config.shape import leaves
from engine.lifecycle.plan import AREAS, LIVE, Area, ReloadPlan, after_reload, area_of, plan_reload

NODE = {"host": "10.0.0.1", "port": 22, "username": "basilica"}
OTHER = {"host": "10.0.0.2", "port": 22, "username": "basilica"}


def config(**sections: dict[str, Any]) -> MinerConfig:
    return MinerConfig.model_validate(sections)


def plan(old: dict[str, Any], new: dict[str, Any]) -> ReloadPlan:
    return plan_reload(config(**old), config(**new))


def test_the_same_configuration_asks_for_nothing() -> None:
    """Nothing is applied and nothing waits when nothing changed."""
    assert plan({"logging": {"level": "info"}}, {}) == ReloadPlan((), ())


@pytest.mark.parametrize(
    ("section", "key", "value", "area"),
    [
        ("logging", "level", "debug", "logging"),
        ("logging", "format", "json", "logging"),
        ("access", "session_lifetime", 600, "access"),
        ("access", "node_deadline", 5, "access"),
        ("access", "reconcile_interval", 5, "access"),
        ("access", "revoke_on_exit", True, "access"),
        ("ssh_session", "adopt_leftovers", True, "access"),
        ("node_management", "health_check_interval", 30, "health"),
        ("node_management", "health_check_timeout", 5, "health"),
        ("validator_assignment", "enabled", False, "assignment"),
        ("validator_assignment", "min_stake_threshold", 5.0, "assignment"),
        ("validator_assignment", "interval", 60, "assignment"),
        ("alerts", "ssh_success_min", 50.0, "alerts"),
    ],
)
def test_what_a_running_engine_takes_over(section: str, key: str, value: object, area: str) -> None:
    """Thresholds, intervals, lifetimes, logging, assignment and alerts are applied without a restart."""
    found = plan({}, {section: {key: value}})
    assert [(change.key, change.area) for change in found.apply] == [(f"{section}.{key}", area)]
    assert found.restart_needed == ()
    assert found.areas == (area,)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("validator_comms", "port", 50052),
        ("bittensor", "axon_port", 50052),
        ("bittensor", "wallet_name", "another"),
        ("bittensor", "network", "test"),
        ("database", "url", "sqlite:./other.db"),
        ("ssh_session", "miner_node_key_path", "/keys/other"),
        ("access", "discovery_deadline", 30),
        ("engine", "data_dir", "/data"),
        ("security", "verify_signatures", False),
    ],
)
def test_what_waits_for_a_restart(section: str, key: str, value: object) -> None:
    """Ports, wallet, network, database and key path are named and stay as they run."""
    old, new = config(), config(**{section: {key: value}})
    found = plan_reload(old, new)
    assert found.apply == ()
    assert found.restart_needed == (f"{section}.{key}",)
    assert after_reload(old, new, AREAS) == old


def test_nodes_are_compared_by_identity() -> None:
    """Moving entries is no change; added, removed and changed ones are named by their address."""
    assert (
        plan({"node_management": {"nodes": [NODE, OTHER]}}, {"node_management": {"nodes": [OTHER, NODE]}}).apply == ()
    )
    found = plan(
        {"node_management": {"nodes": [NODE]}},
        {"node_management": {"nodes": [OTHER]}},
    )
    assert [change.words for change in found.apply] == [
        "node_management.nodes[basilica@10.0.0.1:22]: served -> removed",
        "node_management.nodes[basilica@10.0.0.2:22]: - -> added",
    ]
    renamed = plan({"node_management": {"nodes": [NODE]}}, {"node_management": {"nodes": [{**NODE, "name": "big"}]}})
    assert [change.words for change in renamed.apply] == ["node_management.nodes[basilica@10.0.0.1:22].name: - -> big"]


def test_an_id_that_moves_to_another_host_is_one_node() -> None:
    """With an id of its own a node keeps it while its address changes."""
    kept = config(node_management={"nodes": [NODE]}).node_management.nodes[0].node_id
    found = plan({"node_management": {"nodes": [NODE]}}, {"node_management": {"nodes": [{**OTHER, "id": kept}]}})
    assert [change.key for change in found.apply] == [
        "node_management.nodes[basilica@10.0.0.1:22].host",
        "node_management.nodes[basilica@10.0.0.1:22].id",
    ]


def test_an_area_that_nobody_takes_over_waits() -> None:
    """An engine without an applier for an area says that a restart is needed for it."""
    areas: tuple[Area, ...] = ("logging",)
    found = plan_reload(config(), config(logging={"level": "debug"}, access={"node_deadline": 5}), areas)
    assert [change.key for change in found.apply] == ["logging.level"]
    assert found.restart_needed == ("access.node_deadline",)


def test_only_what_was_applied_runs_afterwards() -> None:
    """What waits for a restart keeps waiting at the next reload, until it is restarted or taken back."""
    old = config()
    new = config(logging={"level": "debug"}, validator_comms={"port": 50052}, node_management={"nodes": [NODE]})
    running = after_reload(old, new, AREAS)
    assert running.logging.level == "debug"
    assert running.node_management.nodes == new.node_management.nodes
    assert running.validator_comms.port == old.validator_comms.port
    again = plan_reload(running, new)
    assert again.apply == ()
    assert again.restart_needed == ("validator_comms.port",)


def test_secrets_are_masked_in_what_is_told() -> None:
    """A changed password in a URL is reported as a change, without the password."""
    found = plan({}, {"database": {"url": "postgresql://me:hush@host/db"}})
    (change,) = found.waiting
    assert "hush" not in change.words
    assert "postgresql://me:" in change.new


def test_live_keys_exist() -> None:
    """Every key that is said to be live is a key of the miner's model."""
    keys = [key for key, _ in leaves(config())]
    for known in LIVE:
        assert any(key == known or (known.endswith(".") and key.startswith(known)) for key in keys), known
    assert area_of("validator_comms.port") is None
