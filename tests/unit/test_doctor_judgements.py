"""Judgements over facts: tables of cases, no node is asked."""

from __future__ import annotations

import pytest

from engine.diagnostics import (
    access_checks,
    chain_checks,
    host_machine,
    host_network,
    node_host,
    node_way,
)
from engine.diagnostics.catalogue import check_of
from engine.diagnostics.chain_checks import ChainFacts
from engine.diagnostics.fleet_look import Nodes, look_at_access
from engine.diagnostics.host_facts import HostFacts
from engine.diagnostics.look_records import Records
from engine.diagnostics.model import Report, Result, Scope, Subject, Verdict
from engine.diagnostics.node_facts import NodeFacts
from engine.diagnostics.render import redact, render_markdown, render_text
from engine.probes.account import parse_account
from engine.probes.administered import parse_admin
from engine.probes.container import parse_container
from engine.probes.firewall import FirewallFacts
from engine.probes.host import HostFacts as NodeHost
from engine.probes.way import Stop, WayFacts
from engine.ssh.banner import judge_banner
from engine.ssh.target import NodeTarget

TARGET = NodeTarget("n1", "node", 22, "basilica")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "ssh"),
        (b"hello\r\nSSH-2.0-x\r\n", "ssh"),
        (b"Exceeded MaxStartups\r\n", "max_startups"),
        (b"Not allowed at this time\r\n", "penalty"),
        (b"HTTP/1.1 400 Bad Request\r\n", "other"),
        (b"\x1b[2J\x00\xff", "other"),
        (b"", "closed"),
    ],
)
def test_what_a_port_says(said: bytes, kind: str) -> None:
    """The first line decides what listens there."""
    assert judge_banner(said).kind == kind


@pytest.mark.parametrize(
    ("skews", "chain", "verdict"),
    [
        ((600.0, 601.0, 599.5), None, Verdict.FAILED),
        ((600.0, 0.1), None, Verdict.WARNING),
        ((0.2, -0.1), None, Verdict.OK),
        ((), 900.0, Verdict.FAILED),
        ((), 0.4, Verdict.OK),
        ((), None, Verdict.WARNING),
    ],
    ids=["all nodes agree", "one node is off", "fine", "the chain says so", "the chain agrees", "nobody to ask"],
)
def test_a_clock_is_judged_by_others(skews: tuple[float, ...], chain: float | None, verdict: Verdict) -> None:
    """When all nodes are off by the same, this host is; one node alone proves nothing."""
    facts = HostFacts(kernel_synced=False, skews_s=skews, chain_offset_s=chain)

    assert host_machine.judge_clock(facts).verdict is verdict


def test_a_node_is_not_blamed_for_this_hosts_clock() -> None:
    """With this host ten minutes behind, a node that is ten minutes ahead is right."""
    facts = NodeFacts(TARGET, WayFacts(), host=NodeHost(clock_skew_s=600.0), own_offset_s=-600.0)

    assert node_host.judge_clock(facts).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("section", "verdict", "cause"),
    [
        ("/usr/bin/sha256sum\npython3 3.11\n", Verdict.OK, ""),
        ("/usr/bin/sha256sum\npython3 3.8\n", Verdict.OK, ""),
        ("/usr/bin/sha256sum\npython3 3.7\n", Verdict.WARNING, "old_python"),
        ("/usr/bin/sha256sum\npython3 \x1b[31m\n", Verdict.WARNING, "old_python"),
        ("/usr/bin/sha256sum\n", Verdict.WARNING, "no_python"),
        ("python3 3.12\n", Verdict.WARNING, "no_hash_tool"),
    ],
)
def test_what_a_full_verification_needs(section: str, verdict: Verdict, cause: str) -> None:
    """A Python that runs the attestation program, and the tool that checks it; an answer cut short is not judged."""
    output = f"\nbasilica-section tools\n{section}\nbasilica-section end\n".encode()
    facts = NodeFacts(TARGET, WayFacts(), account=parse_account(output, quiet=True, noise="", status=0))
    found = node_host.judge_tools(facts)
    assert (found.verdict, found.cause) == (verdict, cause)
    cut = parse_account(b"\nbasilica-section id\n0\nroot\n", quiet=True, noise="", status=0)
    assert node_host.judge_tools(NodeFacts(TARGET, WayFacts(), account=cut)).verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    ("rules", "closed"),
    [
        ((), False),
        (("-P INPUT ACCEPT", "-A INPUT -p tcp -m tcp --dport 8091 -j DROP"), True),
        (("-P INPUT DROP",), True),
        (("-P INPUT DROP", "-A INPUT -p tcp -m tcp --dport 8091 -j ACCEPT"), False),
        (("-P INPUT DROP", "-A INPUT -p tcp -m multiport --dports 22,8000:8100 -j ACCEPT"), False),
        (("-P INPUT DROP", "-A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT"), True),
        (("-P INPUT DROP", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"), True),
        (("-P INPUT DROP", "-A INPUT -i lo -j ACCEPT"), True),
        (("-P INPUT ACCEPT", "-A INPUT -p tcp --dport 22 -j DROP"), False),
        (("-P INPUT ACCEPT", "-A INPUT -s 203.0.113.9/32 -j DROP"), False),
        (("-P INPUT DROP", "-A INPUT -j IN", "-A IN -p tcp --dport 8091 -j ACCEPT"), False),
    ],
)
def test_which_rules_close_the_axons_port(rules: tuple[str, ...], closed: bool) -> None:
    """The first rule about the port decides, then the policy; somebody who is banned says nothing about others."""
    facts = HostFacts(firewall=FirewallFacts(iptables=rules), public_ports=(8091,))
    assert (host_network.judge_firewall(facts).cause == "closed") is closed


@pytest.mark.parametrize(("stop", "check"), [("key", "host.ssh_key"), ("tcp", "node.tcp"), ("auth", "node.auth")])
def test_access_that_was_not_looked_at_names_a_check_that_exists(stop: Stop, check: str) -> None:
    """What is said to have failed first is the id of the check that failed."""
    seen = look_at_access(NodeFacts(TARGET, WayFacts(stop)), Records(), Nodes(), 0.0)

    assert access_checks.judge_keys(seen).reason == f"{check} failed first"
    assert check_of(check)


def test_an_unreachable_chain_is_no_verdict_about_the_hotkey() -> None:
    """Not knowing is not "not registered"."""
    facts = ChainFacts(reach="unreachable", said="no answer", hotkey="5abc")

    assert chain_checks.judge_endpoint(facts).verdict is Verdict.FAILED
    assert chain_checks.judge_registered(facts).verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    "hostile", [b"", b"\xff\xfe" * 500, b"\nbasilica-section id\n-1\n\x1b]0;x\x07\n\n", b"9" * 5000]
)
def test_hostile_answers_are_only_unknown(hostile: bytes) -> None:
    """Whatever a node sends, parsing ends in facts that say nothing."""
    assert parse_account(hostile, quiet=True, noise="", status=0).uid is None
    assert parse_admin(hostile).account_exists is False
    assert parse_container(hostile.decode("latin-1")).outcome == "no_image"


