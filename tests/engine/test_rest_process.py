"""The REST process: what it answers, what it asks of the engine, and how both end."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from engine.clock import SystemClock
from engine.config.validator import ApiConfig, ValidatorConfig, ValidatorDatabaseConfig
from engine.control.actions import ActionTable
from engine.control.models import MinerView, place_id
from engine.control.state import LiveState
from engine.errors import PortTaken, RestProcessEnded, StoreUnusable
from engine.events import Event, OperatorActed, VerificationQueued
from engine.observe.metrics_process import cpu_seconds_of
from engine.rest.app import RestParts, rest_app
from engine.rest.gauges import RestGauges
from engine.rest.keys import ApiKeys
from engine.rest.process import RestProcess
from engine.store import Store, open_store
from engine.store.read_store import open_store_to_read
from engine.validator.rentals import RentalRegistry
from tests.engine.test_rest_observed import write_validator
from tests.support.asking import OPEN
from tests.support.asking import ask as ask_app
from tests.support.miner_subnet import create_subnet
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.rest_world import HOTKEYS, add_node, node_of, rest_world

pytestmark = pytest.mark.timeout(300)
READY_S = 120.0
REST = "basilica_validator_rest"
CONFIGURED = "configured-key-0123456789-abcdefg"


@dataclass
class World:
    """An engine's side of the REST process, over a real store."""

    rest: RestProcess
    store: Store
    state: LiveState
    keys: ApiKeys
    port: int
    emit: Callable[[Event], None]
    told: list[Event] = field(default_factory=list)
    counted: list[tuple[int, float, int]] = field(default_factory=list)

    async def ask(self, path: str, *, method: str = "GET", body: object = None, **headers: str) -> tuple[int, Any]:
        return await asyncio.to_thread(ask, self.port, path, method, body, headers)


def ask(port: int, path: str, method: str = "GET", body: object = None, headers: Any = None) -> tuple[int, Any]:
    """Status and JSON body."""
    data = None if body is None else json.dumps(body).encode()
    given = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, {"content-type": "application/json", **given}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=READY_S) as answer:
            text, status = answer.read(), answer.status
    except urllib.error.HTTPError as error:
        text, status = error.read(), error.code
    return status, json.loads(text) if text else None


@asynccontextmanager
async def world_over(url: str, api: ApiConfig) -> AsyncIterator[World]:
    """Three miners with one, two and three nodes; the process is not started."""
    clock, state, port = SystemClock(), LiveState(), free_port()
    state.engine.hotkey = "5Validator"
    store = await open_store(url, clock=clock)
    try:
        for uid, hotkey in enumerate(HOTKEYS):
            state.miners[hotkey] = MinerView(
                id=hotkey, hotkey=hotkey, uid=uid, endpoint="192.0.2.1:8091", last_answer_at=time.time()
            )
            for number in range(uid + 1):
                await add_node(store, node_of(hotkey, uid, number))
        told: list[Event] = []
        counted: list[tuple[int, float, int]] = []
        config = ValidatorConfig(
            database=ValidatorDatabaseConfig(url=url),
            api=api.model_copy(update={"bind_address": f"127.0.0.1:{port}", "api_key": CONFIGURED}),
        )
        keys = ApiKeys(store.api_keys, clock, configured=CONFIGURED)

        def emit(event: Event) -> None:
            told.append(event)
            rest.note(state.apply(event))

        actions = ActionTable(emit, clock)
        RentalRegistry(store, clock, emit).add_actions(actions)
        rest = RestProcess(config, state, keys, actions, lambda *answer: counted.append(answer))
        keys.on_change = rest.forget_keys
        yield World(rest, store, state, keys, port, emit, told, counted)
        await actions.close()
    finally:
        await store.close()


