"""Console and engine over a real Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.control.actions import ActionTable, Report
from engine.control.client import Batch, ControlClient
from engine.control.frames import CLIENT_FRAME_BYTES, SERVER_FRAME_BYTES, encode, read_frame
from engine.control.models import NodeView
from engine.control.ring import LogRing
from engine.control.served import ServedClient
from engine.control.server import ControlLimits, ControlServer
from engine.control.state import LiveState
from engine.errors import (
    ControlRefused,
    ControlSocketUnusable,
    EngineAlreadyRunning,
    EngineUnreachable,
    ProtocolMismatch,
    StoreUnusable,
)
from engine.events import AlertRaised, Event, NodeAdded, NodeChecked, NodeRemoved, OperatorActed

QUICK = ControlLimits(hello_s=10.0, tick_s=0.01, stall_s=10.0, beat_s=0.05)
WAIT_S = 60.0


class Engine:
    """A live state with its control server, as the composition root puts them together."""

    def __init__(self, directory: Path, limits: ControlLimits = QUICK) -> None:
        self.path = directory / "run" / "engine.sock"
        self.state = LiveState()
        self.logs = LogRing(500)
        self.acted: list[OperatorActed] = []
        self.actions = ActionTable(self._note, SystemClock())
        self.server = ControlServer(
            self.path,
            self.state,
            clock=SystemClock(),
            logs=self.logs,
            actions=self.actions,
            instance="i-1",
            build="9.9.9",
            history=self._history,
            limits=limits,
        )

    def happen(self, event: Event) -> None:
        self.server.publish(self.state.apply(event))

    def _note(self, event: Event) -> None:
        assert isinstance(event, OperatorActed)
        self.acted.append(event)

    async def _history(self, series: str, subject: str, since: float) -> list[tuple[float, float]]:
        return [(since + step, float(step)) for step in range(3)] if series == "latency" else []


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """A serving engine."""
    async with serving(Engine(tmp_path)) as made:
        yield made


@contextlib.asynccontextmanager
async def serving(engine: Engine) -> AsyncIterator[Engine]:
    engine.server.bind()
    task = asyncio.create_task(engine.server.serve())
    try:
        yield engine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        engine.server.close()


@contextlib.asynccontextmanager
async def attached(engine: Engine, role: str = "operator") -> AsyncIterator[ControlClient]:
    client = await ControlClient.connect(engine.path, role=role, timeout_s=WAIT_S)
    try:
        yield client
    finally:
        await client.close()


def added(number: int) -> NodeAdded:
    return NodeAdded(at=1.0, node_id=f"n{number}", label=f"rack {number}", host="192.0.2.7", port=22, username="root")


def checked(node: int, latency_ms: float) -> NodeChecked:
    gpus = tuple(f"GPU-{node}-{index}" for index in range(8))
    return NodeChecked(at=2.0, node_id=f"n{node}", ok=True, latency_ms=latency_ms, gpu_model="H100", gpu_uuids=gpus)


async def until(batches: AsyncIterator[Batch], wanted: int) -> list[Batch]:
    """Batches up to the one that brings the wanted number of changed views or log lines."""
    seen: list[Batch] = []
    found = 0
    async with asyncio.timeout(WAIT_S):
        while found < wanted:
            seen.append(await anext(batches))
            found += len(seen[-1].logs) + sum(len(views) for views in seen[-1].changed.values())
    return seen


# --- looking ------------------------------------------------------------------------------------------------------


async def test_the_hello_says_who_is_there(engine: Engine) -> None:
    """Build, instance, role and version are agreed on before anything else."""
    async with attached(engine, "read-only") as client:
        assert dataclasses.astuple(client.hello) == ("9.9.9", "i-1", "read-only", 1)


async def test_a_snapshot_of_a_thousand_nodes(engine: Engine) -> None:
    """Everything arrives, in frames below the limit, exactly as the engine has it."""
    for number in range(1_000):
        engine.happen(added(number))
        engine.happen(checked(number, 1.5))
    engine.happen(AlertRaised(at=1.0, alert_id="a", level="error", subject="s", message="\x1b[31mτ\ud800", hint=""))
    async with attached(engine) as client:
        snapshot = await client.snapshot()
    assert snapshot.views["nodes"] == engine.state.nodes
    assert snapshot.views["engine"] == {"engine": engine.state.engine}
    assert snapshot.views["alerts"] == engine.state.alerts
    assert snapshot.counters == engine.state.counters


async def test_a_big_snapshot_comes_in_several_frames(engine: Engine) -> None:
    """A snapshot over the frame limit is split; the raw frames stay below it."""
    for number in range(2_000):
        engine.happen(added(number))
        engine.happen(checked(number, 1.5))
    reader, writer = await raw(engine, hello())
    writer.write(encode({"t": "req", "id": 1, "verb": "snapshot", "args": {}}))
    sizes = []
    while True:
        size = int.from_bytes(await reader.readexactly(4), "big")
        frame = json.loads(await reader.readexactly(size))
        if frame["t"] == "end":
            break
        if frame["t"] == "item":
            sizes.append(size)
    writer.close()
    assert len(sizes) > 3
    assert sum(sizes) > SERVER_FRAME_BYTES > max(sizes)


async def test_a_watch_continues_where_the_snapshot_ended(engine: Engine) -> None:
    """What happens between snapshot and watch is in the first batch: changes, removals and counters."""
    engine.happen(added(1))
    engine.happen(added(2))
    async with attached(engine) as client:
        await client.snapshot()
        engine.happen(checked(1, 7.0))
        engine.happen(NodeRemoved(at=3.0, node_id="n2"))
        batch = (await until(client.watch(), 1))[0]
    assert batch.changed == {"nodes": [engine.state.nodes["n1"]]}
    assert batch.removed == {"nodes": ["n2"]}
    assert batch.counters == engine.state.counters


async def test_many_changes_of_one_node_become_one(engine: Engine) -> None:
    """A node that changes a thousand times between two batches is sent once, in its newest state."""
    async with attached(engine) as client:
        await client.snapshot()
        for number in range(1_000):
            engine.happen(checked(1, float(number)))
        batches = await until(client.watch(), 1)
    views = [view for batch in batches for view in batch.changed.get("nodes", [])]
    assert len(views) == 1
    assert isinstance(views[0], NodeView)
    assert (views[0].latency_ms, views[0].checks_total) == (999.0, 1_000)


async def test_log_lines_come_in_order_and_lost_ones_are_counted(engine: Engine) -> None:
    """A watch brings log lines once each; those that the ring has given up meanwhile are a number."""
    async with attached(engine) as client:
        await client.snapshot()
        for number in range(700):
            engine.logs.add(1.0, "info", "node.checked", {"number": number})
        watching = client.watch()
        batches = await until(watching, 500)
        engine.logs.add(2.0, "warning", "last", {"text": "x" * 10_000})
        batches += await until(watching, 1)
    lines = [line for batch in batches for line in batch.logs]
    assert sum(batch.gap for batch in batches) == 200
    assert [line.seq for line in lines] == list(range(201, 702))
    assert lines[0].fields == {"number": "200"}
    assert lines[-1].event == "last"


async def test_a_watch_can_be_left_and_taken_up_again(engine: Engine) -> None:
    """After the console stops watching the engine sends nothing more, and the connection serves on."""
    async with attached(engine) as client:
        for number in range(3):
            await client.snapshot()
            engine.happen(added(number))
            async with contextlib.aclosing(client.watch(logs=False)) as watching:
                batch = (await until(watching, 1))[-1]
            assert [view.id for view in batch.changed["nodes"]] == [f"n{number}"]


async def test_logs_and_history_are_paged(engine: Engine) -> None:
    """Log lines and points come as asked for; an unknown series is empty."""
    for number in range(600):
        engine.logs.add(float(number), "info", f"line {number + 1}", {"text": "y" * 5_000})
    async with attached(engine) as client:
        page = await client.logs(after_seq=150, limit=400)
        assert [line.seq for line in page] == list(range(151, 551))
        assert (await client.logs(after_seq=600)) == []
        assert await client.history("latency", "n1", 100.0) == [(100.0, 0.0), (101.0, 1.0), (102.0, 2.0)]
        assert await client.history("nothing", "n1", 0.0) == []


async def test_the_engine_shows_that_it_lives(engine: Engine) -> None:
    """A console that asks for nothing hears a beat now and then."""
    reader, writer = await raw(engine, hello())
    async with asyncio.timeout(WAIT_S):
        beats = [await read_frame(reader, SERVER_FRAME_BYTES) for _ in range(2)]
    writer.close()
    assert {frame["t"] for frame in beats} == {"beat"}


async def test_a_lost_engine_ends_the_watch(tmp_path: Path) -> None:
    """When the engine goes, whoever waits is told, and so is whoever asks later."""
    async with serving(Engine(tmp_path)) as engine:
        client = await ControlClient.connect(engine.path)
        await client.snapshot()
        watching = client.watch()
        engine.happen(added(1))
        await until(watching, 1)
    async with asyncio.timeout(WAIT_S):
        with pytest.raises(EngineUnreachable):
            while True:
                await anext(watching)
        with pytest.raises(EngineUnreachable):
            await client.snapshot()
    await client.close()
    with pytest.raises(EngineUnreachable):
        await ControlClient.connect(engine.path)


# --- acting -------------------------------------------------------------------------------------------------------


def register_some(engine: Engine) -> list[Mapping[str, object]]:
    """Actions that record what they were asked for."""
    calls: list[Mapping[str, object]] = []

    async def drain(args: Mapping[str, object], report: Report) -> Mapping[str, object]:
        calls.append(args)
        report("half way")
        await asyncio.sleep(0.05)
        return {"number": len(calls)}

    async def fail(args: Mapping[str, object], report: Report) -> Mapping[str, object]:
        raise StoreUnusable("database full", hint="free some space")

    async def crash(args: Mapping[str, object], report: Report) -> Mapping[str, object]:
        raise KeyError("secret")

    engine.actions.register("node.drain", drain, help="take a node out", danger=True)
    engine.actions.register("node.fail", fail, help="fail", danger=False)
    engine.actions.register("node.crash", crash, help="crash", danger=False)
    return calls


async def test_an_action_is_done_reported_and_audited(engine: Engine) -> None:
    """Progress comes before the result, and the audit event names who did what to what."""
    register_some(engine)
    progress: list[str] = []
    async with attached(engine) as client:
        assert await client.act("node.drain", {"node_id": "n1"}, on_progress=progress.append) == {"number": 1}
    assert progress == ["half way"]
    assert [(acted.verb, acted.target, acted.outcome) for acted in engine.acted] == [("node.drain", "n1", "done")]
    assert f"pid {os.getpid()}" in engine.acted[0].actor


async def test_a_read_only_session_may_do_nothing(engine: Engine) -> None:
    """Every registered action is refused by the engine itself, and the attempt is audited."""
    calls = register_some(engine)
    async with attached(engine, "read-only") as client:
        for action in engine.actions.actions:
            with pytest.raises(ControlRefused) as caught:
                await client.act(action.verb, {"node_id": "n1"})
            assert caught.value.reason == "read_only"
        await client.snapshot()
    assert calls == []
    assert [acted.outcome for acted in engine.acted] == ["refused: read_only"] * 3


async def test_an_action_with_a_key_is_done_once(engine: Engine) -> None:
    """The same key brings the same result, at the same time or later, on any connection; another use is refused."""
    calls = register_some(engine)
    async with attached(engine) as one, attached(engine) as two:
        both = await asyncio.gather(*(c.act("node.drain", {"node_id": "n1"}, key="k1") for c in (one, two)))
        again = await two.act("node.drain", {"node_id": "n1"}, key="k1")
        with pytest.raises(ControlRefused) as caught:
            await one.act("node.drain", {"node_id": "n2"}, key="k1")
        other = await one.act("node.drain", {"node_id": "n1"}, key="k2")
    assert [*both, again, other] == [{"number": 1}] * 3 + [{"number": 2}]
    assert caught.value.reason == "key_reused"
    assert len(calls) == 2


async def test_failures_of_actions_reach_the_operator(engine: Engine) -> None:
    """An error keeps its code and hint; a crash is named without its content; unknown verbs are refused."""
    register_some(engine)
    async with attached(engine) as client:
        found = []
        for verb in ("node.fail", "node.crash", "node.unknown"):
            with pytest.raises(ControlRefused) as caught:
                await client.act(verb, {})
            found.append((caught.value.reason, caught.value.hint))
            assert "secret" not in caught.value.message
    assert [reason for reason, _ in found] == ["store_unusable", "internal", "unknown_action"]
    assert found[0][1] == "free some space"


async def test_an_action_outlives_its_console(engine: Engine) -> None:
    """A console that hangs up in the middle does not leave an action half done."""
    register_some(engine)
    client = await ControlClient.connect(engine.path)
    asking = asyncio.create_task(client.act("node.drain", {"node_id": "n1"}))
    async with asyncio.timeout(WAIT_S):
        while not engine.actions._running:
            await asyncio.sleep(0.005)
        await client.close()
        while not engine.acted:
            await asyncio.sleep(0.005)
    with pytest.raises(EngineUnreachable):
        await asking
    assert engine.acted[0].outcome == "done"


# --- hostile and broken clients -----------------------------------------------------------------------------------


def hello(low: int = 1, high: int = 1, **more: object) -> bytes:
    return encode({"t": "hello", "proto": [low, high], "build": "x", "role": "operator", "new_field": 1} | more)


async def raw(engine: Engine, first: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A bare connection that has sent ``first`` and, if that was a hello, read the answer."""
    reader, writer = await asyncio.open_unix_connection(str(engine.path))
    writer.write(first)
    if b'"hello"' in first:
        assert (await read_frame(reader, SERVER_FRAME_BYTES))["t"] == "hello"
    return reader, writer


