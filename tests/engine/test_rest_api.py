"""The REST API's documents: paging, sorting, filters, tags, errors, documentation."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from engine import events as ev
from engine.config.validator import EmissionConfig
from engine.errors import ControlRefused, StoreStrained
from engine.rest.access import GROUPS
from engine.rest.facts import FactGauges
from engine.rest.views import CACHE_S, Snapshot, Views, views_of
from engine.store.records import GpuClaim, Rental, WeightSet
from engine.validator.miner_facts import emission_of
from tests.support.asking import OPEN, ask, ask_with
from tests.support.rest_world import HOTKEYS, NOW, RestWorld, node_of, rest_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[RestWorld]:
    """Everything open to everybody."""
    async with rest_world(tmp_path, OPEN) as made:
        yield made


async def test_lists_are_paged_sorted_and_linked(world: RestWorld) -> None:
    """Each page says how many there are and where its neighbours are; the order can be chosen."""
    status, headers, body = await ask(world.app, "/miners?page=2&page_size=1&sort=-nodes")
    assert (status, headers["x-total-count"], body["total_count"]) == (200, "3", 3)
    assert [miner["node_count"] for miner in body["miners"]] == [2]
    links = {part.split("; ")[1]: part.split("; ")[0] for part in headers["link"].split(", ")}
    assert links['rel="next"'] == "</miners?page=3&page_size=1&sort=-nodes>"
    assert links['rel="prev"'].startswith("</miners?page=1&")
    assert (await ask(world.app, "/miners?page=9"))[2]["miners"] == []
    _, headers, nodes = await ask(world.app, "/miners/miner_2/nodes?page_size=2")
    assert (len(nodes), headers["x-total-count"]) == (2, "3")
    _, headers, nodes = await ask(world.app, "/nodes?sort=-id&page_size=1")
    assert nodes["available_nodes"][0]["node"]["id"] == "5MinerTwo-n1"
    assert len((await ask(world.app, "/gpu-profiles?page_size=2"))[2]) == 2


async def test_lists_without_an_order_of_their_own_are_paged_too(world: RestWorld) -> None:
    """What runs now, categories and rentals say how many there are and where the next page is."""
    for number in range(5):
        world.state.apply(
            ev.VerificationQueued(at=NOW, miner_hotkey=HOTKEYS[1], miner_uid=1, tier="full", reason="the node is new",
                                  node_id=f"gpu-{number}", endpoint="u@h:22")
        )  # fmt: skip
        await world.store.rentals.add(Rental(f"r{number}", HOTKEYS[2], f"n{number}", NOW + number))
    odd = replace(node_of(HOTKEYS[0], 0, 7), gpu_model="NVIDIA B200")
    await world.store.validated.put(odd, claims=[GpuClaim("GPU-B", HOTKEYS[0], odd.node_id, 0, odd.gpu_model, 1, NOW)])
    for path, name, found in (
        ("/verification/active", "in_progress", 5), ("/rentals", "rentals", 5), ("/gpu-categories", "", 2),
    ):  # fmt: skip
        seen = []
        for page in range(1, found + 1):
            status, headers, body = await ask(world.app, f"{path}?page_size=1&page={page}")
            rows = body[name] if name else body
            assert (status, len(rows), headers["x-total-count"]) == (200, 1, str(found))
            assert ('rel="next"' in headers["link"]) == (page < found)
            seen.append(str(rows[0]))
        assert len(set(seen)) == found
        body = (await ask(world.app, f"{path}?page=9"))[2]
        assert (body[name] if name else body) == []


async def test_a_rental_has_no_logs_here_and_a_hint(world: RestWorld) -> None:
    """An unknown rental is not found; of a known one it is said why there are no logs and where they are."""
    await world.store.rentals.add(Rental("r1", HOTKEYS[0], "n", NOW))
    status, headers, body = await ask(world.app, "/rentals/r1/logs")
    assert (status, headers["content-type"]) == (404, "application/problem+json")
    assert "no containers" in body["detail"]
    assert "docker logs" in body["hint"]
    status, _, body = await ask(world.app, "/rentals/r2/logs")
    assert (status, body["detail"], "hint" in body) == (404, "no such rental", False)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 6),
        ("?gpu_type=h100", 6),
        ("?gpu_type=b200", 0),
        ("?min_gpu_count=3", 0),
        ("?min_gpu_memory=70", 6),
        ("?available=true", 6),
        ("?available=false", 0),
        ("?country=DE", 0),
    ],
)
async def test_nodes_are_filtered(world: RestWorld, query: str, count: int) -> None:
    """By GPU, memory, number, availability; places are not known, so a place finds nothing."""
    assert (await ask(world.app, f"/nodes{query}"))[2]["total_count"] == count


async def test_history_is_read_page_by_page(world: RestWorld) -> None:
    """Results of a miner or of a node, newest first; the link leads on to the end."""
    _, headers, first = await ask(world.app, "/verification/results/miner_1?limit=5")
    assert [row["verification_type"] for row in first][:2] == ["lightweight", "lightweight"]
    path = headers["link"].partition(">")[0].removeprefix("<")
    _, headers, second = await ask(world.app, path)
    assert len({row["id"] for row in first + second}) == 8
    assert "link" not in headers
    _, _, rows = await ask(world.app, "/verification/results/5MinerTwo-n1")
    assert [row["success"] for row in rows] == [True, True, False, True]
    assert rows[2]["error_message"] == "no answer"
    assert rows[2]["details"]["error_code"] == "ssh_timeout"
    assert [step["step"] for step in rows[3]["steps"]] == ["login"]
    failures = (await ask(world.app, "/verification/active"))[2]["recent_failures"]
    assert len(failures) == 6


async def test_what_runs_is_told_of_each_miner(world: RestWorld) -> None:
    """Two miners that call a node the same have an entry each, of either tier, with how far it is."""
    place: dict[str, Any] = {"node_id": "gpu-01", "endpoint": "u@h:22"}
    for event in (
        ev.LightweightMoved(at=NOW, miner_hotkey=HOTKEYS[0], miner_uid=0, waits=False, steps=3, step="host_key",
                            verdict="ok", **place),
        ev.VerificationQueued(at=NOW, miner_hotkey=HOTKEYS[1], miner_uid=1, tier="full", reason="the node is new",
                              **place),
    ):  # fmt: skip
        world.state.apply(event)
    running = (await ask(world.app, "/verification/active"))[2]["in_progress"]
    assert [(one["node_id"], one["miner_hotkey"], one["tier"], one["phase"], one["progress"]) for one in running] == [
        ("gpu-01", HOTKEYS[0], "lightweight", "running", 0.333),
        ("gpu-01", HOTKEYS[1], "full", "queued", 0.0),
    ]


async def test_what_has_not_changed_is_not_sent_again(world: RestWorld) -> None:
    """A tag, a list of tags or a star gets 304 with the tag and no body; another tag gets the document."""
    _, headers, _ = await ask(world.app, "/nodes")
    tag = headers["etag"]
    for wanted in (tag, f'"x", {tag}', "*", tag.removeprefix("W/")):
        status, again, body = await ask(world.app, "/nodes", if_none_match=wanted)
        assert (status, again["etag"], body) == (304, tag, None)
        assert "content-length" not in again
    assert (await ask(world.app, "/nodes", if_none_match='"other"'))[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/miners", "/miners/miner_2", "/miners/miner_2/nodes", "/nodes", "/gpu-profiles", "/gpu-profiles/H100"),
        *("/gpu-categories", "/rentals", "/verification/active", "/verification/results/miner_1", "/config"),
    ],
)
async def test_every_document_that_stays_the_same_has_a_tag(world: RestWorld, path: str) -> None:
    """Whoever asks with the tag of the last answer gets 304."""
    status, headers, _ = await ask(world.app, path)
    assert status == 200
    status, again, body = await ask(world.app, path, if_none_match=headers["etag"])
    assert (status, again["etag"], body) == (304, headers["etag"], None)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/miners/999", "GET", 404),
        ("/miners/5Nobody/health", "GET", 404),
        ("/nothing", "GET", 404),
        ("/docs/assets/nothing", "GET", 404),
        ("/config/none", "GET", 404),
        ("/verification/results/none", "GET", 404),
        ("/rentals/none", "GET", 404),
        ("/rentals/none", "DELETE", 401),
        ("/miners", "POST", 405),
        ("/health", "DELETE", 405),
        ("/miners?page=0", "GET", 422),
        ("/miners?page_size=101", "GET", 422),
        ("/miners?min_score=NaN", "GET", 422),
        ("/miners?sort=colour", "GET", 422),
        ("/rentals?state=unknown", "GET", 422),
        ("/rentals/none", "PUT", 405),
        ("/rentals/x", "POST", 405),
        ("/miners?status=" + "x" * 5000, "GET", 414),
    ],
)
async def test_every_error_is_a_problem(world: RestWorld, path: str, method: str, status: int) -> None:
    """RFC 9457, with the status inside, whoever found the error."""
    found, headers, body = await ask(world.app, path, method=method)
    assert (found, headers["content-type"], body["status"]) == (status, "application/problem+json", status)
    assert body["title"]
    if status == 405:
        assert headers["allow"] == ("DELETE, GET, HEAD" if path.startswith("/rentals/") else "GET, HEAD")


async def test_what_is_too_large_is_refused(world: RestWorld) -> None:
    """Headers over 16 KiB and bodies over the configured size end before anything is read."""
    status, _, body = await ask(world.app, "/health", x_much="x" * 20_000)
    assert (status, body["status"]) == (431, 431)
    for length in ("1048577", "9" * 30):
        status, _, body = await ask(world.app, "/rentals", method="POST", content_length=length)
        assert (status, body["status"]) == (413, 413)


async def test_an_error_of_ours_is_a_problem_without_details(world: RestWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 with an incident number that the log has too; the database's trouble is 503 with a time to come back."""

    async def crash(*_: object, **__: object) -> None:
        raise RuntimeError("secret path /etc/x")

    monkeypatch.setattr(type(world.store.verifications), "recent", crash)
    sent: list[str] = []
    monkeypatch.setattr("engine.rest.problems.log.error", lambda _event, **values: sent.append(str(values)))
    with pytest.raises(RuntimeError):
        await ask(world.app, "/verification/active")  # answered, then raised again for the server's log
    assert "crash" in sent[0]
    assert "hunter2" not in sent[0]
    await world.store.close()
    status, headers, body = await ask(world.app, "/miners")
    assert (status, headers["retry-after"], body["detail"]) == (503, "5", "the database does not answer")


