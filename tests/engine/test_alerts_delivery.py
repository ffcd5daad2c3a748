"""Delivery of alerts to real receivers on this host: a web hook through Apprise, a program, and dead ones."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.config.common import AlertsConfig
from engine.errors import DeliveryFailed
from engine.events import AlertDelivered, AlertDeliveryFailed, Event
from engine.observe import delivery_targets
from engine.observe.delivery import ATTEMPTS, Delivery
from engine.observe.delivery_digest import Message, Note, compose
from engine.observe.delivery_targets import AppriseTarget, CommandTarget

SENDER = {"name": "rig", "role": "miner", "hotkey": "5M"}


class Hasty(SystemClock):
    """The host's clock, whose sleepers wake up early."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))


class Receiver:
    """A web hook on loopback; ``status`` is what it answers, one after another."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, object]] = []
        self.statuses: list[int] = []
        self.delay_s = 0.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.bodies.append(json.loads(body))
                time.sleep(receiver.delay_s)
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"json://user:topsecret@127.0.0.1:{self._server.server_address[1]}/hook"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A web hook that ends with the test."""
    made = Receiver()
    yield made
    made.close()


def note(subject: str = "n1", state: str = "raised", level: str = "error") -> Note:
    return Note(f"r.{subject}", "rule", subject, state, level, f"{subject} is broken", "costs", "mend it", 1000.0)  # type: ignore[arg-type]


def message() -> Message:
    return compose([note()], "basilica rig")


def config(**values: object) -> AlertsConfig:
    return AlertsConfig.model_validate({"group_delay": 0.0} | values)


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@contextmanager
def running(delivery: Delivery) -> Iterator[None]:
    task = asyncio.create_task(delivery.run())
    try:
        yield
    finally:
        task.cancel()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_apprise_reaches_a_web_hook(receiver: Receiver) -> None:
    """A raised alert arrives as one message with its title, words and type."""
    await AppriseTarget(receiver.url, 0).send(message())
    (body,) = receiver.bodies
    assert body["title"] == "basilica rig: 1 alert"
    assert "ERROR n1 is broken" in str(body["message"])
    assert body["type"] == "failure"


async def test_a_refusing_web_hook_is_a_failed_delivery(receiver: Receiver) -> None:
    """The reason is told, the password in the URL is not."""
    receiver.statuses = [401]
    target = AppriseTarget(receiver.url, 3)
    with pytest.raises(DeliveryFailed) as failure:
        await target.send(message())
    assert "401" in failure.value.message
    assert target.name == "urls[3] (json)"
    assert "topsecret" not in f"{failure.value}{target.name}"


@pytest.mark.parametrize("url", ["nonsense", "nosuchscheme://secretpart", "mailto://"])
async def test_an_unusable_url_is_said_without_repeating_it(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A URL that Apprise does not know is refused; nothing of it is printed."""
    with pytest.raises(DeliveryFailed) as failure:
        await AppriseTarget(url, 0).prepare()
    assert "secretpart" not in str(failure.value)
    assert "secretpart" not in "".join(capfd.readouterr())


async def test_secrets_stay_out_of_debug_logs(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """Even when everything is logged, libraries below do not log the URL."""
    with caplog.at_level(logging.DEBUG):
        await AppriseTarget(receiver.url, 0).send(message())
    assert "topsecret" not in caplog.text
    assert "/hook" not in caplog.text


async def test_sending_does_not_block_the_loop(receiver: Receiver) -> None:
    """While a slow receiver takes its time, the event loop goes on."""
    receiver.delay_s = 0.5
    sending = asyncio.create_task(AppriseTarget(receiver.url, 0).send(message()))
    turns = 0
    while not sending.done():
        turns += 1
        await asyncio.sleep(0.01)
    await sending
    assert turns >= 10


async def test_a_command_gets_json_on_its_standard_input(tmp_path: Path) -> None:
    """Argument by argument, no shell; the engine's own environment stays at home."""
    program = script(
        tmp_path / "hook",
        "import json, os, sys; open(sys.argv[1], 'w').write(json.dumps("
        "{'got': json.load(sys.stdin), 'argv': sys.argv[2:], 'env': sorted(os.environ)}))",
    )
    out = tmp_path / "out.json"
    await CommandTarget([str(program), str(out), "$(id)", "a b"], SENDER).send(message())
    found = json.loads(out.read_text())
    assert found["argv"] == ["$(id)", "a b"]
    assert found["got"]["sender"] == SENDER
    assert found["got"]["alerts"][0]["subject"] == "n1"
    assert found["got"]["alerts"][0]["state"] == "raised"
    assert set(found["env"]) <= {*delivery_targets.PASSED_ON, "LC_CTYPE"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import sys; sys.exit('no such room')", "status 1: no such room"),
        ("import sys; sys.stdin.close(); sys.exit(7)", "status 7"),
    ],
)
async def test_a_failing_command_is_a_failed_delivery(tmp_path: Path, body: str, words: str) -> None:
    """Its status and the last line of its complaint are told."""
    with pytest.raises(DeliveryFailed, match=words):
        await CommandTarget([str(script(tmp_path / "hook", body))], SENDER).send(message())