async def frames_until_cut(reader: asyncio.StreamReader) -> list[dict[str, object]]:
    frames = []
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        async with asyncio.timeout(WAIT_S):
            while True:
                frame = await read_frame(reader, SERVER_FRAME_BYTES)
                if frame["t"] != "beat":
                    frames.append(frame)
    return frames


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (b"\xff\xff\xff\xff", "frame_too_large"),
        ((2 * 1024 * 1024).to_bytes(4, "big") + b"x" * 1024, "frame_too_large"),
        (encode({"t": "hello", "proto": [1, 1], "junk": "x" * CLIENT_FRAME_BYTES}), "frame_too_large"),
        (b"GET / HTTP/1.1\r\n\r\n", "frame_too_large"),
        (b"\x00\x00\x00\x00", "frame_invalid"),
        (b"\x00\x00\x00\x04\xff\xfe\xfd\xfc", "frame_invalid"),
        (b"\x00\x00\x00\x02[]", "frame_invalid"),
        (b"\x00\x00\x75\x30" + b"[" * 30_000, "frame_invalid"),
        (encode({"t": "req", "id": 1, "verb": "snapshot"}), "hello_expected"),
        (encode({"t": "hello", "proto": [0, 0]}), "protocol_mismatch"),
        (encode({"t": "hello", "proto": [7, 9]}), "protocol_mismatch"),
        (encode({"t": "hello", "proto": "all"}), "protocol_mismatch"),
        (encode({"t": "hello", "proto": [1, 1], "role": "root"}), "unknown_role"),
    ],
    ids=str,
)
async def test_a_bad_beginning_is_answered_and_cut(engine: Engine, first: bytes, code: str) -> None:
    """Garbage, giant frames and strange hellos get one error frame; others are served on."""
    async with attached(engine) as other:
        reader, writer = await asyncio.open_unix_connection(str(engine.path))
        writer.write(first)
        frames = await frames_until_cut(reader)
        writer.close()
        await other.snapshot()
    assert [frame["code"] for frame in frames] == [code]


