"""What the wizard asks, the price of a mistake in each answer, and which answers cannot be used. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from engine.config.check_common import is_ip, split_address
from engine.errors import ConfigInvalid
from engine.setup.answers import NETUIDS, ROLES, Answers

SERVICES = ("systemd", "user", "compose", "background", "none")
ASSIGNMENTS = ("highest_stake", "fixed_assignment")
PROFILES = ("documented", "deployed-2025-10")


@dataclass(frozen=True, slots=True)
class Question:
    """One field of the wizard: its label, and the price of a mistake in one sentence."""

    key: str
    label: str
    price: str
    choices: tuple[str, ...] = ()
    empty: str = ""
    """What leaving it empty means, where it may be empty."""


QUESTIONS: Mapping[str, Question] = {
    q.key: q
    for q in (
        Question("role", "Set up a", "a miner offers GPU nodes and earns by them; a validator checks miners and sets "
                 "weights, and needs a permit", ROLES),
        Question("network", "Network", "on the wrong network nobody is met: finney earns, test does not",
                 ("finney", "test", "local")),
        Question("chain_endpoint", "Chain endpoint", "a dead one stops assignments and weights",
                 empty="the network's own"),
        Question("wallet_path", "Wallets in", "the directory that holds the wallet's folder"),
        Question("wallet_name", "Wallet", "a folder's name, not an address; the coldkey is never needed here"),
        Question("hotkey_name", "Hotkey", "a file's name; an unregistered hotkey earns nothing"),
        Question("password_file", "Its password in", "a file (mode 600) for an encrypted hotkey; without it nothing "
                 "starts by itself", empty="the hotkey is not encrypted"),
        Question("nodes", "GPU nodes", "list, range (10.0.0.10-14), network (10.0.0.0/28) or paste; address and user "
                 "make the node's id, and a new id starts at day 0 of 14"),
        Question("node_user", "Account", "validators log in as this user too; give it docker, not root"),
        Question("node_key", "Node key", "whoever has this file can enter every node; it is made if missing",
                 empty="DIRECTORY/keys/miner_node_key"),
        Question("external_ip", "Public address", "goes on chain; a private or old one means that nobody calls",
                 empty="found out"),
        Question("port", "Port", "bound and published; open it in the firewall, or nobody reaches you"),
        Question("assignment", "Assignment", "who may enter the nodes: one validator, never everybody", ASSIGNMENTS),
        Question("validator_hotkey", "Validator", "SS58; needed for fixed_assignment, else only a preference",
                 empty="none is preferred"),
        Question("min_stake", "Least stake", "TAO; too high and nobody is assigned, so nothing is earned",
                 empty="12000 on finney, else 0"),
        Question("shares", "GPU shares", "percent of the emission by category, 100 in all; B200=80:8 counts nodes "
                 "with 8 GPUs or more. What is not named earns nothing"),
        Question("burn", "Burn", "percent; far from what the other validators burn, your weights count less",
                 empty="80 on finney, else 0"),
        Question("scoring", "Scored by", "the guides' promises, or the arithmetic of validators of October 2025; "
                 "unlike the others' weights cost you trust", PROFILES),
        Question("api", "REST API at", "HOST:PORT; 0.0.0.0 lets everybody knock: put a TLS proxy in front"),
        Question("directory", "Directory", "configuration, database and key; back it up, it holds ramps and scores",
                 empty="/opt/basilica as root, else below the home"),
        Question("service", "Run as", "without a service manager nobody restarts the engine, and each hour down "
                 "costs ramp days or weights", SERVICES),
    )
}  # fmt: skip


def problems_of(answers: Answers) -> dict[str, str]:
    """Field to sentence, for every answer that cannot be used; empty when all can."""
    if answers.role not in ROLES:
        return {"role": f"one of {', '.join(ROLES)}"}
    of_role = _of_validator if answers.is_validator else _of_miner
    return {**dict(_of_both(answers)), **dict(of_role(answers))}


def _of_both(answers: Answers) -> Iterator[tuple[str, str]]:
    if answers.network not in NETUIDS:
        yield "network", f"'{answers.network}' is no network; one of {', '.join(NETUIDS)}"
    if answers.network == "local" and not answers.chain_endpoint:
        yield "chain_endpoint", "a local network needs its endpoint, ws://HOST:PORT or file:PATH"
    for key in ("wallet_name", "hotkey_name"):
        if not getattr(answers, key) or "/" in getattr(answers, key):
            yield key, "give the plain name of a file or folder"
    for key in ("port", "health_port", "metrics_port"):
        if not 0 < getattr(answers, key) < 65536:
            yield key, "a port is a number from 1 to 65535"
    if answers.service and answers.service not in SERVICES:
        yield "service", f"one of {', '.join(SERVICES)}"


def _of_miner(answers: Answers) -> Iterator[tuple[str, str]]:
    yield from _unreadable("nodes", answers.entries, "name at least one GPU node")
    if answers.external_ip and not is_ip(answers.external_ip):
        yield "external_ip", "an IP address is wanted; names cannot go on chain"
    if answers.assignment not in ASSIGNMENTS:
        yield "assignment", f"one of {', '.join(ASSIGNMENTS)}"
    if answers.assignment == "fixed_assignment" and not answers.validator_hotkey:
        yield "validator_hotkey", "fixed_assignment needs the hotkey of the one validator"


def _of_validator(answers: Answers) -> Iterator[tuple[str, str]]:
    yield from _unreadable("shares", answers.allocations, "name at least one category")
    if not (math.isfinite(answers.burn) and answers.burn <= 100):
        yield "burn", "a percentage is a number from 0 to 100"
    if answers.scoring not in PROFILES:
        yield "scoring", f"one of {', '.join(PROFILES)}"
    if split_address(answers.api) is None:
        yield "api", "HOST:PORT is wanted, such as 127.0.0.1:8080"


def _unreadable(key: str, read: Callable[[], object], empty: str) -> Iterator[tuple[str, str]]:
    try:
        if not read():
            yield key, empty
    except ConfigInvalid as error:
        yield key, error.message
