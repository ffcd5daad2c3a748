"""The validator's client against our door, and against miners that lie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from engine.clock import SystemClock
from engine.errors import MinerRefused, MinerUnreachable, MinerUntrusted, PublicKeyRefused
from engine.identity import payloads
from engine.validator.miner_client import ClientTimeouts, MinerClient, MinerNodes
from engine.validator.miner_nodes import MOST_NODES, OfferedNode
from engine.wire.basilca.miner.v1 import miner_discovery_pb2 as pb
from engine.wire.basilca.miner.v1 import miner_discovery_pb2_grpc as stubs
from engine.wire.basilica.miner.v1 import miner_discovery_pb2_grpc as stubs_b
from tests.engine.door_support import NODE, World, ed25519_line, signer, world

MINER = signer("//Miner")
VALIDATOR = signer("//Alice")
NODE_ID = NODE.node_id


class NoWait(SystemClock):
    """Real time that remembers sleeps instead of sleeping; each may take ``late_s``, as this clock tells it."""

    def __init__(self, late_s: float = 0.0) -> None:
        self.slept: list[float] = []
        self._late_s = late_s

    def monotonic(self) -> float:
        return super().monotonic() + self._late_s * len(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def client(port: int, **options: Any) -> MinerClient:
    """A client of the miner on this loopback port."""
    options.setdefault("clock", NoWait())
    options.setdefault("timeouts", ClientTimeouts(5.0, 5.0, 5.0))
    return MinerClient(f"127.0.0.1:{port}", VALIDATOR, MINER.hotkey, **options)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as running:
        yield running


@pytest.mark.parametrize(("dialect", "used"), [("auto", "B"), ("B", "B"), ("A", "A")])
async def test_nodes_from_our_door(here: World, dialect: Any, used: str) -> None:
    """Both dialects bring the nodes; without a wish it is B."""
    answer = await client(here.port, dialect=dialect, clock=here.clock).discover(ed25519_line())
    node = OfferedNode(NODE_ID, "192.168.1.100", 22, "basilica")
    assert answer == MinerNodes(used, (node,), here.clock.now() + 3600, 0)  # type: ignore[arg-type]
    assert len(here.admission.admits) == 1


async def test_a_refusal_names_its_status(here: World) -> None:
    """What the miner answers arrives as MinerRefused, without a retry for what a retry cannot change."""
    here.admission.permitted = False
    with pytest.raises(MinerRefused) as caught:
        await client(here.port, clock=here.clock).discover(ed25519_line())
    assert caught.value.status == "PERMISSION_DENIED"
    assert "Validator not authorized" in caught.value.message
    assert len(here.admission.permits) == 1


async def test_a_bad_key_of_our_own_never_leaves(here: World) -> None:
    """The client checks its own key first."""
    with pytest.raises(PublicKeyRefused):
        await client(here.port).discover("ssh-dss AAAA")
    assert here.events == []


async def test_nobody_there() -> None:
    """A closed port is MinerUnreachable at once."""
    with pytest.raises(MinerUnreachable):
        await client(1).discover(ed25519_line())


async def test_a_silent_peer() -> None:
    """A port that accepts and says nothing is given up after the connect timeout."""
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(MinerUnreachable):
        await client(port, timeouts=ClientTimeouts(0.3, 1.0, 1.0)).discover(ed25519_line())
    server.close()


class Miner:
    """A deployed miner (dialect A only) whose answers the test bends."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.failures: list[grpc.StatusCode] = []
        self.bend_answer: Callable[[Any], None] = lambda answer: None
        self.nodes: list[Any] = [node_message()]

    async def AuthenticateValidator(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        if self.failures:
            await context.abort(self.failures.pop(0), "not now")
        answer = pb.MinerAuthResponse(
            authenticated=True, session_token="ab" * 32, miner_hotkey=MINER.hotkey, response_nonce="r1"
        )
        answer.expires_at.value.seconds = 1_900_000_000
        payload = payloads.miner_response(request.validator_hotkey, "r1", answer.session_token)
        answer.miner_signature = MINER.sign(payload)
        self.bend_answer(answer)
        return answer

    async def DiscoverNodes(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return pb.ListNodeConnectionDetailsResponse(nodes=self.nodes)


def node_message(**changes: str) -> Any:
    """A correct node, changed."""
    fields: dict[str, Any] = {
        "node_id": NODE_ID,
        "host": "10.0.0.1",
        "port": "22",
        "username": "root",
        "status": "available",
    }
    return pb.NodeConnectionDetails(**{**fields, **changes})


@asynccontextmanager
async def served(miner: Any, add: Any = stubs.add_MinerDiscoveryServicer_to_server) -> AsyncIterator[int]:
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    add(miner, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def test_falls_back_to_the_deployed_dialect() -> None:
    """A miner without dialect B is served in A, and remembered."""
    remembered: dict[str, Any] = {}
    miner = Miner()
    async with served(miner) as port:
        answer = await client(port, dialects=remembered).discover(ed25519_line())
        assert (answer.dialect, len(answer.nodes), answer.session_expires_at) == ("A", 1, 1_900_000_000.0)
        assert remembered == {f"127.0.0.1:{port}": "A"}
        await client(port, dialects=remembered).discover(ed25519_line())
        with pytest.raises(MinerRefused) as caught:
            await client(port, dialect="B").discover(ed25519_line())
    assert caught.value.status == "UNIMPLEMENTED"
    discovery = miner.requests[1]
    assert discovery.validator_public_key == ed25519_line() and discovery.target_miner_hotkey == MINER.hotkey


async def test_retries_resend_the_same_bytes() -> None:
    """Up to three attempts with one nonce and one signature, half a second and then a second apart."""
    miner, clock = Miner(), NoWait()
    miner.failures = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL]
    async with served(miner) as port:
        answer = await client(port, dialect="A", clock=clock).discover(ed25519_line())
    assert len(answer.nodes) == 1
    sent = [r.SerializeToString() for r in miner.requests if isinstance(r, pb.ValidatorAuthRequest)]
    assert len(sent) == 3 and len(set(sent)) == 1
    assert clock.slept == [0.5, 1.0]


async def test_a_late_retry_is_a_new_request() -> None:
    """What a miner would take for a replay is signed anew, with a nonce and a time of its own."""
    miner, clock = Miner(), NoWait(late_s=14.0)
    miner.failures = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE]
    async with served(miner) as port:
        answer = await client(port, dialect="A", clock=clock).discover(ed25519_line())
    assert len(answer.nodes) == 1
    nonces = [request.nonce for request in miner.requests if isinstance(request, pb.ValidatorAuthRequest)]
    assert [nonces.index(nonce) for nonce in nonces] == [0, 0, 2]


async def test_gives_up_after_three_attempts() -> None:
    """The last refusal is the one that is reported."""
    miner = Miner()
    miner.failures = [grpc.StatusCode.UNAVAILABLE] * 5
    async with served(miner) as port:
        with pytest.raises(MinerRefused) as caught:
            await client(port, dialect="A").discover(ed25519_line())
    assert caught.value.status == "UNAVAILABLE"
    assert len(miner.requests) == 3


def _unsigned(answer: Any) -> None:
    answer.miner_signature = ""


def _other_signer(answer: Any) -> None:
    payload = payloads.miner_response(VALIDATOR.hotkey, "r1", answer.session_token)
    answer.miner_signature = signer("//Mallory").sign(payload)


def _other_hotkey(answer: Any) -> None:
    _other_signer(answer)
    answer.miner_hotkey = signer("//Mallory").hotkey


def _other_token(answer: Any) -> None:
    answer.session_token = "cd" * 32


def _no_hotkey(answer: Any) -> None:
    answer.miner_hotkey = ""


@pytest.mark.parametrize("bend", [_unsigned, _other_signer, _other_hotkey, _other_token, _no_hotkey])
async def test_a_miner_that_is_not_the_one_on_chain(bend: Callable[[Any], None]) -> None:
    """Unsigned, wrongly signed or another hotkey: untrusted, and it is not asked for nodes."""
    miner = Miner()
    miner.bend_answer = bend
    async with served(miner) as port:
        with pytest.raises(MinerUntrusted):
            await client(port, dialect="A").discover(ed25519_line())
    assert len(miner.requests) == 1


async def test_a_miner_that_says_no_in_its_answer() -> None:
    """``authenticated = false`` is a refusal with the miner's words, made harmless."""

    def bend(answer: Any) -> None:
        answer.authenticated = False
        answer.error.message = "no\x1b[31m way" + "!" * 5000

    miner = Miner()
    miner.bend_answer = bend
    async with served(miner) as port:
        with pytest.raises(MinerRefused) as caught:
            await client(port, dialect="A").discover(ed25519_line())
    assert "no?[31m way" in caught.value.message and len(caught.value.message) < 400


async def test_hostile_nodes_are_dropped() -> None:
    """Nodes that nobody could log in to, and repetitions, are dropped; the good one stays."""
    bad = [
        {"port": "0"},
        {"port": "65536"},
        {"port": "22; reboot"},
        {"port": "٢٢"},
        {"port": "9" * 5000},
        {"host": ""},
        {"host": "-oProxyCommand=x"},
        {"host": "a\nb"},
        {"host": "\x1b[2J"},
        {"username": "-l"},
        {"username": "root@elsewhere"},
        {"username": ""},
        {"node_id": "not a uuid"},
        {"node_id": ""},
    ]
    miner = Miner()
    miner.nodes = [*(node_message(**changes) for changes in bad), node_message(), node_message(host="10.0.0.2")]
    async with served(miner) as port:
        answer = await client(port, dialect="A").discover(ed25519_line())
    assert answer.nodes == (OfferedNode(NODE_ID, "10.0.0.1", 22, "root"),)
    assert answer.dropped == len(bad) + 1


async def test_thousands_of_nodes() -> None:
    """No more than 1024 are taken."""
    miner = Miner()
    miner.nodes = [node_message(node_id=f"00000000-0000-4000-8000-{n:012x}") for n in range(3000)]
    async with served(miner) as port:
        assert len((await client(port, dialect="A").discover(ed25519_line())).nodes) == MOST_NODES


async def test_an_answer_of_many_megabytes() -> None:
    """It is not read to its end."""
    miner = Miner()
    miner.nodes = [node_message(additional_opts="x" * 5_000_000)]
    async with served(miner) as port:
        with pytest.raises(MinerRefused) as caught:
            await client(port, dialect="A").discover(ed25519_line())
    assert caught.value.status == "RESOURCE_EXHAUSTED"


async def test_an_endless_stream() -> None:
    """A dialect B miner that never stops naming nodes is cut."""

    class Endless(Miner):
        async def DiscoverNodes(self, request: Any, context: Any) -> Any:
            n = 0
            while True:
                n += 1
                yield node_message(node_id=f"00000000-0000-4000-8000-{n:012x}")

    async with served(Endless(), stubs_b.add_MinerDiscoveryServicer_to_server) as port:
        answer = await client(port).discover(ed25519_line())
    assert (answer.dialect, len(answer.nodes)) == ("B", MOST_NODES)


async def test_an_answer_that_is_no_message() -> None:
    """Bytes that do not parse are a refusal, not a crash."""

    async def garbage(request: bytes, context: Any) -> bytes:
        return b"\xff\xff\xff"

    handler = grpc.method_handlers_generic_handler(
        "basilca.miner.v1.MinerDiscovery", {"AuthenticateValidator": grpc.unary_unary_rpc_method_handler(garbage)}
    )
    async with served(handler, lambda miner, server: server.add_generic_rpc_handlers([miner])) as port:
        with pytest.raises(MinerRefused):
            await client(port).discover(ed25519_line())
