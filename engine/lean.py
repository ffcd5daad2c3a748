"""Libraries without the parts that they load for everybody and an engine never uses.

Measured in a miner: the SDK's Ethereum keys, QR pages and spinners are 17 of its 29 MB and half of its modules, and
structlog's colours 4 MB. What is loaded stays for as long as the process lives.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

UNUSED_BY_THE_SDK = frozenset({"eth_abi", "eth_account", "eth_utils", "qrcode", "rich"})
"""The SDK names these at import and calls them for Ethereum keys, air-gapped phones and spinners on a terminal."""
UNUSED_BY_STRUCTLOG = "rich"
"""Only for structlog's own tracebacks on a terminal; ours are plain."""


def load_structlog() -> None:
    """Load structlog as it is where ``rich`` is not installed; later imports of ``rich`` find the real one."""
    if "structlog" in sys.modules or UNUSED_BY_STRUCTLOG in sys.modules:
        return
    sys.modules[UNUSED_BY_STRUCTLOG] = None  # type: ignore[assignment]  # Python's own mark of what cannot be imported
    try:
        importlib.import_module("structlog")
    finally:
        del sys.modules[UNUSED_BY_STRUCTLOG]


def load_sdk() -> None:
    """Load ``bittensor`` with empty modules in place of what it does not need here; whole if it does not take them."""
    if "bittensor" in sys.modules:
        return
    finder = _Finder(name for name in UNUSED_BY_THE_SDK if name not in sys.modules)
    sys.meta_path.insert(0, finder)
    try:
        importlib.import_module("bittensor")
    except Exception:  # noqa: BLE001 - another release of the SDK may use at import what this one only names
        _forget("bittensor")
    finally:
        sys.meta_path.remove(finder)
        # Whoever asks for one of these later, the SDK too, gets the real one.
        _forget(*finder.names)
    importlib.import_module("bittensor")


def _forget(*names: str) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] in names]:
        del sys.modules[module]


class _Empty(type):
    """Stands for whatever an unused library has; its classes can be named and derived from, not used."""

    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Empty(name, (), {})

    def __call__(cls, *_args: object, **_kwargs: object) -> NoReturn:
        raise ImportError(f"{cls.__name__} was not loaded: an engine has no use for it")


class _EmptyModule(ModuleType):
    __path__ = []  # noqa: RUF012 - of a package without a place

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Empty(name, (), {})


class _Finder(MetaPathFinder, Loader):
    """Finds an empty module for each of these names and for what lies below them."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] in self.names else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _EmptyModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""
