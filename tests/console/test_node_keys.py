"""The keys on a node, what happened to it, and what can be done about both."""

from __future__ import annotations

import json

import pytest

from basilica_tui.format import Look
from basilica_tui.key_inventory import key_lines, keys_of
from basilica_tui.lines import plain
from basilica_tui.screens.confirm import Confirm
from basilica_tui.screens.node_detail import NodeScreen
from basilica_tui.screens.session_detail import SessionScreen
from basilica_tui.timeline import NODE_EVENTS, SESSION_EVENTS, timeline_lines
from engine import events as ev
from engine.control.models import NodeView
from tests.console.conftest import MakeApp
from tests.console.screen import rest, settle, text_of
from tests.console.world import ASSIGNED, NOW, TestEngine, node_id

LOOK = Look(NOW)


def _line(kind: str, **more: object) -> str:
    return json.dumps({"kind": kind, "fingerprint": f"SHA256:{kind}", "algorithm": "ssh-ed25519", **more})


def _seen(number: int = 1) -> ev.KeyLinesSeen:
    lines = (
        _line("own", comment="miner"),
        _line("grant", holder=f"validator-{ASSIGNED}", grant_id=f"grant-{number}"),
        _line("drift", comment="who\x1b[31m", since=int(NOW - 3600)),
    )
    return ev.KeyLinesSeen(at=NOW, node_id=node_id(number), count=3, lines=lines)


def test_each_key_says_whose_it_is_since_when_and_until_when() -> None:
    """Grants take their times from the grant; junk in a recording is no line."""
    keys = (_line("operator", comment="me@laptop", since=NOW - 86_400), _line("grant", holder="validator-5Abc",
            since=NOW - 600, until=NOW + 2460), "junk", "[1]")  # fmt: skip
    lines = [plain(line) for line in key_lines(keys_of(NodeView("a", keys=keys)), 1, LOOK)]
    assert len(lines) == 2
    assert "yours" in lines[0] and "me@laptop" in lines[0] and "since 24 h" in lines[0]
    assert lines[1].startswith("▸ validator") and "since 10 min" in lines[1] and "41 min left" in lines[1]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"kind": "node.state_changed", "new": "suspect", "reason": "timed out"}, "suspect: timed out"),
        ({"kind": "node.ramp_reset", "minutes_lost": 7200, "cause": "x"}, "ramp starts anew, 5 d lost: x"),
        ({"kind": "key.deployed", "validator_hotkey": ASSIGNED}, "key placed for 5G3q…MmbC"),
        ({"kind": "node.drained"}, "drained by the operator"),
        ({"kind": "node.host_key_changed", "presented": "SHA256:\x1b[2J"}, "host key changed to SHA256:\ufffd[2J"),
        ({"kind": "node.state_changed"}, "state changed"),
    ],
)
def test_events_are_told_in_words(record: dict[str, object], words: str) -> None:
    """A field that is missing is not said; what comes from a node is harmless."""
    (line,) = timeline_lines([{"at": NOW - 60, **record}], NODE_EVENTS, LOOK, 100, limit=5)
    assert words in plain(line)


def test_a_repeated_event_is_one_line_and_unknown_kinds_are_none() -> None:
    """Renewals of keys say nothing new."""
    records = [{"kind": "key.failed", "message": "no space", "at": NOW - i} for i in range(5)]
    records += [{"kind": "key.deployed", "renewed": True, "at": NOW}, {"kind": "nonsense", "at": NOW}]
    (line,) = timeline_lines(records, NODE_EVENTS, LOOK, 100, limit=5)
    assert "keys: no space" in plain(line) and "(5 times)" in plain(line)
    assert timeline_lines(records, SESSION_EVENTS, LOOK, 100, limit=5) == []


