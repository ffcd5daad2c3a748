"""One bounded HTTP GET without a library: asked as HTTP/1.0, so that no server answers in chunks."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from engine.errors import ObservationUnavailable

MAX_BYTES = 4 << 20
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: ([\x20-\x7e]{0,80}))?")


async def fetch(url: str, *, timeout_s: float, headers: Mapping[str, str] | None = None) -> bytes:
    """The body of the answer 200 to a GET of ``url``; see ``target`` for what is asked for.

    Raises:
        ObservationUnavailable: no such host, no answer in time, too much of it, or another status; redirects are
            not followed.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _get(url, headers or {})
    except TimeoutError:
        raise ObservationUnavailable(f"no complete answer within {timeout_s:g} s") from None
    except (OSError, ssl.SSLError, UnicodeError, ValueError) as error:
        raise ObservationUnavailable(_first_line(error)) from error


def target(url: str) -> str:
    """The path and query that a GET of ``url`` asks for, as they stand in the request."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


async def _get(url: str, headers: Mapping[str, str]) -> bytes:
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    reader, writer = await asyncio.open_connection(
        host, port, ssl=ssl.create_default_context() if is_tls else None, limit=64 * 1024
    )
    try:
        name = f"[{host}]" if ":" in host else host
        more = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        head = f"GET {target(url)} HTTP/1.0\r\nHost: {name}:{port}\r\nAccept: */*\r\n{more}Connection: close\r\n\r\n"
        writer.write(head.encode("ascii"))
        await writer.drain()
        answer = bytearray()
        while chunk := await reader.read(64 * 1024):
            answer += chunk
            if len(answer) > MAX_BYTES:
                raise ObservationUnavailable(f"the answer is larger than {MAX_BYTES >> 20} MiB")
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(1.0):
                await writer.wait_closed()
    return _body(bytes(answer))


def _body(answer: bytes) -> bytes:
    head, separator, body = answer.partition(b"\r\n\r\n")
    found = _STATUS.match(head)
    if found is None or not separator:
        raise ObservationUnavailable("the answer is not HTTP")
    if found[1] != b"200":
        reason = (found[2] or b"").decode("ascii", "replace").strip()
        raise ObservationUnavailable(f"the answer is {found[1].decode()} {reason}".rstrip())
    if b"\r\ntransfer-encoding:" in head.lower():
        raise ObservationUnavailable("the answer is encoded in a way that was not asked for")
    return body


def _first_line(error: Exception) -> str:
    text = "".join(char if char.isprintable() else " " for char in str(error))
    return text[:200] or type(error).__name__
