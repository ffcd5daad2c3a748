"""What an operator may do with alerts, over the control socket."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from engine.control.actions import ActionTable
from engine.errors import ControlRefused
from engine.observe.alerts import AlertService
from engine.observe.alerts_book import Key
from engine.observe.alerts_rules import NAMES

DEFAULT_SILENCE_S = 3600.0
LONGEST_SILENCE_S = 366 * 86_400.0

Args = Mapping[str, object]
Report = Callable[[str], None]


def add_alert_actions(actions: ActionTable, alerts: AlertService) -> None:
    """Register ``alert.acknowledge``, ``alert.silence`` and ``alert.test``."""

    async def acknowledge(args: Args, _: Report) -> Mapping[str, object]:
        alert_id = args.get("alert_id")
        record = await alerts.acknowledge(alert_id) if isinstance(alert_id, str) else None
        if record is None:
            raise ControlRefused("no such alert is active", hint="give alert_id=…", reason="unknown_alert")
        return {"alert_id": record.id, "acknowledged_at": record.acknowledged_at}

    async def silence(args: Args, report: Report) -> Mapping[str, object]:
        key, seconds = _key(args, alerts), _seconds(args)
        until = await alerts.silence(key, seconds)
        what = f"{key[0]} {key[1]}".strip()
        report(f"{what}: silent for {seconds:g} s" if seconds > 0 else f"{what}: told again")
        return {"rule": key[0], "subject": key[1], "until": until}

    async def test(_: Args, report: Report) -> Mapping[str, object]:
        if not alerts.delivery.target_names:
            raise ControlRefused("nobody is told of alerts", hint="set [alerts] urls or command", reason="no_targets")
        report("sending a test to " + ", ".join(alerts.delivery.target_names))
        results = await alerts.test()
        failed = {name: error for name, error in results.items() if error}
        for name, error in failed.items():
            report(f"{name}: {error}")
        return {"targets": len(results), "failed": failed}

    actions.register("alert.acknowledge", acknowledge, help="note that you know of an alert", danger=False)
    actions.register("alert.silence", silence, help="do not tell about an alert for a while", danger=False)
    actions.register("alert.test", test, help="send a test to every receiver of alerts", danger=False)


def _key(args: Args, alerts: AlertService) -> Key:
    """The alert's rule and subject, from its id or from ``rule`` and, if given, ``subject``."""
    alert_id, rule, subject = args.get("alert_id"), args.get("rule"), args.get("subject", "")
    if isinstance(alert_id, str):
        record = alerts.book.find(alert_id)
        if record is None:
            raise ControlRefused("no such alert is active", reason="unknown_alert")
        return (record.rule, record.subject)
    if not isinstance(rule, str) or rule not in NAMES:
        raise ControlRefused("there is no such rule", hint="one of: " + ", ".join(NAMES), reason="unknown_rule")
    return (rule, subject if isinstance(subject, str) else "")


def _seconds(args: Args) -> float:
    seconds = args.get("seconds", DEFAULT_SILENCE_S)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0:
        raise ControlRefused("seconds must be a number from 0", hint="seconds=3600", reason="bad_argument")
    return min(float(seconds), LONGEST_SILENCE_S)