@asynccontextmanager
async def running(world: World) -> AsyncIterator[asyncio.Task[None]]:
    """The process answers."""
    life = asyncio.create_task(world.rest.run())
    try:
        while not life.done():
            try:
                await asyncio.open_connection("127.0.0.1", world.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            assert (await world.ask("/health"))[0] in (200, 503)
            break
        yield life
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Everything may be read; in both kinds of database."""
    if request.param == "sqlite":
        url = f"sqlite:{tmp_path / 'v.db'}"
    else:
        server: Postgres = request.getfixturevalue("postgres")
        url = server.database()
    async with world_over(url, OPEN) as made:
        yield made


def is_free(port: int) -> bool:
    """Whether the port can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for it. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


async def test_it_answers_from_the_database_and_what_the_engine_tells(world: World) -> None:
    """Miners, nodes and results come from the database; what runs at this moment comes and goes with its events."""
    async with running(world):
        assert (await world.ask("/miners"))[1]["total_count"] == 3
        assert (await world.ask("/nodes"))[1]["total_count"] == 6
        status, rows = await world.ask(f"/verification/results/{HOTKEYS[1]}")
        assert (status, len(rows)) == (200, 8)
        assert rows[0]["validator_hotkey"] == "5Validator"
        node = node_of(HOTKEYS[0], 0, 0).node_id
        world.emit(
            VerificationQueued(
                at=time.time(), node_id=node, miner_hotkey=HOTKEYS[0], miner_uid=0, endpoint="192.0.2.1:22",
                tier="full", reason="due",
            )
        )  # fmt: skip
        await _until_running(world, [node])
        world.state.verifications[place_id(HOTKEYS[0], node)].phase = ""
        world.rest.note({("verifications", place_id(HOTKEYS[0], node))})
        await _until_running(world, [])
        world.state.miners["5New"] = MinerView(id="5New", hotkey="5New", uid=9, last_answer_at=time.time())
        world.rest.note({("miners", "5New")})
        del world.state.miners[HOTKEYS[2]]
        world.rest.note({("miners", HOTKEYS[2])})
        async with asyncio.timeout(30):
            while [m["hotkey"] for m in (await world.ask("/miners"))[1]["miners"]] != [*HOTKEYS[:2], "5New"]:
                await asyncio.sleep(0.2)
        await until(lambda: len(world.counted) >= 6)
        assert {status for status, _, _ in world.counted} <= {200, 503}


async def _until_running(world: World, nodes: list[str]) -> None:
    async with asyncio.timeout(30):
        while [one["node_id"] for one in (await world.ask("/verification/active"))[1]["in_progress"]] != nodes:
            await asyncio.sleep(0.2)


async def test_the_head_alone_is_that_of_the_answer(tmp_path: Path) -> None:
    """HEAD has status, length and tag of GET, and no body, made now or a moment ago; where GET is not, it is not."""

    def heads(port: int) -> list[tuple[int, str | None, str | None, bytes]]:
        found = []
        for method, path in (("HEAD", "/miners"), ("GET", "/miners"), ("HEAD", "/miners"), ("HEAD", "/nope")):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_S)
            connection.request(method, path)
            answer = connection.getresponse()
            found.append((answer.status, answer.headers["content-length"], answer.headers["etag"], answer.read()))
            connection.close()
        return found

    async with world_over(f"sqlite:{tmp_path / 'v.db'}", OPEN) as world, running(world):
        made, whole, kept, none = await asyncio.to_thread(heads, world.port)
        assert (whole[0], whole[1]) == (200, str(len(whole[3])))
        assert made == kept == (*whole[:3], b"")
        assert (none[0], none[3]) == (404, b"")
        status, _ = await world.ask("/miners", method="PUT")
        assert status == 405


async def test_changes_are_made_by_the_engine(world: World) -> None:
    """A rental is entered once under its key, is in the way of another, ends, and stands on record with its author."""
    node = node_of(HOTKEYS[0], 0, 0).node_id
    async with running(world):
        wanted = {"node_id": node, "rental_id": "r-1"}
        known = {"x_api_key": CONFIGURED, "idempotency_key": "k"}
        first = await world.ask("/rentals", method="POST", body=wanted, **known)
        assert (first[0], first[1]["node"]["rented"]) == (201, True)
        assert (await world.ask("/rentals", method="POST", body=wanted, **known))[0] == 201
        again = await world.ask("/rentals", method="POST", body={"node_id": node}, x_api_key=CONFIGURED)
        assert again[0] == 409
        assert (await world.ask("/rentals", method="POST", body=wanted))[0] == 401
        assert (await world.ask("/rentals/r-1", method="DELETE", x_api_key=CONFIGURED))[0] == 204
        assert (await world.ask("/rentals/r-1"))[1]["status"] == "terminated"
    acted = [(e.verb, e.actor, e.outcome) for e in world.told if isinstance(e, OperatorActed)]
    assert acted[0] == ("rental.begin", "api_key of the configuration", "done")
    assert acted[-1] == ("rental.end", "api_key of the configuration", "done")


