"""What a setup needs to be told, with defaults that are right for each network, and what a mistake would cost."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from engine.config.check_common import is_ip
from engine.errors import ConfigInvalid
from engine.setup.nodes import NodeEntry, parse_nodes

SERVICES = ("systemd", "user", "compose", "background", "none")
NETUIDS = {"finney": 39, "test": 387, "local": 39}
ASSIGNMENTS = ("highest_stake", "fixed_assignment")


@dataclass(frozen=True, slots=True)
class Answers:
    """One setup. Text as a person gave it; empty where the program finds out or has a default. Never a secret."""

    network: str = "finney"
    chain_endpoint: str = ""
    wallet_path: str = "~/.bittensor/wallets"
    wallet_name: str = "miner"
    hotkey_name: str = "default"
    nodes: str = ""
    node_user: str = "basilica"
    node_key: str = ""
    external_ip: str = ""
    port: int = 50051
    assignment: str = "highest_stake"
    validator_hotkey: str = ""
    min_stake: float = -1.0
    """TAO; below 0 is the network's default."""
    directory: str = ""
    service: str = ""
    name: str = "miner"
    health_port: int = 8091
    metrics_port: int = 9090
    deploy_key: bool = True
    """Whether the node key is put on nodes that do not have it."""

    @property
    def netuid(self) -> int:
        """Basilica's subnet on that network."""
        return NETUIDS.get(self.network, 39)

    @property
    def base(self) -> Path:
        """The directory below which configuration, data and key lie."""
        return Path(self.directory or default_directory(os.geteuid())).expanduser()

    @property
    def config_path(self) -> Path:
        """Where miner.toml goes."""
        return self.base / "config" / "miner.toml"

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

    def entries(self) -> tuple[NodeEntry, ...]:
        """The nodes. Raises ConfigInvalid."""
        return parse_nodes(self.nodes, username=self.node_user)


def default_directory(uid: int) -> str:
    """/opt/basilica for root, as the deployed miner has it; else below the home."""
    return "/opt/basilica" if uid == 0 else "~/.local/share/basilica"


@dataclass(frozen=True, slots=True)
class Question:
    """One field of the wizard: its label, and the price of a mistake in one sentence."""

    key: str
    label: str
    price: str
    choices: tuple[str, ...] = ()


QUESTIONS: Mapping[str, Question] = {
    q.key: q
    for q in (
        Question("network", "Network", "on the wrong network no validator ever calls: finney earns, test does not",
                 ("finney", "test", "local")),
        Question("chain_endpoint", "Chain endpoint", "empty is the network's own; a dead one stops assignments"),
        Question("wallet_path", "Wallets in", "the directory that holds the wallet's folder"),
        Question("wallet_name", "Wallet", "a folder's name, not an address; the coldkey is never needed here"),
        Question("hotkey_name", "Hotkey", "a file's name; an unregistered hotkey earns nothing"),
        Question("nodes", "GPU nodes", "list, range (10.0.0.10-14), network (10.0.0.0/28) or paste; address and user "
                 "make the node's id, and a new id starts at day 0 of 14"),
        Question("node_user", "Account", "validators log in as this user too; give it docker, not root"),
        Question("node_key", "Node key", "whoever has this file can enter every node; it is made if missing"),
        Question("external_ip", "Public address", "goes on chain; a private or old one means that nobody calls. "
                 "Empty: found out"),
        Question("port", "Port", "bound and published; open it in the firewall, or nobody reaches you"),
        Question("assignment", "Assignment", "who may enter the nodes: one validator, never everybody", ASSIGNMENTS),
        Question("validator_hotkey", "Validator", "SS58; needed for fixed_assignment, else only a preference"),
        Question("min_stake", "Least stake", "TAO; too high and nobody is assigned, so nothing is earned"),
        Question("directory", "Directory", "configuration, database and key; back it up, it holds your ramps"),
        Question("service", "Run as", "without a service manager nobody restarts the engine, and each hour down "
                 "costs ramp days", SERVICES),
    )
}  # fmt: skip


