"""A process that writes audit records as fast as it can until it is killed; each stored head goes to stdout."""

from __future__ import annotations

import asyncio
import sys

from engine.clock import SystemClock
from engine.events import EventBus, KeyRemoved
from engine.observe.audit import AuditLog
from engine.store import open_store


async def main(url: str) -> None:
    """Never returns."""
    clock, bus = SystemClock(), EventBus()
    store = await open_store(url, clock=clock)
    audit = AuditLog(store.audit, store.events, clock=clock, emit=bus.emit)
    bus.subscribe(audit.listen)
    await audit.start()
    running = asyncio.create_task(audit.run())
    number = said = 0
    while not running.done():
        number += 1
        bus.emit(KeyRemoved(at=clock.now(), grant_id=f"g{number}", node_id="n", validator_hotkey="5V", reason="over"))
        if number % 3 == 0:
            await asyncio.sleep(0)
        if audit.head is not None and audit.head.seq != said:
            said = audit.head.seq
            print(said, audit.head.hash, flush=True)


asyncio.run(main(sys.argv[1]))
