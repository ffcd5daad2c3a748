"""Whether a port that a container on the node publishes can be reached from here."""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import Literal

from engine.probes.gpu import clean
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

IMAGE = "python:3-alpine"
ATTEMPTS = 3
FIRST_PAUSE_S = 2.0
_PORT = re.compile(r":([0-9]{1,5})\s*$", re.MULTILINE)


async def check_port(pool: NodePool, target: NodeTarget) -> tuple[Literal["ok", "failed"], str]:
    """Serve a random word from a throw-away container and fetch it. Raises SshFailure."""
    word = f"NAT_TEST_{secrets.token_hex(16)}"
    name = f"basilica-nat-{secrets.token_hex(8)}"
    serve = f"mkdir /w && cd /w && echo {word} > test.txt && exec python3 -m http.server 8000"
    start = (
        f"docker run -d --rm --name {name} --label basilica.security.isolated=true -p 0:8000 {IMAGE} "
        f"sh -c '{serve}' >/dev/null && docker port {name} 8000"
    )
    try:
        result = await pool.run(target, start, timeout_s=40.0, max_output_bytes=1 << 14, remote_limit_s=40)
        ports = [int(text) for text in _PORT.findall(result.stdout.decode("ascii", "replace")) if 0 < int(text) < 65536]
        if result.exit_status != 0 or not ports:
            said = clean(result.stderr.decode("utf-8", "replace"))
            return "failed", f"the container did not start: {said or 'no message'}"
        return await _fetch(target.host, ports[0], word)
    finally:
        await pool.run(target, f"docker rm -f {name} >/dev/null 2>&1", timeout_s=15.0, remote_limit_s=15)


async def _fetch(host: str, port: int, word: str) -> tuple[Literal["ok", "failed"], str]:
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            await asyncio.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
        try:
            async with asyncio.timeout(10):
                body = await _get(host, port)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            reason = clean(str(error)) or type(error).__name__
            continue
        if body.strip() == word.encode():
            return "ok", f"port {port} of a container answers from outside"
        reason = "something else answers there"
    return "failed", f"port {port} cannot be reached: {reason}"


async def _get(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET /test.txt HTTP/1.0\r\n\r\n")
        await writer.drain()
        answer = await reader.read(4096)
        while len(answer) < 4096 and (more := await reader.read(4096)):
            answer += more
    finally:
        writer.close()
    return answer.partition(b"\r\n\r\n")[2]