async def test_health_knows_of_the_database(world: RestWorld) -> None:
    """Also while an older answer is still told; it is well again with the first reading that succeeds."""
    assert (await ask(world.app, "/health"))[2]["checks"]["database"] == "ok"
    read = world.store._state.read

    async def away(_work: object) -> None:
        raise StoreStrained("database postgresql:///secret cannot be reached")

    for reading, expected in ((away, (503, "does not answer")), (read, (200, "ok"))):
        world.store._state.read = reading  # type: ignore[method-assign, assignment]
        await world.clock.advance(CACHE_S + 1)
        async with asyncio.timeout(30):
            while True:
                status, _, body = await ask(world.app, "/health")
                if (status, body["checks"]["database"]) == expected:
                    break
                await asyncio.sleep(0.01)
        assert (await ask(world.app, "/miners/1"))[0] == 200


@pytest.mark.parametrize(("reason", "silent"), [("store_strained", "database"), ("unavailable", "engine")])
async def test_a_change_that_cannot_be_kept_is_503(
    world: RestWorld, monkeypatch: pytest.MonkeyPatch, reason: str, silent: str
) -> None:
    """With a time to come back, and no word of where the database is."""

    async def fail(*_: object, **__: object) -> None:
        raise ControlRefused("database postgresql:///secret cannot be reached", reason=reason)

    monkeypatch.setattr(type(world.actions), "run", fail)
    key, _ = await world.keys.create("desk", ["rentals"], lifetime_s=None)
    given = {"content-type": "application/json", "x-api-key": key}
    status, headers, body = await ask_with(world.app, "/rentals", json.dumps({"node_id": "x"}).encode(), given)
    assert (status, headers["retry-after"], body["detail"]) == (503, "5", f"the {silent} does not answer")