async def test_a_silent_client_is_cut(tmp_path: Path) -> None:
    """A connection that never says hello does not keep a place."""
    async with serving(Engine(tmp_path, replace(QUICK, hello_s=0.3))) as engine:
        reader, writer = await asyncio.open_unix_connection(str(engine.path))
        assert await frames_until_cut(reader) == []
        writer.close()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"t": "req", "id": 1, "verb": "erase"}, "unknown_verb"),
        ({"t": "req", "id": "1", "verb": "snapshot"}, "id_invalid"),
        ({"t": "req", "id": True, "verb": "snapshot"}, "id_invalid"),
        ({"t": "req", "id": 1, "verb": "snapshot", "args": []}, "args_invalid"),
        ({"t": "req", "id": 1, "verb": "logs", "args": {"after_seq": "x"}}, "args_invalid"),
        ({"t": "req", "id": 1, "verb": "history", "args": {}}, "args_invalid"),
        ({"t": "req", "id": 1, "verb": "act", "args": {"verb": 7}}, "args_invalid"),
        ({"t": "what"}, "unknown_frame"),
    ],
    ids=str,
)
async def test_a_bad_request_is_an_error_and_nothing_more(engine: Engine, frame: dict[str, object], code: str) -> None:
    """After a request that makes no sense the connection still answers good ones."""
    reader, writer = await raw(engine, hello())
    writer.write(encode(frame) + encode({"t": "req", "id": 2, "verb": "logs", "args": {}, "unknown": 1}))
    answers: list[dict[str, object]] = []
    async with asyncio.timeout(WAIT_S):
        while len(answers) < 2:
            answer = await read_frame(reader, SERVER_FRAME_BYTES)
            answers += [answer] if answer["t"] != "beat" else []
    writer.close()
    assert (answers[0]["t"], answers[0]["code"]) == ("error", code)
    assert answers[1] == {"t": "end", "id": 2}


