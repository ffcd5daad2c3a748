"""Hostile nodes over real sshd: each ends in a scored failure with the right reason, and nothing else happens."""

from __future__ import annotations

import asyncio
import http.server
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from engine.clock import SystemClock
from engine.errors import SshHostKeyChanged
from engine.localnet.gpu_model import GpuModel
from engine.validator.full import STEPS, FullFinding, FullSettings, FullVerification
from engine.validator.lightweight import check_lightly
from engine.validator.speed import SpeedTest
from engine.validator.steps import StepResult
from tests.support.gpu_tools import furnish, keep_temporary, put_tool, settings
from tests.support.pools import Pools
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd
Nodes = Callable[..., NodeSshd]

REAL = "exec /usr/bin/env PATH=/usr/bin:/bin:/usr/local/bin python3"
# Debian's sh has no ulimit -u, so prlimit sets what an administrator's ulimit would.
FORK_BOMB = "#!/bin/sh\nexec prlimit --nproc=60:60 sh -c 'bomb() { bomb | bomb & }; bomb; sleep 600'\n"
HUGE = "#!/bin/sh\nprintf '{\"version\": 1, \"facts\": \"'\nhead -c 60000000 /dev/zero | tr '\\0' 'a'\nprintf '\"}'\n"
DRIP = "#!/bin/sh\nwhile :; do printf '{'; sleep 0.2; done\n"
CLOSE = "#!/bin/sh\nkill -9 -1\n"
GARBAGE = "#!/bin/sh\nhead -c 200000 /dev/urandom\n"
CUT_OFF = f'#!/bin/sh\n{REAL.removeprefix("exec ")} "$@" | head -c 500\n'
SIGNATURE = f"""#!/bin/sh
{REAL.removeprefix("exec ")} "$@" | sed 's/"signature": *"../"signature": "00/'
"""
OTHER_FACTS = f"""#!/bin/sh
{REAL.removeprefix("exec ")} "$@" | sed 's/\\(threads[^0-9]*\\)[0-9]*/\\1512/'
"""
DEEP = "#!/bin/sh\nhead -c 100000 /dev/zero | tr '\\0' '['\n"
TWICE = '#!/bin/sh\necho \'{"version": 1, "version": 1}\'\n'


async def verify(
    pools: Pools,
    node: NodeSshd,
    wanted: FullSettings,
    report: Callable[[StepResult], None] = lambda _: None,
) -> FullFinding:
    pools.known_to(node)
    run = FullVerification(
        pools.make(), node.target, wanted, clock=SystemClock(), judging=asyncio.Semaphore(1), report=report
    )
    found = await run.run()
    assert tuple(step.step for step in found.steps) == STEPS
    return found


def step(found: FullFinding, name: str) -> StepResult:
    return next(item for item in found.steps if item.step == name)


