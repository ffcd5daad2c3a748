"""What a setup needs to be told, with defaults that are right for each role and network. Pure but for the home."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from engine.errors import ConfigInvalid
from engine.setup.nodes import NodeEntry, parse_nodes
from engine.setup.shares import Share, parse_shares

MINER, VALIDATOR = ROLES = ("miner", "validator")
NETUIDS = {"finney": 39, "test": 387, "local": 39}


_KINDS = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Answers:
    """One setup. Text as a person gave it; empty where the program finds out or has a default. Never a secret."""

    role: str = MINER
    network: str = "finney"
    chain_endpoint: str = ""
    wallet_path: str = "~/.bittensor/wallets"
    wallet_name: str = "miner"
    hotkey_name: str = "default"
    password_file: str = ""
    """Names the file that opens an encrypted hotkey; the password itself is never an answer."""
    nodes: str = ""
    node_user: str = "basilica"
    node_key: str = ""
    external_ip: str = ""
    port: int = 50051
    assignment: str = "highest_stake"
    validator_hotkey: str = ""
    min_stake: float = -1.0
    """TAO; below 0 is the network's default."""
    shares: str = "A100=8 H100=12 B200=80:8"
    """A validator's, as the deployed ones had them."""
    burn: float = -1.0
    """Percent; below 0 is the network's default."""
    burn_uid: int = 204
    scoring: str = "documented"
    api: str = "127.0.0.1:8080"
    directory: str = ""
    service: str = ""
    name: str = "miner"
    health_port: int = 8091
    metrics_port: int = 9090
    deploy_key: bool = True
    """Whether the node key is put on nodes that do not have it."""

    @property
    def is_validator(self) -> bool:
        """Whether a validator is set up."""
        return self.role == VALIDATOR

    @property
    def netuid(self) -> int:
        """Basilica's subnet on that network."""
        return NETUIDS.get(self.network, 39)

    @property
    def base(self) -> Path:
        """The directory below which configuration, data and key lie."""
        return Path(self.directory or default_directory(os.geteuid(), self.role)).expanduser()

    @property
    def config_path(self) -> Path:
        """Where miner.toml or validator.toml goes."""
        return self.base / "config" / f"{self.role}.toml"

    @property
    def data_dir(self) -> Path:
        """Where the engine keeps its files."""
        return self.base / "data"

    @property
    def key_path(self) -> Path:
        """The miner's own SSH key."""
        return Path(self.node_key or self.base / "keys" / "miner_node_key").expanduser()

    @property
    def stake_threshold(self) -> float:
        """TAO: the guide's 12,000 on mainnet, none elsewhere."""
        if self.min_stake >= 0:
            return self.min_stake
        return 12000.0 if self.network == "finney" else 0.0

    @property
    def burn_percentage(self) -> float:
        """The guide's 80 on mainnet; nothing where the burn uid is somebody else's or nobody's."""
        if self.burn >= 0:
            return self.burn
        return 80.0 if self.network == "finney" else 0.0

    def entries(self) -> tuple[NodeEntry, ...]:
        """The nodes. Raises ConfigInvalid."""
        return parse_nodes(self.nodes, username=self.node_user)

    def allocations(self) -> Mapping[str, Share]:
        """The shares. Raises ConfigInvalid."""
        return parse_shares(self.shares)


_KNOWN: Mapping[str, type] = {f.name: type(f.default) for f in fields(Answers)}
"""Each answer's type."""


def default_directory(uid: int, role: str) -> str:
    """/opt/basilica for root, as the deployed miner has it, else below the home; a validator's is beside it."""
    name = "basilica" if role == MINER else f"basilica-{role}"
    return f"/opt/{name}" if uid == 0 else f"~/.local/share/{name}"


def defaults_of(role: str) -> Answers:
    """The answers of a setup that was told nothing but its role."""
    return Answers() if role == MINER else replace(Answers(), role=role, wallet_name=role, name=role)


def with_role(answers: Answers, role: str) -> Answers:
    """Another role: what still was the former one's default becomes the new one's; what a person gave stays."""
    if role not in ROLES:
        return replace(answers, role=role)
    before, after = defaults_of(answers.role), defaults_of(role)
    changed = {
        field.name: getattr(after, field.name)
        for field in fields(Answers)
        if getattr(answers, field.name) == getattr(before, field.name)
    }
    return replace(answers, **{**changed, "role": role})


def answers_of(data: Mapping[str, Any]) -> Answers:
    """Answers from plain values. Raises ConfigInvalid for keys and types that do not belong."""
    mistakes = mistakes_of(data)
    if mistakes:
        problems = tuple(f"{key}: {words}" for key, words in mistakes.items())
        raise ConfigInvalid(problems[0], problems=problems)
    values = {key: _value(value, _KNOWN[key]) for key, value in data.items()}
    return replace(defaults_of(str(values.get("role", MINER))), **values)


def mistakes_of(data: Mapping[str, Any]) -> dict[str, str]:
    """Key to sentence, for keys and types that do not belong; empty where ``answers_of`` takes them."""
    found = {}
    for key, value in data.items():
        wanted = _KNOWN.get(key)
        if wanted is None:
            close = difflib.get_close_matches(key, _KNOWN, n=1)
            found[key] = f"is no key; is '{close[0]}' meant?" if close else f"is no key; there are {', '.join(_KNOWN)}"
        elif not _fits(key, value, wanted):
            found[key] = f"must be {_KINDS[wanted]}, such as {_example(key)}"
    return found


def _fits(key: str, value: object, wanted: type) -> bool:
    if key == "nodes" and isinstance(value, list):
        return all(isinstance(one, str) for one in value)
    if wanted is float:
        return type(value) in (int, float)
    return type(value) is wanted


def _value(value: Any, wanted: type) -> Any:
    if isinstance(value, list):
        return "\n".join(value)
    return float(value) if wanted is float else value


def _example(key: str) -> str:
    if key == "nodes":
        return '"10.0.0.10-14", or a list of such texts'
    default = getattr(Answers(), key)
    if isinstance(default, bool | int):
        return str(default).lower()
    return "12000" if isinstance(default, float) else f'"{default or "..."}"'


def with_text(answers: Answers, key: str, text: str) -> Answers:
    """One answer as it was typed. Raises ValueError, in words for the person, where a number is wanted."""
    if key == "role":
        return with_role(answers, text)
    default, value = getattr(Answers(), key), text.strip()
    new: Any = value
    try:
        if isinstance(default, int):
            new = int(value or 0)
        elif isinstance(default, float):
            new = float(value) if value else -1.0
    except ValueError:
        raise ValueError("a number is wanted") from None
    if isinstance(new, float) and value and not 0 <= new < math.inf:
        raise ValueError("a number from 0 on is wanted")
    return replace(answers, **{key: new})


def answers_to_json(answers: Answers) -> dict[str, object]:
    """Plain values, for the state file."""
    return asdict(answers)
