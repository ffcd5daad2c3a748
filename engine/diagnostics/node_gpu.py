"""The rungs of the hardware: GPUs, driver, CUDA, compute capability, reward-eligible model, errors.

Limits are the network's: CUDA 12.8, compute capability 8.7, and H100, H200 and B200 for rewards (the miner guide, 4).
"""

from __future__ import annotations

import re

from engine.diagnostics.model import Cause, Check, Judgement, Scope, fail, ok, skip, warn
from engine.diagnostics.node_facts import NodeFacts
from engine.probes.account import SmiFacts
from engine.probes.gpu import Gpu
from engine.scores.categories import DOCUMENTED_REWARDED, documented_category

CUDA_MIN = (12, 8)
COMPUTE_MIN = (8, 7)
DRIVER_MIN = 570
"""The first driver branch whose CUDA is 12.8."""
_SAID = (
    ("driver/library version mismatch", "mismatch"),
    ("couldn't communicate with the nvidia driver", "no_driver"),
    ("driver not loaded", "no_driver"),
    ("no devices were found", "no_gpu"),
    ("gpu is lost", "lost"),
    ("unable to determine the device handle", "lost"),
    ("insufficient permissions", "denied"),
    ("unknown error", "lost"),
)


def judge_gpu(facts: NodeFacts) -> Judgement:
    """What nvidia-smi says, or why it says nothing."""
    account = facts.account
    if account is None or not account.smi.status:
        return skip("the node was not asked for its GPUs")
    smi = account.smi
    if smi.table is not None:
        return _counted(facts, smi)
    on_the_bus = f"{account.pci_gpus} NVIDIA devices are on the PCI bus"
    if smi.status == "absent":
        return fail("no_tool" if account.pci_gpus else "no_tool_no_gpu", "nvidia-smi is not on the PATH", on_the_bus)
    if smi.status == "124":
        return fail("hangs", "nvidia-smi did not answer within 8 s", on_the_bus)
    lower = smi.said.lower()
    cause = next((cause for words, cause in _SAID if words in lower), "no_gpu" if smi.status == "0" else "tool_failed")
    return fail(cause, f"nvidia-smi ended with status {smi.status}: {smi.said or 'no message'}", on_the_bus)


def _counted(facts: NodeFacts, smi: SmiFacts) -> Judgement:
    assert smi.table is not None
    table, wanted = smi.table, facts.limits.gpu_count
    found = f"{table.count} × {table.model}"
    if wanted is not None and table.count != wanted:
        return fail("fewer" if table.count < wanted else "more", f"{found}; miner.toml says {wanted}")
    return ok(found)


def judge_driver(facts: NodeFacts) -> Judgement:
    """The driver decides which CUDA containers get."""
    table = facts.account.smi.table if facts.account else None
    if table is None or not table.driver:
        return skip("nvidia-smi names no driver")
    branch = re.match(r"[0-9]{2,4}", table.driver)
    if branch is None:
        return skip(f"the driver's version cannot be read: {table.driver}")
    if int(branch[0]) < DRIVER_MIN:
        return fail("old", f"driver {table.driver}; CUDA 12.8 needs {DRIVER_MIN}")
    return ok(f"driver {table.driver}")


def judge_cuda(facts: NodeFacts) -> Judgement:
    """CUDA at least 12.8."""
    cuda = facts.host.cuda if facts.host else ""
    version = _version(cuda)
    if version is None:
        return skip("nvidia-smi names no CUDA version")
    if version < CUDA_MIN:
        return fail("old", f"CUDA {cuda}; the network asks for 12.8")
    return ok(f"CUDA {cuda}")


def judge_compute(facts: NodeFacts) -> Judgement:
    """Compute capability at least 8.7, of every card."""
    cards = _cards(facts)
    known = [(card, value) for card in cards if (value := _version(card.compute_capability)) is not None]
    if not known:
        return skip("nvidia-smi names no compute capability")
    card, lowest = min(known, key=lambda pair: pair[1])
    if lowest < COMPUTE_MIN:
        return fail("low", f"GPU {card.index} {card.model} has {card.compute_capability}; the network asks for 8.7")
    return ok(f"compute capability {card.compute_capability}")


def judge_model(facts: NodeFacts) -> Judgement:
    """Only some models earn rewards."""
    cards = _cards(facts)
    if not cards:
        return skip("the models are not known")
    models = sorted({card.model for card in cards})
    poor = [model for model in models if documented_category(model) not in DOCUMENTED_REWARDED]
    if poor:
        return warn("unrewarded", f"{', '.join(poor)}: rewarded are {', '.join(DOCUMENTED_REWARDED)}")
    if len({documented_category(model) for model in models}) > 1:
        return warn("mixed", f"this node has {', '.join(models)}")
    return ok(", ".join(models))


