"""Structured logs: words, formats, secrets, and the ring that consoles read."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest
import structlog

from engine import events as ev
from engine.events import Event
from engine.observe.logs import LogRing, configure_logging, is_secret, log_event


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    """Put the process's logging back after each test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def logged(*events: Event, level: str = "debug") -> list[dict[str, object]]:
    """What the events become as JSON lines."""
    stream = io.StringIO()
    configure_logging(level, "json", stream=stream)
    for event in events:
        log_event(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def discovery(*, assigned: bool = True, ready: int = 0, failed: int = 0) -> ev.DiscoveryAnswered:
    return ev.DiscoveryAnswered(
        at=1.0,
        validator_hotkey="5V",
        dialect="A",
        peer="p",
        assigned=assigned,
        nodes_ready=ready,
        nodes_failed=failed,
        duration_ms=1.0,
        key_fingerprint="SHA256:k",
    )


def refused(reason: str) -> ev.CallRefused:
    return ev.CallRefused(
        at=1.0, call="auth", validator_hotkey="5V", dialect="A", peer="p", status="UNAUTHENTICATED", reason=reason
    )


def assigned(hotkey: str, strategy: str = "highest_stake") -> ev.AssignmentChanged:
    return ev.AssignmentChanged(at=1.0, strategy=strategy, validator_hotkey=hotkey, uid=3, stake_tao=1.0, reason="r")


def key_failed(code: str) -> ev.KeyFailed:
    return ev.KeyFailed(at=1.0, node_id="n1", operation="deploy", error_code=code, message="\x1b[31mm", hint="h")


def state(new: str) -> ev.NodeStateChanged:
    return ev.NodeStateChanged(at=1.0, node_id="n1", old="unknown", new=new, reason="\x1b[31mgone")


def test_no_statement_is_logged_at_any_level() -> None:
    """Its values are tokens and digests; other libraries do speak at debug."""
    configure_logging("debug", "json", stream=io.StringIO())
    assert logging.getLogger("asyncssh").isEnabledFor(logging.INFO)
    for name in ("sqlalchemy.engine.Engine", "sqlalchemy.pool", "aiosqlite"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
        assert logging.getLogger(name).isEnabledFor(logging.WARNING)


AUTHENTICATED = ev.ValidatorAuthenticated(
    at=1.0, validator_hotkey="5V", uid=3, stake_tao=1.0, dialect="A", peer="p", expires_at=9.0
)
METAGRAPH = ev.MetagraphRead(at=1.0, netuid=39, block=7, neurons=9, validators=4, own_uid=1)
STARTED = ev.EngineStarted(at=1.0, role="miner", name="m", build="1", hotkey="5M", network="local", netuid=39)
DEPLOYED = ev.KeyDeployed(
    at=1.0, grant_id="g", node_id="n1", validator_hotkey="5V", expires_at=9.0, expiry_form="utc", renewed=False
)
NODE = ev.NodeAdded(at=1.0, node_id="n1", label="rack", host="192.0.2.7", port=22, username="root")


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (AUTHENTICATED, ["Successfully authenticated validator: 5V"]),
        (
            discovery(ready=3, failed=1),
            ["Deployed SSH keys for validator 5V on 3 nodes", "Returning 3 nodes to validator 5V"],
        ),
        (discovery(failed=2), ["Failed to deploy validator SSH keys for validator 5V"]),
        (discovery(), ["Validator 5V has no available nodes; skipping SSH key deployment"]),
        (discovery(assigned=False), ["Validator 5V is not the assigned validator; returning empty node list"]),
        (METAGRAPH, ["Found 4 validators with permits", "Registered with discovered UID: 1"]),
        (
            dataclasses.replace(METAGRAPH, own_uid=None),
            ["Found 4 validators with permits", "No UID discovered: the hotkey is not registered on subnet 39"],
        ),
        (STARTED, ["Starting Basilica Miner"]),
        (ev.EngineStopping(at=1.0, reason="SIGTERM"), ["Received shutdown signal, stopping"]),
        (ev.EngineStopping(at=1.0, reason="a service gave up"), ["Stopping: a service gave up"]),
        (
            dataclasses.replace(assigned(""), reason="configured validator 5F holds no permit"),
            ["Validator with hotkey 5F not found in active validators"],
        ),
        (DEPLOYED, ["Deployed SSH key to node n1 for validator 5V"]),
        (dataclasses.replace(DEPLOYED, renewed=True), ["Renewed SSH key on node n1 for validator 5V"]),
        (
            ev.KeyRemoved(at=1.0, grant_id="g", node_id="n1", validator_hotkey="5V", reason="expired"),
            ["Removed SSH key of validator 5V from node n1"],
        ),
        (key_failed("ssh_timeout"), ["SSH command failed: deploy on node n1"]),
        (key_failed("no_space"), ["SSH keys not changed: deploy on node n1"]),
        (state("suspect"), ["Node health check failed: n1"]),
        (state("healthy"), ["Node n1 is healthy"]),
        (assigned("5V"), ["Assigning all nodes to validator 5V (uid: 3)", "Assigned validator: 5V"]),
        (assigned(""), ["No eligible validators found during discovery; no assignment made"]),
        (assigned("", "open"), ["assignment.changed"]),
        (refused("Invalid signature"), ["Signature verification failed for validator 5V"]),
        (refused("Validator not authorized"), ["Validator 5V is not authorized"]),
        (
            refused("Authentication request not intended for this miner"),
            ["Authentication request intended for different miner"],
        ),
        (refused("nonce was used before"), ["door.refused"]),
        (ev.AxonServed(at=1.0, endpoint="192.0.2.1:80"), ["Axon served successfully"]),
        (NODE, ["Registered node n1 at root@192.0.2.7:22"]),
        (ev.NodeRemoved(at=1.0, node_id="n1"), ["node.removed"]),
    ],
    ids=lambda value: value.kind if isinstance(value, Event) else "",
)
def test_events_are_logged_in_the_words_that_operators_know(event: Event, words: list[str]) -> None:
    """Documented lines keep their wording; other events are named by their kind."""
    lines = logged(event)
    assert [line["event"] for line in lines] == words
    assert {line["kind"] for line in lines} == {event.kind}


