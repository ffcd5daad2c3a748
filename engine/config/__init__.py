"""miner.toml and validator.toml: models, loading, checking, rendering and showing.

Saving is in ``engine.config.save``, which commands import when they write: an engine never does.
"""

from __future__ import annotations

from engine.config.check_miner import check_miner_config
from engine.config.check_validator import check_validator_config
from engine.config.detect import detect_role
from engine.config.load import Loaded, load_config, load_miner_config, load_validator_config
from engine.config.masking import mask_config
from engine.config.miner import MinerConfig, NodeConfig
from engine.config.render import render_config
from engine.config.show import describe
from engine.config.validator import ValidatorConfig

__all__ = [
    "Loaded",
    "MinerConfig",
    "NodeConfig",
    "ValidatorConfig",
    "check_miner_config",
    "check_validator_config",
    "describe",
    "detect_role",
    "load_config",
    "load_miner_config",
    "load_validator_config",
    "mask_config",
    "render_config",
]
