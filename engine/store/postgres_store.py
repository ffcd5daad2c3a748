"""Opening the store in PostgreSQL: one database for state and events, one engine in charge of it."""

from __future__ import annotations

import os
import socket

from engine.store.database import Database
from engine.store.keeper import Opened
from engine.store.migrate import EVENTS_SCHEMA, STATE_SCHEMA, inspect, migrate
from engine.store.postgres import EngineLock, check_server, connector, open_engine
from engine.store.url import PostgresServer

STATE_CONNECTIONS, EVENT_CONNECTIONS = 4, 2


async def open_server(server: PostgresServer, *, connect_timeout_s: float, most: int, may_migrate: bool) -> Opened:
    """Open the store, at most ``most`` connections beside the lock's own, three at the least.

    Raises:
        StoreUnusable: see ``check_server``; newer than this program.
        EngineAlreadyRunning: another engine uses this database and schema.
    """
    program = f"basilica-tui {socket.gethostname()[:30]}:{os.getpid()}"
    durable = connector(server, timeout_s=connect_timeout_s, program=program)
    relaxed = connector(server, timeout_s=connect_timeout_s, program=program, commits="relaxed")
    await check_server(durable, server.name)
    lock = EngineLock(durable, server.name)
    await lock.acquire()
    state = Database(
        open_engine(durable, connections=max(2, min(STATE_CONNECTIONS, most - EVENT_CONNECTIONS))),
        server.name,
        before_write=lock.ensure,
    )
    events = Database(
        open_engine(relaxed, connections=min(EVENT_CONNECTIONS, max(1, most - 2))),
        server.name,
        before_write=lock.ensure,
    )
    try:
        for database, schema in ((state, STATE_SCHEMA), (events, EVENTS_SCHEMA)):
            await migrate(database, schema, await inspect(database, schema), may_migrate=may_migrate)
    except BaseException:
        await state.close()
        await events.close()
        await lock.release()
        raise
    return Opened(state, events, lock)
