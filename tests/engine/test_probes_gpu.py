"""GPU facts from nvidia-smi: the parser by tables, the probe against a node."""

from __future__ import annotations

import pytest

from engine.errors import ProbeFailed
from engine.probes.gpu import MAX_GPUS, parse_gpus, probe_gpus
from tests.support.pools import Pools
from tests.support.sshd import NodeSshd

UUID = "GPU-5b3c1f2e-0000-1111-2222-333344445555"
HEADER = "basilica-header\n| NVIDIA-SMI 550.54  Driver Version: 550.54  CUDA Version: 12.4 |\n"


def row(index: int = 0, **changes: str) -> str:
    """One line of the tool's CSV."""
    cells = {
        "index": str(index), "uuid": f"{UUID[:-1]}{index:x}", "memory": "81559", "driver": "550.54",
        "load": "37", "heat": "41", "name": "NVIDIA H100 80GB HBM3", **changes,
    }  # fmt: skip
    return ", ".join(cells.values()) + "\n"


def test_two_cards_give_counts_means_and_maxima() -> None:
    """The facts of all cards are summed up, the cards themselves are kept."""
    facts = parse_gpus(row(0) + row(1, load="0", heat="35") + HEADER)
    assert (facts.model, facts.count, facts.memory_mib, facts.driver, facts.cuda) == (
        "NVIDIA H100 80GB HBM3", 2, 81559, "550.54", "12.4",
    )  # fmt: skip
    assert (facts.utilisation_percent, facts.temperature_c) == (18.5, 41.0)
    assert facts.uuids == (f"{UUID[:-1]}0", f"{UUID[:-1]}1") and facts.is_uniform


@pytest.mark.parametrize("word", ["[N/A]", "[Not Supported]", "N/A", "", "-5", "1e9", "nan", "12 %", "9" * 40, "٣"])
def test_numbers_that_are_none_are_unknown_not_wrong(word: str) -> None:
    """Whatever is not a plain number in range is None."""
    facts = parse_gpus(row(memory=word, load=word, heat=word))
    assert (facts.memory_mib, facts.utilisation_percent, facts.temperature_c) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("NVIDIA A100, 80GB, custom", "NVIDIA A100, 80GB, custom"),
        ("Evil\x1b[31m\x07Card\u202e", "Evil [31m Card"),
        ("x" * 5000, "x" * 96),
    ],
)
def test_names_may_hold_commas_but_no_control_characters(name: str, model: str) -> None:
    """A name is shown as text of bounded length."""
    assert parse_gpus(row(name=name)).model == model


@pytest.mark.parametrize(
    ("header", "cuda"),
    [(HEADER, "12.4"), ("", ""), ("basilica-header\nno version", ""), ("basilica-header\nCUDA Version: \x1b[0m", ""),
     ("basilica-header\n CUDA UMD Version: 13.0", "13.0")],
)  # fmt: skip
def test_the_cuda_version_is_optional(header: str, cuda: str) -> None:
    """A driver that does not print it costs nothing else."""
    assert parse_gpus(row() + header).cuda == cuda


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_gpu"),
        ("No devices were found\n", "no_gpu"),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", "no_gpu"),
        ("a,b,c,d,e,f,g\n", "no_gpu"),
        (row() + row(), "unusable"),
        ("".join(row(n, uuid="") for n in range(MAX_GPUS + 1)), "unusable"),
        ("," * 200_000, "no_gpu"),
    ],
)
def test_output_without_believable_cards_is_a_failure(text: str, reason: str) -> None:
    """Nothing is made up from text that is not a table of GPUs."""
    with pytest.raises(ProbeFailed) as caught:
        parse_gpus(text)
    assert caught.value.reason == reason


def test_a_uuid_is_told_in_one_way() -> None:
    """Capitals make no other GPU of it: a node that writes them would count a shared card twice."""
    assert parse_gpus(row(uuid="GPU-ABCDEF01-aaaa-BBBB-cccc-000000000001")).uuids == (
        "GPU-abcdef01-aaaa-bbbb-cccc-000000000001",
    )


@pytest.mark.parametrize("uuid", ["not a uuid", "[N/A]", "GPU-", "GPU-x;rm -rf /"])
def test_a_card_without_a_proper_uuid_counts_but_has_no_identity(uuid: str) -> None:
    """Only well-formed UUIDs are passed on."""
    facts = parse_gpus(row(uuid=uuid))
    assert facts.count == 1 and facts.uuids == ()


@pytest.mark.sshd
async def test_a_node_is_asked_over_its_connection(sshd_node: NodeSshd, pools: Pools) -> None:
    """The stand-in tool's two cards arrive as facts."""
    pools.known_to(sshd_node)
    facts = await probe_gpus(pools.make(), sshd_node.target)
    assert (facts.count, facts.cuda, facts.driver) == (2, "12.4", "550.54.15")


@pytest.mark.sshd
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "no_tool"),
        ("echo 'no driver' >&2; exit 9", "tool_failed"),
        ("echo nonsense", "no_gpu"),
    ],
)
async def test_a_missing_or_failing_tool_is_named(
    sshd_node: NodeSshd, pools: Pools, script: str | None, reason: str
) -> None:
    """Each trouble has a stable word and the node's name."""
    pools.known_to(sshd_node)
    tool = sshd_node.tools / "nvidia-smi"
    if script is None:
        tool.unlink()
    else:
        tool.write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(ProbeFailed) as caught:
        await probe_gpus(pools.make(), sshd_node.target)
    assert caught.value.reason == reason and sshd_node.target.label in caught.value.message
