"""The rungs of Docker on a node: the daemon, NVIDIA's runtime, a container."""

from __future__ import annotations

from engine.diagnostics.model import Cause, Check, Judgement, Scope, fail, ok, skip
from engine.diagnostics.node_facts import NodeFacts


def judge_docker(facts: NodeFacts) -> Judgement:
    """Does this account reach a running daemon."""
    host = facts.host
    if host is None or host.docker_ok is None:
        return skip("Docker was not asked")
    if host.docker_ok:
        return ok(f"Docker {host.docker_version}")
    text = host.docker_error
    lower = text.lower()
    groups = facts.account.groups if facts.account else ()
    if "not installed" in lower:
        return fail("absent", text)
    if "permission denied" in lower:
        return fail("no_permission", text, f"groups of the account: {' '.join(groups) or 'unknown'}")
    if "no answer" in lower:
        return fail("hangs", text)
    if "cannot connect" in lower or "is the docker daemon running" in lower or "connection refused" in lower:
        return fail("no_daemon", text)
    return fail("other", text)


def judge_runtime(facts: NodeFacts) -> Judgement:
    """Is NVIDIA's runtime registered with the daemon."""
    host = facts.host
    if host is None or host.nvidia_runtime_ok is None:
        return skip("Docker lists no runtimes")
    if host.nvidia_runtime_ok:
        return ok("the nvidia runtime is registered")
    tools = facts.admin.tools if facts.admin else frozenset()
    if facts.admin is not None and "nvidia-ctk" not in tools:
        return fail("no_toolkit", "docker info lists no nvidia runtime", "nvidia-ctk is not installed")
    return fail("not_configured", "docker info lists no nvidia runtime")


def judge_container(facts: NodeFacts) -> Judgement:
    """Does a container see the GPUs."""
    found = facts.container
    if found is None:
        return skip("no container was started")
    if found.outcome == "ok":
        return ok(f"a container of {found.image} lists the GPUs")
    if found.outcome == "no_image":
        return skip("no CUDA image is on the node, and the doctor pulls none: docker pull it once to have this checked")
    if "stand-in" in found.said:
        return skip("this node's docker is a stand-in that starts no containers")
    lower = found.said.lower()
    if "could not select device driver" in lower:
        return fail("no_hook", found.said)
    if "failed to initialize nvml" in lower or "unknown error" in lower:
        return fail("cgroups", found.said)
    if "driver rpc error" in lower or "unsatisfied condition" in lower or "requirement error" in lower:
        return fail("driver", found.said)
    return fail("other", found.said)


CHECKS: tuple[Check[NodeFacts], ...] = (
    Check(
        "node.docker",
        Scope.NODE,
        "The account reaches Docker",
        "rentals and full validations start containers",
        judge_docker,
        (
            Cause("absent", "Docker is not installed", ("node.install_docker",)),
            Cause("no_permission", "the account is not in the group docker", ("node.docker_group",)),
            Cause("no_daemon", "the Docker daemon does not run", ("node.docker_start",)),
            Cause("hangs", "the daemon does not answer", ("node.docker_start",), advice="look at journalctl -u docker"),
            Cause("other", "Docker fails for a reason of its own", advice="look at journalctl -u docker on the node"),
        ),
        needs=("node.shell",),
    ),
    Check(
        "node.nvidia_runtime",
        Scope.NODE,
        "Docker knows the NVIDIA runtime",
        "without it no container sees a GPU",
        judge_runtime,
        (
            Cause("no_toolkit", "the NVIDIA Container Toolkit is not installed", ("node.install_toolkit",)),
            Cause("not_configured", "the toolkit is not registered with Docker", ("node.nvidia_runtime",)),
        ),
        needs=("node.docker",),
    ),
    Check(
        "node.container",
        Scope.NODE,
        "A container sees the GPUs",
        "this is what a validator does",
        judge_container,
        (
            Cause("no_hook", "Docker finds no device driver for GPUs", ("node.nvidia_runtime",)),
            Cause("cgroups", "the container lost its devices (systemd reload with cgroups)", ("node.docker_start",)),
            Cause("driver", "the image's CUDA is newer than the driver", advice="install driver 570 or newer"),
            Cause("other", "the container did not start", advice="run the command on the node and read its message"),
        ),
        needs=("node.nvidia_runtime", "node.gpu"),
    ),
)
