"""Bringing a database to this program's schema, without an ini file and beside tables of other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.errors import StoreUnusable
from engine.store.database import Database
from engine.store.readers import Reading

if TYPE_CHECKING:
    from alembic.config import Config

SCRIPTS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Schema:
    """One line of migrations; ``revisions`` from the first to the one that this program works with."""

    name: str
    revisions: tuple[str, ...]

    @property
    def head(self) -> str:
        """The revision that this program needs."""
        return self.revisions[-1]

    @property
    def version_table(self) -> str:
        """A name of our own: Alembic's usual one may belong to another program in the same database."""
        return f"basilica_{self.name}_version"


STATE_SCHEMA = Schema(
    "state",
    (
        *("state_0001", "state_0002", "state_0003", "state_0004", "state_0005"),
        *("state_0006", "state_0007", "state_0008", "state_0009", "state_0010"),
        "state_0011",
    ),
)
EVENTS_SCHEMA = Schema("events", ("events_0001", "events_0002"))


@dataclass(frozen=True, slots=True)
class Found:
    """What a database held before migrating."""

    revision: str | None
    has_tables: bool


async def inspect(database: Database, schema: Schema) -> Found:
    """Read the schema's revision.

    Raises:
        StoreUnusable: the revision is none that this program knows, so a newer one wrote it.
    """

    def look(connection: sa.Connection) -> Found:
        names = sa.inspect(connection).get_table_names()
        if schema.version_table not in names:
            return Found(None, bool(names))
        revision = connection.execute(sa.text(f"SELECT version_num FROM {schema.version_table}")).scalar()  # noqa: S608 - our own constant
        return Found(revision, True)

    async def run(connection: Reading) -> Found:
        return await connection.run_sync(look)

    found = await database.read(run)
    if found.revision is not None and found.revision not in schema.revisions:
        raise StoreUnusable(
            f"database {database.name} has schema {found.revision}, this program knows {schema.head} at the newest",
            hint="a newer version wrote it: upgrade this program, or restore the backup made before that upgrade",
        )
    return found


async def migrate(database: Database, schema: Schema, found: Found, *, may_migrate: bool = True) -> None:
    """Run the migrations that are missing, all in one transaction.

    Raises:
        StoreUnusable: there are some and ``may_migrate`` is false.
    """
    if found.revision == schema.head:
        return
    if not may_migrate:
        raise StoreUnusable(
            f"database {database.name} has schema {found.revision or 'none'}, this program needs {schema.head}",
            hint="set database.run_migrations = true for one start",
        )

    async def run(connection: AsyncConnection) -> None:
        await connection.run_sync(_upgrade, schema)

    await database.write(run)


def _upgrade(connection: sa.Connection, schema: Schema) -> None:
    # Imported here: most starts find nothing to migrate and need not pay for it.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.util.exc import CommandError  # noqa: PLC0415 - see above

    config = alembic_config(schema)
    config.attributes["connection"] = connection
    config.attributes["version_table"] = schema.version_table
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreUnusable(f"migrating the {schema.name} tables failed: {error}") from error


def alembic_config(schema: Schema) -> Config:
    """Alembic's configuration for one schema, from the files beside this module."""
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    for option, path in (("script_location", SCRIPTS), ("version_locations", SCRIPTS / schema.name)):
        config.set_main_option(option, str(path).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")  # a colon or a blank in an installation path is harmless so
    return config
