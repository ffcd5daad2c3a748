"""deploy/: what the tools of the field say about our units, rules and dashboards, and whether the metrics exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.clock import ManualClock
from engine.control.state import LiveState
from engine.deployment.files import unit_text
from engine.events import EventBus, MetagraphRead
from engine.observe.metrics import MinerMetrics
from engine.store import open_store
from tests.dashboards import DASHBOARDS, FOLDER, text_of
from tests.engine.test_metrics_exposition import a_day

DEPLOY = Path(__file__).parents[2] / "deploy"
METRIC = re.compile(r"\bbasilica_[a-z0-9_]+")
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here")
needs_amtool = pytest.mark.skipif(shutil.which("amtool") is None, reason="no amtool here")


def run(*argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


def exposure(unit: Path) -> float:
    found = run("systemd-analyze", "security", "--offline=true", "--no-pager", str(unit))
    rating = re.search(r"Overall exposure level for \S+: ([0-9.]+)", found.stdout)
    assert rating is not None, found.stdout + found.stderr
    return float(rating[1])


@needs_systemd
@pytest.mark.parametrize("user", ["basilica", "root"])
def test_the_unit_is_hardened(tmp_path: Path, user: str) -> None:
    """systemd-analyze rates the exposure at 3.0 or less, as a user of its own and as root."""
    unit = tmp_path / "basilica-tui@miner.service"
    unit.write_text(unit_text(for_user=False).replace("User=basilica", f"User={user}"))
    assert exposure(unit) <= 3.0


@needs_systemd
def test_the_unit_has_no_line_that_systemd_does_not_know(tmp_path: Path) -> None:
    """verify has nothing to say once the program exists; an unknown key would be a warning without a status."""
    unit = tmp_path / "basilica-tui@miner.service"
    unit.write_text(unit_text(for_user=False).replace("/opt/basilica/venv/bin/basilica-tui", "/bin/true"))
    found = run("systemd-analyze", "verify", str(unit))
    assert (found.returncode, found.stderr) == (0, "")


@needs_promtool
def test_rules_and_scrape_configuration_are_valid() -> None:
    """promtool accepts both, and the rules do in time what their unit tests say."""
    for argv in (
        ("promtool", "check", "config", "prometheus.yml"),
        ("promtool", "check", "rules", "rules/basilica.yml"),
        ("promtool", "test", "rules", "tests/basilica_test.yml"),
    ):
        found = run(*argv, cwd=DEPLOY / "prometheus")
        assert found.returncode == 0, found.stdout + found.stderr


def test_every_rule_has_a_unit_test() -> None:
    """No alert is there whose firing was never seen."""
    rules = set(re.findall(r"- alert: (\w+)", (DEPLOY / "prometheus/rules/basilica.yml").read_text()))
    tests = (DEPLOY / "prometheus/tests/basilica_test.yml").read_text()
    assert len(rules) == 13
    assert [rule for rule in rules if f"alertname: {rule}" not in tests] == []


@needs_amtool
def test_the_alertmanager_example_is_valid() -> None:
    """amtool accepts it."""
    found = run("amtool", "check-config", str(DEPLOY / "alertmanager/alertmanager.yml"))
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboards_are_what_the_generator_writes(name: str) -> None:
    """``python -m tests.dashboards`` writes them; panels do not overlap and have queries."""
    text = (FOLDER / f"{name}.json").read_text()
    assert text == text_of(name)
    panels = json.loads(text)["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert all(panel["targets"] for panel in panels)


async def test_every_metric_in_rules_and_dashboards_is_exported(tmp_path: Path) -> None:
    """A name, or a label's value, that the engine never exports would be an alert that never fires."""
    clock = ManualClock()
    store = await open_store(f"sqlite:{tmp_path / 'm.db'}", clock=clock)
    state, bus = LiveState(), EventBus()
    metrics = MinerMetrics(state, clock, store)
    bus.subscribe(lambda event: (state.apply(event), None)[1])
    bus.subscribe(metrics.listen)
    for event in a_day(clock.now()):
        bus.emit(event)
    bus.emit(
        MetagraphRead(
            at=clock.now(), netuid=39, block=2, neurons=2, validators=1, own_uid=7, own_stake_tao=3.5,
            own_incentive=0.1, own_emission=0.2,
        )
    )  # fmt: skip
    await store.keyvalue.put("k", 1)
    text = metrics.render().decode()
    await store.close()
    families = list(text_string_to_metric_families(text))
    samples = [sample for family in families for sample in family.samples]
    # A counter with labels has no sample before its first event; its family's name is exported all the same.
    exported = {s.name for s in samples} | {f"{f.name}_total" for f in families} | {f.name for f in families}
    values = {(s.name, key, value) for s in samples for key, value in s.labels.items()}

    texts = {path: path.read_text() for path in (DEPLOY / "prometheus/rules").glob("*.yml")}
    texts |= {path: path.read_text() for path in (DEPLOY / "grafana/dashboards").glob("*.json")}
    used = {name for one in texts.values() for name in METRIC.findall(one)}
    assert len(texts) == 5
    assert len(used) > 30
    assert sorted(used - exported) == []
    for one in texts.values():
        for name, labels in re.findall(r"\b(basilica_\w+)\{([^}]*)\}", one.replace('\\"', '"')):
            for key, value in re.findall(r'(\w+)="(\w+)"', labels):
                assert (name, key, value) in values, f"{name} is never exported with {key}={value}"


def test_the_image_runs_the_engine_and_nothing_else() -> None:
    """The build copies what the wheel needs, the user is not root, and the command is the engine."""
    text = (DEPLOY / "docker/Dockerfile").read_text()
    copied = set(re.findall(r"^COPY (?!--)(\S+) ", text, re.MULTILINE))
    assert {"basilica_tui", "engine", "styles", "deploy"} <= copied
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["65534:65534"]
    allowed = (DEPLOY / "docker/Dockerfile.dockerignore").read_text().splitlines()
    assert all(f"!{name}" in allowed for name in copied)
