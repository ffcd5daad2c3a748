"""What makes a miner's configuration unusable, and what only deserves a word."""

from __future__ import annotations

import re

from engine.config.check_common import (
    check_common,
    check_listeners,
    check_private_file,
    host_key,
    is_host,
    overlap,
    split_address,
)
from engine.config.findings import Findings
from engine.config.miner import MinerConfig, NodeConfig
from engine.errors import ConfigInvalid, HotkeyInvalid
from engine.identity.signatures import hotkey_bytes

_CATEGORY_WORDS = re.compile(r"[A-Za-z0-9._-]+")
# The deployed validator's client gives up on a call after this long.
_VALIDATOR_PATIENCE_S = 120.0
_MAKE_KEY = "make one with: basilica-tui keys generate --path {path}"


def check_miner_config(config: MinerConfig) -> None:
    """Raise ConfigInvalid with every problem, or return; looks at the key files it names."""
    findings = Findings(lambda _: "configuration")
    find_in_miner(config, findings)
    if findings.problems:
        problems = tuple(sentence for _, sentence in findings.problems)
        raise ConfigInvalid("; ".join(problems), problems=problems)


def find_in_miner(config: MinerConfig, findings: Findings) -> None:
    """Collect problems and warnings about a miner's configuration."""
    check_common(config, findings)
    _check_door(config, findings)
    _check_nodes(config, findings)
    _check_assignment(config, findings)
    _check_access(config, findings)
    key_path = config.ssh_session.miner_node_key_path
    check_private_file("ssh_session.miner_node_key_path", key_path, findings, _MAKE_KEY.format(path=key_path))
    if config.security.private_key_file is not None:
        check_private_file(
            "security.private_key_file", config.security.private_key_file, findings, "remove the key or name the file"
        )
    if not config.security.verify_signatures:
        findings.warn(
            "security.verify_signatures", False, "so anyone can claim to be a validator; use it for tests only"
        )


def settle_ports(config: MinerConfig) -> tuple[MinerConfig, tuple[tuple[str, str], ...]]:
    """Make the published and the bound port agree where the operator named at most one of them.

    The deployed defaults differ (8091 published, 50051 bound), so that nobody can connect. A port that was not set
    follows the one that was; with neither, the published one follows the bound one. Health moves out of the way.
    Returns the configuration and (key, words) of each change.
    """
    axon_set = "axon_port" in config.bittensor.model_fields_set
    bound_set = "port" in config.validator_comms.model_fields_set
    changes: list[tuple[str, str]] = []
    if not (axon_set and bound_set) and not _has_advertised_endpoint(config):
        axon, bound = config.bittensor.axon_port, config.validator_comms.port
        if axon != bound and axon_set:
            config = _with(config, "validator_comms", "port", axon)
            changes.append(("validator_comms.port", f"is not set and follows bittensor.axon_port, {axon}"))
        elif axon != bound:
            config = _with(config, "bittensor", "axon_port", bound)
            changes.append(("bittensor.axon_port", f"is not set and follows validator_comms.port, {bound}"))
    health = config.health
    taken = {port for key, host, port in _listeners(config) if key != "health.port" and overlap(host, health.host)}
    if health.enabled and "port" not in health.model_fields_set and health.port in taken:
        free = next(port for port in range(health.port + 1, 65536) if port not in taken)
        config = _with(config, "health", "port", free)
        changes.append(("health.port", f"is not set and moves to {free}, since {health.port} is taken"))
    return config, tuple(changes)


def _with(config: MinerConfig, section: str, key: str, value: object) -> MinerConfig:
    return config.model_copy(update={section: getattr(config, section).model_copy(update={key: value})})


def _has_advertised_endpoint(config: MinerConfig) -> bool:
    return bool(config.advertised_addresses.grpc_endpoint or config.advertised_addresses.axon_endpoint)


def _listeners(config: MinerConfig) -> list[tuple[str, str, int]]:
    metrics, health = config.metrics, config.health
    listeners = [("validator_comms.port", config.validator_comms.host, config.validator_comms.port)]
    if metrics.enabled:
        listeners.append(("metrics.prometheus.port", metrics.prometheus.host, metrics.prometheus.port))
    if health.enabled:
        listeners.append(("health.port", health.host, health.port))
    return listeners


