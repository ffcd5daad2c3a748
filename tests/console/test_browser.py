"""``basilica-tui serve``: the real server, the real console behind it, a real Chromium in front."""

from __future__ import annotations

import asyncio
import http.client
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.console.test_attached import Engine, serving
from tests.support.chromium import PROGRAM, chromium

ROOT = Path(__file__).parents[2]


@dataclass
class Served:
    """A running ``basilica-tui serve`` over a control server that is fed by hand."""

    engine: Engine
    process: asyncio.subprocess.Process
    link: str

    @property
    def host(self) -> str:
        return self.link.split("/")[2]

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        return await asyncio.to_thread(self._get, path, headers)

    def _get(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, dict(answer.getheaders()), text

    async def cookie(self) -> str:
        """Use the link up."""
        status, headers, _ = await self.get(f"/?{self.link.partition('?')[2]}")
        assert (status, headers["Location"]) == (303, "/")
        assert "HttpOnly" in headers["Set-Cookie"] and "SameSite=Strict" in headers["Set-Cookie"]
        return headers["Set-Cookie"].split(";")[0]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    engine = Engine(tmp_path / "run" / "engine.sock")
    async with serving(engine):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "basilica_tui", "serve", "--socket", str(tmp_path / "run" / "engine.sock"),
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        lines = [(await process.stdout.readline()).decode().strip() for _ in range(2)]
        if not lines[1].startswith("http://127.0.0.1:"):
            pytest.fail((await process.stderr.read()).decode())
        yield Served(engine, process, lines[1])
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()


async def test_strangers_get_nothing(served: Served) -> None:
    """Without the link, with it twice, under another name: refused, with a sentence; a stylesheet too."""
    assert (await served.get("/"))[0] == 403
    assert (await served.get("/static/css/xterm.css"))[0] == 403
    status, _, text = await served.get("/", Host="evil.example")
    assert (status, "ssh -L" in text) == (403, True)
    cookie = await served.cookie()
    status, _, text = await served.get(f"/?{served.link.partition('?')[2]}")
    assert (status, "used" in text) == (403, True)
    status, headers, page = await served.get("/", Cookie=cookie)
    assert status == 200
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert served.link.partition("token=")[2] not in page
    with pytest.raises(InvalidStatus):
        async with connect(f"ws://{served.host}/ws", additional_headers={"Cookie": cookie}, origin=None, proxy=None):
            pass


async def test_it_says_what_is_wrong(tmp_path: Path) -> None:
    """Without an engine behind the socket it ends with a sentence, not with a page that stays empty."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "basilica_tui", "serve", "--socket", str(tmp_path / "none.sock"),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert b"none.sock" in err and b"Traceback" not in err


@pytest.mark.skipif(PROGRAM is None, reason="needs chromium")
async def test_the_console_works_in_a_browser(served: Served, tmp_path: Path) -> None:
    """The link shows the console, keys reach it, nothing comes from elsewhere, and leaving it ends its process."""
    async with chromium(tmp_path / "profile") as page:
        await page.open(served.link)
        await page.until("document.body?.classList.contains('-first-byte')")
        while not served.engine.server.client_count:
            await asyncio.sleep(0.1)
        assert await page.value("location.search") == ""
        await page.until("document.activeElement?.className == 'xterm-helper-textarea'")
        before = await page.picture()
        await page.press("2")
        while await page.picture() == before:
            await asyncio.sleep(0.2)
        assert {address.split("/")[2] for address in page.asked_for if not address.startswith("data:")} == {served.host}
        assert [text for text in page.said if "Content Security Policy" in text] == []
        await page.press("q")
        await page.press("q")
        await page.until("document.body.classList.contains('-closed')")
        while served.engine.server.client_count:
            await asyncio.sleep(0.1)
    served.process.send_signal(signal.SIGTERM)
    assert await served.process.wait() == 0
