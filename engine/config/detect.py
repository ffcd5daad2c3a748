"""Telling a miner's file from a validator's."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from engine.config.miner import MinerConfig
from engine.config.retired import IDLE, OLDER
from engine.config.toml_file import read_toml
from engine.config.validator import ValidatorConfig
from engine.errors import ConfigInvalid

_MINER = frozenset(MinerConfig.model_fields) - frozenset(ValidatorConfig.model_fields)
_VALIDATOR = frozenset(ValidatorConfig.model_fields) - frozenset(MinerConfig.model_fields)


def detect_role(path: Path) -> Literal["miner", "validator"]:
    """Whose configuration this is, by the sections that only one role has, else by the file's name.

    Raises ConfigInvalid when it cannot be read or could be either.
    """
    data = read_toml(path).data
    miner = len(data.keys() & (_MINER | (OLDER["miner"] - _VALIDATOR)))
    validator = len(data.keys() & (_VALIDATOR | ((OLDER["validator"] | IDLE["validator"]) - OLDER["miner"])))
    if miner != validator:
        return "miner" if miner > validator else "validator"
    if ("validator" in path.stem) != ("miner" in path.stem):
        return "validator" if "validator" in path.stem else "miner"
    sentence = f"{path}: could be a miner's or a validator's file; add [node_management] or [verification]"
    raise ConfigInvalid(sentence, problems=(sentence,))
