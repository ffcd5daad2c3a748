"""What makes a validator's configuration unusable, and what only deserves a word."""

from __future__ import annotations

from engine.config.check_common import (
    check_common,
    check_listeners,
    check_private_file,
    is_ip,
    is_network,
    split_address,
)
from engine.config.findings import Findings
from engine.config.validator import ValidatorConfig
from engine.errors import ConfigInvalid

SHORTEST_KEY = 24
"""Characters of a configured API key."""


def check_validator_config(config: ValidatorConfig) -> None:
    """Raise ConfigInvalid with every problem, or return."""
    findings = Findings(lambda _: "configuration")
    find_in_validator(config, findings)
    if findings.problems:
        problems = tuple(sentence for _, sentence in findings.problems)
        raise ConfigInvalid("; ".join(problems), problems=problems)


def find_in_validator(config: ValidatorConfig, findings: Findings) -> None:
    """Collect problems and warnings about a validator's configuration."""
    check_common(config, findings)
    _check_api(config, findings)
    _check_emission(config, findings)
    endpoint = config.bittensor.advertised_axon_endpoint
    if endpoint is not None and (split_address(endpoint) is None or not endpoint.startswith(("http://", "https://"))):
        findings.problem(
            "bittensor.advertised_axon_endpoint", endpoint, "but must be an http:// or https:// URL with a port"
        )
    key_path = config.ssh_session.persistent_ssh_key_path
    if key_path is not None:
        check_private_file(
            "ssh_session.persistent_ssh_key_path", key_path, findings, "remove the key to have one made by the engine"
        )
    binary = config.verification.binary_validation
    for name in ("validator_binary_path", "executor_binary_path"):
        path = getattr(binary, name)
        if binary.enabled and not path.is_file():
            findings.problem(
                f"verification.binary_validation.{name}",
                path,
                "but there is no such file; name it, or set verification.binary_validation.enabled = false",
            )


def _check_api(config: ValidatorConfig, findings: Findings) -> None:
    listeners = []
    address = split_address(config.api.bind_address)
    if address is None:
        findings.problem("api.bind_address", config.api.bind_address, "but must be HOST:PORT, such as 127.0.0.1:8080")
    else:
        listeners.append(("api.bind_address", *address))
        is_local = address[0] == "localhost" or (is_ip(address[0]) and address[0] in {"127.0.0.1", "::1"})
        opened = sorted(set(config.api.open) - {"health", "docs"})
        if opened and not is_local:
            words = f"and api.open lets everyone who reaches it read {', '.join(opened)} without a key"
            findings.warn("api.bind_address", config.api.bind_address, words)
    for proxy in config.api.trusted_proxies:
        if not is_network(proxy):
            words = "but must be addresses or networks, such as 10.0.0.5 or 10.0.0.0/24"
            findings.problem("api.trusted_proxies", proxy, words)
    if config.api.api_key is not None and len(config.api.api_key) < SHORTEST_KEY:
        words = (
            f"and shorter than {SHORTEST_KEY} characters, so it is not accepted; basilica-tui api-keys create makes one"
        )
        findings.warn("api.api_key", "********", words)
    metrics, health = config.metrics, config.health
    if metrics.enabled:
        listeners.append(("metrics.prometheus.port", metrics.prometheus.host, metrics.prometheus.port))
    else:
        findings.warn("metrics.enabled", False, "but rentals are billed from metrics")
    if health.enabled:
        listeners.append(("health.port", health.host, health.port))
    check_listeners(listeners, findings)


def _check_emission(config: ValidatorConfig, findings: Findings) -> None:
    allocations = config.emission.gpu_allocations
    if not allocations:
        findings.warn(
            "emission.gpu_allocations", {}, "so no weights can be set; give each GPU category its share of 100"
        )
        return
    total = sum(allocation.weight for allocation in allocations.values())
    if abs(total - 100) > 0.01:
        findings.problem(
            "emission.gpu_allocations",
            {name: allocation.weight for name, allocation in allocations.items()},
            f"but the weights must sum to 100, not {total:g}",
        )