async def test_an_old_or_new_console_is_told_in_words(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A console without a common protocol version learns which side to upgrade."""
    for versions, word in (([0, 0], "too old"), ([5, 6], "too new")):
        monkeypatch.setattr("engine.control.client.PROTOCOL", tuple(versions))
        with pytest.raises(ProtocolMismatch, match=word) as caught:
            await ControlClient.connect(engine.path)
        assert "upgrade" in caught.value.hint


async def test_a_slow_reader_is_cut_and_nobody_waits_for_it(tmp_path: Path) -> None:
    """A console that stops reading loses its connection; others get every batch, and its backlog stays small."""
    # Long enough for several turns of a thousand nodes on a busy machine before the silent console is cut.
    async with serving(Engine(tmp_path, replace(QUICK, stall_s=4.0))) as engine:
        for number in range(1_000):
            engine.happen(added(number))
        _, writer = await raw(engine, hello())
        writer.write(encode({"t": "req", "id": 1, "verb": "watch", "args": {}}))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with attached(engine) as other, asyncio.timeout(WAIT_S):
            await other.snapshot()
            watching = other.watch()
            turn = 0
            while engine.server.client_count == 2:
                turn += 1
                for number in range(1_000):
                    engine.happen(checked(number, float(turn)))
                await until(watching, 1_000)
            assert turn > 1
            assert all(client._writer.transport.get_write_buffer_size() < 1 << 20 for client in engine.server._clients)
        writer.close()


@contextlib.asynccontextmanager
async def connected(longest_look_s: float = 1.0) -> AsyncIterator[tuple[ServedClient, socket.socket]]:
    """The engine's side of a connection, seen at moments that the test names, and the console's bare socket."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    _, writer = await asyncio.open_connection(sock=ours)
    with theirs:
        yield ServedClient(writer, actor="test", now=0.0, longest_look_s=longest_look_s), theirs
        writer.transport.abort()


async def test_silence_is_what_nobody_read() -> None:
    """Unread bytes age from look to look; new ones do not make them younger, and reading all of them ends it."""
    async with connected() as (client, console):
        assert client.stalled_s(1.0) == 0.0
        client.send_bytes(b"x" * 100)
        assert [client.stalled_s(now) for now in (2.0, 3.0)] == [1.0, 2.0]
        client.send_bytes(b"x" * 50_000)
        assert client.stalled_s(4.0) == 3.0
        received = 0
        while received < 50_100:
            received += len(console.recv(1 << 20))
        assert client.stalled_s(5.0) == 0.0


async def test_reading_slowly_is_not_silence() -> None:
    """A console that takes a big snapshot in small bites over minutes keeps its connection all the while."""
    async with connected() as (client, console):
        for _ in range(40):
            client.send_bytes(b"x" * 64 * 1024)
        silences: list[float] = []
        while client.is_blocked:
            console.recv(32 * 1024)
            await asyncio.sleep(0)
            silences.append(client.stalled_s(float(len(silences))))
        assert len(silences) > 50
        assert max(silences) < 3.0


async def test_a_pause_of_the_engine_is_not_the_consoles_silence() -> None:
    """An engine that could not look for an hour counts one look, not an hour."""
    async with connected(longest_look_s=0.5) as (client, _):
        client.send_bytes(b"x")
        assert client.stalled_s(0.25) == 0.25
        assert client.stalled_s(3_600.0) == 0.75


async def test_too_many_consoles(tmp_path: Path) -> None:
    """The seventeenth console is told why it is not let in; after one leaves there is room again."""
    async with serving(Engine(tmp_path)) as engine, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(attached(engine)) for _ in range(16)]
        with pytest.raises(ControlRefused) as caught:
            await ControlClient.connect(engine.path)
        assert caught.value.reason == "too_many_clients"
        await clients[0].close()
        async with asyncio.timeout(WAIT_S):
            while engine.server.client_count == 16:
                await asyncio.sleep(0.005)
        async with attached(engine) as late:
            await late.snapshot()