def test_reports_for_strangers_hold_no_secrets() -> None:
    """Addresses, credentials, key material and home directories go."""
    text = redact("10.1.2.3 json://user:pw@host/x /home/ann/.ssh password=hunter2 0x" + "ab" * 32)

    assert not any(secret in text for secret in ("10.1.2.3", "pw@", "ann", "hunter2", "abab"))


def test_every_step_of_the_way_is_its_own_rung() -> None:
    """A way that stopped at one step fails that check and no other."""
    for stop in ("resolve", "route", "tcp", "banner", "protocol", "host_key"):
        check = next(one for one in node_way.CHECKS if one.id == f"node.{stop}")
        facts = NodeFacts(TARGET, WayFacts(stop, check.causes[0].id, "words"))

        failed = [one.id for one in node_way.CHECKS if one.judge(facts).verdict is Verdict.FAILED]

        assert failed == [check.id]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("from 2001:db8::5 port 22", "from a:b::c port 22"), ("[fe80::1]:22", "[a:b::c]:22"),
        ("at 12:34:56, 01:02:03:04:05:06", "at 12:34:56, 01:02:03:04:05:06"),
        ("hotkey 5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty is not registered", "hotkey SS58 is not registered"),
        ("SHA256:bepNEscAvu0ew4Ie88b2Lv395zRatd2YNyQ1vkBo7rw", "SHA256:bepNEscAvu0ew4Ie88b2Lv395zRatd2YNyQ1vkBo7rw"),
    ],
)  # fmt: skip
def test_what_names_an_operator_goes_and_what_helps_stays(text: str, shown: str) -> None:
    """Addresses of both families and hotkeys go; times and fingerprints are what a helper needs."""
    assert redact(text) == shown


def _report(*verdicts: tuple[Verdict, str]) -> Report:
    node = Subject("n1", "basilica@gpu.example.org:22")
    results = tuple(
        Result(f"node.{number}", Scope.NODE, "title", "meaning", node, verdict, (said,), "cause", said, (), "", said,
               "", {})
        for number, (verdict, said) in enumerate(verdicts)
    )  # fmt: skip
    return Report(results, 0.0, 1.0, "1")


def test_a_report_without_a_verdict_says_why() -> None:
    """Status 3 with four zeros would leave everybody guessing."""
    assert "nothing was looked at" in render_text(_report())
    text = render_text(_report((Verdict.SKIPPED, "no key"), (Verdict.SKIPPED, "no key")))
    assert text.count("skip all: no key") == 1
    assert "skip all" not in render_text(_report((Verdict.SKIPPED, "no key"), (Verdict.OK, "")))


def test_a_nodes_host_alone_is_removed_too() -> None:
    """Sentences name the host without account and port; words that only begin like it stay."""
    text = render_markdown(_report((Verdict.FAILED, "gpu.example.org closed; gpu.example.organic stays")))
    assert "gpu.example.org " not in text
    assert "NODE closed; gpu.example.organic stays" in text