async def test_a_validators_key_is_revoked_from_the_node_and_the_own_one_is_not(
    make_app: MakeApp, engine: TestEngine
) -> None:
    """The dialog names node and key; a line of somebody else's is removed by its fingerprint."""
    engine.verbs = frozenset({"node.inventory", "grant.revoke", "node.remove_key"})
    engine.past = [{"kind": "node.ramp_reset", "at": NOW - 60, "node_id": node_id(1), "minutes_lost": 60, "cause": "x"}]
    engine.emit(_seen())
    app = make_app()
    async with app.run_test(size=(120, 70)) as pilot:
        await settle(pilot)
        await pilot.press("2", "enter")
        await settle(pilot)
        await settle(pilot)
        assert isinstance(app.screen, NodeScreen)
        text = text_of(app)
        assert "41 min left" in text and "nobody knows" in text and "\x1b" not in text
        assert "ramp starts anew, 60 min lost: x" in text
        await pilot.press("tab", "X")
        await settle(pilot)
        assert "node_key.rotate changes it" in text_of(app)
        await pilot.press("tab", "X")
        await settle(pilot)
        assert isinstance(app.screen, Confirm)
        assert "Take the key of 5G3q…MmbC off node-01?" in text_of(app)
        await pilot.press("y")
        await settle(pilot)
        assert engine.acted == [("grant.revoke", {"node_id": node_id(1), "hotkey": ASSIGNED})]
        await pilot.press("tab", "X", "y")
        await settle(pilot)
        assert engine.acted[-1] == ("node.remove_key", {"node_id": node_id(1), "fingerprint": "SHA256:drift"})


async def test_a_session_shows_its_history_and_is_renewed(make_app: MakeApp, engine: TestEngine) -> None:
    """Enter drills in; R asks."""
    engine.verbs = frozenset({"session.renew", "session.end"})
    engine.past = [
        {"kind": "session.ended", "at": NOW - 600, "validator_hotkey": ASSIGNED, "reason": "expired"},
        {"kind": "door.authenticated", "at": NOW - 900, "validator_hotkey": ASSIGNED, "peer": "198.51.100.20:1"},
    ]
    app = make_app()
    async with app.run_test(size=(120, 50)) as pilot:
        await settle(pilot)
        await pilot.press("3", "enter")
        await settle(pilot)
        await settle(pilot)
        assert isinstance(app.screen, SessionScreen)
        assert "access ended: expired" in text_of(app)
        assert "signed in from 198.51.100.20:1" in text_of(app)
        await pilot.press("R", "y")
        await settle(pilot)
        assert engine.acted == [("session.renew", {"hotkey": ASSIGNED})]


async def test_the_first_fix_is_applied_after_its_command_was_shown(make_app: MakeApp, engine: TestEngine) -> None:
    """f takes the problem of the row under the cursor; a host key shows both fingerprints."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("tab", "f")
        await settle(pilot)
        assert "Accept the new host key of node-02?" in text_of(app)
        await pilot.press("escape", "j", "f")
        await settle(pilot)
        assert ":node.check node-03" in text_of(app)
        await pilot.press("y")
        await settle(pilot)
        assert engine.acted == [("node.check", {"node_id": node_id(3)})]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (50, 12)])
async def test_the_selected_key_is_in_sight_and_leads_to_its_holder(
    make_app: MakeApp, engine: TestEngine, size: tuple[int, int]
) -> None:
    """Tab moves the window to the key; scrolling away from it is not undone; enter opens the validator's session."""
    engine.state.apply(_seen())
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await rest(pilot)
        await pilot.press("2", "enter")
        await rest(pilot)
        await pilot.press("enter")
        await rest(pilot)
        assert "tab selects a key" in text_of(app)
        for words in ("▸ this miner's", "▸ validator", "▸ nobody knows", "▸ this miner's", "▸ validator"):
            await pilot.press("tab")
            await rest(pilot)
            assert words in text_of(app)
        await pilot.press("g")
        await rest(pilot)
        assert "node-01" in text_of(app).splitlines()[1]
        app.flush()
        await rest(pilot)
        assert "node-01" in text_of(app).splitlines()[1]
        await pilot.press("enter")
        await rest(pilot)
        assert isinstance(app.screen, SessionScreen)
        assert ASSIGNED[:20] in text_of(app)
