"""What an engine with a hundred nodes costs while nothing happens."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

from engine.clock import SystemClock
from engine.store import open_store
from tests.bench import Figure, at_most
from tests.support.miner_subnet import create_subnet
from tests.support.ports import free_port
from tests.support.stand_in_farm import StandInFarm

NODES = 100
WATCHED_S = float(os.environ.get("BENCH_IDLE_S", "60"))
SETTLE_S = 15.0
TICKS = os.sysconf("SC_CLK_TCK")


def measure() -> list[Figure]:
    """Memory and CPU of the engine's process over a minute of health checks at the default interval."""
    with tempfile.TemporaryDirectory(prefix="bench-") as root, StandInFarm(Path(root) / "nodes", NODES) as farm:
        subnet = create_subnet(
            Path(root),
            [],
            validators=1,
            node_entries=farm.entries,
            node_management={"health_check_interval": 60},
            access={"reconcile_interval": 30, "node_deadline": 20},
            validator_assignment={"interval": 600},
            metrics={"enabled": True, "prometheus": {"port": free_port()}},
            health={"enabled": True, "port": free_port()},
        )
        farm.authorize(subnet.root / "node_key")
        asyncio.run(_make_database(str(subnet.root / "data" / "miner.db")))
        subnet.start()
        subnet.settle()
        time.sleep(SETTLE_S)  # the first look at every node is not idling
        before, started = _cpu_ticks(subnet.pid), time.monotonic()
        time.sleep(WATCHED_S)
        share = (_cpu_ticks(subnet.pid) - before) / TICKS / (time.monotonic() - started)
        memory_mb = _rss_bytes(subnet.pid) / 1e6
        subnet.stop()
    return [
        Figure(f"engine with {NODES} nodes idle, resident memory", memory_mb, "MB", at_most(150), "all services on"),
        Figure(f"engine with {NODES} nodes idle, share of a core", share * 100, "%", at_most(5), "checks every 60 s"),
    ]


async def _make_database(path: str) -> None:
    """As an engine finds it that was started before: whoever migrates loads what an idle engine does not have."""
    store = await open_store(f"sqlite:{path}", clock=SystemClock())
    await store.close()


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def _rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
