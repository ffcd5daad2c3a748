"""When a screen asks again for what the engine keeps and does not send: now and then, or when time was moved."""

from __future__ import annotations

from basilica_tui.store import ReplayPosition

REPLAY_EVERY_S = 1.0


class Asking:
    """``every_s`` between two questions to an engine; in a replay ``step_s`` of what is shown, at most one a second."""

    def __init__(self, every_s: float, step_s: float = 0.0) -> None:
        self.every_s = every_s
        self.step_s = step_s
        self._asked_at: float | None = None
        self._moment: float | None = None
        self._is_waiting = False

    def starts(self, now: float, replay: ReplayPosition | None) -> bool:
        """Whether to ask at this (monotonic) time; True counts as asked, until ``ends`` is called."""
        if replay is None:
            is_due = self._asked_at is None or now - self._asked_at >= self.every_s
        elif self._asked_at is None or self._moment is None:
            is_due = True
        else:
            moved = abs(replay.at - self._moment)
            is_due = not self._is_waiting and moved > self.step_s and now - self._asked_at >= REPLAY_EVERY_S
        if is_due:
            self._asked_at, self._is_waiting = now, True
            self._moment = None if replay is None else replay.at
        return is_due

    def ends(self) -> None:
        """An answer came, or none will."""
        self._is_waiting = False

    def forget(self) -> None:
        """Something else is asked for: at once."""
        self._asked_at = None
