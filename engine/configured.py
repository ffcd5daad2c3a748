"""Which engine a configuration file describes: its role, its name, and the places of its files.

Nothing here starts or opens anything, so that a command which only asks does not load an engine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from engine.config import Loaded, MinerConfig, ValidatorConfig, load_config
from engine.control.paths import default_socket, socket_to_call
from engine.errors import ConfigInvalid

Config: TypeAlias = MinerConfig | ValidatorConfig


def load(config_path: Path | None) -> Loaded[MinerConfig] | Loaded[ValidatorConfig]:
    """Read the file as what it is: a miner's or a validator's. Without one, ``BASILICA_CONFIG_PATH`` names it.

    Raises:
        ConfigInvalid: there is no such file, or it cannot be used.
    """
    if config_path is None:
        named = os.environ.get("BASILICA_CONFIG_PATH")
        if named is None:
            raise ConfigInvalid(
                "no configuration was named", hint="give --config miner.toml or --config validator.toml"
            )
        config_path = Path(named)
    return load_config(config_path)


def role_name(config: Config) -> str:
    """``miner`` or ``validator``."""
    return "miner" if isinstance(config, MinerConfig) else "validator"


def engine_name(config: Config) -> str:
    """What the engine is called: configured, else its role."""
    return config.engine.name or role_name(config)


def data_dir_of(config: Config) -> Path:
    """Where known hosts and other small files live: configured, else beside the database file, else ``./data``."""
    if config.engine.data_dir is not None:
        return config.engine.data_dir
    file = config.database.file
    return Path("data") if file is None else file.parent


def socket_to_serve(config: Config) -> Path:
    """Where an engine with this configuration opens its control socket."""
    return config.engine.socket or default_socket(engine_name(config))


def socket_of(config_path: Path) -> Path:
    """Where to call the engine that this file configures. Raises ConfigInvalid."""
    config = load(config_path).config
    return config.engine.socket or socket_to_call(engine_name(config))
