"""From answers to a configuration that the engine loads, and its text with comments. Pure."""

from __future__ import annotations

from engine.config.commented import render_commented
from engine.config.common import EngineConfig, HealthConfig, MetricsConfig, PrometheusConfig
from engine.config.miner import (
    MinerBittensorConfig,
    MinerConfig,
    MinerDatabaseConfig,
    MinerSshConfig,
    NodeConfig,
    NodeManagementConfig,
    ValidatorAssignmentConfig,
    ValidatorCommsConfig,
)
from engine.setup.answers import Answers

_NOTES = {
    "bittensor.network": "finney is mainnet (netuid 39), test is the test network (387).",
    "bittensor.axon_port": "Published on chain; the same as validator_comms.port unless a router translates.",
    "bittensor.external_ip": "Published on chain: the address that validators call.",
    "node_management.nodes": "User, host and port make a node's id: change them, and its 14-day ramp starts again.",
    "validator_assignment.min_stake_threshold": "TAO. Above every validator's stake nobody is assigned.",
    "ssh_session.miner_node_key_path": "Whoever has this file can enter every node: mode 600, and a backup.",
}


def draft_config(answers: Answers) -> MinerConfig:
    """The configuration that the answers mean. Raises ConfigInvalid for nodes that cannot be read."""
    nodes = tuple(
        NodeConfig(host=entry.host, port=entry.port, username=entry.username, name=entry.name or None)
        for entry in answers.entries()
    )
    return MinerConfig(
        bittensor=MinerBittensorConfig.model_validate(
            {
                "wallet_path": answers.wallet_path,
                "wallet_name": answers.wallet_name,
                "hotkey_name": answers.hotkey_name,
                "network": answers.network,
                "netuid": answers.netuid,
                "chain_endpoint": answers.chain_endpoint or None,
                "axon_port": answers.port,
                "external_ip": answers.external_ip or None,
            }
        ),
        database=MinerDatabaseConfig(url=f"sqlite:{answers.data_dir / 'miner.db'}"),
        metrics=MetricsConfig(prometheus=PrometheusConfig(port=answers.metrics_port)),
        health=HealthConfig(port=answers.health_port),
        validator_comms=ValidatorCommsConfig(port=answers.port),
        node_management=NodeManagementConfig(nodes=nodes),
        ssh_session=MinerSshConfig(miner_node_key_path=answers.key_path, default_node_username=answers.node_user),
        validator_assignment=ValidatorAssignmentConfig.model_validate(
            {
                "strategy": answers.assignment,
                "validator_hotkey": answers.validator_hotkey or None,
                "min_stake_threshold": answers.stake_threshold,
            }
        ),
        engine=EngineConfig(name=answers.name, data_dir=answers.data_dir),
    )


def draft_text(answers: Answers) -> str:
    """miner.toml as it is written, with a comment above each key."""
    head = (
        "Written by basilica-tui setup. Edit it freely: `basilica-tui config validate` checks it, and SIGHUP or\n"
        ":engine reload takes most changes over without dropping a session."
    )
    return render_commented(draft_config(answers), head=head, notes=_NOTES)
