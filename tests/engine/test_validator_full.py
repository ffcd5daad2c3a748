"""Full verification over real sshd: every step's verdict on an honest node, and what enemies get: a failure."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.localnet.gpu_model import GpuModel
from engine.validator.attestation import new_challenge, program
from engine.validator.full import STEPS, FullFinding, FullSettings, FullVerification
from engine.validator.launch import launch_command
from engine.validator.product import ProductTask
from engine.validator.steps import StepResult
from tests.support.gpu_tools import ALWAYS, furnish, keep_temporary, put_tool, settings
from tests.support.pools import Pools
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd
Nodes = Callable[..., NodeSshd]


async def verify(pools: Pools, node: NodeSshd, wanted: FullSettings | None = None) -> FullFinding:
    """One full verification; the node knows our key."""
    pools.known_to(node)
    told: list[StepResult] = []
    run = FullVerification(
        pools.make(),
        node.target,
        wanted or settings(),
        clock=SystemClock(),
        judging=asyncio.Semaphore(1),
        report=told.append,
    )
    found = await run.run()
    assert told == found.steps
    assert tuple(step.step for step in found.steps) == STEPS
    return found


def verdicts(found: FullFinding) -> dict[str, str]:
    return {step.step: step.verdict for step in found.steps}


async def test_an_honest_node_passes(sshd_node: NodeSshd, pools: Pools) -> None:
    """Each step of a node without a real GPU says what is true: most ok, the product and the container not possible."""
    gpu = furnish(sshd_node, GpuModel.for_node("seed", 0))
    found = await verify(pools, sshd_node)
    assert found.error is None
    assert verdicts(found) == {
        "host_key": "ok", "ssh_login": "ok", "gpu": "ok", "attestation": "ok", "compute": "impossible",
        "hardware": "ok", "docker": "ok", "docker_gpu": "impossible", "storage": "ok", "network": "ok",
        "nat": "ok", "speed": "skipped", "clock": "ok",
    }  # fmt: skip
    assert found.attestation is not None
    assert found.attestation.uuids == gpu.uuids
    assert next(s.evidence for s in found.steps if s.step == "compute").startswith("not possible here: libcuda")


async def test_nothing_is_left_on_the_node(sshd_node: NodeSshd, pools: Pools) -> None:
    """After the run the node's temporary directory is as it was."""
    furnish(sshd_node)
    keep_temporary(sshd_node)
    await verify(pools, sshd_node)
    left = await pools.make().run(sshd_node.target, 'ls -d "$HOME"/basilica.* 2>/dev/null; true')
    assert left.stdout == b""


async def test_a_clock_that_is_not_told_is_not_passed(sshd_node: NodeSshd, pools: Pools) -> None:
    """Where the clock is a gate, a node that keeps its time to itself does not get through it."""
    furnish(sshd_node)
    put_tool(sshd_node, "date", '#!/bin/sh\n[ "$1" = +%s.%N ] && exec echo later\nexec /bin/date "$@"\n')
    found = await verify(pools, sshd_node, settings(gates=ALWAYS | {"clock"}))
    assert verdicts(found)["clock"] == "impossible"
    assert found.error is not None
    assert found.error.message == "clock: not possible here: the node did not tell its time"


@pytest.mark.parametrize("gate", ["compute", "docker_gpu"])
async def test_impossible_is_not_passed(sshd_node: NodeSshd, pools: Pools, gate: str) -> None:
    """Where the product or the container is demanded, a node that cannot do it fails."""
    furnish(sshd_node)
    found = await verify(pools, sshd_node, settings(gates=ALWAYS | {gate}))
    assert found.error is not None
    assert (found.error.code, gate in found.error.message) == ("verification_failed", True)