def judge_errors(facts: NodeFacts) -> Judgement:
    """ECC counters of the cards and Xid lines of the kernel."""
    account = facts.account
    if account is None or account.smi.table is None:
        return skip("the cards were not asked")
    bad = [f"GPU {card.index}: {card.ecc_errors} uncorrected ECC errors" for card in _cards(facts) if card.ecc_errors]
    xid = account.xid or (facts.admin.xid if facts.admin else ())
    if bad:
        return fail("ecc", *bad[:8], *xid)
    if xid:
        return warn("xid", *xid)
    return ok("no uncorrected ECC errors, no Xid in the kernel's log that this account may read")


def _cards(facts: NodeFacts) -> tuple[Gpu, ...]:
    table = facts.account.smi.table if facts.account else None
    return table.gpus if table else ()


def _version(text: str) -> tuple[int, int] | None:
    found = re.match(r"([0-9]{1,3})\.([0-9]{1,3})", text)
    return (int(found[1]), int(found[2])) if found else None


CHECKS: tuple[Check[NodeFacts], ...] = (
    Check(
        "node.gpu",
        Scope.NODE,
        "nvidia-smi shows the GPUs",
        "a node without visible GPUs fails every validation",
        judge_gpu,
        (
            Cause(
                "no_tool",
                "there is an NVIDIA card, but no driver is installed (or nvidia-smi is not on the PATH)",
                advice="install the driver: apt-get install nvidia-driver-570-server, then reboot",
            ),
            Cause(
                "no_tool_no_gpu",
                "neither driver nor NVIDIA device: a host without a GPU, or one that is not passed through",
                advice="look at lspci, the hypervisor's passthrough and the BIOS",
            ),
            Cause(
                "no_driver",
                "the kernel module does not run: not built for this kernel, Secure Boot, or nouveau has the card",
                advice="run dkms status and dmesg | grep -i nvidia; reinstall the driver and reboot",
            ),
            Cause(
                "mismatch",
                "the driver was upgraded while the old kernel module still runs",
                advice="reboot the node when no rental runs; hold the package against unattended upgrades",
            ),
            Cause("no_gpu", "the driver runs and sees no card", advice="look at lspci, power cables and passthrough"),
            Cause("lost", "a card fell off the bus", advice="look at dmesg for Xid 79; power-cycle the node"),
            Cause(
                "denied", "this account may not open /dev/nvidia*", advice="check the device files' modes and groups"
            ),
            Cause("hangs", "the driver is stuck", advice="look at dmesg for Xid lines; a reboot is usually needed"),
            Cause(
                "tool_failed", "nvidia-smi fails for a reason of its own", advice="run it on the node and read dmesg"
            ),
            Cause("fewer", "cards are missing", ("config.gpu_count",), advice="look at dmesg and lspci on the node"),
            Cause("more", "the node has more cards than the configuration says", ("config.gpu_count",)),
        ),
        needs=("node.shell",),
    ),
    Check(
        "node.driver",
        Scope.NODE,
        "The NVIDIA driver is new enough",
        "the driver limits which CUDA a validator's container can use",
        judge_driver,
        (Cause("old", "the driver is older than CUDA 12.8 needs", advice="install driver 570 or newer and reboot"),),
        needs=("node.gpu",),
    ),
    Check(
        "node.cuda",
        Scope.NODE,
        "CUDA is 12.8 or newer",
        "validators refuse older ones",
        judge_cuda,
        (Cause("old", "the driver's CUDA is too old", advice="install driver 570 or newer and reboot"),),
        needs=("node.driver",),
    ),
    Check(
        "node.compute",
        Scope.NODE,
        "Compute capability is 8.7 or higher",
        "validators refuse older cards",
        judge_compute,
        (Cause("low", "the card is of an older generation", advice="no setting changes this: other cards are needed"),),
        needs=("node.gpu",),
    ),
    Check(
        "node.model",
        Scope.NODE,
        "The GPU model earns rewards",
        "other models are validated and earn nothing",
        judge_model,
        (
            Cause("unrewarded", "the network pays for H100, H200 and B200 only", advice="rent the node out elsewhere"),
            Cause("mixed", "a node counts under one model only", advice="split the cards over nodes of one model each"),
        ),
        needs=("node.gpu",),
    ),
    Check(
        "node.gpu_errors",
        Scope.NODE,
        "The GPUs report no errors",
        "a card with memory errors fails attestation sooner or later, and the ramp starts again",
        judge_errors,
        (
            Cause(
                "ecc",
                "a card has uncorrected memory errors",
                advice="drain the node, reset the card, replace it if it repeats",
            ),
            Cause("xid", "the kernel logged GPU errors (Xid)", advice="look the number up in NVIDIA's Xid catalogue"),
        ),
        needs=("node.gpu",),
    ),
)
