"""A headless Chromium, driven over its debugging protocol: pages, keys, pictures."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.asked_for: list[str] = []
        """Addresses of everything that the page loaded or tried to."""
        self.said: list[str] = []
        """Errors of the page's own scripts and policy."""

    async def call(self, method: str, **parameters: object) -> Any:
        """One command's result; what the page reports meanwhile is kept."""
        self._number += 1
        await self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(await self._socket.recv())
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.asked_for.append(message["params"]["request"]["url"])
            case "Network.webSocketCreated":
                self.asked_for.append(message["params"]["url"])
            case "Log.entryAdded":
                self.said.append(message["params"]["entry"]["text"])

    async def open(self, address: str) -> None:
        """Go there."""
        for area in ("Page", "Network", "Log", "Runtime"):
            await self.call(f"{area}.enable")
        await self.call("Page.navigate", url=address)

    async def value(self, expression: str) -> Any:
        """A JavaScript expression's value."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until the expression is true; the test's own timeout is the limit."""
        while not await self.value(expression):
            await asyncio.sleep(0.1)

    async def press(self, key: str) -> None:
        """One printable key."""
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def picture(self) -> bytes:
        """What it looks like, as PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Page]:
    """A browser of its own with one tab, ended with the block."""
    assert PROGRAM is not None
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--window-size=1200,800",
        f"--user-data-dir={folder}", "--remote-debugging-port=0", "--remote-allow-origins=*", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        told = folder / "DevToolsActivePort"
        while not told.is_file() or len(told.read_text().split()) < 2:
            assert process.returncode is None, "the browser ended at once"
            await asyncio.sleep(0.1)
        address = await asyncio.to_thread(_tab, told.read_text().split()[0])
        async with connect(address, max_size=1 << 26, proxy=None) as socket:
            yield Page(socket)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def _tab(port: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
    connection.request("GET", "/json/list")
    tabs = json.loads(connection.getresponse().read())
    connection.close()
    return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))
