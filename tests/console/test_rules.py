"""Filters, columns, ranking, store, clipboard, plain text: rules without a terminal."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from basilica_tui.clipboard import LIMIT, osc52
from basilica_tui.columns import Query, place_columns, select
from basilica_tui.filters import parse_filter
from basilica_tui.fix_first import gpus_at_stake, rank_fixes
from basilica_tui.format import Look
from basilica_tui.log_table import LOGS
from basilica_tui.node_table import NODES
from basilica_tui.scores_table import SCORES
from basilica_tui.settings import load_settings
from basilica_tui.show import SHOWABLE, render_config, render_logs, render_show
from basilica_tui.store import ConsoleStore
from basilica_tui.symbols import ASCII
from basilica_tui.tables import ALL_TABLES
from basilica_tui.thresholds import Threshold, Thresholds
from basilica_tui.validator_tables import VERIFICATIONS
from engine.control.client import Batch, Snapshot
from engine.control.models import AlertView, EngineView, LogRecord, MinerView, NodeView, ServiceView, VerificationView
from tests.console.world import NOW, TestEngine, miner_events, some_logs

LOOK = Look(NOW)
NODES_BY_ID = {
    "a": NodeView("a", label="alpha", state="healthy", gpu_model="NVIDIA H100", gpu_count=8, last_trouble_at=5.0),
    "b": NodeView("b", label="beta", state="stopped", gpu_model="NVIDIA A100", gpu_count=4, host="10.0.0.2"),
    "c": NodeView("c", label="gamma", state="unhealthy", reason="no route", last_trouble_at=9.0),
}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", "abc"),
        ("h100", "a"),
        ("state:stopped", "b"),
        ("!state:healthy", "bc"),
        ("!alpha !beta", "c"),
        ("gpus:a100", "b"),
        ("host:10.0.0", "b"),
        ("nosuch:thing", ""),
        ("!nosuch:thing", "abc"),
        ("state:healthy h100 alpha", "a"),
        ("(", ""),
        ("!", ""),
        ("/ALPHA|beta/", "ab"),
        ("!/ALPHA|beta/", "c"),
        ("state:/^stop/", "b"),
        ("state:/^top/", ""),
        ("/alpha.* H100/", "a"),
        ("/alpha h/ beta", ""),
        ("/(/", ""),
        ("!/(/", ""),
        ("//", ""),
    ],
)
def test_every_term_of_a_filter_must_hold(text: str, ids: str) -> None:
    """Words look at all a row shows, field:value at one column or attribute, a ! turns a term round."""
    assert "".join(select(NODES, NODES_BY_ID.items(), Query(filter=parse_filter(text)), LOOK)) == ids


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("ramp:<14", "ab"),
        ("ramp:>=14", "c"),
        ("ramp:<14d", "ab"),
        ("ramp:=3.5", "a"),
        ("!ramp:<14", "cd"),
        ("ramp_percent:<30", "a"),
        ("util:>80", "b"),
        ("util:>80%", "b"),
        ("checked:>5m", "bc"),
        ("checked:<=1h", "ab"),
        ("checked:>1d", "c"),
        ("full:<2d", "a"),
        ("state:<3", "c"),
        ("nosuch:<3", ""),
        ("ramp:<fourteen", ""),
        ("label:>1", ""),
    ],
)
def test_figures_are_compared_and_what_is_not_known_never_passes(text: str, ids: str) -> None:
    """Days of ramp as they are shown, ages with a unit, in both directions from now."""
    rows = {
        "a": NodeView("a", label="alpha", ramp_days=3.5, ramp_percent=25.0, utilisation_percent=80.0,
                      last_check_at=NOW - 60, full_at=NOW + 86_400, state="healthy"),
        "b": NodeView("b", label="beta", ramp_days=13.9, ramp_percent=99.0, utilisation_percent=91.0,
                      last_check_at=NOW - 1800, full_at=NOW + 3 * 86_400, state="healthy"),
        "c": NodeView("c", label="gamma", ramp_days=14.0, ramp_percent=100.0, last_check_at=NOW - 90_000,
                      state="stopped"),
        "d": NodeView("d", label="delta"),
    }  # fmt: skip
    table = SCORES if text.startswith("full") else NODES
    assert "".join(sorted(select(table, rows.items(), Query(filter=parse_filter(text)), LOOK))) == ids


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (Query(), "abc"),
        (Query(reverse=True), "cba"),
        (Query(sort="state"), "bca"),
        (Query(sort="gpus"), "abc"),
        (Query(sort="gpus", reverse=True), "bac"),
        (Query(sort="trouble"), "cab"),
        (Query(problems_only=True), "bc"),
    ],
)
def test_unknown_values_sort_last_in_both_directions(query: Query, ids: str) -> None:
    """And trouble sorts before health."""
    assert "".join(select(NODES, NODES_BY_ID.items(), query, LOOK)) == ids


def test_numbers_inside_names_sort_as_numbers() -> None:
    """node-9 comes before node-10."""
    rows = {n: NodeView(n, label=n) for n in ("node-10", "node-9", "node-100")}
    assert select(NODES, rows.items(), Query(), LOOK) == ["node-9", "node-10", "node-100"]


@pytest.mark.parametrize("name", [*ALL_TABLES, "logs"])
@pytest.mark.parametrize("width", [40, 74, 76, 116, 196])
def test_columns_fit_the_width_and_the_important_ones_stay(name: str, width: int) -> None:
    """The first column of priority 1 is never dropped; nothing overlaps."""
    table = LOGS if name == "logs" else ALL_TABLES[name]
    placed = place_columns(table.columns, width)
    assert placed[-1].x + placed[-1].width <= max(width, placed[-1].width)
    assert all(a.x + a.width + 2 == b.x for a, b in pairwise(placed))
    assert len(place_columns(table.columns, width, everything=True)) == len(table.columns)


def test_what_costs_most_is_fixed_first() -> None:
    """Effective GPUs at stake, then access, then comfort; alerts about known trouble are not repeated."""
    nodes = {
        "big": NodeView("big", label="big", state="suspect", reason="slow", gpu_count=8, ramp_percent=100.0),
        "key": NodeView("key", label="key", state="stopped", host_key_presented="SHA256:x", last_trouble_at=NOW - 840,
                        gpu_count=8, ramp_percent=80.0),
        "new": NodeView("new", label="new", state="unhealthy", reason="no route", gpu_count=8, ramp_percent=0.0),
        "odd": NodeView("odd", label="odd", state="healthy", drift=2),
        "ok": NodeView("ok", label="ok", state="healthy"),
    }  # fmt: skip
    services = {"metrics": ServiceView("metrics", state="restarting", last_error="port taken", retry_at=NOW + 20)}
    alerts = {
        "1": AlertView("1", subject="key", message="host key changed"),
        "2": AlertView("2", subject="disk", message="nearly full", level="warning"),
        "3": AlertView("3", subject="over", active=False),
        "4": AlertView("4", subject="seen", acknowledged=True),
        "5": AlertView("5", subject="audit", message="not written", level="critical"),
    }
    engine = EngineView(role="miner", axon_on_chain="1.2.3.4:1", axon_advertised="1.2.3.4:1", last_called_at=NOW)
    fixes = rank_fixes(engine, nodes, {}, services, alerts, look=LOOK)
    assert [f.subject for f in fixes] == ["key", "big", "new", "audit", "odd", "disk", "metrics"]
    assert fixes[0].message == "host key changed 14 min ago; traffic stopped"
    assert fixes[0].key == "H"
    assert [f.stake for f in fixes] == ["earnings"] * 3 + ["access"] * 2 + ["comfort"] * 2


@pytest.mark.parametrize(
    ("node", "gpus"),
    [
        (NodeView("a", gpu_count=8, ramp_percent=100.0), 8.0),
        (NodeView("a", gpu_count=8, ramp_percent=50.0), 4.0),
        (NodeView("a", gpu_count=8, ramp_percent=0.0), 0.08),
        (NodeView("a", gpu_count=8, ramp_percent=50.0, failure_cost_gpus=3.5), 3.5),
        (NodeView("a", gpu_count=8), 8.0),
        (NodeView("a"), 1.0),
    ],
)
def test_a_failure_costs_gpus_times_ramp(node: NodeView, gpus: float) -> None:
    """The engine's figure wins; a fresh node still counts a little."""
    assert gpus_at_stake(node) == pytest.approx(gpus)


