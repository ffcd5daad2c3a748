"""Alert rules about validators and the chain: pure judgements over the live state."""

from __future__ import annotations

from collections.abc import Iterator

from engine.observe.alerts_book import Reading, Trouble
from engine.observe.alerts_facts import MIN_COUNT, RATE_MARGIN, Facts

KEY_CHANGE_SHOWN_S = 86_400.0


def no_validator(facts: Facts) -> Iterator[Reading]:
    """Nobody authenticated for long."""
    engine = facts.state.engine
    last = engine.last_called_at or engine.started_at
    if last is None:
        return
    silent_s = facts.now - last
    since = "since the engine started" if engine.last_called_at is None else f"for {silent_s / 3600:.1f} h"
    yield Reading(
        "no_validator",
        "",
        Trouble(
            "error",
            f"no validator has called {since}",
            "nodes that nobody validates earn nothing, and their scores fade",
            "check that the axon on chain is this host, and that its port is open from outside",
        )
        if silent_s > facts.limits.no_validator_after
        else None,
    )


def no_assignment(facts: Facts) -> Iterator[Reading]:
    """The policy lets nobody in."""
    engine = facts.state.engine
    if not engine.strategy or engine.metagraph_at is None:
        yield Reading("no_assignment", "", is_known=False)
        return
    is_missing = engine.strategy != "open" and not engine.assigned_hotkey
    yield Reading(
        "no_assignment",
        "",
        Trouble(
            "error",
            f"no validator is assigned: {engine.assigned_reason or 'none qualifies'}",
            "every validator is answered with an empty list, so the nodes earn nothing",
            "check [validator_assignment]: strategy, validator_hotkey and min_stake_threshold",
        )
        if is_missing
        else None,
    )


def assigned_silent(facts: Facts) -> Iterator[Reading]:
    """The assigned validator stays away."""
    engine = facts.state.engine
    hotkey = engine.assigned_hotkey
    if not hotkey:
        return
    session = facts.state.sessions.get(hotkey)
    calls = [] if session is None else [session.last_discovery_at or 0.0, session.authenticated_at or 0.0]
    last = max([*calls, engine.assigned_since or 0.0, engine.started_at or 0.0])
    silent_s = facts.now - last
    yield Reading(
        "assigned_silent",
        hotkey,
        Trouble(
            "warning",
            f"the assigned validator has not called for {silent_s / 60:.0f} min",
            "its access to the nodes ends with the session, and no other validator is let in",
            "see whether other validators call; if only this one is away, wait or assign another",
        )
        if silent_s > facts.limits.assigned_silent_after
        else None,
    )


def auth_success(facts: Facts) -> Iterator[Reading]:
    """Too many authentications are refused."""
    accepted, refused = facts.authentications
    total = accepted + refused
    if total < MIN_COUNT:
        yield Reading("auth_success", "", is_known=total == 0)
        return
    limit, percent = facts.limits.auth_success_min, 100.0 * accepted / total
    is_low = facts.falls_below(("auth_success", ""), percent, limit, min(limit + RATE_MARGIN, 100.0))
    yield Reading(
        "auth_success",
        "",
        Trouble(
            "warning",
            f"{percent:.0f} % of {total} authentications succeeded, below {limit:g} %",
            "validators that are refused do not see the nodes; strangers that are refused cost nothing",
            "look at the refusals in the log: clock, hotkey on chain, signature",
        )
        if is_low
        else None,
    )


def validator_key(facts: Facts) -> Iterator[Reading]:
    """A validator came with another SSH key; until a person acknowledges, or a day passes."""
    for change in facts.key_changes:
        key = ("validator_key_changed", change.hotkey)
        is_new = facts.now - change.at < KEY_CHANGE_SHOWN_S and not facts.is_acknowledged(key, change.at)
        yield Reading(
            *key,
            Trouble(
                "warning",
                f"the validator's SSH key changed from {change.old_fingerprint} to {change.new_fingerprint}",
                "the new key opens the nodes; a man in the middle could have swapped it",
                "ask the validator for its fingerprint; end its access if it differs, else acknowledge",
            )
            if is_new
            else None,
        )


def axon(facts: Facts) -> Iterator[Reading]:
    """The chain does not say where this miner is."""
    engine = facts.state.engine
    if not engine.axon_bound:
        yield Reading("axon_mismatch", "", is_known=False)
        return
    on_chain, wanted = engine.axon_on_chain, engine.axon_advertised
    if on_chain and on_chain == wanted:
        yield Reading("axon_mismatch", "")
        return
    if not wanted:
        message = "this host's public address is not known, so the axon cannot be published or compared"
    elif not on_chain:
        message = f"the chain has no axon of this hotkey; it should be {wanted}"
    else:
        message = f"the chain says {on_chain}, this miner wants {wanted}"
    yield Reading(
        "axon_mismatch",
        "",
        Trouble(
            "error",
            message,
            "validators dial what the chain says and do not find this miner",
            "set bittensor.external_ip and axon_port; a new axon is published at the next discovery turn",
        ),
    )


def reach(facts: Facts) -> Iterator[Reading]:
    """A node outside does not get through to the advertised address."""
    engine = facts.state.engine
    if engine.reach not in ("open", "refused", "timeout"):
        yield Reading("axon_unreachable", "", is_known=False)
        return
    said = {"refused": "is refused", "timeout": "gets no answer"}.get(engine.reach, "")
    yield Reading(
        "axon_unreachable",
        "",
        Trouble(
            "error",
            f"{engine.reach_peer} calls {engine.axon_advertised} and {said}",
            "validators that cannot call this miner do not use its nodes, and their scores fade",
            "open the port here, in the router and at the provider; compare bittensor.external_ip and axon_port",
        )
        if said
        else None,
    )


def not_registered(facts: Facts) -> Iterator[Reading]:
    """The hotkey has no place on the subnet."""
    engine = facts.state.engine
    if engine.metagraph_at is None:
        yield Reading("not_registered", "", is_known=False)
        return
    yield Reading(
        "not_registered",
        "",
        Trouble(
            "error",
            f"this hotkey has no uid on subnet {engine.netuid}",
            "nobody on the network knows this engine",
            f"register it: btcli subnet register --netuid {engine.netuid}",
        )
        if engine.uid is None
        else None,
    )


def chain_stale(facts: Facts) -> Iterator[Reading]:
    """The chain has not been read for long."""
    engine = facts.state.engine
    read_at = engine.metagraph_at or engine.started_at
    if read_at is None:
        return
    age_s = facts.now - read_at
    # A long interval between two reads is the operator's choice, not a failure.
    limit_s = max(facts.limits.chain_stale_after, 2 * facts.chain_interval_s)
    yield Reading(
        "chain_stale",
        "",
        Trouble(
            "error",
            ": ".join(filter(None, (f"the chain was last read {age_s / 60:.0f} min ago", engine.chain_error))),
            "permits and stakes are judged by old data, and once it is too old everybody is refused",
            "check the connection to the chain, or set bittensor.fallback_endpoints",
        )
        if age_s > limit_s
        else None,
    )