async def test_documentation_needs_no_other_host(world: RestWorld) -> None:
    """Swagger UI's page and all that it loads come from here; the policy forbids anything else."""
    status, headers, page = await ask(world.app, "/docs")
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "://" not in page.replace("http://www.w3.org", "")
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"docs/assets/{asset}" in page
        status, headers, _ = await ask(world.app, f"/docs/assets/{asset}")
        assert status == 200
        assert headers["content-type"].startswith("text/")
    status, _, schema = await ask(world.app, "/openapi.json")
    assert (status, schema["openapi"][:2]) == (200, "3.")
    assert {"apiKey", "hotkey"} == set(schema["components"]["securitySchemes"])


async def test_links_are_ascii(world: RestWorld) -> None:
    """A path with other letters is quoted in the links, which go into a header."""
    status, headers, body = await ask(world.app, "/gpu-profiles/é\U0001f9ff?page=310")
    assert (status, body) == (200, [])
    assert "/gpu-profiles/%C3%A9%F0%9F%A7%BF?page=1" in headers["link"]


async def test_secrets_stay_here(world: RestWorld) -> None:
    """Passwords and API keys of the configuration never leave through /config."""
    status, _, body = await ask(world.app, "/config")
    assert (status, "hunter2" in json.dumps(body)) == (200, False)
    assert (await ask(world.app, "/config/verification"))[2]["max_concurrent_verifications"] == 50