async def test_a_real_product_passes_the_gate(sshd_node: NodeSshd, pools: Pools) -> None:
    """With a driver on the node the product is computed there, checked here, and judged by the model's envelope."""
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler here")
    furnish(sshd_node, GpuModel(uuids=("GPU-11111111-aaaa-bbbb-cccc-000000000001",)))
    source = Path(__file__).parents[1] / "support" / "fake_cuda.c"
    library = sshd_node.root / "libcuda.so.1"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    python = shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin")
    if python is None:
        pytest.skip("no python3 of the system here")
    driver = f'#!/bin/sh\nLD_LIBRARY_PATH={sshd_node.root} exec {python} "$@"\n'
    put_tool(sshd_node, "python3", driver)
    found = await verify(pools, sshd_node, settings(gates=ALWAYS | {"compute"}))
    assert verdicts(found)["compute"] == "ok", found.steps
    assert found.error is None
    put_tool(sshd_node, "python3", driver.replace("LD_LIBRARY_PATH", "CHEAT=1 LD_LIBRARY_PATH"))
    found = await verify(pools, sshd_node, settings(gates=ALWAYS | {"compute"}))
    assert (verdicts(found)["compute"], found.misbehaviour) == ("failed", "malicious_result")


async def test_a_liar_without_the_memory_is_caught(sshd_node: NodeSshd, pools: Pools) -> None:
    """A consumer card that calls itself H100 contradicts itself."""
    furnish(sshd_node, GpuModel(memory_mib=24564))
    found = await verify(pools, sshd_node)
    assert (verdicts(found)["gpu"], found.misbehaviour) == ("failed", "gpu_declaration_mismatch")
    assert found.error is not None


async def test_without_docker_only_docker_fails(sshd_node: NodeSshd, pools: Pools) -> None:
    """A broken daemon is one failed step; what needs it is skipped with the reason."""
    furnish(sshd_node)
    put_tool(sshd_node, "docker", "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    found = await verify(pools, sshd_node)
    assert found.error is None
    got = verdicts(found)
    assert (got["docker"], got["docker_gpu"], got["nat"]) == ("failed", "skipped", "ok")


async def test_a_refused_key_skips_the_rest(sshd_node: NodeSshd, pools: Pools) -> None:
    """The node is the one we know, our key is refused; nothing else is tried, and each step says so."""
    furnish(sshd_node)
    sshd_node.authorize("")
    run = FullVerification(
        pools.make(), sshd_node.target, settings(), clock=SystemClock(), judging=asyncio.Semaphore(1),
        report=lambda _: None,
    )  # fmt: skip
    found = await run.run()
    assert found.error is not None
    assert found.error.code == "ssh_auth_failed"
    assert list(verdicts(found).values()) == ["ok", "failed"] + ["skipped"] * (len(STEPS) - 2)


async def test_a_new_host_key_is_taken_by_a_full_verification(sshd_node: NodeSshd, pools: Pools) -> None:
    """A full verification begins from nothing: the changed key is told and pinned, and everything is proved anew."""
    furnish(sshd_node)
    pools.known_to(sshd_node)
    pool = pools.make()
    await pool.connect(sshd_node.target)
    await pool.drop(sshd_node.target)
    sshd_node.restart(new_host_key=True)
    run = FullVerification(
        pool, sshd_node.target, settings(), clock=SystemClock(), judging=asyncio.Semaphore(1), report=lambda _: None
    )
    found = await run.run()
    assert found.error is None
    assert found.steps[0].evidence.startswith("changed from SHA256:")


ENDLESS = "#!/bin/sh\nexec yes '{\"version\": 1'\n"
HANG = "#!/bin/sh\nexec sleep 600\n"
CRASH = "#!/bin/sh\nkill -9 $$\n"
SILENT = "#!/bin/sh\ncat >/dev/null 2>&1\nexit 0\n"
LYING_JSON = '#!/bin/sh\necho \'{"version": 1, "challenge": "x", "facts": []}\'\n'
REWRITE = '#!/bin/sh\necho "# more" >> "$3"\nexec /usr/bin/env -i PATH=/usr/bin:/bin python3 "$@"\n'


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        (ENDLESS, "sent more than"),
        (HANG, ""),
        (CRASH, "ended with status"),
        (SILENT, "malformed"),
        (LYING_JSON, "not the document"),
        (REWRITE, ""),
    ],
    ids=["endless", "hang", "crash", "silent", "lying", "rewrite"],
)
async def test_a_hostile_python_is_a_failed_step(sshd_node: NodeSshd, pools: Pools, python: str, reason: str) -> None:
    """Endless output, a hang, a crash, silence, lies and a changed program each fail the attestation, nothing else."""
    furnish(sshd_node)
    put_tool(sshd_node, "python3", python)
    found = await verify(pools, sshd_node, settings(timeout_s=3.0))
    assert verdicts(found)["attestation"] == "failed"
    assert found.error is not None
    assert reason in found.error.message
    assert verdicts(found)["docker"] == "ok"