@pytest.mark.parametrize(
    ("python", "reason", "misbehaviour"),
    [
        (FORK_BOMB, "", ""),
        (HUGE, "sent more than", ""),
        (DRIP, "", ""),
        (CLOSE, "", ""),
        (GARBAGE, "ASCII", ""),
        (CUT_OFF, "JSON", ""),
        (SIGNATURE, "the signature does not fit", "malicious_result"),
        (OTHER_FACTS, "the signature does not fit", "malicious_result"),
        (DEEP, "JSON", ""),
        (TWICE, "JSON", ""),
    ],
    ids=[
        "fork-bomb", "huge", "slow-drip", "closes", "garbage", "cut-off", "wrong-signature", "changed-facts", "deep",
        "doubled-key",
    ],
)  # fmt: skip
async def test_a_hostile_program_fails_its_node_alone(
    sshd_nodes: Nodes, pools: Pools, python: str, reason: str, misbehaviour: str
) -> None:
    """The step fails, the reason is the right one, memory stays bounded, and a neighbour verified beside it passes."""
    enemy, honest = sshd_nodes(), sshd_nodes()
    furnish(enemy)
    furnish(honest)
    put_tool(enemy, "python3", python)
    keep_temporary(enemy)
    tracemalloc.start()
    try:
        bad, good = await asyncio.gather(
            verify(pools, enemy, settings(timeout_s=4.0)), verify(pools, honest, settings(timeout_s=60.0))
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    failed = step(bad, "attestation")
    assert (failed.verdict, bad.misbehaviour) == ("failed", misbehaviour)
    assert bad.error is not None
    assert reason in failed.evidence
    assert len(failed.evidence) <= 400
    assert failed.evidence.isprintable()
    assert peak < 64 << 20
    assert good.error is None


@pytest.mark.parametrize(
    ("smi", "code"),
    [
        ("#!/bin/sh\nexec yes GPU\n", "ssh_output_too_large"),
        ("#!/bin/sh\nexit 0\n", "probe_failed"),
        ("#!/bin/sh\nhead -c 100000 /dev/urandom\n", "probe_failed"),
        ("#!/bin/sh\nprintf '0, GPU-\\033[2J, 1, d, 1, 1, \\033]0;x\\007H100\\n'\n", "probe_failed"),
        ("#!/bin/sh\nkill -9 -1\n", ""),
    ],
    ids=["endless", "nothing", "garbage", "escapes", "closes"],
)
async def test_a_hostile_tool_fails_the_lightweight_check(
    sshd_node: NodeSshd, pools: Pools, smi: str, code: str
) -> None:
    """A lightweight check of such a node is a failure with a reason fit for a terminal."""
    furnish(sshd_node)
    put_tool(sshd_node, "nvidia-smi", smi)
    pools.known_to(sshd_node)
    found = await check_lightly(pools.make(), sshd_node.target, clock=SystemClock(), timeout_s=20.0)
    assert found.error is not None
    assert found.error.code == code or (not code and found.error.code.startswith("ssh_"))
    assert found.error.message.isprintable()


async def test_a_host_key_that_changes_midway_fails_the_node(sshd_node: NodeSshd, pools: Pools) -> None:
    """Another machine that answers from the middle on is noticed, whatever step notices it."""
    furnish(sshd_node)

    def swap(result: StepResult) -> None:
        if result.step == "attestation":
            sshd_node.restart(new_host_key=True)

    found = await verify(pools, sshd_node, settings(), swap)
    assert step(found, "attestation").verdict == "ok"
    assert isinstance(found.error, SshHostKeyChanged)


async def test_a_liar_whose_tool_is_forged_is_caught(sshd_node: NodeSshd, pools: Pools) -> None:
    """A tool that lies to the questions it knows contradicts itself under the program's."""
    uuids = tuple(f"GPU-11111111-aaaa-bbbb-cccc-00000000000{number}" for number in range(2))
    true = GpuModel("NVIDIA GeForce RTX 4090", 24564, uuids, compute_cap="8.9")
    furnish(sshd_node, replace(true, claims=GpuModel(uuids=uuids)))
    found = await verify(pools, sshd_node, settings())
    assert step(found, "gpu").evidence.startswith("2 x NVIDIA H100 80GB HBM3")
    assert found.misbehaviour == "gpu_declaration_mismatch"
    assert found.error is not None
    assert "found NVIDIA GeForce RTX 4090, the login was told NVIDIA H100" in found.error.message


async def test_a_full_disk_for_the_upload_is_told(sshd_node: NodeSshd, pools: Pools) -> None:
    """Where the program cannot be written the step says so."""
    furnish(sshd_node)
    put_tool(sshd_node, "cat", "#!/bin/sh\necho 'No space left on device' >&2\nexit 1\n")
    found = await verify(pools, sshd_node, settings())
    assert step(found, "attestation").evidence == "the program could not be written on the node"


class Sink(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(bytes(1_000_000))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def web() -> Iterator[str]:
    """A server on loopback that gives and takes."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_the_speed_test_measures_both_directions(sshd_node: NodeSshd, pools: Pools, web: str) -> None:
    """Switched on, the node loads and sends; without a server the step fails and the node does not."""
    furnish(sshd_node)
    wanted = replace(settings(), speed=SpeedTest(web, web, 500_000, 200_000, 5.0))
    found = await verify(pools, sshd_node, wanted)
    assert step(found, "speed").verdict == "ok"
    assert step(found, "speed").evidence.startswith("download ")
    assert ", upload " in step(found, "speed").evidence
    gone = "http://127.0.0.1:9/"
    found = await verify(pools, sshd_node, replace(settings(), speed=SpeedTest(gone, gone, 1, 1, 2.0)))
    assert (step(found, "speed").verdict, found.error) == ("failed", None)
