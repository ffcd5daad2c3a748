"""Whether the nodes that play a part were caught, by the miner's console and by a validator's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from engine.control.models import NodeView, VerificationView
from engine.localnet.cast import Part

MOST_REASONS = 20
_IN_WORDS: Mapping[Part, tuple[str, ...]] = {
    "liar": ("the login was told",),
    "twins": ("counts for node",),
    "flapping": (),
    "slow": ("did not finish", "no answer"),
}
"""What a validator says of them; nothing means that any failure does."""


@dataclass(slots=True)
class Evidence:
    """What one engine's console has shown of its nodes, by node id: every trouble, not only the last."""

    reasons: dict[str, list[str]] = field(default_factory=dict)
    has_passed: set[str] = field(default_factory=set)

    def take_node(self, view: NodeView) -> None:
        """A miner's view of a node."""
        for text in (*view.doubts, view.reason, view.last_trouble):
            self._note(view.id, text)
        if view.checks_ok:
            self.has_passed.add(view.id)

    def take_verification(self, view: VerificationView) -> None:
        """A validator's view of a node."""
        if view.state == "failed":
            self._note(view.node_id, view.message)
        if view.passed:
            self.has_passed.add(view.node_id)

    def _note(self, node_id: str, text: str) -> None:
        known = self.reasons.setdefault(node_id, [])
        if text and text not in known and len(known) < MOST_REASONS:
            known.append(text)


def seen_by_miner(part: Part, ids: Iterable[str], evidence: Evidence) -> str:
    """The sentence that gives the nodes of a part away, empty while there is none."""
    wanted = {"liar": "contradicts itself", "twins": "also on"}.get(part, "")
    return _sentence(part, ids, evidence, (wanted,) if wanted else ())


def seen_by_validator(part: Part, ids: Iterable[str], evidence: Evidence) -> str:
    """The same, in a validator's words."""
    return _sentence(part, ids, evidence, _IN_WORDS[part])


def _sentence(part: Part, ids: Iterable[str], evidence: Evidence, words: tuple[str, ...]) -> str:
    for node_id in ids:
        if part == "flapping" and node_id not in evidence.has_passed:
            continue  # a node that never worked does not flap
        for text in evidence.reasons.get(node_id, ()):
            if not words or any(word in text for word in words):
                return text
    return ""
