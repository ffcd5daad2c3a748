"""What the engine can be asked to do, as the console offers it: words, arguments, and what asks first. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

ArgKind = Literal["node", "session", "alert", "verified", "seconds", "key", "text"]
Role = Literal["miner", "validator", ""]

COLLECTION_OF: Mapping[str, str] = {
    "node": "nodes", "session": "sessions", "alert": "alerts", "verified": "verifications",
}  # fmt: skip
"""The collection whose ids an argument of that kind names."""


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument: the name that the engine knows it by, and what may stand for it."""

    name: str
    kind: ArgKind = "text"
    needed: bool = True


@dataclass(frozen=True, slots=True)
class EngineAction:
    """``words`` finish the sentence "do you want to ..."; ``danger`` asks first, and the dialog says ``warning``."""

    verb: str
    words: str
    args: tuple[Arg, ...] = ()
    danger: bool = False
    role: Role = ""
    warning: str = ""

    @property
    def subject(self) -> str:
        """The collection that its first argument comes from; empty for actions on the engine itself."""
        return COLLECTION_OF.get(self.args[0].kind, "") if self.args else ""

    @property
    def is_for_rows(self) -> bool:
        """Whether a selected row is all that it needs."""
        return bool(self.subject) and not any(arg.needed for arg in self.args[1:])

    @property
    def choice(self) -> Arg | None:
        """The one thing besides the row that it needs and that can be chosen from a list."""
        rest = [arg for arg in self.args[1:] if arg.needed]
        return rest[0] if self.subject and len(rest) == 1 and rest[0].kind in COLLECTION_OF else None


_NODE = Arg("node_id", "node")
_ALERT = Arg("alert_id", "alert")
_PLACE = Arg("place", "verified")

ACTIONS: tuple[EngineAction, ...] = (
    EngineAction("node.check", "check now", (_NODE,), role="miner"),
    EngineAction("node.reconcile", "make the keys match now", (_NODE,), role="miner"),
    EngineAction("node.inventory", "read all keys on the node", (_NODE,), role="miner"),
    EngineAction("node.what_if", "say what a failure would cost", (_NODE,), role="miner"),
    EngineAction("node.drain", "drain", (_NODE,), True, "miner",
                 "Validators are not given it any more; keys that are there stay until they expire. Checks go on. "
                 "A validator that misses the node for long starts its ramp anew."),
    EngineAction("node.enable", "enable", (_NODE,), True, "miner",
                 "Back into service: validators get it with their next discovery."),
    EngineAction("grant.deploy", "deploy a validator's key to", (_NODE, Arg("hotkey", "session")), True, "miner",
                 "The validator may enter that node for one session lifetime from now."),
    EngineAction("grant.revoke", "revoke a validator's key on", (_NODE, Arg("hotkey", "session")), True, "miner",
                 "Its key is removed from that node at once, its sessions there end. It may come back by discovery."),
    EngineAction("node.accept_host_key", "accept the new host key of", (_NODE, Arg("fingerprint")), True, "miner",
                 "Accept it only if you know why the key changed."),
    EngineAction("node.accept_keys", "accept the keys that are there now as yours", (_NODE,), True, "miner",
                 "Keys that nobody knows become part of the baseline and are not reported again."),
    EngineAction("node.remove_key", "remove a key from", (_NODE, Arg("fingerprint", "key")), True, "miner",
                 "Whoever holds this key cannot sign in to the node any more."),
    EngineAction("node.adopt_leftovers", "take over what an older miner left", (_NODE,), True, "miner",
                 "Key lines of the older miner are removed."),
    EngineAction("node.protect", "keep validators' keys where only root can write on",
                 (_NODE, Arg("login", needed=False)), True, "miner",
                 "As root (or who you name) sshd is told of a second key file, which is tested before it counts; new "
                 "logins prove that nobody is locked out. node.unprotect takes all of it back."),
    EngineAction("node.unprotect", "keep validators' keys in the account's own file again on", (_NODE,), True, "miner",
                 "Keys are moved back first; then the second key file and its mention go."),
    EngineAction("node_key.rotate", "rotate the key of this miner for its nodes", (), True, "miner",
                 "Every node gets a new key; the old one is removed when all nodes took the new one."),
    EngineAction("fleet.check", "check every node now", (), role="miner"),
    EngineAction("session.end", "end the access of", (Arg("hotkey", "session"),), True, "miner",
                 "Its keys are removed from every node at once. It may sign in again if it is still assigned."),
    EngineAction("session.renew", "renew the access of", (Arg("hotkey", "session"),), True, "miner",
                 "Its keys stay on the nodes for one more session lifetime from now."),
    EngineAction("assignment.refresh", "read the chain and assign now", (), role="miner"),
    EngineAction("chain.weights", "read what each validator's weights on chain give this miner", (), role="miner"),
    EngineAction("axon.publish", "compare the axon with the chain and publish it where it differs", (), True, "miner",
                 "It costs a transaction when the chain says something else."),
    EngineAction("reach.check", "let a node call the axon from outside", (), role="miner"),
    EngineAction("verify.now", "start a verification round now", (), role="validator"),
    EngineAction("weights.set", "score and set weights now", (), True, "validator",
                 "They go to the chain in place of what is there. Subnets limit how often."),
    EngineAction("rental.begin", "note the rental of", (_PLACE, Arg("id", needed=False)), True, "validator",
                 "Until the rental ends it gets lightweight checks only, and clean-up spares it."),
    EngineAction("rental.end", "end the rental of", (_PLACE, Arg("reason", needed=False)), True, "validator",
                 "It is verified fully in the next round, which works its GPUs: whoever rents it should be gone."),
    EngineAction("config.set", "change a setting of the file", (Arg("key"), Arg("value")), True, "",
                 "The file is backed up first; a reload or a restart puts the change in force."),
    EngineAction("config.restore", "put a backup of the configuration in place", (Arg("name"),), True, "",
                 "The file as it is now is backed up first."),
    EngineAction("config.backups", "list the backups of the configuration"),
    EngineAction("alert.acknowledge", "acknowledge", (_ALERT,)),
    EngineAction("alert.silence", "silence", (_ALERT, Arg("seconds", "seconds", needed=False))),
    EngineAction("alert.test", "send a test to every receiver of alerts"),
    EngineAction("doctor.run", "examine with the doctor", (Arg("node_id", "node", needed=False),)),
    EngineAction("config.plan", "say what a reload would change"),
    EngineAction("engine.reload", "read the configuration file again", (), True, "",
                 "Settings that can change while it runs are taken over."),
    EngineAction("engine.stop", "stop the engine", (), True, "", "It stops serving validators."),
)  # fmt: skip

