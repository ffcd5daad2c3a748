"""Text from nodes, validators, miners and the chain, planted in every field, never reaches the terminal raw."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping

import pytest
from rich.cells import cell_len
from rich.console import Console
from textual._compositor import CompositorUpdate
from textual.geometry import Size

from basilica_tui.app import ConsoleApp
from engine.control.models import COLLECTIONS, LogRecord, View
from tests.console.conftest import MakeApp, make_engine
from tests.console.screen import settle, text_of
from tests.console.world import NOW, TestEngine

ATTACK = (
    "[red]A[/red]\x1b[38;5;199mB\x1b[2J\x1b]0;owned\x07C\x9b31mD\x90q\x9cE\u202eF\u2066G\u200bH\r\nI\tJ\x08K"
    "漢字L\u0301\u0301\u0301M\ufeffN\x00O\x7fP\U000e0041Q\x1bPtmux;\x1b\\R"
)
_OURS = re.compile(
    r"\x1b\[(?:[0-9;]*[Hm]|\?[0-9;]+[hl]|[0-9;<>=?]*[cnqu$pt])|\x1b\](?:22;default|52;c;[A-Za-z0-9+/=]*)\x07|\x1b[=>]|\x1b\[>[0-9;]*[um]"
)
"""What Textual and the painter write: places, colours, modes, questions to the terminal."""
_RAW = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]")
KEPT = {"id", "state", "level", "phase", "role"}
"""Words of the engine's own, which decide what is drawn; each is attacked by itself below."""


def _attacked(view: View) -> View:
    """The view with the attack in every text that it has."""
    changes: dict[str, object] = {}
    for field in dataclasses.fields(view):
        value = getattr(view, field.name)
        if isinstance(value, str) and field.name not in KEPT:
            changes[field.name] = ATTACK
        elif field.name in {"gpus", "keys"}:
            changes[field.name] = (
                json.dumps(
                    dict.fromkeys(
                        ("uuid", "model", "kind", "holder", "comment", "fingerprint", "algorithm", "file"), ATTACK
                    )
                ),
            )
        elif isinstance(value, tuple) and field.name not in {"recent_checks", "recent_load"}:
            changes[field.name] = (ATTACK, f"1 2 {ATTACK}")
    return dataclasses.replace(view, **changes)  # type: ignore[arg-type]  # a text for a text


def hostile_engine(role: str = "miner") -> TestEngine:
    """A fleet that is one attack."""
    engine = make_engine(role=role, with_ramp=True)
    for name, views in engine.state.collections().items():
        assert name in COLLECTIONS
        for key in list(views):
            rows: dict[str, View] = views  # type: ignore[assignment]  # the fold's own dictionary
            rows[key] = _attacked(views[key])
    for node in list(engine.state.nodes.values())[:1]:
        engine.state.nodes["odd"] = dataclasses.replace(node, id="odd", state=ATTACK)
    for alert in list(engine.state.alerts.values())[:1]:
        engine.state.alerts["odd"] = dataclasses.replace(alert, id="odd", level=ATTACK)
    engine.log_lines = [LogRecord(i, NOW, "error", ATTACK, {ATTACK: ATTACK}) for i in range(1, 30)]
    engine.past = [
        {"kind": kind, "at": NOW - 60, "node_id": "odd", "validator_hotkey": ATTACK, "reason": ATTACK, "new": ATTACK,
         "cause": ATTACK, "message": ATTACK, "presented": ATTACK, "peer": ATTACK}
        for kind in ("node.state_changed", "node.ramp_reset", "key.failed", "node.host_key_changed", "session.ended",
                     "door.authenticated")
    ]  # fmt: skip
    engine.answers = {
        "config.show": {"config": {"a": {"b": ATTACK}}, "sources": {"a.b": ATTACK}},
        "node.check": {"message": ATTACK},
        "session.end": {"message": ATTACK},
    }
    engine.verbs = frozenset({"config.show", "node.check", "session.end", "node.drain", "grant.deploy", "grant.revoke",
                              "node.inventory", "session.renew", "alert.acknowledge", "alert.silence"})  # fmt: skip
    return engine


MINER_WALK = (
    "1", "tab", "f", "escape", "z", "z", "z", "2", "d", "q", "enter", "tab", "X", "escape", "x", "escape", "P", "j",
    "q", "q", "slash", "escape", "space", "x", "escape", "t", "3", "enter", "d", "q", "K", "escape", "4", "j", "6",
    "enter", "q", "7", "enter", "q", "A", "escape", "8", "enter", "question_mark", "q", "ctrl+p", "escape", "colon",
    "escape", "minus",
)  # fmt: skip
VALIDATOR_WALK = ("1", "2", "enter", "q", "3", "enter", "q", "6", "7", "8", "P", "q", "question_mark", "q")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize(("role", "walk"), [("miner", MINER_WALK), ("validator", VALIDATOR_WALK)])
async def test_no_screen_lets_hostile_text_through(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, role: str, walk: tuple[str, ...], size: tuple[int, int]
) -> None:
    """Everything that the driver is given is ours or harmless, every line keeps its width, markup is plain text."""
    app = make_app(connect=hostile_engine(role).connect)
    seen = ""
    async with app.run_test(size=size) as pilot:
        written = overheard(app, monkeypatch)
        await settle(pilot)
        for key in walk:
            await pilot.press(key)
            await settle(pilot)
            text = text_of(app)
            seen += text
            check_text(text, size[0], key)
        check_output(written)
    assert "[red]A" in seen


def overheard(app: ConsoleApp, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that the driver of a running console is given from now on."""
    written: list[str] = []
    assert app._driver is not None
    monkeypatch.setattr(app._driver, "write", written.append)
    difference = app.painter.difference

    def recorded(update: CompositorUpdate, space: Size, console: Console) -> str | None:
        text = difference(update, space, console)
        assert text is not None, "a frame went past the painter"
        written.append(text)
        return text

    monkeypatch.setattr(app.painter, "difference", recorded)
    return written


def check_text(text: str, width: int, after: str) -> None:
    """Every line is as wide as the screen, and nothing in it steers a terminal."""
    assert all(cell_len(line) == width for line in text.splitlines()), f"after {after}"
    assert not _RAW.search(text.replace("\n", "")), f"after {after}"


def check_output(written: list[str], least: int = 5000) -> None:
    """The output is ours or harmless."""
    output = "".join(written)
    assert len(output) > least
    assert "\x1b[38;5;199m" not in output
    rest = _OURS.sub("", output)
    found = _RAW.search(rest)
    assert found is None, repr(rest[max(found.start() - 40, 0) : found.end() + 40])


@pytest.mark.parametrize("collection", sorted(COLLECTIONS))
def test_every_text_of_every_view_was_attacked(collection: str) -> None:
    """The attack grows with the views: a new field cannot be forgotten."""
    cls = COLLECTIONS[collection]
    view = _attacked(cls(id="x"))
    texts: Mapping[str, object] = {f.name: getattr(view, f.name) for f in dataclasses.fields(view)}
    clean = [n for n, v in texts.items() if isinstance(v, str) and ATTACK not in v and n not in KEPT]
    assert clean == []
