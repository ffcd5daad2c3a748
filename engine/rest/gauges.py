"""Gauges of the REST process. The engine reads them: a process that hangs could not tell."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from engine.observe.metrics_process import CpuMeter, cpu_seconds_of, resident_bytes
from engine.rest.process import RestProcess


class RestGauges(Collector):
    """Whether it answers, how often it was started, and what it uses; nothing of the last two while there is none."""

    def __init__(self, rest: RestProcess) -> None:
        self._rest = rest
        self._meter: tuple[int, CpuMeter] | None = None

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        yield GaugeMetricFamily(
            "basilica_validator_rest_up", "1 while the REST process answers", value=float(self._rest.is_ready)
        )
        yield CounterMetricFamily(
            "basilica_validator_rest_starts", "Starts of the REST process; the first is one", value=self._rest.starts
        )
        yield GaugeMetricFamily(
            "basilica_validator_rest_loop_lag_seconds",
            "How late the REST process is with what it does every second, as it last said",
            value=self._rest.lag_s,
        )
        pid = self._rest.pid
        memory = None if pid is None else resident_bytes(pid)
        if pid is None or memory is None:
            return
        yield GaugeMetricFamily(
            "basilica_validator_rest_memory_usage_bytes", "Resident memory of the REST process", value=memory
        )
        yield GaugeMetricFamily(
            "basilica_validator_rest_cpu_usage_percent",
            "Processor time of the REST process since the last scrape; 100 is one core",
            value=self._cpu(pid).percent(),
        )

    def _cpu(self, pid: int) -> CpuMeter:
        if self._meter is None or self._meter[0] != pid:
            self._meter = pid, CpuMeter(lambda: cpu_seconds_of(pid) or 0.0)
        return self._meter[1]
