"""Many GPU node stand-ins in one child process, for figures about large fleets."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from engine.localnet.stand_in_node import StandInNode
from engine.ssh.keys import ClientKey


class StandInFarm:
    """``with StandInFarm(directory, 100) as farm``: ``entries`` are for the configuration."""

    def __init__(self, directory: Path, count: int) -> None:
        self.directory = directory
        self.count = count
        self.entries: list[dict[str, object]] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> StandInFarm:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.stand_in_farm", str(self.directory), str(self.count)],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        ports = json.loads(self._process.stdout.readline())
        self.entries = [{"host": "127.0.0.1", "port": port, "username": "basilica"} for port in ports]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.communicate("\n", timeout=60)

    def authorize(self, key_path: Path) -> None:
        """Let this private key's owner into every node."""
        line = ClientKey.from_file(key_path).public_line + "\n"
        for number in range(self.count):
            path = self.directory / f"{number}" / "home" / ".ssh" / "authorized_keys"
            path.write_text(line)
            path.chmod(0o600)


async def _serve(directory: Path, count: int) -> None:
    nodes = [StandInNode(directory / str(number)) for number in range(count)]
    for node in nodes:
        await node.start()
        assert node.authorized_keys.parent == node.home / ".ssh"
    print(json.dumps([node.port for node in nodes]), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for node in nodes:
        await node.stop()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
