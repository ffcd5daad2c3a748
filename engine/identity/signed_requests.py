"""HTTP requests signed by a hotkey: the ``btauth/1`` protocol of the ``bittensor`` SDK.

Signed are method, path with query, body digest, a nonce of nanoseconds, sender and receiver. The SDK verifies; it is
imported when first needed, because it takes half a second.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from engine.errors import HotkeyInvalid, RequestUnproven
from engine.identity import ss58
from engine.identity.signatures import Signer

MARK = "x-bittensor-signature"
"""The header, in lower case, by which a signed request is recognised."""


def sign_request(signer: Signer, *, path: str, receiver: str, method: str = "GET", body: bytes = b"") -> dict[str, str]:
    """Headers that prove who sends this. ``path`` is the request target as it is sent, query included."""
    from bittensor import http_auth  # noqa: PLC0415 - see above

    nonce = time.time_ns()
    payload = http_auth.build_payload(
        scheme="sr25519",
        method=method,
        path=path,
        body=body,
        nonce_ns=nonce,
        sender_ss58=signer.hotkey,
        receiver_ss58=receiver,
    )
    return {
        http_auth.HEADER_VERSION: http_auth.VERSION,
        http_auth.HEADER_HOTKEY: signer.hotkey,
        http_auth.HEADER_RECEIVER: receiver,
        http_auth.HEADER_NONCE: str(nonce),
        http_auth.HEADER_SIGNATURE: "0x" + signer.sign(payload),
    }


class RequestVerifier:
    """Accepts each signed request once, within ten seconds of its making."""

    def __init__(self, own_hotkey: str) -> None:
        self._own = own_hotkey
        self._nonces: Any = None
        # What was signed before this start may have been used before it.
        self._since_ns = time.time_ns()

    def claimed(self, headers: Mapping[str, str]) -> str:
        """Who the request says it is from, in the form that the metagraph uses; ``headers`` in lower case.

        Raises RequestUnproven.
        """
        try:
            return ss58.encode(ss58.decode(headers.get("x-bittensor-hotkey", "")))
        except HotkeyInvalid as error:
            raise RequestUnproven("X-Bittensor-Hotkey is no address") from error

    def verify(self, headers: Mapping[str, str], *, method: str, path: str, body: bytes = b"") -> str:
        """The hotkey that signed this request for us.

        Raises:
            RequestUnproven: incomplete, for somebody else, too old, from the future, used before, or not signed so.
        """
        from bittensor import http_auth  # noqa: PLC0415 - see above

        if self._nonces is None:
            self._nonces = http_auth.InMemoryNonceStore()
        try:
            caller = http_auth.verify(
                headers,
                body,
                method=method,
                path=path,
                self_hotkey_ss58=self._own,
                nonce_store=self._nonces,
            )
        except http_auth.AuthError as error:
            raise RequestUnproven(str(error)) from error
        if caller.nonce_ns < self._since_ns:
            raise RequestUnproven("the request was signed before this engine started")
        return self.claimed(headers)
