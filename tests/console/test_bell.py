"""The bell and the notice on the desktop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from basilica_tui.bell import AlertEar, ring
from basilica_tui.settings import load_settings
from engine import events as ev
from engine.control.models import AlertView
from tests.console.conftest import MakeApp
from tests.console.screen import settle
from tests.console.world import NOW, TestEngine

CRITICAL = AlertView(id="a", level="critical", subject="node-02", message="host key changed", active=True)


def test_each_critical_alert_is_heard_once() -> None:
    """Not those that were there before, not warnings, not what somebody dealt with already."""
    ear = AlertEar()
    assert ear.fresh({"old": replace(CRITICAL, id="old")}) == []
    told = {
        "old": replace(CRITICAL, id="old"),
        "a": CRITICAL,
        "w": replace(CRITICAL, id="w", level="warning"),
        "seen": replace(CRITICAL, id="seen", acknowledged=True),
        "silent": replace(CRITICAL, id="silent", silenced_until=NOW),
        "over": replace(CRITICAL, id="over", active=False),
    }
    assert [a.id for a in ear.fresh(told)] == ["a"]
    assert ear.fresh(told) == []
    assert ear.fresh({}) == []
    assert [a.id for a in ear.fresh({"a": CRITICAL})] == ["a"]


def test_what_is_sent_is_a_bell_or_a_notice_in_both_spellings() -> None:
    """A hostile message cannot end the sequence early or add a part to it; tmux hands it on."""
    assert ring("off", [CRITICAL], {}) == ring("bell", [], {}) == ""
    assert ring("bell", [CRITICAL], {}) == "\a"
    evil = replace(CRITICAL, message="x\a\x1b]52;c;AAAA\x07;y\x9c")
    sent = ring("notify", [evil, CRITICAL], {})
    assert sent.count("\a") == 3
    assert sent.count("\x1b") == 2
    assert "52;c" not in sent
    assert "and 1 more" in sent
    assert ring("notify", [CRITICAL], {"TMUX": "/tmp/x"}).count("\x1bPtmux;") == 2


async def test_a_critical_alert_rings_even_under_a_dialog(
    make_app: MakeApp, engine: TestEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was active when the console came is quiet; off is quiet."""
    for bell, rings in (("bell", ["\a"]), ("off", [])):
        app = make_app(bell=bell)
        heard: list[str] = []
        monkeypatch.setattr(app, "write_raw", lambda text, heard=heard: heard.append(text) if text else None)
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            assert heard == []
            await pilot.press("ctrl+p")
            engine.emit(
                ev.AlertRaised(
                    at=NOW, alert_id=f"new-{bell}", level="critical", subject="axon", message="gone", hint=""
                )
            )
            await settle(pilot)
            assert heard == rings


def test_the_bell_and_the_pace_are_settings(tmp_path: Path) -> None:
    """What is wrong is told and left out."""
    (tmp_path / "console.toml").write_text('bell = "notify"\nrefresh = "5s"\n')
    settings = load_settings(tmp_path)
    assert (settings.bell, settings.pace_s, settings.problems) == ("notify", 5.0, ())
    (tmp_path / "console.toml").write_text('bell = "gong"\nrefresh = "2h"\n')
    settings = load_settings(tmp_path)
    assert (settings.bell, settings.pace_s) == (None, 1.0)
    assert [p.split(":")[1].split()[0] for p in settings.problems] == ["bell", "refresh"]
