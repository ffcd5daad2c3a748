"""What the REST process is told of the engine's live state: what its answers are made of, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from engine.control.frames import Frame
from engine.control.models import MinerView, ServiceView, VerificationView
from engine.control.state import LiveState, Touched

ROWS_PER_FRAME = 256
_MINER = ("id", "hotkey", "uid", "endpoint", "state", "last_answer_at", "duration_ms")
_SERVICE = ("id", "state")
_RUNNING = (
    "id", "node_id", "miner_hotkey", "phase_tier", "phase", "phase_since", "phase_reason", "progress",
)  # fmt: skip
_FIELDS = {"miners": _MINER, "services": _SERVICE, "verifications": _RUNNING}


class Telling:
    """Collects what was touched, and puts it into frames: everything at first, then what changed."""

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self._touched: set[tuple[str, str]] = {(name, one) for name in _FIELDS for one in state.collection(name)}

    def note(self, touched: Touched) -> None:
        """These views have changed."""
        self._touched.update(pair for pair in touched if pair[0] in _FIELDS)

    def frames(self) -> Iterator[Frame]:
        """What has to be told now; at least one frame, because the engine's own fields are in each."""
        touched, self._touched = list(self._touched), set()
        for start in range(0, max(1, len(touched)), ROWS_PER_FRAME):
            yield self._frame(touched[start : start + ROWS_PER_FRAME])

    def _frame(self, touched: Iterable[tuple[str, str]]) -> Frame:
        rows: dict[str, list[list[object]]] = {name: [] for name in _FIELDS}
        gone: list[tuple[str, str]] = []
        for name, one in touched:
            view = self._state.view(name, one)
            if view is None or (isinstance(view, VerificationView) and not view.phase):
                gone.append((name, one))
            else:
                rows[name].append([getattr(view, field) for field in _FIELDS[name]])
        engine = self._state.engine
        return {"t": "state", "rows": rows, "gone": gone, "hotkey": engine.hotkey, "chain_error": engine.chain_error}


def take_in(state: LiveState, frame: Frame) -> None:
    """Make the state of this process what the frame says. It comes from our own engine."""
    rows, gone = frame["rows"], frame["gone"]
    assert isinstance(rows, dict)
    assert isinstance(gone, list)
    for row in rows["miners"]:
        state.miners[row[0]] = MinerView(**dict(zip(_MINER, row, strict=True)))
    for row in rows["services"]:
        state.services[row[0]] = ServiceView(**dict(zip(_SERVICE, row, strict=True)))
    for row in rows["verifications"]:
        state.verifications[row[0]] = VerificationView(**dict(zip(_RUNNING, row, strict=True)))
    kept: dict[str, dict[str, Any]] = {
        "miners": state.miners,
        "services": state.services,
        "verifications": state.verifications,
    }
    for name, one in gone:
        kept[name].pop(one, None)
    state.engine.hotkey, state.engine.chain_error = str(frame["hotkey"]), str(frame["chain_error"])
