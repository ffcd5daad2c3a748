"""The file itself: schema, opening, transactions, and what can be wrong with it.

Connections live for one transaction. That costs a fraction of a millisecond and leaves nothing open in any thread or
process; WAL lets readers go on beside the one writer, and BEGIN IMMEDIATE makes writers take turns.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from engine.errors import ChainRefused, ChainUnavailable

APPLICATION_ID = 0x42544643
FORMAT = 1

_BUSY_TIMEOUT_S = 10.0
_SCHEMA = """
CREATE TABLE chain (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    genesis TEXT NOT NULL,
    genesis_at REAL NOT NULL,
    block_time_s REAL NOT NULL CHECK (block_time_s > 0),
    changed_block INTEGER NOT NULL
);
CREATE TABLE subnets (
    netuid INTEGER PRIMARY KEY,
    created_block INTEGER NOT NULL,
    tempo INTEGER NOT NULL,
    max_uids INTEGER NOT NULL,
    serving_rate_limit INTEGER NOT NULL,
    weights_rate_limit INTEGER NOT NULL,
    min_allowed_weights INTEGER NOT NULL,
    max_weights_limit INTEGER NOT NULL
);
CREATE TABLE neurons (
    netuid INTEGER NOT NULL REFERENCES subnets (netuid),
    uid INTEGER NOT NULL,
    hotkey TEXT NOT NULL,
    coldkey TEXT NOT NULL,
    vacant INTEGER NOT NULL DEFAULT 0,
    stake_rao INTEGER NOT NULL,
    validator_permit INTEGER NOT NULL,
    active INTEGER NOT NULL DEFAULT 1,
    incentive INTEGER NOT NULL DEFAULT 0,
    dividends INTEGER NOT NULL DEFAULT 0,
    trust INTEGER NOT NULL DEFAULT 0,
    consensus INTEGER NOT NULL DEFAULT 0,
    emission_rao INTEGER NOT NULL DEFAULT 0,
    registered_block INTEGER NOT NULL,
    last_update INTEGER NOT NULL,
    axon_ip TEXT NOT NULL DEFAULT '0',
    axon_ip_type INTEGER NOT NULL DEFAULT 0,
    axon_port INTEGER NOT NULL DEFAULT 0,
    axon_protocol INTEGER NOT NULL DEFAULT 0,
    axon_version INTEGER NOT NULL DEFAULT 0,
    served_block INTEGER,
    PRIMARY KEY (netuid, uid),
    UNIQUE (netuid, hotkey)
);
CREATE TABLE weights (
    netuid INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    dest INTEGER NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (netuid, uid, dest)
);
CREATE TABLE accounts (address TEXT PRIMARY KEY, nonce INTEGER NOT NULL);
CREATE TABLE extrinsics (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    block INTEGER NOT NULL,
    position INTEGER NOT NULL,
    signer TEXT NOT NULL,
    crypto_type INTEGER NOT NULL,
    payload BLOB NOT NULL,
    signature BLOB NOT NULL,
    error TEXT,
    UNIQUE (block, position)
);
"""

_INSERT_SUBNET = """
INSERT INTO subnets VALUES (
    :netuid, 1, :tempo, :max_uids, :serving_rate_limit, :weights_rate_limit, :min_allowed_weights, :max_weights_limit
)
"""


def create_file(path: Path, *, genesis_at: float, block_time_s: float, subnets: Sequence[Mapping[str, int]]) -> None:
    """Write a chain with these subnets, whole or not at all.

    Raises ``ChainRefused`` if there is a file already, ``ChainUnavailable`` if it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT};")
            connection.executescript(_SCHEMA)
            connection.execute(
                "INSERT INTO chain VALUES (1, ?, ?, ?, 0)", (secrets.token_hex(16), genesis_at, block_time_s)
            )
            connection.executemany(_INSERT_SUBNET, subnets)
            connection.execute("PRAGMA journal_mode = WAL")
        # A link, not a rename: of two processes that create the same chain one must learn that it came second.
        os.link(draft, path)
    except FileExistsError:
        raise ChainRefused(f"{path} exists already", hint="Use the chain that is there, or another file.") from None
    except (OSError, sqlite3.Error) as error:
        raise ChainUnavailable(f"the embedded chain {path} could not be created: {error}") from error
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """One consistent view of the chain; raises ``ChainUnavailable``."""
    with _transaction(path, "BEGIN") as connection:
        yield connection


@contextlib.contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """The chain for this writer alone until the block ends; an exception undoes everything."""
    with _transaction(path, "BEGIN IMMEDIATE") as connection:
        yield connection


@contextlib.contextmanager
def _transaction(path: Path, begin: str) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise ChainUnavailable(
            f"there is no embedded chain at {path}",
            hint="Check chain_endpoint; basilica-tui localnet up creates such a chain.",
        )
    try:
        with contextlib.closing(_connect(path)) as connection:
            connection.execute(begin)
            try:
                _check_format(connection, path)
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise _unavailable(path, error) from error


def _connect(path: Path) -> sqlite3.Connection:
    # mode=rw: a missing file must not be created as an empty database.
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA application_id").fetchone()[0]
    if found != APPLICATION_ID:
        raise ChainUnavailable(f"{path} is a database, but no embedded chain", hint="Check chain_endpoint.")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != FORMAT:
        raise ChainUnavailable(
            f"the embedded chain {path} has format {version}, this program reads {FORMAT}",
            hint="Use the program version that wrote it, or create a new chain.",
        )


def _unavailable(path: Path, error: sqlite3.Error) -> ChainUnavailable:
    text = str(error)
    if "locked" in text or "busy" in text:
        hint = "Another process holds the file for long; look for a stopped one."
    elif isinstance(error, sqlite3.OperationalError):
        hint = "Check the file's permissions, its directory's (SQLite writes beside it) and the free space."
    else:
        hint = "The file is damaged or is something else; restore it or create a new chain."
    return ChainUnavailable(f"the embedded chain {path} is unusable: {text}", hint=hint)