async def test_a_revoked_key_opens_nothing_from_then_on(world: World) -> None:
    """A key works when it was made, its use is stored by the engine, and after ``revoke`` returned it is refused."""
    async with running(world):
        text, record = await world.keys.create("reader", ["read"], lifetime_s=None)
        assert (await world.ask("/config", x_api_key=text))[0] == 200
        await until(lambda: world.keys._rows is not None and world.keys._rows[record.id].last_used_at is not None)
        await world.keys.revoke("reader")
        assert (await world.ask("/miners", x_api_key=text))[0] == 401
    stored = {row.id: row for row in await world.store.api_keys.all()}[record.id]
    assert stored.revoked_at is not None
    assert stored.last_used_at is not None


async def test_its_log_follows_a_reload(tmp_path: Path) -> None:
    """At debug every answer is a line in the engine's log, with its caller; at info none, also in the next process."""
    async with world_over(f"sqlite:{tmp_path / 'v.db'}", OPEN) as world:
        with structlog.testing.capture_logs() as lines:

            def answered() -> list[tuple[Any, ...]]:
                fields = ("path", "status", "caller", "process")
                return [tuple(line.get(name) for name in fields) for line in lines if line["event"] == "rest.answered"]

            async def told_after(path: str) -> list[tuple[Any, ...]]:
                """The lines after one request; what its process had to say has come when its counts are there."""
                lines.clear()
                count = len(world.counted)
                await world.ask(path, x_api_key=CONFIGURED)
                await until(lambda: len(world.counted) > count)
                return answered()

            async with running(world):
                assert await told_after("/miners") == []
                await world.rest.apply_logging(at_level(world, "debug"))
                assert await told_after("/miners/7") == [("/miners/7", 404, "api_key of the configuration", "rest")]
                await world.rest.apply_logging(at_level(world, "info"))
                assert await told_after("/miners/8") == []
                await world.rest.apply_logging(at_level(world, "debug"))
            async with running(world):
                assert ("/nodes", 200, "api_key of the configuration", "rest") in await told_after("/nodes")


def at_level(world: World, level: str) -> ValidatorConfig:
    config = world.rest._config
    return config.model_copy(update={"logging": config.logging.model_copy(update={"level": level})})


async def test_what_it_uses_is_told(tmp_path: Path) -> None:
    """Up, starts, memory and processor time while it runs; down and no use of a process that is gone; all in the
    document."""
    async with world_over(f"sqlite:{tmp_path / 'v.db'}", OPEN) as world:
        gauges = RestGauges(world.rest)

        def told() -> dict[str, float]:
            return {sample.name: sample.value for family in gauges.collect() for sample in family.samples}

        assert told() == {f"{REST}_up": 0.0, f"{REST}_starts_total": 0.0, f"{REST}_loop_lag_seconds": 0.0}
        for starts in (1.0, 2.0):
            async with running(world):
                await until(lambda: told()[f"{REST}_up"] == 1.0)
                found = told()
                assert found[f"{REST}_starts_total"] == starts
                assert 20e6 < found[f"{REST}_memory_usage_bytes"] < 1e9
                assert found[f"{REST}_cpu_usage_percent"] >= 0.0
                assert (cpu_seconds_of(world.rest.pid or 0) or 0.0) > 0.1
            assert (told()[f"{REST}_up"], f"{REST}_memory_usage_bytes" in told()) == (0.0, False)
    document = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    assert [name for name in found if name.removeprefix("basilica_validator") not in document] == []


async def test_it_goes_with_its_service(world: World) -> None:
    """A cancelled service leaves no process and no listener; it can be started again."""
    for _ in range(2):
        async with running(world):
            pid = world.rest.pid
            assert pid is not None
        assert not Path(f"/proc/{pid}").exists()
        assert is_free(world.port)


async def test_a_process_that_dies_is_reported(world: World) -> None:
    """The service ends with the reason, for the supervisor to start another; the port is free for that."""
    async with running(world) as life:
        assert world.rest.pid is not None
        os.kill(world.rest.pid, signal.SIGKILL)
        with pytest.raises(RestProcessEnded, match="killed by SIGKILL"):
            await life
    assert is_free(world.port)


