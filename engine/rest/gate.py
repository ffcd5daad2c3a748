"""What every request passes before a route sees it: sizes, rates, credentials; and what every answer gets: a tag.

Plain ASGI: the framework's own middleware makes a task and a stream per request.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import Response

from engine.clock import Clock
from engine.config.validator import RouteGroup
from engine.errors import RequestUnproven, StoreUnusable
from engine.identity.signed_requests import MARK, RequestVerifier
from engine.miner.door_limits import Rate, TokenBuckets, address_key
from engine.rest.access import ANONYMOUS, OF_MINERS, SCOPES, Caller, Refusal, decide, group_of
from engine.rest.answers import Answer, Answers, Key, tagged
from engine.rest.inbox import Inbox, Receive
from engine.rest.keys import ApiKeys
from engine.rest.problems import problem

log = structlog.get_logger()

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Observe: TypeAlias = Callable[[int, float, int], None]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_TARGET_BYTES = 4096
MAX_HEADER_BYTES = 16 * 1024
MAX_LOGGED = 200
MOST_BUCKETS = 4096
FAILURES = Rate(10 / 60, 10)
"""Wrong credentials that one address may bring."""
CHALLENGE = {"www-authenticate": 'Bearer realm="basilica validator"'}
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-cache"),
    (b"vary", b"authorization, x-api-key, x-bittensor-hotkey"),
)


class _Refused(Exception):
    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


@dataclass(frozen=True, slots=True)
class GateRules:
    """Limits. ``registered`` says whether a hotkey is a miner of the subnet."""

    own_hotkey: str
    max_body_bytes: int
    per_address: Rate
    per_caller: Rate
    registered: Callable[[str], bool]
    opened: Collection[RouteGroup] = ()


def per_minute(count: int) -> Rate:
    """A steady rate with room for a browser that asks for a page at once."""
    return Rate(count / 60, max(20, count // 4))


class Gate:
    """The outermost layer of the app."""

    def __init__(
        self, app: App, keys: ApiKeys, rules: GateRules, clock: Clock, *, observe: Observe | None = None
    ) -> None:
        self._app = app
        self._keys = keys
        self._rules = rules
        self._clock = clock
        self._observe = observe
        self._verifier = RequestVerifier(rules.own_hotkey)
        self._addresses = TokenBuckets(rules.per_address, MOST_BUCKETS)
        self._callers = TokenBuckets(rules.per_caller, MOST_BUCKETS)
        self._failures = TokenBuckets(FAILURES, MOST_BUCKETS)
        self._answers = Answers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answering, began, caller = _Tagged(scope, send), time.perf_counter(), ANONYMOUS
        try:
            headers = _headers(scope)
            inbox = Inbox(receive, headers, self._rules.max_body_bytes)
            caller = await self._admit(scope, headers, inbox)
            key = self._key(scope, caller)
            kept = None if key is None else self._answers.recall(key, self._clock.monotonic())
            if kept is not None:
                await answering.send_answer(kept)
                return
            scope.setdefault("state", {})["caller"] = caller
            await self._app(_as_get(scope), inbox.receive, answering)
            if key is not None and answering.answer is not None:
                self._answers.keep(key, answering.answer, self._clock.monotonic())
        except _Refused as refused:
            await refused.answer(scope, receive, answering)
        except HTTPException as error:
            await problem(error.status_code, error.detail, headers=error.headers)(scope, receive, answering)
        finally:
            took_s = time.perf_counter() - began
            if self._observe is not None:
                self._observe(answering.status, took_s, answering.size)
            log.debug(
                "rest.answered", method=scope["method"], path=scope["path"][:MAX_LOGGED], status=answering.status,
                duration_ms=round(1000 * took_s, 1), caller=caller.id,
            )  # fmt: skip

    def _key(self, scope: Scope, caller: Caller) -> Key | None:
        """Under what the answer is kept for those who ask next; None: it is not."""
        group = group_of(scope["path"])
        if group not in OF_MINERS or scope["method"] not in ("GET", "HEAD"):
            return None
        sight = decide(caller, group, self._rules.opened)
        if isinstance(sight, Refusal):
            return None
        return group, scope.get("raw_path") or b"", scope.get("query_string", b""), sight.only

    async def _admit(self, scope: Scope, headers: Mapping[str, str], inbox: Inbox) -> Caller:
        """Known credentials have a budget of their own; everybody else shares that of the address."""
        now = self._clock.monotonic()
        address = address_key((scope.get("client") or ("unknown", 0))[0])
        text = _key_of(headers)
        caller = None if text is None else self._keys.recall(text)
        if caller is None:
            self._take(self._addresses, address, now)
            if text is not None or MARK in headers:
                caller = await self._recognise(text, headers, scope, inbox, address, now)
        if caller is None:
            return ANONYMOUS
        self._take(self._callers, caller.id, now)
        return caller

    async def _recognise(
        self, text: str | None, headers: Mapping[str, str], scope: Scope, inbox: Inbox, address: str, now: float
    ) -> Caller:
        try:
            if text is not None:
                caller = await self._keys.recognise(text)
            else:
                caller = await self._signer(headers, scope, inbox)
        except StoreUnusable as error:
            raise _Refused(problem(503, "the database does not answer", headers={"retry-after": "5"})) from error
        except RequestUnproven as error:
            self._take(self._failures, address, now)
            raise _Refused(
                problem(401, f"the signed request is not accepted: {error.message}", headers=CHALLENGE)
            ) from error
        if caller is None:
            self._take(self._failures, address, now)
            raise _Refused(problem(401, "the API key is unknown, expired or revoked", headers=CHALLENGE))
        return caller

    async def _signer(self, headers: Mapping[str, str], scope: Scope, inbox: Inbox) -> Caller:
        claimed = self._verifier.claimed(headers)
        is_own = claimed == self._rules.own_hotkey
        if not is_own and not self._rules.registered(claimed):
            raise RequestUnproven("the hotkey is not registered on this subnet")
        query = scope.get("query_string", b"").decode("latin-1")
        raw = scope.get("raw_path") or quote(scope["path"]).encode()
        path = raw.decode("latin-1").partition("?")[0] + (f"?{query}" if query else "")
        body = await inbox.whole()  # the signature covers it
        hotkey = self._verifier.verify(headers, method=scope["method"], path=path, body=body)
        return Caller(f"hotkey {hotkey}", frozenset(SCOPES) if is_own else frozenset(), hotkey=hotkey)

    def _take(self, buckets: TokenBuckets, key: str, now: float) -> None:
        verdict = buckets.take(key, now)
        if not verdict.is_allowed:
            wait_s = max(1, math.ceil(verdict.retry_after_s))
            raise _Refused(problem(429, f"ask again in {wait_s} s", headers={"retry-after": str(wait_s)}))


def _as_get(scope: Scope) -> Scope:
    """Whoever asks for the head alone gets that of the whole answer; the server below leaves the body out."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def _headers(scope: Scope) -> dict[str, str]:
    """By lower-case name. Raises _Refused when there is too much of them."""
    if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > MAX_TARGET_BYTES:
        raise _Refused(problem(414, f"{MAX_TARGET_BYTES} bytes at most"))
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
        raise _Refused(problem(431, f"{MAX_HEADER_BYTES} bytes at most"))
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _key_of(headers: Mapping[str, str]) -> str | None:
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and rest.strip():
        return rest.strip()
    return headers.get("x-api-key")