@pytest.mark.parametrize(
    ("engine", "subjects"),
    [
        (EngineView(role="miner"), []),
        (EngineView(role="miner", axon_advertised="1.2.3.4:1"), ["axon"]),
        (EngineView(role="miner", axon_advertised="1.2.3.4:1", axon_on_chain="1.2.3.4:2"), ["axon"]),
        (EngineView(role="miner", chain_error="metagraph: refused"), ["chain"]),
        (EngineView(role="miner", started_at=NOW - 4000), ["door"]),
        (EngineView(role="miner", started_at=NOW - 4000, compressed_time=True), []),
        (EngineView(role="validator", axon_advertised="1.2.3.4:1"), []),
        (EngineView(role="miner", stopping=True), ["engine"]),
    ],
)
def test_the_engines_own_troubles(engine: EngineView, subjects: list[str]) -> None:
    """Chain, axon, a silent door and a stopping engine are each one line."""
    assert [f.subject for f in rank_fixes(engine, {}, {}, {}, {}, look=LOOK)] == subjects


def test_a_trouble_stands_there_once() -> None:
    """What the list says by itself is not said again by its alert; an alert of its own is."""
    engine = EngineView(role="validator", weights_error="no permit")
    alerts = {
        "1": AlertView("1", rule="weights_failed", message="weights could not be set: no permit"),
        "2": AlertView("2", rule="miners_silent", message="none of 4 miners answers: refused"),
        "3": AlertView("3", rule="verifications_failing", message="9 of 9 nodes failed: refused"),
        "4": AlertView("4", rule="wallet", message="the hotkey was replaced"),
    }
    failing = {"m": MinerView("m", state="failed")}
    assert [f.message for f in rank_fixes(engine, {}, {}, {}, alerts, look=LOOK, miners=failing)] == [
        "none of 1 miner answers", "no permit", "9 of 9 nodes failed: refused", "the hotkey was replaced",
    ]  # fmt: skip


