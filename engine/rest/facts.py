"""Gauges of what the validator holds of miners and nodes, under the deployed names; read every half minute."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric, UnknownMetricFamily
from prometheus_client.registry import Collector

from engine.clock import Clock
from engine.errors import StoreUnusable
from engine.rest.views import Snapshot, Views
from engine.store.weights import WeightRepository

READ_EVERY_S = 30.0


class FactGauges(Collector):
    """Tells the last reading; ``run`` is the service that reads."""

    def __init__(self, views: Views, weights: WeightRepository, clock: Clock) -> None:
        self._views = views
        self._weights = weights
        self._clock = clock
        self._snapshot: Snapshot | None = None
        self._vector: dict[int, int] = {}

    async def run(self) -> None:
        """Read for ever; what cannot be read leaves the last values."""
        while True:
            with contextlib.suppress(StoreUnusable):
                await self.read()
            await self._clock.sleep(READ_EVERY_S)

    async def read(self) -> None:
        """Read once. Raises StoreUnusable."""
        snapshot = await self._views.snapshot()
        await self._views.all_nodes(snapshot)  # so that a scrape, which cannot give turns away, finds them made
        self._snapshot = snapshot
        newest = await self._weights.newest()
        self._vector = {} if newest is None else {int(uid): int(value) for uid, value in json.loads(newest.vector)}

    def collect(self) -> Iterator[Metric]:
        """Everything of the last reading."""
        # Names that end in _count promise a histogram, so they are told without a type.
        labels = ["node_id", "miner_uid"]
        minutes = GaugeMetricFamily("basilica_node_uptime_minutes", "Minutes of a node's ramp", labels=labels)
        multiplier = GaugeMetricFamily("basilica_node_uptime_multiplier", "A node's ramp, 0 to 1", labels=labels)
        gpus = UnknownMetricFamily(
            "basilica_validator_node_gpu_count", "GPUs that count", labels=["miner_uid", "node_id", "gpu_model"]
        )
        miners = UnknownMetricFamily("basilica_validator_miner_gpu_count", "GPUs that count", labels=["miner_uid"])
        profiles = GaugeMetricFamily(
            "basilica_validator_miner_gpu_profiles",
            "GPUs that count, by category",
            labels=["miner_uid", "gpu_profile", "node_id"],
        )
        weight = GaugeMetricFamily("basilica_validator_miner_weight", "Of the last vector set", labels=["miner_uid"])
        totals: dict[str, int] = {}
        snapshot = self._snapshot
        if snapshot is None:
            return
        for row in snapshot.nodes:
            node, uid = self._views.node(row, snapshot), str(row.miner_uid)
            minutes.add_metric([node.id, uid], node.ramp_minutes)
            multiplier.add_metric([node.id, uid], node.ramp_multiplier)
            gpus.add_metric([uid, node.id, row.gpu_model], len(node.gpu_specs))
            for category, count in self._views.categories(row, snapshot).items():
                profiles.add_metric([uid, category, node.id], count)
            totals[uid] = totals.get(uid, 0) + len(node.gpu_specs)
        for uid, count in totals.items():
            miners.add_metric([uid], count)
        for number, value in self._vector.items():
            weight.add_metric([str(number)], value)
        yield from (minutes, multiplier, gpus, miners, profiles, weight)
