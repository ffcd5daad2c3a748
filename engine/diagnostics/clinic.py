"""Examination and repair together: findings become plans, plans that were agreed to are run, the report follows.

Whoever uses this decides about consent: ``agree`` gets every plan before it runs.
"""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.clock import Clock
from engine.diagnostics.doctor import ALL_SCOPES, Doctor, OnProgress, Tools
from engine.diagnostics.fixes import Case, plan_fix
from engine.diagnostics.fixing import Act, Fixer, Hands, Outcome
from engine.diagnostics.model import Report, Result, Scope
from engine.diagnostics.patient import Config, NodePatient, Patient, load_patient, patient_of
from engine.diagnostics.plan import Plan
from engine.errors import ClientKeyUnusable
from engine.ssh.admin import AdminLogin
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

JOURNAL = "fixes.jsonl"
ROUNDS = 200
USUAL_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_ALONE: Mapping[Scope, frozenset[Scope]] = {
    Scope.NODE: frozenset({Scope.NODE}),
    Scope.ACCESS: frozenset({Scope.NODE, Scope.ACCESS}),
}

Agree = Callable[[Plan], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Offer:
    """A finding with its plan, or with the sentence that says why there is none."""

    result: Result
    plan: Plan | None
    words: str = ""


@dataclass(frozen=True)
class Access:
    """How the clinic gets into nodes beside the miner's own key."""

    admin: str = ""
    admin_keys: tuple[Path, ...] = ()
    ask: Callable[[str], str] | None = None
    password: str | None = None


@dataclass
class Clinic:
    """One patient under treatment."""

    source: Path | Config
    clock: Clock
    access: Access = field(default_factory=Access)
    act: Act | None = None
    with_container: bool = True
    say: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self._patient = self._load()
        self._logins: dict[str, AdminLogin] = {}

    @property
    def patient(self) -> Patient:
        """The configuration as it was last read."""
        return self._patient

    async def examine(
        self,
        scopes: Collection[Scope] = ALL_SCOPES,
        nodes: Collection[str] | None = None,
        *,
        on_progress: OnProgress = lambda _: None,
    ) -> Report:
        """Read the configuration anew, look and judge."""
        self._patient = self._load()
        tools = Tools(self.clock, admin=self._admin(), with_container=self.with_container)
        return await Doctor(self._patient, tools, on_progress=on_progress).examine(scopes, nodes)

    def offers(self, report: Report) -> list[Offer]:
        """Every finding with what could be done about it."""
        found = []
        for result in report.findings:
            plan = self._plan(result)
            found.append(Offer(result, None, plan) if isinstance(plan, str) else Offer(result, plan))
        return found

    async def repair(self, report: Report, agree: Agree) -> tuple[Report, list[Outcome]]:
        """Work through the findings until none is left that was not tried; returns the report as it then is."""
        tried: set[tuple[str, str, str]] = set()
        outcomes: list[Outcome] = []
        asked = frozenset(one.scope for one in report.results)
        for _ in range(ROUNDS):
            result = next((one for one in report.findings if _key(one) not in tried), None)
            if result is None:
                break
            tried.add(_key(result))
            plan = self._plan(result)
            if isinstance(plan, str) or not await agree(plan):
                continue
            outcome = await self.run(plan, result)
            outcomes.append(outcome)
            report = await self._again(report, result, asked)
        return report, outcomes

    async def run(self, plan: Plan, before: Result) -> Outcome:
        """Run one plan; the check itself says whether it helped."""

        async def recheck() -> Result | None:
            scopes, nodes = _around(before)
            return (await self.examine(scopes, nodes)).find(before.check, before.subject.id)

        pins = self._pins(writable=True)
        pool = self._pool(pins)
        hands = Hands(
            self.clock,
            pins,
            pool,
            self._admin(),
            self._account_login if self.access.ask or self.access.password is not None else None,
            self.act,
            self._journal(),
            f"{getpass.getuser()} (doctor)",
        )
        try:
            return await Fixer(hands, report=self.say).run(plan, recheck, before)
        finally:
            if pool is not None:
                await pool.close()

    async def _again(self, report: Report, result: Result, asked: frozenset[Scope]) -> Report:
        """The report with this subject's results replaced by new ones; of scopes that nobody asked for it says none."""
        scopes, nodes = _around(result)
        new = await self.examine(scopes, nodes)
        is_old = {(one.scope, one.subject.id) for one in new.results}
        kept = tuple(one for one in report.results if (one.scope, one.subject.id) not in is_old)
        return replace(report, results=kept + tuple(one for one in new.results if one.scope in asked))

    def _plan(self, result: Result) -> Plan | str:
        node = next((one for one in self._patient.nodes() if one.target.node_id == result.subject.id), None)
        return plan_fix(Case(result, self._patient, node, self._public_line(), self.access.admin))

    def _load(self) -> Patient:
        return load_patient(self.source) if isinstance(self.source, Path) else patient_of(self.source)

    # --- keys and logins ---------------------------------------------------------------------------------------

    def _key(self) -> ClientKey | None:
        miner = self._patient.miner
        if miner is None:
            return None
        try:
            return ClientKey.from_file(miner.ssh_session.miner_node_key_path)
        except ClientKeyUnusable:
            return None

    def _public_line(self) -> str:
        key = self._key()
        return "" if key is None else key.public_line

    def _pins(self, *, writable: bool) -> HostKeys:
        config = self._patient.config
        if config is None:
            return HostKeys(None)
        return HostKeys(config.data_dir / "known_hosts", is_looker=not writable)

    def _pool(self, pins: HostKeys) -> NodePool | None:
        key = self._key()
        return None if key is None else NodePool(key, pins, clock=self.clock, emit=lambda _: None)

    def _admin(self) -> AdminLogin | None:
        # It pins nothing: the engine's own login does.
        if not self.access.admin:
            return None
        if "admin" not in self._logins:
            self._logins["admin"] = AdminLogin(
                self.access.admin,
                self._pins(writable=False),
                keys=self._admin_keys(),
                ask=self.access.ask,
                password=self.access.password,
            )
        return self._logins["admin"]

    def _account_login(self, target: NodeTarget) -> AdminLogin:
        name = target.username
        if name not in self._logins:
            pins = self._pins(writable=False)
            self._logins[name] = AdminLogin(name, pins, ask=self.access.ask, password=self.access.password)
        return self._logins[name]

    def _admin_keys(self) -> tuple[ClientKey, ...]:
        paths = self.access.admin_keys or tuple(Path("~/.ssh", name).expanduser() for name in USUAL_KEYS)
        found = []
        for path in paths:
            try:
                found.append(ClientKey.from_file(path))
            except ClientKeyUnusable:
                if path in self.access.admin_keys:
                    raise
        own = self._key()
        return (*found, own) if own is not None else tuple(found)

    def _journal(self) -> Path | None:
        config = self._patient.config
        return None if config is None else config.data_dir.expanduser() / JOURNAL


def find_node(patient: Patient, name: str) -> NodePatient | None:
    """The node that a person means."""
    return next((one for one in patient.nodes() if one.is_called(name)), None)


def _key(result: Result) -> tuple[str, str, str]:
    return result.check, result.cause, result.subject.id


def _around(result: Result) -> tuple[frozenset[Scope], tuple[str, ...] | None]:
    """What has to be looked at again after a repair."""
    if result.subject.id:
        return _ALONE.get(result.scope, frozenset({Scope.NODE})), (result.subject.id,)
    return frozenset({result.scope, Scope.CONFIG, Scope.WALLET}), None if result.scope is Scope.HOST else ()