async def test_a_program_changed_while_it_runs_is_noticed(sshd_node: NodeSshd, pools: Pools) -> None:
    """The digest is taken after the run too."""
    furnish(sshd_node)
    put_tool(sshd_node, "python3", '#!/bin/sh\necho "# more" >> "$3"\necho "{}"\n')
    found = await verify(pools, sshd_node)
    assert found.error is not None
    assert "not the one that we sent" in found.error.message
    assert found.misbehaviour == ""


async def test_a_replayed_result_is_misbehaviour(sshd_node: NodeSshd, pools: Pools) -> None:
    """A recorded answer of the true program is refused, and goes on the record."""
    furnish(sshd_node)
    pools.known_to(sshd_node)
    pool = pools.make()
    command = launch_command(new_challenge(), ProductTask(64, 8))
    true = await pool.run(sshd_node.target, command, stdin=program(), max_output_bytes=1 << 20)
    (sshd_node.root / "recorded").write_bytes(true.stdout)
    (sshd_node.root / "recorded").chmod(0o644)
    put_tool(sshd_node, "python3", f"#!/bin/sh\ncat {sshd_node.root}/recorded\n")
    found = await verify(pools, sshd_node)
    assert found.error is not None
    assert (found.error.message, found.misbehaviour) == ("the answer is to another challenge", "malicious_result")


@pytest.mark.parametrize(
    ("mktemp", "message"),
    [
        ('ln -sfn "$HOME/away" "$HOME/l"; mkdir -p "$HOME/away"; echo "$HOME/l"', "private directory"),
        ('mkdir -p "$HOME/d"; ln -sf "$HOME/victim" "$HOME/d/program.py"; echo "$HOME/d"', "could not be written"),
        ('cd; mkdir -p d; echo x > victim; ln -sf ../victim d/program.py; echo "$HOME/d"', "could not be written"),
        ("exit 1", "private directory"),
        ("echo /proc", "private directory"),
    ],
    ids=["linked-directory", "dangling-link", "link", "none", "foreign-directory"],
)
async def test_tricks_at_the_upload_path_fail(sshd_node: NodeSshd, pools: Pools, mktemp: str, message: str) -> None:
    """Links and foreign directories where the program should go are refused, and nothing is written through them."""
    furnish(sshd_node)
    put_tool(sshd_node, "mktemp", f"#!/bin/sh\n{mktemp}\n")
    found = await verify(pools, sshd_node)
    assert found.error is not None
    assert message in found.error.message
    victim = sshd_node.inside(sshd_node.home / "victim")
    assert not victim.exists() or victim.read_text() == "x\n"


async def test_a_shell_with_a_banner_fails(sshd_nodes: Nodes, pools: Pools) -> None:
    """A shell that prints before the program does spoils the answer; the step fails and says so."""
    force = 'ForceCommand echo "Welcome to my node"; exec sh -c "$SSH_ORIGINAL_COMMAND"'
    node = sshd_nodes(options=(force,))
    furnish(node)
    found = await verify(pools, node)
    assert verdicts(found)["attestation"] == "failed"
    assert found.misbehaviour == ""
    assert found.error is not None
