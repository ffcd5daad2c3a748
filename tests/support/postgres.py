"""A PostgreSQL server of our own: Debian's programs, a cluster in a temporary directory, a Unix socket, no network."""

from __future__ import annotations

import asyncio
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from engine.localnet.processes import end_with_parent

PASSWORD = "correct horse"
_HBA = """# what the tests connect with
local all keyholder scram-sha-256
local all all trust
"""
_SETTINGS = (
    "listen_addresses=", "fsync=off", "full_page_writes=off", "max_connections=60", "shared_buffers=32MB",
    "autovacuum=off", "log_min_messages=fatal",
)  # fmt: skip


def find_programs() -> Path | None:
    """The directory with ``initdb`` and ``postgres``, newest version first."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return None if on_path is None else Path(on_path).resolve().parent


def server_account() -> pwd.struct_passwd:
    """Who runs the server: ``postgres`` refuses root."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


@dataclass
class Postgres:
    """One server; ``stop`` and ``start`` are faults that tests want."""

    programs: Path
    root: Path
    account: pwd.struct_passwd
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def create(self) -> None:
        """Make the cluster."""
        self.root.chmod(0o755)
        os.chown(self.root, self.account.pw_uid, self.account.pw_gid)
        self._run("initdb", "-D", str(self.root / "data"), "-U", "owner", "--auth=trust", "-E", "UTF8", "--no-sync",
                  "--locale=C")  # fmt: skip
        (self.root / "data" / "pg_hba.conf").write_text(_HBA)

    def start(self) -> None:
        """Start the server and wait for it; from the main thread, for it ends with the thread that starts it."""
        options = [word for setting in _SETTINGS for word in ("-c", setting)]
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.root / "data", "-k", self.root, *options],
                stdout=log, stderr=log, cwd=self.root, preexec_fn=end_with_parent, **self._identity(),  # noqa: PLW1509 - no thread of ours holds a lock here
            )  # fmt: skip
        deadline = time.monotonic() + 100
        while True:
            try:
                in_thread(self._execute, "SELECT 1")
                return
            except (OSError, asyncpg.PostgresError):
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise AssertionError(f"PostgreSQL does not start: {(self.root / 'log').read_text()}") from None
                time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End the server and all connections (SIGINT), or crash it (SIGQUIT)."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(60)

    def database(self, *, encoding: str = "UTF8") -> str:
        """The URL of a new, empty database."""
        name = f"t{os.getpid()}_{next(self._numbers)}"
        in_thread(self._execute, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'")
        return self.url(name)

    def url(self, name: str, *, user: str = "owner", password: str = "") -> str:
        """The URL of a database on this server."""
        secret = f":{quote(password)}" if password else ""
        return f"postgresql://{user}{secret}@/{name}?host={self.root}"

    def sql(self, statement: str, url: str | None = None) -> None:
        """Run one statement as the server's owner."""
        in_thread(self._execute, statement, url)

    async def _execute(self, statement: str, url: str | None = None) -> None:
        connection = await asyncpg.connect(url or self.url("postgres"), timeout=30)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [self.programs / program, *words], capture_output=True, text=True, check=False, cwd=self.root, timeout=60,
            **self._identity(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def _identity(self) -> dict[str, Any]:
        if os.getuid() != 0:
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}


def in_thread(make: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
    """Run a coroutine to its end from a test that may itself be running in a loop."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(make(*args))).result(30)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server of this test process."""
    programs = find_programs()
    if programs is None:
        pytest.skip("needs PostgreSQL's server programs (Debian: postgresql)")
    root = Path(tempfile.mkdtemp(prefix="basilica-pg-"))
    server = Postgres(programs, root, server_account())
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store, once per kind of database."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/data/miner.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()
