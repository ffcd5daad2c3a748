"""A validator that can say anything to a miner over the real wire, correct or not."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import grpc

from engine.identity import payloads
from engine.identity.public_keys import parse_public_key
from engine.identity.signatures import Signer
from engine.identity.tokens import new_nonce
from engine.wire.basilca.miner.v1 import miner_discovery_pb2 as pb_a
from engine.wire.basilica.miner.v1 import miner_discovery_pb2 as pb_b
from engine.wire.messages import SERVICES, Dialect

_PB: dict[str, Any] = {"A": pb_a, "B": pb_b}


class Voice:
    """Makes requests signed by ``signer`` for the miner at ``port``, and sends bytes."""

    def __init__(self, port: int, miner_hotkey: str, signer: Signer, key_line: str, dialect: Dialect = "A") -> None:
        self.port = port
        self.miner_hotkey = miner_hotkey
        self.signer = signer
        self.key_line = key_line
        self.dialect: Dialect = dialect

    def auth(self, *, at: int | None = None, nonce: str | None = None, **changes: Any) -> bytes:
        """A correct authentication as bytes; ``at`` and ``nonce`` are signed, ``changes`` are made after signing."""
        nonce, at = nonce or new_nonce(), int(time.time()) if at is None else at
        request = _PB[self.dialect].ValidatorAuthRequest(
            validator_hotkey=self.signer.hotkey, nonce=nonce, target_miner_hotkey=self.miner_hotkey
        )
        payload = payloads.auth_v1(nonce, self.miner_hotkey, at)
        if self.dialect == "B":
            digest = hashlib.sha256(parse_public_key(self.key_line).normalised.encode()).hexdigest()
            payload = payloads.auth_b(nonce, self.miner_hotkey, at, digest)
            request.validator_public_key = self.key_line
        return self._finish(request, payload, at, changes)

    def discovery(
        self,
        *,
        at: int | None = None,
        nonce: str | None = None,
        token: str = "",
        key: str | None = None,
        **changes: Any,
    ) -> bytes:
        """A correct discovery as bytes, like ``auth``."""
        nonce, at = nonce or new_nonce(), int(time.time()) if at is None else at
        request = _PB[self.dialect].DiscoverNodesRequest(
            validator_hotkey=self.signer.hotkey,
            nonce=nonce,
            target_miner_hotkey=self.miner_hotkey,
            validator_public_key=self.key_line if key is None else key,
        )
        payload = payloads.discover_v1(self.signer.hotkey, nonce, at)
        if self.dialect == "B":
            payload = payloads.discover_v2(self.signer.hotkey, self.miner_hotkey, nonce, at, token)
            request.session_token = token
        return self._finish(request, payload, at, changes)

    def say(self, call: str, body: bytes, *, timeout: float = 20.0) -> bytes:
        """Send these bytes; the answer's bytes. Raises grpc.RpcError."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options=options) as channel:
            method: Any = channel.unary_unary(f"/{SERVICES[self.dialect]}/{call}")
            return bytes(method(body, timeout=timeout))

    def authenticate(self, body: bytes | None = None) -> bytes:
        """``AuthenticateValidator``."""
        return self.say("AuthenticateValidator", self.auth() if body is None else body)

    def discover(self, body: bytes | None = None) -> list[tuple[str, int]]:
        """``DiscoverNodes`` of dialect A: the addresses in the answer."""
        answer = pb_a.ListNodeConnectionDetailsResponse.FromString(
            self.say("DiscoverNodes", self.discovery() if body is None else body)
        )
        return [(node.host, int(node.port)) for node in answer.nodes]

    def refused(self, call: str, body: bytes) -> str:
        """The status that this request is refused with; ``OK`` when it is accepted."""
        try:
            self.say(call, body)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"

    def _finish(self, request: Any, payload: bytes, at: int, changes: dict[str, Any]) -> bytes:
        request.signature = self.signer.sign(payload)
        request.timestamp.value.seconds = at
        for name, value in changes.items():
            setattr(request, name, value)
        return bytes(request.SerializeToString())