async def test_something_else_behind_the_socket(tmp_path: Path) -> None:
    """A server that is no engine is named as such, whatever it sends."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ready\r\n")
        writer.close()

    server = await asyncio.start_unix_server(answer, path=str(tmp_path / "s"))
    with pytest.raises(EngineUnreachable, match="no engine"):
        await ControlClient.connect(tmp_path / "s")
    server.close()


# --- the place ----------------------------------------------------------------------------------------------------


async def test_the_socket_is_ours_alone_and_gone_afterwards(tmp_path: Path) -> None:
    """Directory and socket are closed to others while the engine runs; the socket goes with it."""
    async with serving(Engine(tmp_path)) as engine:
        assert engine.path.parent.stat().st_mode & 0o777 == 0o700
        assert engine.path.stat().st_mode & 0o077 == 0
    assert not engine.path.exists()


async def test_a_live_engine_is_never_replaced(engine: Engine, tmp_path: Path) -> None:
    """A second engine on the same path is refused by name, and the first one is not disturbed."""
    with pytest.raises(EngineAlreadyRunning, match=f"pid {os.getpid()}"):
        Engine(tmp_path).server.bind()
    async with attached(engine) as client:
        await client.snapshot()


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.engine.test_control_socket import Engine
engine = Engine(Path(sys.argv[1]))
engine.server.bind()
print("bound", flush=True)
asyncio.run(engine.server.serve())
"""