def test_one_cause_of_a_node_is_one_line() -> None:
    """A node that refuses connections is not listed a second time because its keys cannot be read for that."""
    refused = "10.0.0.7:22 refuses connections"
    node = NodeView("n", state="suspect", reason=refused, key_error=refused)
    assert [f.message for f in rank_fixes(EngineView(), {"n": node}, {}, {}, {}, look=LOOK)] == [node.reason]
    other = replace(node, key_error="its disk is full")
    assert len(rank_fixes(EngineView(), {"n": other}, {}, {}, {}, look=LOOK)) == 2


def test_another_trouble_of_a_node_stands_beside_the_first() -> None:
    """A key line left behind hides no full disk; what the node's own line says is not said twice."""
    alerts = {
        "1": AlertView("1", subject="n", rule="node_disk", message="12 GB free"),
        "2": AlertView("2", subject="n", rule="key_drift", message="2 lines nobody knows"),
        "3": AlertView("3", subject="n", rule="hardware_changed", message="a GPU is gone"),
        "4": AlertView("4", subject="n", rule="node_failing", message="fails"),
    }

    def told(node: NodeView) -> list[str]:
        return [f.message for f in rank_fixes(EngineView(), {"n": node}, {}, {}, alerts, look=LOOK)]

    ill = NodeView("n", state="healthy", drift=2)
    assert sorted(told(ill)) == ["12 GB free", "2 key lines that nobody knows", "a GPU is gone"]
    assert len(told(NodeView("n", state="unhealthy", reason="no route", drift=2))) == 1


def test_the_store_knows_what_changed_and_only_that() -> None:
    """An equal view is not dirty; a removed one is; a later snapshot marks the difference only."""
    store = ConsoleStore()
    store.apply_snapshot(Snapshot({"nodes": {"a": NodeView("a"), "b": NodeView("b")}}, {}, NOW))
    assert store.take_dirty().ids == {"nodes": {"a", "b"}}
    version = store.version
    store.apply_batch(Batch(changed={"nodes": [NodeView("a")]}))
    assert not store.take_dirty()
    assert store.version == version
    store.apply_batch(Batch(changed={"nodes": [NodeView("a", state="healthy")]}, removed={"nodes": ["b", "zz"]}))
    assert store.take_dirty().ids == {"nodes": {"a", "b"}}
    store.apply_snapshot(Snapshot({"nodes": {"a": NodeView("a", state="healthy"), "c": NodeView("c")}}, {}, NOW))
    assert store.take_dirty().ids == {"nodes": {"c"}}


def test_log_lines_that_came_before_are_not_taken_twice() -> None:
    """A snapshot's history and the watch may overlap."""
    store = ConsoleStore()
    store.add_logs(some_logs(5))
    store.add_logs([*some_logs(5)[3:], LogRecord(6, NOW, "info", "new")])
    assert [r.seq for r in store.logs] == [1, 2, 3, 4, 5, 6]