async def test_a_process_that_hangs_opens_nothing_to_a_revoked_key(tmp_path: Path) -> None:
    """Revoking waits for the process to know; one that does not listen is ended."""
    async with world_over(f"sqlite:{tmp_path / 'v.db'}", OPEN) as world, running(world) as life:
        await world.keys.create("reader", ["read"], lifetime_s=None)
        assert world.rest.pid is not None
        os.kill(world.rest.pid, signal.SIGSTOP)
        await world.keys.revoke("reader")
        with pytest.raises(RestProcessEnded):
            await life


async def test_a_silent_engine_is_not_called_well(tmp_path: Path) -> None:
    """Whoever watches ``/health`` hears that the engine tells nothing."""
    silent_s = 0.0
    async with rest_world(tmp_path, OPEN) as made:
        parts = RestParts(
            made.config, made.store, made.state, made.clock, made.keys, "5V", made.actions, lambda: silent_s
        )
        app = rest_app(parts)
        assert (await ask_app(app, "/health"))[0] == 200
        silent_s = 31.0
        status, _, body = await ask_app(app, "/health")
        assert (status, body["checks"]["engine"]) == (503, "silent for 31 s")


def test_the_engine_does_not_load_the_web_framework() -> None:
    """What the engine imports of the REST API leaves FastAPI to the process."""
    words = "import sys, engine.rest.process, engine.rest.facts, engine.rest.views; print('fastapi' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.strip() == "False"


async def test_a_taken_port_is_said_so(tmp_path: Path) -> None:
    """The error names address and section, before any process is started."""
    async with world_over(f"sqlite:{tmp_path / 'v.db'}", OPEN) as world:
        with socket.create_server(("127.0.0.1", world.port)):
            with pytest.raises(PortTaken, match=f"api: cannot listen on 127.0.0.1:{world.port}") as refused:
                await world.rest.run()
            assert "[api]" in refused.value.hint
            assert world.rest.pid is None


async def test_a_database_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    """Nothing is created in its place, and the reason reaches the service."""
    path = tmp_path / "v.db"
    async with world_over(f"sqlite:{path}", OPEN) as world:
        path.rename(tmp_path / "elsewhere.db")
        with pytest.raises(RestProcessEnded, match="there is no database"):
            await world.rest.run()
        assert not path.exists()
        (tmp_path / "elsewhere.db").rename(path)


async def test_the_store_of_another_process_is_only_read(world: World) -> None:
    """What is there can be read; whatever would write is refused, and the database refuses as well."""
    url = world.rest._config.database.url
    store = await open_store_to_read(url, clock=SystemClock())
    try:
        assert len(await store.validated.nodes()) == 6
        with pytest.raises(StoreUnusable, match="may only read"):
            await store.api_keys.put(await _a_key(world))
    finally:
        await store.close()


async def _a_key(world: World) -> Any:
    return (await world.keys.create("other", ["read"], lifetime_s=None))[1]


@pytest.mark.sshd
def test_a_killed_engine_leaves_no_process(tmp_path: Path) -> None:
    """A real validator: its log says when it answers; a killed process comes back, and goes with the engine."""
    port = free_port()
    subnet = create_subnet(tmp_path, [])
    config = write_validator(subnet, port)
    log = tmp_path / "validator.log"
    with log.open("wb") as out:
        engine = subprocess.Popen(
            [sys.executable, "-m", "basilica_tui", "--daemon", "--config", str(config)],
            stdout=out, stderr=out, cwd=Path(__file__).parents[2],
        )  # fmt: skip
    try:
        _until_answers(port, log)
        child = _child_of(engine.pid)
        os.kill(child, signal.SIGKILL)
        _until(lambda: _child_of(engine.pid) not in (0, child), log)
        _until_answers(port, log)
        child = _child_of(engine.pid)
        engine.send_signal(signal.SIGKILL)
        engine.wait(60)
        _until(lambda: is_free(port) and not Path(f"/proc/{child}").exists(), log)
    finally:
        engine.kill()
        engine.wait(60)
    text = log.read_text()
    assert text.count("rest.ready") == 2
    assert "killed by SIGKILL" in text


def _child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = [one for one in children if b"engine.rest.server" in Path(f"/proc/{one}/cmdline").read_bytes()]
    return int(found[0]) if found else 0


def _until_answers(port: int, log: Path) -> None:
    def answers() -> bool:
        try:
            return ask(port, "/miners")[0] == 401
        except OSError:
            return False

    _until(answers, log)


def _until(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while not condition():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.1)
