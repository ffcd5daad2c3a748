"""The chain room: one subnet to read, an axon to publish, weights to set.

``open_chain`` chooses between a network's RPC endpoint and the embedded chain in a file; the same SDK calls run on
both. Importing this package does not import the SDK.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.chain.cached import MetagraphCache
from engine.chain.metagraph_json import metagraph_from_json, metagraph_to_json
from engine.chain.models import Axon, Chain, ChainWallet, Metagraph, Neuron
from engine.chain.sdk import ChainTimeouts, SdkChain
from engine.clock import Clock, SystemClock
from engine.errors import ConfigInvalid

__all__ = [
    "Axon",
    "Chain",
    "ChainTimeouts",
    "ChainWallet",
    "Metagraph",
    "MetagraphCache",
    "Neuron",
    "chain_endpoint_for",
    "metagraph_from_json",
    "metagraph_to_json",
    "open_chain",
]

_FILE_PREFIX = "file:"
_ENDPOINTS = {
    "finney": "wss://entrypoint-finney.opentensor.ai:443",
    "test": "wss://test.finney.opentensor.ai:443",
    "local": "ws://127.0.0.1:9944",
}


def chain_endpoint_for(network: str, chain_endpoint: str | None = None) -> str:
    """The endpoint that will be used; raises ``ConfigInvalid`` for an unknown network or scheme."""
    endpoint = chain_endpoint or _ENDPOINTS.get(network)
    if endpoint is None:
        raise ConfigInvalid(
            f"network {network!r} is unknown", hint="Use finney, test or local, or set [bittensor] chain_endpoint."
        )
    if endpoint.startswith(_FILE_PREFIX):
        if network != "local":
            raise ConfigInvalid(
                f"chain_endpoint {endpoint!r} is an embedded chain, but network is {network!r}",
                hint='Set network = "local" to use a chain in a file.',
            )
        if endpoint == _FILE_PREFIX:
            raise ConfigInvalid("chain_endpoint file: names no file", hint='Write chain_endpoint = "file:PATH".')
    elif not endpoint.startswith(("ws://", "wss://")):
        raise ConfigInvalid(
            f"chain_endpoint {endpoint!r} is neither ws://, wss:// nor file:", hint="Check [bittensor] chain_endpoint."
        )
    return endpoint


def open_chain(
    *,
    network: str,
    netuid: int,
    chain_endpoint: str | None = None,
    fallback_endpoints: Sequence[str] = (),
    wallet: ChainWallet | None = None,
    timeouts: ChainTimeouts | None = None,
    clock: Clock | None = None,
) -> Chain:
    """A ``Chain``, not yet connected: the first call connects. Without a wallet it only reads.

    ``clock`` is the time by which an embedded chain counts its blocks; other chains have their own.
    Raises ``ConfigInvalid`` for an endpoint that cannot be meant.
    """
    endpoint = chain_endpoint_for(network, chain_endpoint)
    now = (clock or SystemClock()).now
    fallbacks = [url for url in dict.fromkeys(fallback_endpoints) if url != endpoint]

    def over_rpc(sdk: ModuleType) -> Any:
        # Third parties' archive nodes are asked only if somebody configured them: only the head is ever read.
        return sdk.Client(endpoint, fallback_endpoints=fallbacks, archive_endpoints=[])

    def over_file(sdk: ModuleType) -> Any:
        from engine.chain.filechain.substrate import FileSubstrate  # noqa: PLC0415 - imports the SDK

        return sdk.Client("local", substrate=FileSubstrate(_file_path(endpoint), now=now))

    make_client = over_file if endpoint.startswith(_FILE_PREFIX) else over_rpc
    return SdkChain(netuid=netuid, endpoint=endpoint, make_client=make_client, wallet=wallet, timeouts=timeouts)


def _file_path(endpoint: str) -> Path:
    """``file:PATH`` and ``file:///PATH`` alike; a leading ~ is the home directory."""
    text = endpoint.removeprefix(_FILE_PREFIX)
    return Path(text.removeprefix("//") if text.startswith("///") else text).expanduser()
