"""A configuration as TOML text that this engine and the deployed programs can read."""

from __future__ import annotations

from typing import Any

import tomli_w

from engine.config.common import RoleConfig
from engine.config.miner import MinerConfig


def render_config(config: RoleConfig, *, full: bool = False) -> str:
    """TOML of what differs from the defaults, or of everything that has a value.

    Durations are written in the notation that the deployed programs want for each key.
    """
    data = config.model_dump(mode="json", exclude_defaults=not full, exclude_none=True)
    if isinstance(config, MinerConfig):
        # Written always: a port that stands at its default is taken for not set, and would follow the other.
        data.setdefault("bittensor", {})["axon_port"] = config.bittensor.axon_port
        data.setdefault("validator_comms", {})["port"] = config.validator_comms.port
        data.setdefault("health", {})["port"] = config.health.port
    return tomli_w.dumps(_without_empty(data))


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_empty(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value != {} and value is not None
    }