def test_copying_goes_through_tmux_and_has_a_limit() -> None:
    """The sequence is wrapped for what stands between us and the terminal."""
    encoded = base64.b64encode(b"node-01").decode()
    assert osc52("node-01", {}) == f"\x1b]52;c;{encoded}\x07"
    assert osc52("node-01", {"TMUX": "x"}) == f"\x1bPtmux;\x1b\x1b]52;c;{encoded}\x07\x1b\\"
    assert osc52("node-01", {"TERM": "screen-256color"}) == f"\x1bP\x1b]52;c;{encoded}\x07\x1b\\"
    longest = LIMIT // 4 * 3
    assert osc52("x" * longest, {}) is not None
    assert osc52("x" * (longest + 3), {}) is None


@pytest.mark.parametrize("what", SHOWABLE)
def test_everything_can_be_shown_as_json_and_as_text(what: str) -> None:
    """JSON carries every field; text keeps the width, in ASCII too."""
    snapshot = _snapshot()
    rows = json.loads(render_show(snapshot, what, json=True))
    if what == "dashboard":
        assert rows["fix_first"][0]["subject"] == "node-02"
    else:
        assert {row["id"] for row in rows} == set(snapshot.views.get("nodes" if what == "scores" else what, {}))
    text = render_show(snapshot, what, width=80, symbols=ASCII)
    assert text.endswith("\n")
    assert text.isascii()
    assert all(len(line) <= 80 for line in text.splitlines()) or not rows


def test_the_log_and_the_configuration_have_their_twins_too() -> None:
    """As text and as JSON."""
    assert "door.refused" in render_logs(some_logs(5), at=NOW, width=80)
    assert len(render_logs(some_logs(5), at=NOW, json=True).splitlines()) == 5
    result = {"config": {"bittensor": {"netuid": 39}}, "sources": {"bittensor.netuid": "file"}}
    assert "bittensor.netuid" in render_config(result)
    assert json.loads(render_config(result, json=True)) == result


def test_plain_text_is_as_safe_as_the_screen() -> None:
    """A node's name cannot move the reader's cursor in a pipe either."""
    snapshot = Snapshot({"nodes": {"a": NodeView("a", label="\x1b[2Jevil")}}, {}, NOW)
    assert "\x1b" not in render_show(snapshot, "nodes", width=0)


def test_unknown_collections_are_the_callers_mistake() -> None:
    """The command line offers the choices."""
    with pytest.raises(KeyError):
        render_show(_snapshot(), "rentals")


def _snapshot() -> Snapshot:
    engine = TestEngine()
    for event in miner_events():
        engine.state.apply(event)
    views = {name: dict(rows) for name, rows in engine.state.collections().items()}
    return Snapshot(views, dict(engine.state.counters), NOW)


@pytest.mark.parametrize(
    ("message", "endpoint", "cell"),
    [
        ("u@n1:22 shows another host key", "u@n1:22", "shows another host key"),
        ("n1:22 refuses connections", "u@n1:22", "refuses connections"),
        ("no GPU answers", "u@n1:22", "no GPU answers"),
        ("22 GPUs", "u@n1:22", "22 GPUs"),
        ("n2:22 refuses connections", "u@n1:22", "n2:22 refuses connections"),
        ("", "", "–"),
    ],
)
def test_a_verification_says_what_happened_first(message: str, endpoint: str, cell: str) -> None:
    """The row's own address is not repeated in front of the reason; another one stays."""
    column = next(c for c in VERIFICATIONS.columns if c.id == "message")
    text, _ = column.cell(VerificationView("n", message=message, endpoint=endpoint), Look())
    assert text == cell


@pytest.mark.parametrize(
    ("node", "key", "command"),
    [
        (NodeView("n", state="unhealthy", reason="no route"), "f", ("doctor.fix", "node.auth", "n")),
        (NodeView("n", state="suspect", reason="slow"), "f", ("node.check", "n")),
        (NodeView("n", state="stopped", reason="the account is gone"), "enter", ()),
        (NodeView("n", state="healthy", docker_ok=False), "f", ("doctor.fix", "node.docker", "n")),
        (
            NodeView("n", state="healthy", docker_ok=True, nvidia_runtime_ok=False),
            "f",
            ("doctor.fix", "node.nvidia_runtime", "n"),
        ),
        (NodeView("n", state="healthy", clock_skew_s=90.0), "f", ("doctor.fix", "node.clock", "n")),
        (NodeView("n", state="healthy", drift=1), "f", ("doctor.fix", "access.strays", "n")),
        (NodeView("n", state="healthy", key_error="read-only file"), "f", ("node.reconcile", "n")),
    ],
)
def test_every_trouble_of_a_node_has_its_key(node: NodeView, key: str, command: tuple[str, ...]) -> None:
    """f where something repairs it, by the doctor's own remedies; enter where only a person helps."""
    fix = rank_fixes(EngineView(), {"n": node}, {}, {}, {}, look=LOOK)[0]
    assert (fix.key, fix.command, fix.target) == (key, command, ("nodes", "n"))


