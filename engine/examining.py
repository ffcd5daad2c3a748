"""What examines a running engine from inside it: the doctor, the nodes' ladder, the view from outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.chain import Chain
from engine.clock import Clock
from engine.config import MinerConfig
from engine.configured import Config, data_dir_of
from engine.control.actions import ActionTable, Handler
from engine.control.state import LiveState
from engine.events import EventBus
from engine.lifecycle.reload import Reloader
from engine.miner.role import MinerRole
from engine.setup.ladder import LadderActions
from engine.ssh.host_keys import HostKeys
from engine.ssh.pool import NodePool
from engine.supervisor import Supervisor

if TYPE_CHECKING:
    from engine.diagnostics.actions import DoctorActions


def add_doctor(
    actions: ActionTable,
    config: Config,
    path: Path | None,
    *,
    clock: Clock,
    bus: EventBus,
    pool: NodePool | None,
    chain: Chain,
) -> None:
    """Offer the doctor. Its rooms are many, so they are imported when somebody asks for the first time.

    ``path`` is the configuration's file, read again for every examination; ``pool`` is a miner's.
    """
    made: list[DoctorActions] = []

    def doctor() -> DoctorActions:
        if not made:
            from engine.diagnostics.actions import DoctorActions, Surgery  # noqa: PLC0415
            from engine.diagnostics.patient import load_patient, patient_of  # noqa: PLC0415

            surgery = Surgery(
                lambda: patient_of(config) if path is None else load_patient(path),
                clock,
                bus.emit,
                HostKeys(data_dir_of(config) / "known_hosts") if pool is None else pool.host_keys,
                pool,
                chain,
                actions,
            )
            made.append(DoctorActions(surgery))
        return made[0]

    def verb(name: str) -> Handler:
        return lambda args, report: doctor().act(name, args, report)

    for name, words, danger in (
        ("doctor.run", "examine a node, or everything", False),
        ("doctor.plan", "show what a fix would do", False),
        ("doctor.fix", "run a plan that was shown", True),
    ):
        actions.register(name, verb(name), help=words, danger=danger)


def add_ladder(actions: ActionTable, reloader: Reloader, clock: Clock) -> None:
    """Offer the climb of every node's ladder, by the configuration that runs at that moment."""

    def running() -> MinerConfig:
        assert isinstance(reloader.running, MinerConfig)
        return reloader.running

    LadderActions(running, clock).add_actions(actions)


def add_outside_view(
    actions: ActionTable, supervisor: Supervisor, role: MinerRole, state: LiveState, *, clock: Clock, bus: EventBus
) -> None:
    """Have healthy nodes call the advertised address, now and then and when asked."""
    from engine.diagnostics.outside import OutsideWatch  # noqa: PLC0415 - a validator has no use for it

    nodes = state.nodes
    healthy: Callable[[str], bool] = lambda node_id: node_id in nodes and nodes[node_id].state == "healthy"  # noqa: E731
    watch = OutsideWatch(
        role.pool,
        lambda: state.engine.axon_advertised,
        lambda: [node.target for node in role.fleet.nodes.values() if healthy(node.node_id)],
        clock=clock,
        emit=bus.emit,
        name=lambda peer: (nodes[peer.node_id].label if peer.node_id in nodes else "") or peer.host,
    )
    supervisor.add("outside", watch.run)
    actions.register("reach.check", watch.act, help="let a node call the axon from outside", danger=False)
