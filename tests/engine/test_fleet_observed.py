"""What validators publish: parsed by tables, fetched from a real server over a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from engine.clock import SystemClock
from engine.control.state import LiveState
from engine.errors import ObservationUnavailable
from engine.events import Event, MetagraphRead, NodeAdded, ObservationFailed
from engine.miner.observed import ObservedMiner, ObservedNode, Observer, parse_metrics, parse_miner
from engine.miner.observed_fetch import MAX_BYTES, fetch

NODES = {"n1", "n2"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("# HELP x y\nother 1\nbroken{ 3\n", {}),
        ('basilica_node_uptime_minutes{node_id="n1",miner_uid="5"} 1440\n', {"n1": ObservedNode(1440.0, None)}),
        (
            'basilica_node_uptime_minutes{miner_uid="5",node_id="n1"} 1440\n'
            'basilica_node_uptime_multiplier{miner_uid="5",node_id="n1"} 0.0714\n'
            'basilica_node_uptime_multiplier{miner_uid="6",node_id="foreign"} 1\n',
            {"n1": ObservedNode(1440.0, 0.0714)},
        ),
        ('basilica_node_uptime_minutes{node_id="n1"} NaN\nbasilica_node_uptime_minutes{node_id="n2"} -1\n', {}),
        ('basilica_node_uptime_multiplier{node_id="n2"} +Inf\n', {}),
    ],
)
def test_metrics(text: str, found: dict[str, ObservedNode]) -> None:
    """Only our nodes, only believable numbers, whatever else the text holds."""
    assert parse_metrics(text, NODES) == found


@pytest.mark.parametrize(
    "line", ["basilica_node_uptime_minutes{node_id=", 'basilica_node_uptime_minutes{node_id="n1"} x']
)
def test_broken_metrics_are_unavailable(line: str) -> None:
    """A line that should be ours and cannot be read is no value."""
    with pytest.raises(ObservationUnavailable):
        parse_metrics(line, NODES)


@pytest.mark.parametrize(
    ("details", "health", "found"),
    [
        (None, None, ObservedMiner()),
        ([], {"node_health": 3}, ObservedMiner()),
        (
            {"verification_score": 0.96, "status": "Active"},
            {"node_health": [{"node_id": "n1", "status": "online"}, {"node_id": "x"}, 5]},
            ObservedMiner(0.96, "Active", {"n1": "online"}),
        ),
        ({"verification_score": True, "status": "a\x1b[0m" * 99}, {}, ObservedMiner(None, "a[0m" * 16, {})),
    ],
)
def test_rest(details: object, health: object, found: ObservedMiner) -> None:
    """What has another shape is not known; text is bounded and plain."""
    assert parse_miner(details, health, NODES) == found


@pytest.fixture
async def served() -> AsyncIterator[tuple[str, dict[str, bytes]]]:
    """A server's address and its raw answers by path; a path without one is never answered."""
    answers: dict[str, bytes] = {}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        if path in answers:
            writer.write(answers[path])
            await writer.drain()
            writer.close()
        else:
            await asyncio.sleep(30)

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", answers
    server.close()


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + body


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (None, "no complete answer"),
        (b"", "not HTTP"),
        (b"SSH-2.0-x\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "404 Not Found"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", "302"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "encoded"),
        (ok(b"x" * (MAX_BYTES + 1)), "larger"),
    ],
)
async def test_a_bad_answer_has_a_reason(served: tuple[str, dict[str, bytes]], answer: bytes | None, word: str) -> None:
    """Silence, floods, redirects and other protocols are told apart."""
    url, answers = served
    if answer is not None:
        answers["/metrics"] = answer
    with pytest.raises(ObservationUnavailable, match=word):
        await fetch(f"{url}/metrics", timeout_s=1.0 if answer is None else 60.0)


async def test_nobody_there_is_a_reason_too() -> None:
    """A closed port and a name without address."""
    for url in ("http://127.0.0.1:1/metrics", "http://no-such-host.invalid/"):
        with pytest.raises(ObservationUnavailable):
            await fetch(url, timeout_s=10.0)


async def test_observed_values_stand_beside_the_estimate(served: tuple[str, dict[str, bytes]]) -> None:
    """Metrics and REST fill the observed fields alone; a failure says so and leaves the last values with their age."""
    url, answers = served
    answers["/metrics"] = ok(
        b'basilica_node_uptime_minutes{node_id="n1"} 1440\nbasilica_node_uptime_multiplier{node_id="n1"} 0.0714\n'
    )
    answers["/miners/miner_5"] = ok(json.dumps({"verification_score": 0.96, "status": "Active"}).encode())
    answers["/miners/miner_5/health"] = ok(
        json.dumps({"node_health": [{"node_id": "n1", "status": "online"}]}).encode()
    )
    state, events = LiveState(), list[Event]()

    def emit(event: Event) -> None:
        events.append(event)
        state.apply(event)

    emit(NodeAdded(at=1.0, node_id="n1", label="a", host="h", port=22, username="u"))
    observer = Observer(
        metrics_url=f"{url}/metrics", rest_url=f"{url}/", rest_hotkey=None, signer=None, interval_s=60, timeout_s=5,
        node_ids=lambda: NODES,
        clock=SystemClock(), emit=emit,
    )  # fmt: skip
    await observer.read()
    assert state.engine.observed_rest.startswith("not reachable: the own uid")
    observer.listen(
        MetagraphRead(at=1.0, netuid=39, block=1, neurons=1, validators=1, own_uid=5, own_stake_tao=None,
                      own_incentive=None, own_emission=None)
    )  # fmt: skip
    await observer.read()
    view = state.nodes["n1"]

    assert (view.observed_uptime_minutes, view.observed_multiplier, view.observed_status) == (1440.0, 0.0714, "online")
    assert (state.engine.observed_metrics, state.engine.observed_rest) == ("ok", "ok")
    assert (state.engine.observed_score, state.engine.observed_status) == (0.96, "Active")
    assert view.ramp_percent is None and view.estimated_score is None

    answers["/metrics"] = b"HTTP/1.1 500 No\r\n\r\n"
    await observer.read()
    assert state.engine.observed_metrics == "not reachable: the answer is 500 No"
    assert view.observed_uptime_minutes == 1440.0
    assert [event.source for event in events if isinstance(event, ObservationFailed)] == ["rest", "metrics"]


async def test_a_fault_in_reading_one_source_leaves_the_other(served: tuple[str, dict[str, bytes]]) -> None:
    """What nobody foresaw in the metrics is told as any failure, and the REST API is read all the same."""
    url, answers = served
    answers["/metrics"] = ok(b'basilica_node_uptime_minutes{node_id="n1"} 1440\n')
    events, asked = list[Event](), list[int]()

    def node_ids() -> set[str]:
        asked.append(1)
        if len(asked) == 1:
            raise ValueError("x" * 1000)
        return NODES

    observer = Observer(
        metrics_url=f"{url}/metrics", rest_url=f"{url}/", rest_hotkey=None, signer=None, interval_s=60, timeout_s=5,
        node_ids=node_ids,
        clock=SystemClock(), emit=events.append,
    )  # fmt: skip
    await observer.read()
    failed = [event for event in events if isinstance(event, ObservationFailed)]

    assert [event.source for event in failed] == ["metrics", "rest"]
    assert failed[0].error.startswith("not understood: ValueError: xxx") and len(failed[0].error) < 300
    assert failed[1].error.startswith("the own uid")
