"""A miner's configuration around gallery machines, and the doctor over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.clock import SystemClock
from engine.diagnostics.clinic import Access, Clinic
from engine.diagnostics.fixing import Outcome
from engine.diagnostics.model import Report, Result, Scope
from engine.diagnostics.plan import Plan
from engine.ssh.keys import ClientKey
from tests.gallery.machine import ACCOUNT, ADMIN, Machine, build_machine, let_admin_in, remove_machine

NODE_SCOPES = frozenset({Scope.NODE, Scope.ACCESS})


@dataclass
class Practice:
    """One miner with its key, an administrator's key, and machines."""

    folder: Path
    key: ClientKey
    admin_key: Path
    admin_line: str

    @classmethod
    def open(cls, folder: Path) -> Practice:
        key, admin = ClientKey.generate("miner"), ClientKey.generate("admin")
        key.save(folder / "key")
        admin.save(folder / "admin_key")
        return cls(folder, key, folder / "admin_key", admin.public_line)

    @property
    def config(self) -> Path:
        """miner.toml."""
        return self.folder / "miner.toml"

    def machine(self, **settings: object) -> Machine:
        """A healthy machine, not started."""
        machine = build_machine(self.key.public_line, **settings)  # type: ignore[arg-type]  # build_machine's keywords
        let_admin_in(machine, self.admin_line)
        return machine

    def configure(self, machines: Sequence[Machine], *, node: str = "", disk_min_gb: float = 0.05) -> None:
        """Write miner.toml for these nodes; ``node`` is added to the first one's table."""
        nodes = "".join(
            f'  {{ host = "{one.host}", port = {one.port}, username = "{ACCOUNT}"{node if number == 0 else ""} }},\n'
            for number, one in enumerate(machines)
        )
        self.config.write_text(
            f'[engine]\ndata_dir = "{self.folder / "data"}"\n'
            f'[database]\nurl = "sqlite:{self.folder / "data" / "miner.db"}"\n'
            f'[ssh_session]\nminer_node_key_path = "{self.folder / "key"}"\n'
            f"[alerts]\nnode_disk_min_gb = {disk_min_gb}\nhost_disk_min_gb = 0.05\n"
            f"[node_management]\nnodes = [\n{nodes}]\n"
        )
        self.config.chmod(0o600)

    def clinic(self, *, admin: str = ADMIN, keys: bool = True, ask: Callable[[str], str] | None = None) -> Clinic:
        """The doctor, with the administrator's login; without ``keys`` it has to ask."""
        found = (self.admin_key,) if admin and keys else (self.folder / "key",)
        return Clinic(self.config, SystemClock(), Access(admin, found, ask))


async def examine(clinic: Clinic, scopes: frozenset[Scope] = NODE_SCOPES) -> tuple[Result, ...]:
    """The findings."""
    report: Report = await clinic.examine(scopes)
    return report.findings


async def repair(clinic: Clinic, scopes: frozenset[Scope] = NODE_SCOPES) -> tuple[list[Outcome], tuple[Result, ...]]:
    """Agree to every plan; what was done, and what is left."""

    async def agree(plan: Plan) -> bool:
        return bool(plan.steps)

    report, outcomes = await clinic.repair(await clinic.examine(scopes), agree)
    return outcomes, report.findings


__all__ = ["NODE_SCOPES", "Practice", "examine", "remove_machine", "repair"]
