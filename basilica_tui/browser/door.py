"""Who may use the console's page: pure rules over what a request says of itself."""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass, field
from enum import Enum

_LOOPBACK = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?", re.ASCII)


class Verdict(Enum):
    """What becomes of a request."""

    SERVE = "serve"
    EXCHANGE = "exchange"
    """The one-time link: answer with the cookie, and spend the link."""
    WRONG_HOST = "wrong host"
    WRONG_ORIGIN = "wrong origin"
    NO_SESSION = "no session"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: path, ``Host`` and ``Origin`` headers, the link's token, the cookie; "" for what is absent."""

    path: str
    host: str
    origin: str = ""
    token: str = ""
    cookie: str = ""
    is_websocket: bool = False


@dataclass(slots=True)
class Door:
    """One link that opens once, and the session that it opens."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    is_spent: bool = False

    def judge(self, asked: Asked) -> Verdict:
        """The verdict; ``EXCHANGE`` spends the link.

        ``Host`` must be a loopback name, so that a page whose name was made to point here (DNS rebinding) gets nothing;
        a WebSocket must come from our own page, because browsers send cookies with those of any page.
        """
        if not _LOOPBACK.fullmatch(asked.host):
            return Verdict.WRONG_HOST
        if (asked.origin or asked.is_websocket) and asked.origin != f"http://{asked.host}":
            return Verdict.WRONG_ORIGIN
        if _equal(asked.cookie, self.session):
            return Verdict.SERVE
        if asked.path == "/" and not self.is_spent and _equal(asked.token, self.token):
            self.is_spent = True
            return Verdict.EXCHANGE
        return Verdict.NO_SESSION


def _equal(given: str, wanted: str) -> bool:
    # A header may hold bytes that are no text; they arrive as lone surrogates.
    return hmac.compare_digest(given.encode(errors="surrogateescape"), wanted.encode())
