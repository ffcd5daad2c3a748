"""Requests straight into an ASGI app, and a configuration that lets everybody read everything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from engine.config.validator import ApiConfig

OPEN = ApiConfig(
    open=("health", "docs", "miners", "nodes", "gpus", "verification", "rentals", "config"),
    requests_per_minute=100_000,
    requests_per_minute_with_key=100_000,
)


async def ask(
    app: Any,
    path: str,
    *,
    method: str = "GET",
    client: str = "127.0.0.1",
    **headers: str,
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON body; header names with underscores. A body that is no JSON comes as text."""
    return await ask_with(app, path, b"", headers, method=method, client=client)


async def ask_with(
    app: Any, path: str, body: bytes, headers: Mapping[str, str], *, method: str = "POST", client: str = "127.0.0.1"
) -> tuple[int, dict[str, str], Any]:
    """The same with a body."""
    target, _, query = path.partition("?")
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": target,
        "raw_path": quote(target).encode(), "query_string": query.encode(), "scheme": "http", "root_path": "",
        "headers": [(k.replace("_", "-").lower().encode(), v.encode()) for k, v in headers.items()],
        "client": (client, 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    done = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if done.is_set():
            await asyncio.sleep(3600)
        done.set()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    answer = b"".join(message.get("body", b"") for message in sent[1:])
    try:
        value = json.loads(answer) if answer else None
    except ValueError:
        value = answer.decode("utf-8", "replace")
    return sent[0]["status"], {key.decode(): item.decode() for key, item in sent[0]["headers"]}, value
