"""Short words for what nearly every fault test does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import cast

from engine.control.client import Snapshot
from engine.control.models import NodeView
from engine.errors import BasilicaError
from engine.ssh.keys import ClientKey
from tests.faults.observe import our_lines
from tests.faults.wire import Voice
from tests.support.miner_subnet import PATIENCE_S, MinerSubnet, Validator
from tests.support.sshd import NodeSshd

OPEN = {"enabled": False, "interval": 1}
"""``[validator_assignment]``: every permitted validator is let in."""


def ready(subnet: MinerSubnet) -> None:
    """Wait until the engine knows the chain and has enrolled every node, so that a discovery has only itself to do."""
    asyncio.run(
        subnet.until(
            lambda s: (
                s.views["engine"]["engine"].metagraph_at is not None  # type: ignore[union-attr]
                and all(node.state != "unknown" and node.expiry_enforced for node in views(s).values())
            )
        )
    )


def sleep_past(node: NodeSshd) -> None:
    """Until the only line of ours on a node is over by the true clock."""
    (line,) = our_lines(node)
    time.sleep(max(0.0, line.expires_at_unix + 1.5 - time.time()))


def views(snapshot: Snapshot) -> dict[int, NodeView]:
    """What the operator sees of each node, by port."""
    return {cast(NodeView, view).port: cast(NodeView, view) for view in snapshot.views["nodes"].values()}


def seen(subnet: MinerSubnet, port: int) -> NodeView:
    """What the operator sees of one node now."""
    return views(asyncio.run(subnet.snapshot()))[port]


def await_view(
    subnet: MinerSubnet, port: int, condition: Callable[[NodeView], bool], *, seconds: float = PATIENCE_S
) -> NodeView:
    """Wait until the operator sees this of a node."""
    return views(asyncio.run(subnet.until(lambda s: condition(views(s)[port]), seconds=seconds)))[port]


def discover(subnet: MinerSubnet, validator: Validator | None = None, *, key: ClientKey | None = None) -> set[int]:
    """One discovery in dialect A: the ports in the answer."""
    offer = asyncio.run(subnet.discover(validator or subnet.validators[0], "A", key=key))
    return {node.port for node in offer.nodes}


def try_discover(subnet: MinerSubnet) -> BasilicaError | None:
    """A discovery that may fail: with what."""
    try:
        discover(subnet)
    except BasilicaError as error:
        return error
    return None


def served(subnet: MinerSubnet) -> set[int]:
    """The ports in the answer to a discovery; none when it is refused."""
    try:
        return discover(subnet)
    except BasilicaError:
        return set()


def voice(subnet: MinerSubnet, number: int = 0) -> Voice:
    """One of the subnet's validators, speaking freely."""
    validator = subnet.validators[number]
    return Voice(subnet.grpc_port, subnet.miner.signer.hotkey, validator.wallet.signer, validator.key.public_line)


def end_session(subnet: MinerSubnet, number: int = 0) -> dict[str, object]:
    """The operator ends a validator's access."""
    return cast("dict[str, object]", asyncio.run(subnet.act("session.end", hotkey=subnet.validators[number].hotkey)))


def eventually(condition: Callable[[], bool], *, seconds: float = PATIENCE_S, what: str = "") -> None:
    """Wait for something outside the engine's view."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not reached: {what}"
        time.sleep(0.05)