@pytest.mark.parametrize(
    ("alert", "key", "command", "target"),
    [
        (
            AlertView("1", subject="n", rule="clock_skew"), "f", ("doctor.fix", "node.clock", "n"), ("nodes", "n"),
        ),
        (AlertView("1", subject="10.0.0.7", rule="node_disk"), "7", ("alert.acknowledge", "1"), ("nodes", "n")),
        (AlertView("1", subject="host", rule="wallet"), "f", ("doctor.fix", "wallet.access", ""), ("alerts", "1")),
        (AlertView("1", subject="x", rule="unheard_of"), "7", ("alert.acknowledge", "1"), ("alerts", "1")),
    ],
)  # fmt: skip
def test_an_alert_leads_to_its_remedy(
    alert: AlertView, key: str, command: tuple[str, ...], target: tuple[str, str]
) -> None:
    """The doctor's fix where its rule has one; otherwise the place where it can be looked at."""
    node = NodeView("n", host="10.0.0.7", state="healthy")
    fix = rank_fixes(EngineView(), {"n": node}, {}, {}, {"1": alert}, look=LOOK)[0]
    assert (fix.key, fix.command, fix.target) == (key, command, target)


def test_an_alert_about_a_node_bears_its_name() -> None:
    """The name that the operator gave, once: not the id, and not again in front of the message."""
    node = NodeView("0f1e2d3c", label="gpu-7", host="10.0.0.7", state="healthy")
    alert = AlertView("1", subject="0f1e2d3c", rule="ssh_success", message="gpu-7: 50 % of the SSH logins succeeded")
    fix = rank_fixes(EngineView(), {"0f1e2d3c": node}, {}, {}, {"1": alert}, look=LOOK)[0]
    assert (fix.subject, fix.message) == ("gpu-7", "50 % of the SSH logins succeeded")


@pytest.mark.parametrize(
    ("threshold", "values"),
    [
        (Threshold(85, 95), {84.9: "", 85: "warn", 94: "warn", 95: "bad"}),
        (Threshold(95, 80), {100: "", 95: "warn", 81: "warn", 80: "bad", 3: "bad"}),
    ],
)
def test_a_threshold_knows_which_side_is_bad(threshold: Threshold, values: dict[float, str]) -> None:
    """High figures are bad unless the bad bound is the lower one; what is not known has no colour."""
    assert {value: threshold.tone(value) for value in values} == values
    assert threshold.tone(None) == ""


def test_settings_that_are_nested_without_end_are_told(tmp_path: Path) -> None:
    """The console begins without them; so it does with the home of a user who does not exist."""
    (tmp_path / "console.toml").write_text(f"keys = {'[' * 5000}{']' * 5000}")
    assert load_settings(tmp_path).problems == ("console.toml cannot be read: it is nested too deeply",)
    (tmp_path / "console.toml").write_text('[engines.home]\nsocket = "~no-such-user/engine.sock"')
    assert "there is no such user" in load_settings(tmp_path).problems[0]


def test_thresholds_are_the_operators(tmp_path: Path) -> None:
    """console.toml changes them one by one; a mistake is told and changes nothing."""
    (tmp_path / "console.toml").write_text(
        '[thresholds]\ntemperature = [70, 80]\nlatency = "fast"\nnonsense = [1, 2]\nmemory = [true, 1]\n'
    )
    settings = load_settings(tmp_path)
    assert settings.limits.temperature == Threshold(70.0, 80.0)
    assert settings.limits.latency == Thresholds().latency
    assert [p.split(":")[1].split()[0] for p in settings.problems] == [
        "thresholds.latency",
        "there",
        "thresholds.memory",
    ]
    node = NodeView("n", temperature_c=75.0)
    cell = next(c for c in NODES.columns if c.id == "temp").cell
    assert cell(node, Look(0.0))[1] == ""
    assert cell(node, Look(0.0, limits=settings.limits))[1] == "warn"
