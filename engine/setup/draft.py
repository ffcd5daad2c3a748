"""From answers to a configuration that the engine loads, and its text with comments. Pure."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

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
from engine.config.problems import sentences
from engine.config.validator import (
    ApiConfig,
    EmissionConfig,
    ScoringConfig,
    StorageConfig,
    ValidatorBittensorConfig,
    ValidatorConfig,
    ValidatorDatabaseConfig,
    ValidatorSshConfig,
)
from engine.errors import ConfigInvalid
from engine.setup.answers import Answers

_NOTES = {
    "bittensor.network": "finney is mainnet (netuid 39), test is the test network (387).",
}
_MINER_NOTES = {
    **_NOTES,
    "bittensor.axon_port": "Published on chain; the same as validator_comms.port unless a router translates.",
    "bittensor.external_ip": "Published on chain: the address that validators call.",
    "node_management.nodes": "User, host and port make a node's id: change them, and its 14-day ramp starts again.",
    "validator_assignment.min_stake_threshold": "TAO. Above every validator's stake nobody is assigned.",
    "ssh_session.miner_node_key_path": "Whoever has this file can enter every node: mode 600, and a backup.",
}
_VALIDATOR_NOTES = {
    **_NOTES,
    "api.bind_address": "0.0.0.0 lets everybody knock: put a TLS proxy in front where it leaves this host.",
    "emission.burn_percentage": "Percent of the weights to burn_uid; far from the other validators' costs trust.",
    "scoring.profile": "documented: the guides' promises; deployed-2025-10: the arithmetic of October 2025.",
}


def draft_config(answers: Answers) -> MinerConfig | ValidatorConfig:
    """The configuration that the answers mean. Raises ConfigInvalid for whatever cannot be one, half typed or wrong."""
    try:
        return draft_validator(answers) if answers.is_validator else draft_miner(answers)
    except ValidationError as error:
        problems = sentences(error, lambda _: "these answers")
        raise ConfigInvalid(problems[0], problems=problems) from error


def draft_miner(answers: Answers) -> MinerConfig:
    """A miner's. Raises ConfigInvalid for nodes that cannot be read."""
    nodes = tuple(
        NodeConfig(host=entry.host, port=entry.port, username=entry.username, name=entry.name or None)
        for entry in answers.entries()
    )
    published = {"axon_port": answers.port, "external_ip": answers.external_ip or None}
    return MinerConfig(
        bittensor=MinerBittensorConfig.model_validate({**_bittensor(answers), **published}),
        database=MinerDatabaseConfig(url=f"sqlite:{answers.data_dir / 'miner.db'}"),
        metrics=_metrics(answers),
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
        engine=_engine(answers),
    )


def draft_validator(answers: Answers) -> ValidatorConfig:
    """A validator's. Raises ConfigInvalid for shares that cannot be read."""
    shares = {
        name: {"weight": share.percent, "min_gpu_count": share.least_gpus}
        for name, share in answers.allocations().items()
    }
    return ValidatorConfig(
        bittensor=ValidatorBittensorConfig.model_validate(_bittensor(answers)),
        database=ValidatorDatabaseConfig(url=f"sqlite:{answers.data_dir / 'validator.db'}"),
        metrics=_metrics(answers),
        api=ApiConfig(bind_address=answers.api),
        ssh_session=ValidatorSshConfig(ssh_key_directory=answers.data_dir / "ssh_keys"),
        emission=EmissionConfig.model_validate(
            {
                "burn_percentage": answers.burn_percentage,
                "burn_uid": answers.burn_uid,
                "gpu_allocations": shares,
            }
        ),
        scoring=ScoringConfig.model_validate({"profile": answers.scoring}),
        storage=StorageConfig(data_dir=answers.data_dir),
        engine=_engine(answers),
    )


def draft_text(answers: Answers) -> str:
    """miner.toml or validator.toml as it is written, with a comment above each key."""
    head = (
        "Written by basilica-tui setup. Edit it freely: `basilica-tui config\n"
        "validate` checks it, and SIGHUP or :engine reload takes most changes over\n"
        "without dropping a session."
    )
    notes = _validator_notes(answers) if answers.is_validator else _MINER_NOTES
    return render_commented(draft_config(answers), head=head, notes=notes)


def _validator_notes(answers: Answers) -> dict[str, str]:
    first = next(iter(answers.allocations()))
    words = "Percent of the emission by GPU category, 100 in all. What is not named earns nothing."
    return {**_VALIDATOR_NOTES, f"emission.gpu_allocations.{first}": words}


def _bittensor(answers: Answers) -> dict[str, Any]:
    return {
        "wallet_path": answers.wallet_path,
        "wallet_name": answers.wallet_name,
        "hotkey_name": answers.hotkey_name,
        "password_file": answers.password_file or None,
        "network": answers.network,
        "netuid": answers.netuid,
        "chain_endpoint": answers.chain_endpoint or None,
    }


def _metrics(answers: Answers) -> MetricsConfig:
    return MetricsConfig(prometheus=PrometheusConfig(port=answers.metrics_port))


def _engine(answers: Answers) -> EngineConfig:
    return EngineConfig(name=answers.name, data_dir=answers.data_dir)