_BY_VERB: Mapping[str, EngineAction] = {a.verb: a for a in ACTIONS}
_OPTIONAL = frozenset(
    {
        "reach.check", "node.drain", "node.enable", "axon.publish", "grant.deploy", "grant.revoke", "session.renew",
        "config.set", "config.restore", "config.backups", "doctor.run", "node.protect", "node.unprotect",
        "rental.begin", "rental.end",
    }
)  # fmt: skip
"""Offered only by engines that say that they know them."""
_KIND_WORDS: Mapping[str, str] = {"verified": "verified node", "session": "validator with access"}
_UNITS: Mapping[str, float] = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def find_action(verb: str) -> EngineAction | None:
    """The action of that name."""
    return _BY_VERB.get(verb)


def action_of(verb: str, verbs: frozenset[str] | None) -> EngineAction | None:
    """The action of that name; one that only the engine knows takes ``name=value`` words and asks first."""
    known = find_action(verb)
    if known is None and verbs is not None and verb in verbs:
        return EngineAction(verb, verb, (), True, "", "This console does not know what it does; the engine does.")
    return known


def offered(role: str, verbs: frozenset[str] | None) -> list[EngineAction]:
    """The actions for an engine's role; ``verbs`` is what the engine says it knows, None while that is not known."""
    fitting = [a for a in ACTIONS if a.role in {"", role or a.role}]
    if verbs is None:
        return [a for a in fitting if a.verb not in _OPTIONAL]
    return [a for a in fitting if a.verb in verbs]


def for_rows(collection: str, role: str, verbs: frozenset[str] | None) -> list[EngineAction]:
    """What can be done with rows of a collection and at most one more choice."""
    return [a for a in offered(role, verbs) if a.subject == collection and (a.is_for_rows or a.choice)]


def parse_seconds(text: str) -> float | None:
    """``90``, ``30m``, ``4h``, ``2d`` in seconds; None for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)?", text.strip())
    return None if found is None else float(found[1]) * _UNITS[found[2] or "s"]


def parse_args(
    action: EngineAction, words: Sequence[str], names: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, object], str]:
    """Arguments from what was typed, in order or as ``name=value``; the text says what is wrong with them.

    ``names`` leads from what people type to ids, by collection.
    """
    if find_action(action.verb) is None:
        return _any_args(action, words)
    given: dict[str, object] = {}
    rest = list(words)
    for word in words:
        name, equals, value = word.partition("=")
        if equals and any(arg.name == name for arg in action.args):
            given[name] = value
            rest.remove(word)
    for arg in action.args:
        if arg.name not in given and rest:
            given[arg.name] = rest.pop(0)
        if arg.name not in given:
            if arg.needed:
                return {}, f"{action.verb} wants {' '.join(_form(a) for a in action.args)}"
            continue
        found, problem = _value(arg, str(given[arg.name]), names)
        if problem:
            return {}, problem
        given[arg.name] = found
    if rest:
        return {}, f"{action.verb} does not know what to do with {' '.join(rest)}"
    return given, ""


def _any_args(action: EngineAction, words: Sequence[str]) -> tuple[dict[str, object], str]:
    pairs = [word.partition("=") for word in words]
    if not all(name and equals for name, equals, _ in pairs):
        return {}, f"{action.verb} wants its arguments as name=value"
    return {name: value for name, _, value in pairs}, ""


def _value(arg: Arg, text: str, names: Mapping[str, Mapping[str, str]]) -> tuple[object, str]:
    if arg.kind == "seconds":
        seconds = parse_seconds(text)
        return seconds, "" if seconds is not None else f"{text} is no length of time; 30m, 4h and 2d are"
    if arg.kind in COLLECTION_OF:
        known = names.get(COLLECTION_OF[arg.kind], {})
        if text in known:
            return known[text], ""
        return (
            text,
            "" if text in known.values() else f"there is no {_KIND_WORDS.get(arg.kind, arg.kind)} called {text}",
        )
    return text, ""


def _form(arg: Arg) -> str:
    word = {"seconds": "TIME", "node": "NODE", "session": "HOTKEY", "alert": "ALERT", "verified": "NODE"}.get(
        arg.kind, arg.name.upper()
    )
    return word if arg.needed else f"[{word}]"
