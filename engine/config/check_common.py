"""Checks of the sections that both roles share, and the small rules behind them."""

from __future__ import annotations

import difflib
import ipaddress
import re
import shutil
import stat
from pathlib import Path
from urllib.parse import urlsplit

from engine.config.common import NETWORKS, AlertsConfig, BittensorConfig, DatabaseConfig, RoleConfig
from engine.config.findings import Findings

_SUBNETS = {"finney": 39, "test": 387}
_OTHER_NAMES = {"mainnet": "finney", "main": "finney", "testnet": "test", "localnet": "local", "localhost": "local"}
_EVERYWHERE = {"0.0.0.0", "::"}
_APPRISE_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S")
_HOST = re.compile(r"[^\s/@\[\]\\'\"`;|&$<>(){}]+")


def check_common(config: RoleConfig, findings: Findings) -> None:
    """Chain, database and listeners."""
    _check_bittensor(config.bittensor, findings)
    _check_database(config.database, findings)
    _check_alerts(config.alerts, findings)
    for key, enabled, host in (
        ("metrics.prometheus.host", config.metrics.enabled, config.metrics.prometheus.host),
        ("health.host", config.health.enabled, config.health.host),
    ):
        if enabled and host in _EVERYWHERE:
            findings.warn(key, host, "so everyone who reaches this host can read it; 127.0.0.1 keeps it local")


def _check_alerts(section: AlertsConfig, findings: Findings) -> None:
    for number, url in enumerate(section.urls):
        if not _APPRISE_URL.match(url):
            findings.problem(f"alerts.urls[{number}]", url, "but must be an Apprise URL such as discord://ID/TOKEN")
    if section.command and shutil.which(section.command[0]) is None:
        findings.warn("alerts.command", section.command[0], "which is no program that this user can start")


def check_listeners(listeners: list[tuple[str, str, int]], findings: Findings) -> None:
    """No two listeners (key, host, port) may want the same port of the same address."""
    for index, (key, host, port) in enumerate(listeners):
        for other, other_host, other_port in listeners[:index]:
            if port == other_port and overlap(host, other_host):
                findings.problem(key, port, f"but {other} uses that port already; give one of them another port")


def overlap(host: str, other: str) -> bool:
    """Whether two bind addresses share an address."""
    return host == other or host in _EVERYWHERE or other in _EVERYWHERE


def split_address(text: str) -> tuple[str, int] | None:
    """Host and port of ``host:port`` or of a URL with a port; None when it is neither."""
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        port = parts.port
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


def is_ip(text: str) -> bool:
    """Whether text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_network(text: str) -> bool:
    """Whether text is an address, or a network without bits of a host."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def host_key(host: str) -> str:
    """A host in the form in which two spellings of one address are equal."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")


def is_host(text: str) -> bool:
    """Whether text can be a host name or an address; IPv6 without brackets."""
    return bool(_HOST.fullmatch(text)) and not text.startswith("-") and (":" not in text or is_ip(text))


def check_private_file(key: str, path: Path, findings: Findings, what_to_do: str) -> None:
    """A file with a secret must exist, be a regular file, and be closed to other users."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        findings.problem(key, path, f"but there is no such file; {what_to_do}")
        return
    except OSError as error:
        findings.problem(key, path, f"but it cannot be reached ({error.strerror}); run as its owner or move it")
        return
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        findings.problem(key, path, f"but that is not a file; {what_to_do}")
    elif mode & 0o077:
        findings.problem(key, path, f"but other users can open it (mode {mode:04o}); run: chmod 600 {path}")


def _check_bittensor(section: BittensorConfig, findings: Findings) -> None:
    network = section.network
    if network not in NETWORKS:
        close = difflib.get_close_matches(network, NETWORKS, n=1)
        guess = _OTHER_NAMES.get(network.lower()) or (close[0] if close else "")
        words = f"but must be one of {', '.join(NETWORKS)}" + (f"; did you mean {guess}?" if guess else "")
        findings.problem("bittensor.network", network, words)
    expected = _SUBNETS.get(network)
    if expected is not None and section.netuid != expected:
        owner = next((name for name, netuid in _SUBNETS.items() if netuid == section.netuid), None)
        reason = f"which is the subnet of network {owner}" if owner else "which is not a Basilica subnet"
        findings.warn("bittensor.netuid", section.netuid, f"{reason}; Basilica is {expected} on {network}")
    endpoints = [("bittensor.chain_endpoint", section.chain_endpoint)] if section.chain_endpoint is not None else []
    fallbacks = [(f"bittensor.fallback_endpoints[{i}]", text) for i, text in enumerate(section.fallback_endpoints)]
    for key, endpoint in (*endpoints, *fallbacks):
        _check_endpoint(key, endpoint or "", network, findings)
    if section.external_ip is not None and not is_ip(section.external_ip):
        findings.problem(
            "bittensor.external_ip", section.external_ip, "but must be an IP address; names cannot go on chain"
        )


def _check_endpoint(key: str, endpoint: str, network: str, findings: Findings) -> None:
    scheme, _, rest = endpoint.partition(":")
    if scheme == "file" and rest:
        if network != "local":
            findings.problem(key, endpoint, 'but a chain in a file needs bittensor.network = "local"')
        return
    try:
        has_host = bool(urlsplit(endpoint).hostname)
    except ValueError:
        has_host = False
    if scheme not in {"ws", "wss"} or not has_host:
        findings.problem(key, endpoint, "but must be a ws:// or wss:// URL, or file:PATH on network local")


def _check_database(section: DatabaseConfig, findings: Findings) -> None:
    scheme, colon, rest = section.url.partition(":")
    if not colon or not rest or scheme.partition("+")[0] not in {"sqlite", "postgresql", "postgres"}:
        findings.problem("database.url", section.url, "but must be sqlite:PATH or postgresql://USER@HOST/NAME")
    if section.min_connections > section.max_connections:
        findings.problem(
            "database.min_connections",
            section.min_connections,
            f"but must not be more than database.max_connections ({section.max_connections})",
        )
    if section.max_connections > 50:
        findings.warn("database.max_connections", section.max_connections, "which is more than this engine can use")
