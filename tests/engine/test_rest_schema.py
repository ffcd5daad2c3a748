"""Schemathesis against a real server: what the OpenAPI document promises is what every route does, for any input."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from engine.config.validator import ApiConfig
from engine.observe.http import HttpService
from engine.rest.access import SCOPES
from tests.support.asking import OPEN
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.rest_world import rest_world

pytestmark = pytest.mark.timeout(600)
EXAMPLES = 12
"""Per operation; a few minutes with a thousand found nothing more."""


def serve(api: ApiConfig, url: str = "") -> Iterator[tuple[str, str]]:
    """A server on loopback and a key of it."""
    port = free_port()
    loop, ready, made = asyncio.new_event_loop(), threading.Event(), list[str]()
    directory = tempfile.TemporaryDirectory()

    async def run() -> None:
        async with rest_world(Path(directory.name), api, url=url) as world:
            made.append((await world.keys.create("test", SCOPES, lifetime_s=None))[0])
            service = asyncio.create_task(HttpService("rest", world.app, "127.0.0.1", port).run())
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
            ready.set()
            try:
                await service
            except asyncio.CancelledError:
                service.cancel()
                await asyncio.gather(service, return_exceptions=True)

    task = loop.create_task(run())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.gather(task, return_exceptions=True)))
    thread.start()
    try:
        assert ready.wait(60)
        yield f"http://127.0.0.1:{port}", made[0]
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(60)
        loop.close()
        directory.cleanup()


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[str, str]]:
    """Everything open to everybody."""
    yield from serve(OPEN)


@pytest.fixture(scope="module")
def closed(postgres: Postgres) -> Iterator[tuple[str, str]]:
    """The default rules, over the other kind of database."""
    yield from serve(OPEN.model_copy(update={"open": ("health", "docs")}), postgres.database())


@pytest.fixture(scope="module")
def schema(opened: tuple[str, str]) -> schemathesis.BaseSchema:
    """The document as the server tells it."""
    return schemathesis.openapi.from_url(f"{opened[0]}/openapi.json")


@pytest.fixture(scope="module")
def closed_schema(closed: tuple[str, str]) -> schemathesis.BaseSchema:
    """The document of a server that asks for a key."""
    return schemathesis.openapi.from_url(f"{closed[0]}/openapi.json")


_BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def excluded(status: int) -> list[schemathesis.CheckFunction]:
    """A wrong value that is also too long is refused as too long, which that check does not count as refused."""
    return [schemathesis.checks.negative_data_rejection] if status == 414 else []


@schemathesis.pytest.from_fixture("schema").parametrize()
@_BOUNDED
def test_routes_do_what_the_document_says(case: schemathesis.Case[Any], opened: tuple[str, str]) -> None:
    """Status codes, types, shapes, headers, and the refusal of what the document forbids; changes with a key."""
    response = case.call(headers={} if case.method == "GET" else {"X-API-Key": opened[1]}, timeout=30)
    case.validate_response(response, excluded_checks=excluded(response.status_code))
    assert response.status_code != 500


@schemathesis.pytest.from_fixture("closed_schema").parametrize()
@settings(_BOUNDED, max_examples=3)
def test_routes_ask_for_a_key(case: schemathesis.Case[Any], closed: tuple[str, str]) -> None:
    """With a key every route does what the document says; without or with a wrong one it is 401, as documented."""
    # That check wants to see what happens without the key, which is looked at below.
    response = case.call(headers={"X-API-Key": closed[1]}, timeout=30)
    checks = [schemathesis.checks.ignored_auth, *excluded(response.status_code)]
    case.validate_response(response, excluded_checks=checks)
    # Generated credentials go before the key's header, and are wrong.
    has_other = any(name.lower() == "authorization" for name in case.headers or {})
    assert response.status_code not in (403, 500) and (response.status_code != 401 or has_other)
    if not case.path.startswith("/health"):
        bare = requests.request(case.method, closed[0] + case.formatted_path, timeout=30)
        assert bare.status_code in (401, 405)
        if bare.status_code == 401:
            assert bare.headers["content-type"] == "application/problem+json"
