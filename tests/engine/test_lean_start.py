"""What a running miner has loaded, and what it has not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.store import open_store
from tests.support.miner_subnet import create_subnet
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
UNUSED = {
    # the console and its command line's colours
    *("textual", "rich", "pygments", "plotext"),
    # other roles, other databases, other edges
    *("fastapi", "engine.validator", "engine.rest", "engine.diagnostics.doctor", "engine.localnet", "asyncpg"),
    *("sqlalchemy.dialects.postgresql", "alembic", "apprise", "tomlkit"),
    # what the SDK brings along for Ethereum keys and air-gapped phones
    *("eth_account", "eth_utils", "eth_abi", "eth_keys", "Crypto", "cytoolz", "pycparser", "qrcode", "PIL"),
}


async def _make_database(url: str) -> None:
    store = await open_store(url, clock=SystemClock())
    await store.close()


@pytest.mark.timeout(300)
def test_a_miner_loads_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    """After a start over an existing database none of the modules of other roles, edges and terminals is there."""
    subnet = create_subnet(
        tmp_path,
        [],
        validators=1,
        metrics={"enabled": True, "prometheus": {"port": free_port()}},
        health={"enabled": True, "port": free_port()},
    )
    # Whoever makes or migrates a database loads Alembic, so that is done before.
    asyncio.run(_make_database(f"sqlite:{tmp_path / 'data' / 'miner.db'}"))
    loaded = tmp_path / "modules"

    def launch(config: Path, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.support.told_modules", loaded, "--daemon", "--config", config],
                stdout=file,
                stderr=file,
                cwd=ROOT,
            )

    subnet.launch = launch
    subnet.start()
    subnet.settle()
    assert subnet.stop() == 0
    modules = set(loaded.read_text().split())
    assert {"engine.miner.door", "bittensor", "grpc", "asyncssh", "structlog"} <= modules
    assert UNUSED & modules == set()


def test_the_sdk_works_without_its_extras() -> None:
    """The SDK without its extras still makes keys, signs and verifies; the extras are there for whoever asks later."""
    script = (
        "from engine.lean import load_sdk, load_structlog\n"
        "load_structlog(); load_sdk()\n"
        "from bittensor.sp_core import Keypair\n"
        "pair = Keypair.create_from_uri('//A')\n"
        "assert pair.verify(b'x', pair.sign(b'x'))\n"
        "from bittensor.evm import keys\n"
        "try:\n    keys.Account.create()\nexcept ImportError as error:\n    print(error)\n"
        "import rich.console, eth_account\n"
        "print(type(rich.console.Console()).__name__, eth_account.Account.create().address[:2])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=110, check=False
    )
    assert done.stdout.split("\n")[-2] == "Console 0x", done.stderr
    assert "an engine has no use for it" in done.stdout


@pytest.mark.parametrize("word", ["derive", "call"])
def test_an_sdk_that_needs_its_extras_gets_them(tmp_path: Path, word: str) -> None:
    """A release that calls at import what this one only names is loaded whole; one that only derives is not."""
    package = tmp_path / "bittensor"
    package.mkdir()
    use = "class Mine(qrcode.QRCode): pass" if word == "derive" else "code = qrcode.QRCode()"
    (package / "__init__.py").write_text(f"import qrcode\n{use}\nis_real = hasattr(qrcode, '__file__')\n")
    script = "from engine.lean import load_sdk; load_sdk(); import bittensor; print(bittensor.is_real)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n{script}"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.stdout.strip() == str(word == "call"), done.stderr