class _Tagged:
    """``send`` that adds the usual headers, and to a good answer a weak tag over its body, or says 304."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._is_get = scope["method"] in ("GET", "HEAD")
        self._wanted = next((v.decode("latin-1") for k, v in scope["headers"] if k == b"if-none-match"), "")
        self._start: MutableMapping[str, Any] | None = None
        self._parts: list[bytes] = []
        self.answer: Answer | None = None
        """The good answer that was given."""
        self.status, self.size = 500, 0
        """Of the answer that was sent."""

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """One message of the answer."""
        if message["type"] == "http.response.start":
            names = {name for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(pair for pair in _ALWAYS if pair[0] not in names)]
            if not self._is_get or message["status"] != 200 or b"etag" in names:
                await self._out(message)
            else:
                self._start = message
            return
        if self._start is None or message["type"] != "http.response.body":
            await self._out(message)
            return
        self._parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            start, self._start = self._start, None
            self.answer = tagged(start["headers"], b"".join(self._parts))
            await self.send_answer(self.answer)

    async def send_answer(self, answer: Answer) -> None:
        """A good answer, or that it has not changed."""
        status, headers, body = 200, answer.headers, answer.body
        if is_known(self._wanted, answer.tag):
            status, body = 304, b""
            headers = tuple(pair for pair in headers if pair[0] not in (b"content-length", b"content-type"))
        await self._out({"type": "http.response.start", "status": status, "headers": headers})
        await self._out({"type": "http.response.body", "body": body})

    async def _out(self, message: MutableMapping[str, Any]) -> None:
        self.status = message.get("status", self.status)
        self.size += len(message.get("body", b""))
        await self._send(message)


def is_known(if_none_match: str, tag: str) -> bool:
    """Whether the header names this tag; compared weakly, as RFC 9110 says for it."""
    wanted = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return "*" in wanted or tag.removeprefix("W/") in wanted