async def test_a_killed_engines_socket_is_replaced(tmp_path: Path) -> None:
    """After SIGKILL the file stays and is known to be dead; the next engine takes the place."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"bound\n"
    with pytest.raises(EngineAlreadyRunning, match=f"pid {process.pid}"):
        Engine(tmp_path).server.bind()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    path = tmp_path / "run/engine.sock"
    assert path.exists()
    with pytest.raises(EngineUnreachable, match="gone"):
        await ControlClient.connect(path)
    async with serving(Engine(tmp_path)) as engine, attached(engine) as client:
        await client.snapshot()


def test_unsafe_places_are_refused(tmp_path: Path) -> None:
    """Long paths, directories that others can enter, links and foreign files in the way: each has its reason."""
    cases = {"bytes, the limit is 100": Engine(tmp_path / ("x" * 120))}
    open_to_all = Engine(tmp_path / "a")
    open_to_all.path.parent.mkdir(mode=0o755, parents=True)
    cases["mode 0755"] = open_to_all
    linked = Engine(tmp_path / "b")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    linked.path.parent.parent.mkdir()
    linked.path.parent.symlink_to(tmp_path / "elsewhere")
    cases["symbolic link"] = linked
    for name, word in (("c", "is not a socket"), ("d", "is not a socket"), ("e", "cannot be made")):
        cases[f"{name}: {word}"] = planted = Engine(tmp_path / name)
        planted.path.parent.mkdir(mode=0o700, parents=True)
        target = tmp_path / f"{name}.target"
        target.write_text("precious")
        if name == "c":
            planted.path.symlink_to(target)
        elif name == "d":
            planted.path.write_text("precious")
        else:
            (planted.path.parent / "engine.lock").symlink_to(target)
    for words, engine in cases.items():
        with pytest.raises(ControlSocketUnusable, match=words.rpartition(": ")[2]):
            engine.server.bind()
    assert {path.read_text() for path in tmp_path.glob("*.target")} == {"precious"}
    assert (tmp_path / "d/run/engine.sock").read_text() == "precious"
    open_to_all.path.parent.chmod(0o700)
    open_to_all.server.bind()
    open_to_all.server.close()


STRANGER = """
import os, socket, sys
os.setgid(65534)
os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
print(connection.makefile("rb").read()[4:].decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
async def test_another_user_is_refused() -> None:
    """Even where the file modes would let it in, a connection of another uid is answered with a refusal."""
    with tempfile.TemporaryDirectory(prefix="control-") as place:
        async with serving(Engine(Path(place))) as engine:
            for path, mode in ((Path(place), 0o711), (engine.path.parent, 0o711), (engine.path, 0o777)):
                path.chmod(mode)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-S", "-c", STRANGER, str(engine.path), stdout=asyncio.subprocess.PIPE
            )
            output, _ = await process.communicate()
    assert json.loads(output)["code"] == "forbidden"


def test_the_client_needs_nothing_heavy() -> None:
    """Importing the client loads no gRPC, database, chain, SSH or terminal library."""
    code = (
        "import sys, engine.control.client, engine.control.state\n"
        "heavy = {'grpc', 'sqlalchemy', 'bittensor', 'asyncssh', 'textual', 'alembic', 'structlog', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
