"""How fast a node loads and sends, measured there against servers of the validator's choice. Informational, bounded."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Literal

from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

MOST_MBPS = 100_000.0
"""What a node says beyond this is not believed, as the deployed validator does not."""
_PROGRAM = """
import json, sys, time, urllib.request
task = json.loads(sys.argv[1])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
answer = {}
def timed(request, most, until):
    began = time.monotonic()
    seen = 0
    with opener.open(request, timeout=task["limit_s"]) as reply:
        while seen < most and time.monotonic() < until and (data := reply.read(65536)):
            seen += len(data)
    return seen, max(time.monotonic() - began, 1e-6)
def rate(size, seconds):
    return size * 8 / seconds / 1e6
try:
    until = time.monotonic() + task["limit_s"]
    size, seconds = timed(task["download_url"], task["download_bytes"], until)
    answer["download_mbps"] = rate(size, seconds)
    body = bytes(task["upload_bytes"])
    request = urllib.request.Request(task["upload_url"], data=body, method="POST")
    began = time.monotonic()
    with opener.open(request, timeout=task["limit_s"]) as reply:
        reply.read(65536)
    answer["upload_mbps"] = rate(len(body), max(time.monotonic() - began, 1e-6))
except Exception as error:
    answer["error"] = type(error).__name__
print(json.dumps(answer))
"""


@dataclass(frozen=True, slots=True)
class SpeedTest:
    """Where to load from and send to, how much, and for how long each at most."""

    download_url: str
    upload_url: str
    download_bytes: int
    upload_bytes: int
    limit_s: float


async def check_speed(
    pool: NodePool, target: NodeTarget, test: SpeedTest
) -> tuple[Literal["ok", "failed", "impossible"], str]:
    """Measure both directions. Raises SshFailure."""
    task = {
        "download_url": test.download_url,
        "upload_url": test.upload_url,
        "download_bytes": test.download_bytes,
        "upload_bytes": test.upload_bytes,
        "limit_s": test.limit_s,
    }
    limit_s = 2 * test.limit_s + 15.0
    result = await pool.run(
        target,
        f"python3 -I -B -c {shlex.quote(_PROGRAM)} {shlex.quote(json.dumps(task))}",
        timeout_s=limit_s,
        max_output_bytes=1 << 12,
        remote_limit_s=int(limit_s),
    )
    if result.exit_status == 127:
        return "impossible", "not possible here: the node has no python3"
    return judge_speed(result.stdout.decode("utf-8", "replace"))


def judge_speed(text: str) -> tuple[Literal["ok", "failed"], str]:
    """What a node's answer says; values that cannot be are no values. Pure."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return "failed", "the node sent no figures"
    figures = {} if not isinstance(answer, dict) else answer
    found = []
    for name, key in (("download", "download_mbps"), ("upload", "upload_mbps")):
        value = figures.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and _is_believable(value):
            found.append(f"{name} {value:.1f} Mbit/s")
    if not found:
        return "failed", "the node reached neither server"
    return "ok", ", ".join(found)


def _is_believable(value: float) -> bool:
    # Compared, not converted: a whole number may be too large for a float. NaN compares false.
    return 0 < value <= MOST_MBPS
