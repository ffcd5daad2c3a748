"""A container on this host by Docker's own word. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Container:
    """A container of Docker in which a miner runs, or would run again."""

    id: str
    name: str
    runs: bool
    restart: str
    """The restart policy as ``docker update --restart`` takes it."""
    starts_again: bool
    """With the next boot."""
    is_removed: bool = False
    """When it stops (``--rm``), so that nothing could be started again."""
    ports: tuple[int, ...] = ()
    """Published on this host."""
    control: tuple[str, ...] = ()
    """The command line that ``stop`` and ``start`` are put into, before its last word."""

    @property
    def words(self) -> str:
        """One line of evidence."""
        return f"container {self.name} {'runs' if self.runs else 'is stopped'} (restart: {self.restart})"

    @property
    def data(self) -> dict[str, object]:
        """What a fix must know of it."""
        return {
            "name": self.name,
            "runs": self.runs,
            "restart": self.restart,
            "is_removed": self.is_removed,
            "control": list(self.control),
        }

    def command(self, verb: str) -> tuple[str, ...]:
        """What starts or stops it."""
        return (*self.control[:-1], verb, self.control[-1])