def test_fields_of_an_event_are_in_its_line() -> None:
    """A line carries the event's fields, so that nothing has to be cut out of the words."""
    line = logged(AUTHENTICATED)[0]
    assert line["level"] == "info"
    assert (line["validator_hotkey"], line["uid"], line["dialect"]) == ("5V", 3, "A")
    assert str(line["timestamp"]).endswith("Z")


def test_an_alert_keeps_its_own_level() -> None:
    """An alert's level decides the line's level and stays readable beside it."""
    alert = ev.AlertRaised(at=1.0, alert_id="a", level="error", subject="s", message="m", hint="")
    line = logged(alert)[0]
    assert (line["level"], line["alert_level"], line["event"]) == ("error", "error", "alert.raised")


def test_the_level_filters_events() -> None:
    """Debug events are silent at the usual level."""
    assert logged(ev.ServiceStarted(at=1.0, service="door"), level="info") == []
    assert len(logged(ev.ServiceStarted(at=1.0, service="door"), level="debug")) == 1


def test_libraries_are_routed_and_kept_quiet() -> None:
    """Warnings of libraries arrive in the same form; their chatter does not."""
    stream, ring = io.StringIO(), LogRing()
    configure_logging("info", "json", ring, stream=stream)
    logging.getLogger("asyncssh").info("chatter")
    logging.getLogger("asyncssh").warning("port %d %s", 22, "closed")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("port 22 closed", "warning", "asyncssh")
    assert [record.event for record in ring.after(0)] == ["port 22 closed"]


def test_secrets_do_not_reach_the_log_or_the_ring() -> None:
    """Values of secret names and private keys in any text are blanked, nested ones too."""
    stream, ring = io.StringIO(), LogRing()
    configure_logging("info", "json", ring, stream=stream)
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----"
    structlog.get_logger().info(
        "test.secrets",
        password="hunter2",
        session_token="hunter2",
        minerSignature="hunter2",
        wallet={"mnemonic": "hunter2", "name": "default"},
        text=f"key: {key} end",
        many=[key],
    )
    structlog.get_logger().info(key)
    assert "hunter2" not in stream.getvalue()
    assert "hunter2" not in str(ring.after(0))
    assert "default" in stream.getvalue()


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("password", True),
        ("api_token", True),
        ("seed_phrase", True),
        ("private_key", True),
        ("response-signature", True),
        ("token_expires_at", False),
        ("password_file", False),
        ("private_key_path", False),
        ("hotkey", False),
        ("tokenizer", False),
    ],
)
def test_names_of_secrets(name: str, is_one: bool) -> None:
    """Names are judged by their words, so that paths and times stay readable."""
    assert is_secret(name) is is_one


def test_text_from_outside_cannot_fake_a_line() -> None:
    """Line breaks and escape codes in values and words are shown, not obeyed."""
    stream = io.StringIO()
    configure_logging("info", "pretty", stream=stream)
    structlog.get_logger().info("node.checked\nFAKE", reason="a\x1b[31mred\r\nFAKE line\u202e")
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert 'reason="a\\x1b[31mred\\r\\nFAKE line\\u202e"' in text


def test_exceptions_are_logged_whole() -> None:
    """A traceback is part of the line in JSON and follows it for people."""
    for form in ("json", "pretty"):
        stream = io.StringIO()
        configure_logging("info", form, stream=stream)
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            structlog.get_logger().exception("test.failed")
        assert "RuntimeError: broken" in stream.getvalue()
        assert "Traceback" in stream.getvalue()


def test_without_a_terminal_auto_means_json() -> None:
    """A journal gets lines that a program can read."""
    stream = io.StringIO()
    configure_logging("info", "auto", stream=stream)
    structlog.get_logger().info("test.line", number=1)
    assert json.loads(stream.getvalue())["number"] == 1


def test_the_ring_keeps_the_last_lines_by_number() -> None:
    """Old lines make room, numbers have no holes, long texts are cut."""
    ring = LogRing(3)
    assert (ring.first_seq, ring.last_seq, ring.after(0)) == (1, 0, [])
    for number in range(5):
        ring.add(float(number), "info", f"line {number}", {"text": "x" * 9_999})
    assert (ring.first_seq, ring.last_seq) == (3, 5)
    assert [record.event for record in ring.after(0)] == ["line 2", "line 3", "line 4"]
    assert [record.seq for record in ring.after(3, limit=1)] == [4]
    assert ring.after(5) == []
    assert len(ring.after(4)[0].fields["text"]) == 2_001


def test_threads_may_log_at_once() -> None:
    """Lines of several threads all get numbers of their own."""
    ring = LogRing(10_000)

    def add() -> None:
        for _ in range(1_000):
            ring.add(0.0, "info", "line", {})

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record.seq for record in ring.after(0, limit=9_999)] == list(range(1, 4_001))