async def test_a_command_that_is_not_there() -> None:
    """A program that cannot be started is a failed delivery, not a crash."""
    with pytest.raises(DeliveryFailed, match="cannot start"):
        await CommandTarget(["/no/such/program"], SENDER).send(message())


async def test_a_command_that_hangs_is_killed_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time it and its children are gone."""
    monkeypatch.setattr(delivery_targets, "COMMAND_TIMEOUT_S", 1.0)
    pids = tmp_path / "pids"
    program = script(
        tmp_path / "hook",
        "import os, subprocess, sys, time; child = subprocess.Popen(['sleep', '60']); "
        "open(sys.argv[1], 'w').write(f'{os.getpid()} {child.pid}'); time.sleep(60)",
    )
    with pytest.raises(DeliveryFailed, match="killed"):
        await CommandTarget([str(program), str(pids)], SENDER).send(message())
    for pid in map(int, pids.read_text().split()):
        await until(lambda pid=pid: _is_gone(pid))  # type: ignore[misc]


def _is_gone(pid: int) -> bool:
    """Not there, or dead and waiting for somebody to read its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_a_failed_message_is_tried_again(receiver: Receiver) -> None:
    """Two refusals and an acceptance are one delivered message."""
    receiver.statuses = [500, 503]
    events: list[Event] = []
    delivery = Delivery(config(urls=[receiver.url]), SENDER, clock=Hasty(), emit=events.append)
    with running(delivery):
        delivery.offer(note())
        await until(lambda: bool(events))
    assert len(receiver.bodies) == 3
    assert [type(e) for e in events] == [AlertDelivered]


async def test_a_dead_receiver_is_given_up_in_the_open_and_delays_nobody(receiver: Receiver, tmp_path: Path) -> None:
    """After its attempts the failure is an event; the other receiver had its message at once."""
    out = tmp_path / "out"
    hook = script(tmp_path / "hook", f"import sys; open({str(out)!r}, 'a').write(sys.stdin.read())")
    receiver.statuses = [500] * ATTEMPTS
    events: list[Event] = []
    delivery = Delivery(config(urls=[receiver.url], command=[str(hook)]), SENDER, clock=Hasty(), emit=events.append)
    with running(delivery):
        delivery.offer(note())
        await until(lambda: len(events) == 2)
    failed = [e for e in events if isinstance(e, AlertDeliveryFailed)]
    assert len(receiver.bodies) == ATTEMPTS
    assert [(e.target, e.alerts) for e in failed] == [("urls[0] (json)", 1)]
    assert json.loads(out.read_text())["title"] == "basilica rig: 1 alert"


async def test_a_storm_is_one_message(receiver: Receiver) -> None:
    """A hundred alerts within the delay, each twice, are one message; the repeats are counted."""
    events: list[Event] = []
    delivery = Delivery(config(urls=[receiver.url], group_delay=0.2), SENDER, clock=Hasty(), emit=events.append)
    with running(delivery):
        for _ in range(2):
            for number in range(100):
                delivery.offer(note(f"n{number}"))
        await until(lambda: bool(events))
    (body,) = receiver.bodies
    assert body["title"] == "basilica rig: 100 alerts"
    assert str(body["message"]).count("2 times") == 100


async def test_a_test_goes_to_everybody_past_all_limits(receiver: Receiver, tmp_path: Path) -> None:
    """The answer names each receiver and why it failed."""
    delivery = Delivery(
        config(urls=[receiver.url], command=[str(tmp_path / "missing")], quiet_hours="00:00-23:59"),
        SENDER,
        clock=Hasty(),
        emit=lambda _: None,
    )
    results = await delivery.test(note(state="test", level="info"))
    assert results["urls[0] (json)"] == ""
    assert "cannot start" in results["command (missing)"]
    assert len(receiver.bodies) == 1


async def test_new_receivers_are_taken_up_while_it_runs(receiver: Receiver) -> None:
    """A reload replaces the receivers; one that can never work has said so."""
    events: list[Event] = []
    delivery = Delivery(config(urls=["nonsense://x"]), SENDER, clock=Hasty(), emit=events.append)
    with running(delivery):
        await until(lambda: bool(events))
        assert [type(e) for e in events] == [AlertDeliveryFailed]
        delivery.configure(config(urls=[receiver.url]))
        delivery.offer(note())
        await until(lambda: len(events) == 2)
    assert len(receiver.bodies) == 1
