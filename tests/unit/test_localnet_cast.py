"""The nodes that play a part in a demo, and how a console gives them away."""

from __future__ import annotations

import pytest

from engine.control.models import NodeView, VerificationView
from engine.errors import LocalnetFailed
from engine.localnet.cast import PARTS, Part, parse_cast, players
from engine.localnet.caught import MOST_REASONS, Evidence, seen_by_miner, seen_by_validator


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("all", PARTS),
        ("none", ()),
        ("", ()),
        ("slow, liar", ("liar", "slow")),
        ("twins,twins", ("twins",)),
    ],
)
def test_a_cast_is_a_list_of_parts(text: str, parts: tuple[Part, ...]) -> None:
    """All, none or some; always in the same order, so that a directory keeps its nodes."""
    assert parse_cast(text) == parts


def test_an_unknown_part_is_named() -> None:
    """The error says which word is wrong and which are right."""
    with pytest.raises(LocalnetFailed, match="no part called thief") as caught:
        parse_cast("liar,thief")
    assert "flapping" in caught.value.hint


def test_players_are_what_they_are_named_for() -> None:
    """A liar claims what it has not, twins share their cards, nobody shares them with others."""
    found = {player.name: player for player in players(PARTS, "seed")}
    assert list(found) == ["liar", "twin-1", "twin-2", "flapping", "slow"]
    liar = found["liar"].gpu
    assert liar.claims is not None
    assert ("H100" in liar.claims.model, "H100" in liar.model) == (True, False)
    assert found["twin-1"].gpu.uuids == found["twin-2"].gpu.uuids
    assert [name for name, player in found.items() if player.is_flapping] == ["flapping"]
    assert [name for name, player in found.items() if player.gpu.delay_s] == ["slow"]
    uuids = [uuid for player in found.values() for uuid in player.gpu.uuids]
    assert len(uuids) - len(set(uuids)) == 4
    assert players(PARTS, "seed") == players(PARTS, "seed") != players(PARTS, "other")


@pytest.mark.parametrize(
    ("part", "view", "is_caught"),
    [
        ("liar", NodeView("n", doubts=("nvidia-smi contradicts itself: a, b",)), True),
        ("liar", NodeView("n", last_trouble="refused"), False),
        ("twins", NodeView("n", doubts=("one of its GPUs is also on m: GPU-x",)), True),
        ("flapping", NodeView("n", last_trouble="refused", checks_ok=3), True),
        ("flapping", NodeView("n", last_trouble="refused"), False),
        ("slow", NodeView("n", reason="no answer within 10 s"), True),
        ("slow", NodeView("n"), False),
        ("slow", NodeView("m", reason="no answer"), False),
    ],
)
def test_a_miner_sees_through_a_part(part: Part, view: NodeView, is_caught: bool) -> None:
    """Only the sentence that fits the part counts, and only about that node."""
    evidence = Evidence()
    evidence.take_node(view)
    assert bool(seen_by_miner(part, ["n"], evidence)) == is_caught


@pytest.mark.parametrize(
    ("part", "message", "passed", "is_caught"),
    [
        ("liar", "attestation: the program found A, the login was told B", 0, True),
        ("liar", "refused", 0, False),
        ("twins", "GPU x counts for node y of miner z", 0, True),
        ("flapping", "refuses connections", 2, True),
        ("flapping", "refuses connections", 0, False),
        ("slow", "nvidia-smi on x did not finish in time", 0, True),
        ("slow", "does not accept our key", 0, False),
    ],
)
def test_a_validator_sees_through_a_part(part: Part, message: str, passed: int, is_caught: bool) -> None:
    """A failure counts when it is the one that the part deserves."""
    evidence = Evidence()
    evidence.take_verification(VerificationView("n", state="failed", message=message, passed=passed))
    assert bool(seen_by_validator(part, ["n"], evidence)) == is_caught


def test_evidence_is_bounded() -> None:
    """A node that invents a new sentence each time fills nothing."""
    evidence = Evidence()
    for number in range(100):
        evidence.take_verification(VerificationView("n", state="failed", message=f"m{number}"))
    assert len(evidence.reasons["n"]) == MOST_REASONS
