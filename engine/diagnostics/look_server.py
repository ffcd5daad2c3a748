"""The engine's records where they are on a database server: read beside a running engine, nothing written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.diagnostics.look_records import METAGRAPH_KEY, Records, records_of
from engine.diagnostics.service_checks import BaseState
from engine.errors import BasilicaError

if TYPE_CHECKING:
    from engine.store.readers import Reading

READ_S = 10.0


async def read_server(url: str) -> Records:
    """Open grants, baselines and the metagraph's age. Never raises for what a server does."""
    from engine.store.grants import GrantRepository  # noqa: PLC0415 - the store takes long to load
    from engine.store.reading import has_table, open_reading  # noqa: PLC0415 - the same
    from engine.store.tables import grants, keyvalue  # noqa: PLC0415 - the same

    async def pairs(connection: Reading) -> Sequence[tuple[str, str]]:
        wanted = keyvalue.c.key.startswith("access.", autoescape=True) | (keyvalue.c.key == METAGRAPH_KEY)
        rows = await connection.execute(keyvalue.select().where(wanted))
        return [(row.key, row.value) for row in rows]

    try:
        async with asyncio.timeout(READ_S), open_reading(url) as (state, _):
            if not await has_table(state, grants):
                return Records(trouble="the engine has not run yet")
            return records_of(await GrantRepository(state).open(), await state.read(pairs))
    except BasilicaError as error:
        return Records(trouble=error.message)
    except TimeoutError:
        return Records(trouble=f"the database server does not answer within {READ_S:g} s")


async def look_at_server(url: str) -> tuple[BaseState, str]:
    """Whether the server lets us in and the tables are of a version that we know; its files are its own to check."""
    import sqlalchemy as sa  # noqa: PLC0415 - takes long to load

    from engine.store.migrate import STATE_SCHEMA  # noqa: PLC0415 - the same
    from engine.store.reading import has_table, open_reading  # noqa: PLC0415 - the same

    version = sa.table(STATE_SCHEMA.version_table, sa.column("version_num", sa.String))

    async def revision(connection: Reading) -> str:
        return str((await connection.execute(sa.select(version.c.version_num))).scalar() or "")

    try:
        async with asyncio.timeout(READ_S), open_reading(url) as (state, _):
            if not await has_table(state, sa.Table(STATE_SCHEMA.version_table, sa.MetaData())):
                return "absent", f"{state.name} has no tables yet"
            found = await state.read(revision)
            name = state.name
    except BasilicaError as error:
        return "unreachable", error.message
    except TimeoutError:
        return "unreachable", f"the database server does not answer within {READ_S:g} s"
    if found and found not in STATE_SCHEMA.revisions:
        return "newer", f"{name} has schema {found}, this program knows {STATE_SCHEMA.head}"
    return "ok", f"{name} answers, schema {found or 'not made yet'}"