async def test_rentals_are_told(world: RestWorld) -> None:
    """What the registry says, and nothing without a word in it."""
    assert (await ask(world.app, "/rentals"))[2] == {"rentals": [], "total_count": 0, "page": 1, "page_size": 100}
    assert (await ask(world.app, "/rentals/x"))[2]["detail"] == "no such rental"
    node = node_of(HOTKEYS[1], 1, 0)
    await world.store.rentals.add(Rental("r1", node.miner_hotkey, node.node_id, NOW - 60))
    await world.store.rentals.add(Rental("r2", "5Gone", "n-gone", NOW - 90, NOW - 80, "over"))
    _, _, body = await ask(world.app, "/rentals")
    assert [(one["rental_id"], one["state"], one["miner_id"]) for one in body["rentals"]] == [
        ("r1", "Active", "miner_1"), ("r2", "Stopped", None),
    ]  # fmt: skip
    assert (await ask(world.app, "/rentals/r2"))[2]["status"] == "terminated"
    assert (await ask(world.app, "/rentals?state=Failed"))[2]["total_count"] == 0


async def test_the_page_names_every_route(world: RestWorld) -> None:
    """docs/rest.md has the routes of the app, with their groups, and no others."""
    text = (Path(__file__).parents[2] / "docs" / "rest.md").read_text()
    told = {
        (cells[1], cells[2].strip("`"), cells[3])
        for cells in ([cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("| "))
        if cells[1] in ("GET", "POST", "DELETE")
    }
    schema = (await ask(world.app, "/openapi.json"))[2]
    there = {
        (method.upper(), path, GROUPS[path.split("/")[1]])
        for path, operations in schema["paths"].items()
        for method in operations
    }
    assert told == there


async def test_bodies_of_lists_are_made_ahead(world: RestWorld) -> None:
    """Where many ask: no request makes them; they say what those say that are made for a request."""
    made: dict[bool, Snapshot] = {}
    for ahead in (False, True):
        views = views_of(world.config, world.store, world.state, world.clock, ahead=ahead)
        made[ahead] = await views.snapshot()
        await world.clock.advance(CACHE_S + 1)
        await views.snapshot()  # begins the next reading, and answers from the first
        async with asyncio.timeout(30):
            while views._snapshot is made[ahead]:
                await asyncio.sleep(0.01)
        assert await views.snapshot() is not made[ahead]
    assert made[False].miner_bodies == {}
    assert made[True].miner_bodies.keys() == made[True].gpu_profiles.keys() == set(HOTKEYS)
    for hotkey in HOTKEYS:
        view = world.state.miners[hotkey]
        lazy = views_of(world.config, world.store, world.state, world.clock).miner(view, made[False])
        assert made[True].miner_bodies[hotkey] == lazy
        assert made[True].gpu_profiles[hotkey].gpu_counts


async def test_gauges_of_what_the_validator_holds(world: RestWorld) -> None:
    """Ramp, GPUs and weights of the last reading, under the deployed names; promtool minds the minutes and no more."""
    await world.store.weights.add(WeightSet(NOW, 360, "documented", 1, True, 1, "", "[[0, 100], [2, 65435]]", "x"))
    views = Views(world.store, world.state, world.clock, "documented", emission_of(EmissionConfig()))
    gauges = FactGauges(views, world.store.weights, world.clock)
    registry = CollectorRegistry()
    registry.register(gauges)
    assert b"node_id=" not in generate_latest(registry)
    await gauges.read()
    text = generate_latest(registry).decode()
    assert 'basilica_node_uptime_minutes{miner_uid="1",node_id="5MinerTwo-n0"} 10080.0' in text
    assert 'basilica_node_uptime_multiplier{miner_uid="1",node_id="5MinerTwo-n0"} 0.5' in text
    assert 'basilica_validator_miner_gpu_count{miner_uid="2"} 6.0' in text
    assert 'basilica_validator_miner_weight{miner_uid="2"} 65435.0' in text
    if shutil.which("promtool") is not None:
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.stdout + checked.stderr).splitlines() == [
            'basilica_node_uptime_minutes use base unit "seconds" instead of "minutes"'
        ]
