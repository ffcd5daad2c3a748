"""Whether a port on the node can be reached from here: one that a container publishes, or one of the node itself."""

from __future__ import annotations

import asyncio
import re
import secrets
import shlex
from typing import Literal

from engine.probes.gpu import clean
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

IMAGE = "python:3-alpine"
ATTEMPTS = 3
FIRST_PAUSE_S = 2.0
SERVES_S = 40
_SERVER = f"""
import os, socket, sys
word = sys.argv[1].encode()
server = socket.create_server(("0.0.0.0", 0))
print(server.getsockname()[1], flush=True)
if os.fork():
    os._exit(0)
os.setsid()
nothing = os.open(os.devnull, os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(nothing, number)
import signal
signal.alarm({SERVES_S})
while True:
    peer, _ = server.accept()
    with peer:
        peer.settimeout(5)
        try:
            asked = peer.recv(4096)
            peer.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + word)
        except OSError:
            continue
    if b"/test.txt" in asked:
        break
"""
"""Tells its port and goes to the background, where it ends after the first answer or ``SERVES_S``."""
_PORT = re.compile(r":([0-9]{1,5})\s*$", re.MULTILINE)


async def check_host_port(pool: NodePool, target: NodeTarget) -> tuple[Literal["ok", "failed", "impossible"], str]:
    """Serve a random word by the node's own Python, where no container can run, and fetch it. Raises SshFailure."""
    word = f"NAT_TEST_{secrets.token_hex(16)}"
    command = f"python3 -I -B -c {shlex.quote(_SERVER)} {word}"
    result = await pool.run(target, command, timeout_s=20.0, max_output_bytes=1 << 12, remote_limit_s=20)
    said = result.stdout.decode("ascii", "replace").strip()
    if result.exit_status == 127:
        return "impossible", "not possible here: neither a container nor python3"
    if result.exit_status != 0 or not re.fullmatch(r"[0-9]{1,5}", said) or not 0 < int(said) < 65536:
        return "failed", "the node could not serve a port"
    verdict, evidence = await _fetch(target.host, int(said), word)
    return verdict, f"{evidence} (of the node itself; Docker ran no container)"


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
            return "ok", f"port {port} answers from outside"
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
