"""The wizard over a slow link: what a page and a key cost, counted at the terminal's other end."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import pytest

from engine.setup.phases import Setup
from engine.setup.state_file import save_state
from tests.console.test_setup_screen import setup_on_a_terminal
from tests.support.empty_server import empty_server

QUIET_S = 1.5
"""Longer than a page waits before it looks at what was typed."""
PAGE_BYTES = 3500
KEY_BYTES = 700
"""A kilobyte is a second of waiting at 9600 baud."""


def read_until_quiet(terminal: int, wanted: bytes = b"") -> bytes:
    """What was written until that has appeared and nothing more came."""
    seen = b""
    deadline = time.monotonic() + 120
    while True:
        if select.select([terminal], [], [], QUIET_S)[0]:
            seen += os.read(terminal, 65536)
        elif wanted in seen:
            return seen
        assert time.monotonic() < deadline, seen[-3000:]


@pytest.mark.timeout(400)
def test_pages_and_keys_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first page to the service's plan, every page and every key stays below its bound."""
    with empty_server(tmp_path, monkeypatch) as server:
        state = tmp_path / "setup.json"
        save_state(state, Setup(server.validator_answers(directory="", wallet_path=str(tmp_path / "wallets"))))
        with setup_on_a_terminal(state, server.home) as (_, terminal):
            first = len(read_until_quiet(terminal, b"coldkey"))
            keys: dict[str, int] = {}
            pages: dict[str, int] = {}

            def press(typed: bytes, wanted: bytes = b"") -> int:
                os.write(terminal, typed)
                return len(read_until_quiet(terminal, wanted))

            for name, key in (("tab", b"\t"), ("letter", b"x"), ("backspace", b"\x7f"), ("right", b"\x1b[C")):
                keys[name] = press(key)
            for title in (b"Network, weights", b"ctrl+n goes on", b"[bittensor]", b"Run as"):
                pages[title.decode()] = press(b"\x0e", title)
            keys["choice"] = press(b"n")
    assert 0 < first <= PAGE_BYTES
    assert {name: size for name, size in keys.items() if size > KEY_BYTES} == {}
    assert {name: size for name, size in pages.items() if size > PAGE_BYTES} == {}
