"""Whole sentences for the times when there is nothing to show: no box is ever just empty."""

from __future__ import annotations

from basilica_tui.format import Look, age
from basilica_tui.store import ConsoleStore

READ_ONLY = "You are looking on: keys that change something are hidden here and refused by the engine."

_EMPTY = {
    "nodes": "No nodes are configured. Add a [[node_management.nodes]] entry to miner.toml, then   :reload",
    "sessions": "Nobody has asked for access yet. Validators call when they find this miner's axon on the chain.",
    "services": "The engine has not started a service yet.",
    "alerts": "No alerts: nothing has gone wrong since the engine started.",
    "miners": "No miners discovered yet. They appear with the next read of the chain.",
    "verifications": "Nothing has been verified yet. Verification starts when a miner answers and names its nodes.",
    "weights": "No weights were set yet by this engine. W sets them now; otherwise the block clock decides.",
    "logs": "The engine has logged nothing yet.",
}
_OF_THE_OTHER = {
    "validator": {
        "nodes": "This is a validator and has no nodes of its own; those that it verifies are under   verifications",
        "sessions": "This is a validator and lets nobody in; the miners that it calls are under   miners",
    },
    "miner": {
        "miners": "This is a miner and calls no other; who may enter its nodes is under   sessions",
        "verifications": "This is a miner and verifies nobody; its own checks are under   nodes",
        "weights": "This is a miner and sets no weights; what counts for it is under   scores",
    },
}
"""What an engine of one role never has, and where the operator finds what is meant."""
_SAID = ("no engine", "there is no engine")
"""A reason that begins so is the first sentence again."""
_NEED_CHAIN = {
    "sessions": "Nobody has access. The chain is unreachable, so validators cannot be recognised.",
    "miners": "The chain is unreachable, so no miner can be discovered.",
}


def connection_sentences(store: ConsoleStore, socket: str, look: Look) -> list[str]:
    """What to say while no engine has ever answered."""
    link = store.link
    if link.phase == "connecting":
        return [f"Connecting to the engine at {socket}."]
    if link.phase == "live":
        return ["The engine is starting; it has not said anything yet."]
    wait = max(int((link.retry_at or look.now) - look.now + 0.5), 0)
    if link.is_mismatch:
        return [
            f"An engine answers on {socket}, but this console cannot talk to it.",
            f"{link.error[:1].upper()}{link.error[1:]}.",
            f"What to do: {link.hint}." if link.hint else "",
            f"Trying again in {wait} s: an engine of the right version is shown as soon as it is there.",
        ]
    lines = [
        f"No engine answers on {socket}.",
        f"Reason: {link.error}" if link.error and not link.error.lower().startswith(_SAID) else "",
        "" if link.hint.lower().startswith("start one") else link.hint,
        "Start one with   basilica-tui --daemon --config miner.toml",
        "or set one up with   9   or   basilica-tui setup",
        "or look around in a subnet of its own:   basilica-tui demo",
        f"Trying again in {wait} s, for as long as this console is open.",
    ]
    return [line for line in lines if line]


def empty_table(store: ConsoleStore, collection: str, look: Look) -> str:
    """Why a table has no rows."""
    if not store.has_data:
        return "Nothing is known yet."
    if store.replay is not None:
        return "Nothing of this was recorded by this moment."
    if collection in _OF_THE_OTHER.get(store.engine.role, {}):
        return _OF_THE_OTHER[store.engine.role][collection]
    if store.engine.chain_error and collection in _NEED_CHAIN:
        return _NEED_CHAIN[collection]
    return _EMPTY.get(collection, "Nothing here.")


def all_is_well(store: ConsoleStore, look: Look) -> str:
    """The good news in place of a list of problems."""
    engine = store.engine
    if store.replay is not None and not engine.role:
        return "the recording begins here; nothing is known yet"
    if not store.has_data or not engine.role:
        return "the engine is starting; nothing is known yet"
    if engine.role == "miner" and not store.nodes:
        return "no problem known, but no node is configured either"
    up = f" (engine up {age(engine.started_at, look)})" if engine.started_at else ""
    return f"nothing to fix{up}"
