"""A month of 256 miners with 8 nodes each: the slowest question that a screen or a route asks of the database."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.clock import ManualClock
from engine.config.validator import ValidatorConfig
from engine.control.actions import ActionTable
from engine.control.models import MinerView
from engine.control.state import LiveState
from engine.rest.app import RestParts, rest_app
from engine.rest.gate import Gate
from engine.rest.keys import ApiKeys
from engine.store import Store, open_store
from engine.store.read_store import open_store_to_read
from engine.validator.full import STEPS
from engine.validator.lightweight import LIGHT_STEPS
from tests.bench import Figure, at_most
from tests.support.asking import OPEN, ask
from tests.support.postgres import Postgres, find_programs, server_account

MINERS, NODES = 256, 8
DAYS = int(os.environ.get("BENCH_HISTORY_DAYS", "30"))
EVERY_S = 600.0
NOW = 1_790_000_000.0
GOAL = at_most(2)
_NODES = f"""
INSERT INTO engine_validated_nodes (miner_hotkey, node_id, miner_uid, endpoint, status, created_at, last_check_at,
    last_ok_at, run_since, full_run_since, gpu_model, gpu_count, compute_capability, cuda, facts)
WITH RECURSIVE miner(u) AS (SELECT 0 UNION ALL SELECT u + 1 FROM miner WHERE u + 1 < {MINERS}),
    node(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM node WHERE n + 1 < {NODES})
SELECT '5M' || u, 'n-' || u || '-' || n, u, '192.0.2.1:22', 'online', {NOW - 3e6}, {NOW}, {NOW}, {NOW - 1e6},
    {NOW - 1e6}, 'H100', 1, '9.0', '12.8', '{{}}' FROM miner CROSS JOIN node
"""
_CLAIMS = f"""
INSERT INTO engine_gpu_claims (gpu_uuid, miner_hotkey, node_id, gpu_index, model, memory_mib, verified_at)
SELECT 'GPU-' || node_id, miner_hotkey, node_id, 0, 'H100', 81559, {NOW} FROM engine_validated_nodes
"""
_CHECKS = """
INSERT INTO engine_verifications (id, miner_hotkey, miner_uid, node_id, endpoint, tier, ok, at, duration_ms, gpu_model,
                                  gpu_uuids, error_code, message, steps)
WITH RECURSIVE turn(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM turn WHERE k + 1 < {turns})
SELECT n.node_id || '-' || turn.k, n.miner_hotkey, n.miner_uid, n.node_id, n.endpoint,
       CASE WHEN turn.k % 36 = 0 THEN 'full' ELSE 'lightweight' END,
       (turn.k * 7 + n.miner_uid) % 97 <> 0, {start} + turn.k * {every}, 812.5, n.gpu_model, '[]',
       CASE WHEN (turn.k * 7 + n.miner_uid) % 97 <> 0 THEN '' ELSE 'ssh_timeout' END, '',
       CASE WHEN turn.k % 36 = 0 THEN {full_steps} ELSE {light_steps} END
FROM turn CROSS JOIN engine_validated_nodes n ORDER BY turn.k, n.node_id
"""
_SUMS = """
INSERT INTO engine_check_hours (hour, miner_hotkey, node_id, passed, logged_in, total)
SELECT CAST(at AS BIGINT) / 3600, miner_hotkey, node_id, sum(CASE WHEN ok THEN 1 ELSE 0 END),
       sum(CASE WHEN error_code = '' THEN 1 ELSE 0 END), count(*)
FROM engine_verifications WHERE at >= {start} AND at < {end} GROUP BY 1, 2, 3
ON CONFLICT (hour, miner_hotkey, node_id) DO UPDATE SET passed = engine_check_hours.passed + excluded.passed,
    logged_in = engine_check_hours.logged_in + excluded.logged_in, total = engine_check_hours.total + excluded.total
