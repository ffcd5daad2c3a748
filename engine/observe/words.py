"""The words in the log for events that operators already search for; the deployed miner's, where it has some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine import events as ev
from engine.events import Event, Severity

Line = tuple[Severity, str]
NO_PERMIT = "configured validator "
"""How the reason of an assignment begins that found no permit for the configured validator."""
Words = Callable[[Any], list[Line]]

_REFUSALS: tuple[tuple[str, str], ...] = (
    ("intended", "Authentication request intended for different miner"),
    ("signature", "Signature verification failed for validator {hotkey}"),
    ("timestamp", "Authentication request timestamp too old: {reason}"),
    ("not authorized", "Validator {hotkey} is not authorized"),
)


def lines(event: Event) -> list[Line]:
    """The lines to log for an event: documented words, or its kind where there are none."""
    words = _WORDS.get(type(event))
    return (words(event) if words is not None else []) or [(event.severity, event.kind)]


def _engine_started(event: ev.EngineStarted) -> list[Line]:
    return [("info", f"Starting Basilica {event.role.capitalize()}")]


def _engine_stopping(event: ev.EngineStopping) -> list[Line]:
    is_signal = event.reason.startswith("SIG")
    return [("info", "Received shutdown signal, stopping" if is_signal else f"Stopping: {event.reason}")]


def _metagraph_read(event: ev.MetagraphRead) -> list[Line]:
    found: Line = ("info", f"Found {event.validators} validators with permits")
    if event.own_uid is None:
        return [found, ("error", f"No UID discovered: the hotkey is not registered on subnet {event.netuid}")]
    return [found, ("debug", f"Registered with discovered UID: {event.own_uid}")]


def _chain_failed(event: ev.ChainFailed) -> list[Line]:
    if "metagraph" in event.operation:
        return [("error", "Failed to fetch active validators")]
    if "rate limit" in event.error.lower():
        return [("error", f"Rate limited when calling {event.operation}")]
    return []


def _axon_checked(event: ev.AxonChecked) -> list[Line]:
    if not event.on_chain:
        return [("debug", "No axon info found for neuron")]
    if event.on_chain == event.advertised:
        return [("debug", f"Axon already registered at {event.on_chain}")]
    return [("info", f"Axon address has changed from {event.on_chain} to {event.advertised}")]


def _axon_served(_: ev.AxonServed) -> list[Line]:
    return [("info", "Axon served successfully")]


def _assignment_changed(event: ev.AssignmentChanged) -> list[Line]:
    if event.validator_hotkey:
        return [
            ("info", f"Assigning all nodes to validator {event.validator_hotkey} (uid: {event.uid})"),
            ("info", f"Assigned validator: {event.validator_hotkey}"),
        ]
    if event.reason.startswith(NO_PERMIT):
        hotkey = event.reason.removeprefix(NO_PERMIT).partition(" ")[0]
        return [("warning", f"Validator with hotkey {hotkey} not found in active validators")]
    if event.strategy != "open":
        return [("info", "No eligible validators found during discovery; no assignment made")]
    return []


def _authenticated(event: ev.ValidatorAuthenticated) -> list[Line]:
    return [("info", f"Successfully authenticated validator: {event.validator_hotkey}")]


def _refused(event: ev.CallRefused) -> list[Line]:
    reason = event.reason.lower()
    for part, words in _REFUSALS:
        if part in reason:
            return [("warning", words.format(hotkey=event.validator_hotkey, reason=event.reason))]
    return []


def _discovery_answered(event: ev.DiscoveryAnswered) -> list[Line]:
    hotkey = event.validator_hotkey
    if not event.assigned:
        return [("info", f"Validator {hotkey} is not the assigned validator; returning empty node list")]
    if event.nodes_ready + event.nodes_failed == 0:
        return [("info", f"Validator {hotkey} has no available nodes; skipping SSH key deployment")]
    if event.nodes_ready == 0:
        return [("error", f"Failed to deploy validator SSH keys for validator {hotkey}")]
    return [
        ("info", f"Deployed SSH keys for validator {hotkey} on {event.nodes_ready} nodes"),
        ("info", f"Returning {event.nodes_ready} nodes to validator {hotkey}"),
    ]


def _node_added(event: ev.NodeAdded) -> list[Line]:
    return [("info", f"Registered node {event.node_id} at {event.username}@{event.host}:{event.port}")]


def _node_state_changed(event: ev.NodeStateChanged) -> list[Line]:
    """What the node said is in the fields: words are for every terminal."""
    if event.new == "healthy":
        return [("info", f"Node {event.node_id} is healthy")]
    return [("warning" if event.new == "suspect" else "error", f"Node health check failed: {event.node_id}")]


def _key_deployed(event: ev.KeyDeployed) -> list[Line]:
    verb = "Renewed SSH key on" if event.renewed else "Deployed SSH key to"
    return [("info", f"{verb} node {event.node_id} for validator {event.validator_hotkey}")]


def _key_removed(event: ev.KeyRemoved) -> list[Line]:
    return [("info", f"Removed SSH key of validator {event.validator_hotkey} from node {event.node_id}")]


def _key_failed(event: ev.KeyFailed) -> list[Line]:
    what = "SSH command failed" if event.error_code.startswith("ssh_") else "SSH keys not changed"
    return [("error", f"{what}: {event.operation} on node {event.node_id}")]


def _config_reloaded(event: ev.ConfigReloaded) -> list[Line]:
    found: list[Line] = [("info", f"Configuration reloaded: {len(event.applied)} changes applied")]
    if event.restart_needed:
        found.append(("warning", f"Restart needed for: {', '.join(event.restart_needed)}"))
    return found


def _config_refused(_: ev.ConfigRefused) -> list[Line]:
    return [("error", "Configuration not reloaded: the file cannot be used")]


def _alert_raised(event: ev.AlertRaised) -> list[Line]:
    return [("error" if event.level == "error" else "warning", event.kind)]


_WORDS: dict[type[Event], Words] = {
    ev.EngineStarted: _engine_started,
    ev.EngineStopping: _engine_stopping,
    ev.MetagraphRead: _metagraph_read,
    ev.ChainFailed: _chain_failed,
    ev.AxonChecked: _axon_checked,
    ev.AxonServed: _axon_served,
    ev.AssignmentChanged: _assignment_changed,
    ev.ValidatorAuthenticated: _authenticated,
    ev.CallRefused: _refused,
    ev.DiscoveryAnswered: _discovery_answered,
    ev.NodeAdded: _node_added,
    ev.NodeStateChanged: _node_state_changed,
    ev.KeyDeployed: _key_deployed,
    ev.KeyRemoved: _key_removed,
    ev.KeyFailed: _key_failed,
    ev.AlertRaised: _alert_raised,
    ev.ConfigReloaded: _config_reloaded,
    ev.ConfigRefused: _config_refused,
}
