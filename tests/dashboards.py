"""``python -m tests.dashboards`` writes deploy/grafana/dashboards/*.json; a test holds that they are what it writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "deploy/grafana/dashboards"
SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH = 24


@dataclass(frozen=True)
class Panel:
    """One picture: queries with their legends. ``kind``: timeseries, stat, table, bargauge or state-timeline."""

    title: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 12
    height: int = 8
    text: str = ""


def by_node(title: str, metric: str, **more: Any) -> Panel:
    return Panel(title, ((f'{metric}{{instance=~"$instance"}}', "{{node_id}}"),), **more)


def one(title: str, query: str, **more: Any) -> Panel:
    return Panel(title, ((query, "{{instance}}"),), kind="stat", width=6, height=4, **more)


I = '{instance=~"$instance"}'  # noqa: E741 - stands in every query
DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "fleet": (
        "Basilica: fleet",
        (
            one("Nodes", f"basilica_miner_node_count{I}"),
            one("Healthy", f"basilica_miner_nodes_healthy{I}"),
            one("Not healthy", f"basilica_miner_nodes_unhealthy{I}"),
            one("Errors active", 'basilica_alerts_active{instance=~"$instance",level="error"}'),
            by_node("Nodes up", "basilica_miner_node_up", kind="state-timeline"),
            by_node("Checks that pass", "basilica_miner_node_ssh_success_percent", unit="percent"),
            by_node("GPU use", "basilica_gpu_utilization", unit="percent"),
            by_node("Disk free", "basilica_miner_node_disk_free_bytes", unit="decbytes"),
            by_node("Clock against this host", "basilica_miner_node_clock_skew_seconds", unit="s"),
            Panel(
                "Time of a health check",
                (
                    (
                        "histogram_quantile(0.95, sum by (le) "
                        f"(rate(basilica_miner_node_health_check_duration_seconds_bucket{I}[5m])))",
                        "95 %",
                    ),
                ),
                unit="s",
            ),
            Panel(
                "SSH failures an hour",
                ((f"sum by (node_id) (increase(basilica_miner_ssh_failures_total{I}[1h]))", "{{node_id}}"),),
            ),
        ),
    ),
    "validators": (
        "Basilica: validators and access",
        (
            one("Validators with access", f"basilica_miner_validator_sessions_active{I}"),
            one("Keys in place", f"basilica_miner_ssh_sessions_active{I}"),
            one("Nodes with a key", f"basilica_miner_remote_nodes_deployed{I}"),
            one(
                "Authentications accepted, 1 h",
                f"sum by (instance) (increase(basilica_miner_authentication_success_total{I}[1h])) / "
                f"sum by (instance) (increase(basilica_miner_authentication_requests_total{I}[1h]))",
                unit="percentunit",
            ),
            Panel(
                "Calls by validator",
                ((f"sum by (validator) (rate(basilica_miner_validator_requests_total{I}[5m]))", "{{validator}}"),),
                unit="reqps",
            ),
            Panel(
                "Discoveries by validator, 1 h",
                (
                    (
                        f"sum by (validator) (increase(basilica_miner_validator_node_discoveries_total{I}[1h]))",
                        "{{validator}}",
                    ),
                ),
            ),
            Panel(
                "Time of a discovery",
                (
                    (
                        "histogram_quantile(0.95, sum by (le) "
                        f"(rate(basilica_miner_deployment_duration_seconds_bucket{I}[15m])))",
                        "95 %",
                    ),
                ),
                unit="s",
            ),
            Panel(
                "Key changes an hour",
                (
                    (f"sum(increase(basilica_miner_ssh_key_deployments_total{I}[1h]))", "new"),
                    (f"sum(increase(basilica_miner_ssh_key_renewals_total{I}[1h]))", "prolonged"),
                    (f"sum(increase(basilica_miner_ssh_key_removals_total{I}[1h]))", "removed"),
                    (f"sum(increase(basilica_miner_deployment_failures_total{I}[1h]))", "failed"),
                ),
            ),
            by_node("Keys by node", "basilica_miner_node_keys"),
        ),
    ),
    "ramp": (
        "Basilica: 14-day ramp",
        (
            one("At 100 %", f"count(basilica_miner_node_ramp_percent{I} >= 100) or vector(0)"),
            one("Mean multiplier", f"avg(basilica_miner_node_ramp_percent{I})", unit="percent"),
            one("Resets", f"sum(basilica_miner_node_ramp_resets{I})"),
            one("Resets, 7 d", f"sum(increase(basilica_miner_node_ramp_resets{I}[7d]))"),
            by_node("Ramp by node (estimate)", "basilica_miner_node_ramp_days", kind="bargauge", unit="d", width=24),
            by_node("Multiplier (estimate)", "basilica_miner_node_ramp_percent", unit="percent"),
            by_node(
                "Multiplier that a validator publishes", "basilica_miner_node_observed_multiplier", unit="percentunit"
            ),
            by_node("Healthy since, by our checks", "basilica_node_uptime_seconds", unit="s"),
        ),
    ),
    "network": (
        "Basilica: chain and engine",
        (
            one("UID", f"basilica_miner_bittensor_uid{I}"),
            one("Incentive", f"basilica_miner_bittensor_incentive{I}"),
            one("Emission", f"basilica_miner_bittensor_emission{I}"),
            one("Stake (TAO)", f"basilica_miner_bittensor_stake{I}"),
            Panel("Age of the metagraph", ((f"basilica_miner_metagraph_age_seconds{I}", "{{instance}}"),), unit="s"),
            Panel(
                "Chain errors an hour",
                ((f"sum by (operation) (increase(basilica_miner_bittensor_errors_total{I}[1h]))", "{{operation}}"),),
            ),
            Panel("Memory", ((f"basilica_miner_memory_usage_bytes{I}", "{{instance}}"),), unit="bytes"),
            Panel("Processor", ((f"basilica_miner_cpu_usage_percent{I}", "{{instance}}"),), unit="percent"),
            Panel(
                "Database, 95 %",
                (
                    (
                        "histogram_quantile(0.95, sum by (le) "
                        f"(rate(basilica_miner_database_query_duration_seconds_bucket{I}[5m])))",
                        "95 %",
                    ),
                ),
                unit="s",
            ),
            Panel("Alerts active", ((f"basilica_alerts_active{I}", "{{level}}"),)),
            Panel("Uptime", ((f"basilica_miner_uptime_seconds{I}", "{{instance}}"),), unit="s"),
        ),
    ),
}


def dashboard(name: str) -> dict[str, Any]:
    """The document that Grafana imports."""
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"basilica-{name}",
        "title": title,
        "tags": ["basilica"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [_source(), _instance()]},
        "panels": _placed(panels),
    }


def text_of(name: str) -> str:
    """The file's content."""
    return json.dumps(dashboard(name), indent=2) + "\n"


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _instance() -> dict[str, Any]:
    query = "label_values(basilica_miner_uptime_seconds, instance)"
    return {
        "name": "instance", "label": "Engine", "type": "query", "datasource": SOURCE, "query": query,
        "includeAll": True, "multi": True, "current": {"text": "All", "value": "$__all"}, "refresh": 2,
    }  # fmt: skip


def _placed(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    placed, x, y, row = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > WIDTH:
            x, y, row = 0, y + row, 0
        grid = {"x": x, "y": y, "w": panel.width, "h": panel.height}
        placed.append(_panel(number, panel, grid))
        x, row = x + panel.width, max(row, panel.height)
    return placed


def _panel(number: int, panel: Panel, grid: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": grid,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "datasource": SOURCE}
            for index, (query, legend) in enumerate(panel.queries)
        ],
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for each in DASHBOARDS:
        (FOLDER / f"{each}.json").write_text(text_of(each))
