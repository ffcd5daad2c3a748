"""The words in the log for events that operators already search for; the deployed miner's, where it has some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine import events as ev
from engine.events import Event, Severity

Line = tuple[Severity, str]
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


def _metagraph_read(event: ev.MetagraphRead) -> list[Line]:
    return [("info", f"Found {event.validators} validators with permits")]


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
    ev.MetagraphRead: _metagraph_read,
    ev.ChainFailed: _chain_failed,
    ev.AxonChecked: _axon_checked,
    ev.AxonServed: _axon_served,
    ev.AssignmentChanged: _assignment_changed,
    ev.ValidatorAuthenticated: _authenticated,
    ev.CallRefused: _refused,
    ev.DiscoveryAnswered: _discovery_answered,
    ev.NodeAdded: _node_added,
    ev.AlertRaised: _alert_raised,
    ev.ConfigReloaded: _config_reloaded,
    ev.ConfigRefused: _config_refused,
}
