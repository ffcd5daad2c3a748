"""Who gets the console's page: one link, one browser, this machine."""

from __future__ import annotations

import pytest

from basilica_tui.browser.door import Asked, Door, Verdict

HOST = "127.0.0.1:8350"


@pytest.mark.parametrize("host", [HOST, "localhost:8350", "[::1]:8350", "127.0.0.1", "localhost:1"])
def test_the_link_opens_once(host: str) -> None:
    """The first use is exchanged for a session, under any loopback name and port; the second opens nothing."""
    door = Door()
    asked = Asked("/", host, token=door.token)
    assert [door.judge(asked) for _ in range(3)] == [Verdict.EXCHANGE, Verdict.NO_SESSION, Verdict.NO_SESSION]
    assert door.judge(Asked("/", host, cookie=door.session)) is Verdict.SERVE


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [
        (Asked("/", HOST), Verdict.NO_SESSION),
        (Asked("/", HOST, token="x" * 43), Verdict.NO_SESSION),
        (Asked("/", HOST, token="é"), Verdict.NO_SESSION),
        (Asked("/", HOST, cookie="bytes\udcff"), Verdict.NO_SESSION),
        (Asked("/static/js/textual.js", HOST, token="LINK"), Verdict.NO_SESSION),
        (Asked("/ws", HOST, token="LINK", is_websocket=True, origin=f"http://{HOST}"), Verdict.NO_SESSION),
        (Asked("/", "evil.example:8350", token="LINK"), Verdict.WRONG_HOST),
        (Asked("/", "127.0.0.1.evil.example", cookie="SESSION"), Verdict.WRONG_HOST),
        (Asked("/", "localhost:8350@evil", cookie="SESSION"), Verdict.WRONG_HOST),
        (Asked("/", "", cookie="SESSION"), Verdict.WRONG_HOST),
        (Asked("/ws", HOST, cookie="SESSION", is_websocket=True), Verdict.WRONG_ORIGIN),
        (Asked("/ws", HOST, cookie="SESSION", origin="http://evil.example", is_websocket=True), Verdict.WRONG_ORIGIN),
        (Asked("/ws", HOST, cookie="SESSION", origin="null", is_websocket=True), Verdict.WRONG_ORIGIN),
        (
            Asked("/ws", HOST, cookie="SESSION", origin="https://127.0.0.1:8350", is_websocket=True),
            Verdict.WRONG_ORIGIN,
        ),
        (Asked("/ws", HOST, cookie="SESSION", origin="http://localhost:8350", is_websocket=True), Verdict.WRONG_ORIGIN),
        (Asked("/", HOST, cookie="SESSION", origin="http://evil.example"), Verdict.WRONG_ORIGIN),
        (Asked("/ws", HOST, cookie="SESSION", origin=f"http://{HOST}", is_websocket=True), Verdict.SERVE),
        (Asked("/static/css/xterm.css", HOST, cookie="SESSION"), Verdict.SERVE),
    ],
)
def test_others_get_nothing(asked: Asked, verdict: Verdict) -> None:
    """No link, a wrong one, another name (rebinding), another page's WebSocket: each is refused, and spends nothing."""
    door = Door(token="LINK", session="SESSION")
    assert door.judge(asked) is verdict
    assert not door.is_spent


def test_each_run_has_its_own_secrets() -> None:
    """Link and session are long, random, and not each other."""
    secrets = {text for door in (Door(), Door()) for text in (door.token, door.session)}
    assert len(secrets) == 4
    assert all(len(text) >= 43 for text in secrets)