def _check_door(config: MinerConfig, findings: Findings) -> None:
    comms, axon = config.validator_comms, config.bittensor.axon_port
    is_explicit = "axon_port" in config.bittensor.model_fields_set and "port" in comms.model_fields_set
    if axon != comms.port and is_explicit and not _has_advertised_endpoint(config):
        findings.problem(
            "bittensor.axon_port",
            axon,
            f"but validator_comms.port is {comms.port}, and validators call the published port; make them equal, "
            "or set advertised_addresses.grpc_endpoint if a router forwards one to the other",
        )
    for name in ("grpc_endpoint", "axon_endpoint"):
        endpoint = getattr(config.advertised_addresses, name)
        address = split_address(endpoint) if endpoint else None
        if endpoint and address is None:
            findings.problem(f"advertised_addresses.{name}", endpoint, "but must be HOST:PORT or http://HOST:PORT")
        elif address is not None and address[1] != axon:
            findings.warn(
                f"advertised_addresses.{name}", endpoint, f"but validators call bittensor.axon_port, which is {axon}"
            )
    if not is_host(comms.host):
        findings.problem("validator_comms.host", comms.host, "but must be an address to listen on, such as 0.0.0.0")
    if comms.port < 1024:
        findings.warn("validator_comms.port", comms.port, "which only root or CAP_NET_BIND_SERVICE may listen on")
    check_listeners(_listeners(config), findings)
    if comms.tls_enabled:
        _check_tls(config, findings)


def _check_tls(config: MinerConfig, findings: Findings) -> None:
    comms = config.validator_comms
    for name, path in (("tls_cert_path", comms.tls_cert_path), ("tls_key_path", comms.tls_key_path)):
        key = f"validator_comms.{name}"
        if path is None:
            findings.problem(key, "", "but validator_comms.tls_enabled needs it; name the PEM file")
        elif name == "tls_key_path":
            check_private_file(key, path, findings, "name the PEM file of the private key")
        elif not path.is_file():
            findings.problem(key, path, "but there is no such file; name the PEM file of the certificate")


def _check_nodes(config: MinerConfig, findings: Findings) -> None:
    nodes = config.node_management.nodes
    if not nodes:
        findings.warn("node_management.nodes", [], "so there is nothing to offer yet; add the GPU hosts")
    places: dict[tuple[str, int], int] = {}
    ids: dict[str, int] = {}
    for index, node in enumerate(nodes):
        key = f"node_management.nodes[{index}]"
        _check_node(key, node, findings)
        place = (host_key(node.host), node.port)
        first = places.setdefault(place, index)
        if first != index:
            findings.problem(
                f"{key}.host", node.host, f"but nodes[{first}] is the same host and port {node.port}; remove one"
            )
            continue
        owner = ids.setdefault(node.node_id, index)
        if owner != index:
            findings.problem(
                f"{key}.id", node.node_id, f"but nodes[{owner}] has the same id; give one of them another id"
            )
    if config.node_management.health_check_interval < 30:
        findings.warn(
            "node_management.health_check_interval",
            config.node_management.health_check_interval,
            "which checks nodes more often than they change; 60 is usual",
        )
    if config.node_management.max_retry_attempts > 10:
        findings.warn(
            "node_management.max_retry_attempts", config.node_management.max_retry_attempts, "which hides dead nodes"
        )


def _check_node(key: str, node: NodeConfig, findings: Findings) -> None:
    if not is_host(node.host):
        findings.problem(f"{key}.host", node.host, "but must be a host name or an IP address, IPv6 without brackets")
    if not is_host(node.username) or ":" in node.username:
        findings.problem(f"{key}.username", node.username, "but must be a plain user name")
    path = node.extra_mount_path
    if path is not None and not _is_mount_path(path):
        findings.problem(f"{key}.extra_mount_path", path, "but must be an absolute path of plain names, not /")


def _is_mount_path(path: str) -> bool:
    first, *parts = path.split("/")
    return first == "" and bool(parts) and all(_CATEGORY_WORDS.fullmatch(p) and p not in {".", ".."} for p in parts)


def _check_assignment(config: MinerConfig, findings: Findings) -> None:
    section = config.validator_assignment
    key, hotkey = "validator_assignment.validator_hotkey", section.validator_hotkey
    if hotkey is not None and hotkey.strip():
        try:
            hotkey_bytes(hotkey)
        except HotkeyInvalid as error:
            reason = error.message.removeprefix("Invalid hotkey: ")
            findings.problem(key, hotkey, f"which is no SS58 address ({reason}); copy the validator's hotkey again")
    elif section.enabled and section.strategy == "fixed_assignment":
        findings.problem(key, hotkey or "", "but strategy fixed_assignment needs the hotkey of the one validator")
    if not section.enabled:
        findings.warn("validator_assignment.enabled", False, "so every validator with a permit gets keys on every node")


def _check_access(config: MinerConfig, findings: Findings) -> None:
    access = config.access
    if access.discovery_deadline >= _VALIDATOR_PATIENCE_S:
        findings.warn(
            "access.discovery_deadline", access.discovery_deadline, "but validators give up after 120 seconds; use 60"
        )
    if access.node_deadline > access.discovery_deadline:
        findings.warn(
            "access.node_deadline",
            access.node_deadline,
            "which is longer than access.discovery_deadline and never reached",
        )