def problems_of(answers: Answers) -> dict[str, str]:
    """Field to sentence, for every answer that cannot be used; empty when all can."""
    found: dict[str, str] = {}
    if answers.network not in NETUIDS:
        found["network"] = f"'{answers.network}' is no network; one of {', '.join(NETUIDS)}"
    if answers.network == "local" and not answers.chain_endpoint:
        found["chain_endpoint"] = "a local network needs its endpoint, ws://HOST:PORT or file:PATH"
    for key in ("wallet_name", "hotkey_name"):
        if not getattr(answers, key) or "/" in getattr(answers, key):
            found[key] = "give the plain name of a file or folder"
    try:
        if not answers.entries():
            found["nodes"] = "name at least one GPU node"
    except ConfigInvalid as error:
        found["nodes"] = error.message
    if answers.external_ip and not is_ip(answers.external_ip):
        found["external_ip"] = "an IP address is wanted; names cannot go on chain"
    for key in ("port", "health_port", "metrics_port"):
        if not 0 < getattr(answers, key) < 65536:
            found[key] = "a port is a number from 1 to 65535"
    if answers.assignment not in ASSIGNMENTS:
        found["assignment"] = f"one of {', '.join(ASSIGNMENTS)}"
    if answers.assignment == "fixed_assignment" and not answers.validator_hotkey:
        found["validator_hotkey"] = "fixed_assignment needs the hotkey of the one validator"
    if answers.service and answers.service not in SERVICES:
        found["service"] = f"one of {', '.join(SERVICES)}"
    return found


def read_answers(path: Path) -> Answers:
    """Answers from a TOML file with the keys of ``Answers``; ``nodes`` may be an array.

    Raises:
        ConfigInvalid: unreadable, not TOML, an unknown key, a wrong type, or an answer that cannot be used.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path}: is not valid TOML: {error}") from error
    answers = answers_of(data)
    problems = tuple(f"{key}: {text}" for key, text in problems_of(answers).items())
    if problems:
        raise ConfigInvalid(f"{path}: {problems[0]}", problems=problems)
    return answers


def answers_of(data: Mapping[str, Any]) -> Answers:
    """Answers from plain values. Raises ConfigInvalid for keys and types that do not belong."""
    known = {f.name: type(f.default) for f in fields(Answers)}
    problems = []
    values: dict[str, Any] = {}
    for key, value in data.items():
        wanted = known.get(key)
        if key == "nodes" and isinstance(value, list):
            values[key] = "\n".join(str(item) for item in value)
        elif wanted is None:
            problems.append(f"{key} is not a key; known are {', '.join(known)}")
        elif wanted is float and isinstance(value, int) and not isinstance(value, bool):
            values[key] = float(value)
        elif type(value) is not wanted:
            problems.append(f"{key} must be {'text' if wanted is str else wanted.__name__}")
        else:
            values[key] = value
    if problems:
        raise ConfigInvalid(problems[0], problems=tuple(problems))
    return replace(Answers(), **values)


def with_text(answers: Answers, key: str, text: str) -> Answers:
    """One answer as it was typed. Raises ValueError, in words for the person, where a number is wanted."""
    default, value = getattr(Answers(), key), text.strip()
    new: Any = value
    try:
        if isinstance(default, int):
            new = int(value or 0)
        elif isinstance(default, float):
            new = float(value) if value else -1.0
    except ValueError:
        raise ValueError("a number is wanted") from None
    return replace(answers, **{key: new})


def answers_to_json(answers: Answers) -> dict[str, object]:
    """Plain values, for the state file."""
    return asdict(answers)


EXAMPLE = """\
# Answers for `basilica-tui setup --answers FILE`. Everything has a default but the nodes.
network = "finney"                 # finney (mainnet, 39), test (387)
wallet_name = "miner"
hotkey_name = "default"
nodes = ["10.0.0.10-14", "ssh -p 2222 basilica@gpu-9.example.org"]
node_user = "basilica"
external_ip = ""                   # empty: found out
port = 50051                       # bound and published
assignment = "highest_stake"
directory = "/opt/basilica"
service = "systemd"                # systemd, user, compose, background, none
deploy_key = true                  # with your own keys or agent; nothing asks for a password here
"""