"""
_ALL = """
INSERT INTO engine_fleet_hours (hour, passed, logged_in, total)
SELECT hour, sum(passed), sum(logged_in), sum(total) FROM engine_check_hours GROUP BY hour
"""
_NEWEST = f"""
INSERT INTO engine_latest_checks (miner_hotkey, node_id, verification_id, at, ok, failed_before_at)
SELECT miner_hotkey, node_id, id, at, ok, NULL FROM engine_verifications WHERE at >= {NOW - 1.5 * EVERY_S}
"""


def _steps(names: Sequence[str]) -> str:
    rows = [[name, "ok", "SHA256:Vd1u8vYIrAQ2uQm6c3FQ0nXHkqVQ8TnJbPZk4yH0v3E seen as before", 101.5] for name in names]
    return "'" + json.dumps(rows, separators=(",", ":")).replace(":", "\\:") + "'"


_ROUTES = (
    "/miners", "/miners?sort=-score&page=2", "/miners/miner_7", "/miners/miner_7/nodes", "/miners/miner_7/health",
    "/nodes",
    "/gpu-profiles", "/gpu-categories", "/verification/active", "/verification/results/miner_7",
    "/verification/results/n-7-3?limit=100", "/verification/results/none",
)  # fmt: skip


def measure() -> list[Figure]:
    """The worst of each kind of database."""
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        figures = [asyncio.run(_measure(f"sqlite:{root}/validator.db", "SQLite"))]
    programs = find_programs()
    if programs is None:
        return [*figures, Figure("history, PostgreSQL", None, goal=GOAL, note="not installed here")]
    directory = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    server = Postgres(programs, directory, server_account())
    try:
        server.create()
        server.start()
        figures.append(asyncio.run(_measure(server.database(), "PostgreSQL")))
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return figures


async def _measure(url: str, name: str) -> Figure:
    store = await open_store(url, clock=ManualClock(NOW))
    try:
        rows = await _fill(store, url)
    finally:
        await store.close()
    cold_s = await _first_answer(url)
    store = await open_store(url, clock=ManualClock(NOW))
    try:
        cpu = time.process_time()
        times = {"GET /miners after a start, pages cold": cold_s, **await _ask_everything(store)}
        cpu_s = time.process_time() - cpu
    finally:
        await store.close()
    worst = max(times, key=lambda what: times[what])
    note = (
        f"{worst}; {rows / 1e6:.1f} million checks of {MINERS} x {NODES} nodes in {DAYS} days, {len(times)} questions "
        f"with {cpu_s:.1f} s of this process's CPU in all; load {os.getloadavg()[0]:.1f}"
    )
    return Figure(f"history, {name}: slowest question", times[worst], "s", GOAL, note)


async def _first_answer(url: str) -> float:
    """``GET /miners`` of a process that has just opened the database; SQLite's file is in no cache either."""
    path = Path(url.removeprefix("sqlite:"))
    if path.is_file():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    store = await open_store_to_read(url, clock=ManualClock(NOW))
    try:
        app = _app(store)
        began = time.perf_counter()
        status, _, body = await ask(app, "/miners")
        took_s = time.perf_counter() - began
    finally:
        await store.close()
    if (status, body["total_count"]) != (200, MINERS):
        raise RuntimeError(f"GET /miners: {status} {body}")
    if os.environ.get("BENCH_VERBOSE"):
        print(f"    {took_s:8.3f} s  GET /miners after a start, pages cold", flush=True)
    return took_s


async def _fill(store: Store, url: str) -> int:
    await _run(store, _NODES)
    await _run(store, _CLAIMS)
    turns = int(DAYS * 86_400 / EVERY_S)
    # In parts: one statement may take a minute at most.
    per_part = 36
    for first in range(0, turns, per_part):
        start = NOW - (turns - first) * EVERY_S
        text = _CHECKS.format(
            turns=min(per_part, turns - first), start=start, every=EVERY_S, full_steps=_steps(STEPS),
            light_steps=_steps(LIGHT_STEPS),
        )  # fmt: skip
        await _run(store, text.replace("'-' || turn.k", f"'-' || (turn.k + {first})"))
        await _run(store, _SUMS.format(start=start, end=start + per_part * EVERY_S))
    await _run(store, _ALL)
    await _run(store, _NEWEST)
    if not url.startswith("sqlite"):
        await _run(store, "ANALYZE")  # a server does so by itself; our SQLite never does
    return turns * MINERS * NODES


async def _run(store: Store, statement: str) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(sa.text(statement))

    await store._state.write(work)


def _app(store: Store) -> Gate:
    state, clock = LiveState(), ManualClock(NOW)
    for uid in range(MINERS):
        state.miners[f"5M{uid}"] = MinerView(id=f"5M{uid}", hotkey=f"5M{uid}", uid=uid, last_answer_at=NOW)
    config = ValidatorConfig().model_copy(update={"api": OPEN})
    return rest_app(
        RestParts(config, store, state, clock, ApiKeys(store.api_keys, clock), "5V", ActionTable(print, clock))
    )


async def _ask_everything(store: Store) -> dict[str, float]:
    app = _app(store)
    hours = int(NOW // 3600) - DAYS * 24, int(NOW // 3600)
    questions: dict[str, Callable[[], Awaitable[object]]] = {
        "all nodes": store.validated.nodes,
        "all claims": store.validated.claims,
        "counts of three hours": lambda: store.verifications.counts(NOW - 10_800),
        "counts of a day": lambda: store.verifications.counts(NOW - 86_400),
        "newest check of each node": store.verifications.latest,
        "how the newest checks ended": store.verifications.latest_checks,
        "rentals": store.rentals.standing,
        "newest weights": store.weights.newest,
        "misbehaviour": lambda: store.validated.misbehaviour(NOW - 86_400),
        "curve of a node": lambda: store.score_hours.of(*hours, "5M7", "n-7-3"),
        "curve of a miner": lambda: store.score_hours.of(*hours, "5M7"),
        "curve of all": lambda: store.score_hours.of_all(*hours),
        "nothing to prune": lambda: store.verifications.prune(NOW - 400 * 86_400),
    }
    for path in _ROUTES:
        questions[f"GET {path}"] = lambda path=path: ask(app, path)  # type: ignore[misc]
    times = {}
    for name, question in questions.items():
        began, cpu = time.perf_counter(), time.process_time()
        await question()
        times[name] = time.perf_counter() - began
        if os.environ.get("BENCH_VERBOSE"):
            print(f"    {times[name]:8.3f} s, {time.process_time() - cpu:.3f} s of CPU here  {name}", flush=True)
    return times
