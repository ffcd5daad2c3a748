"""Who a uid belongs to, from one metagraph to the next: moved hotkeys, swapped hotkeys and recycled uids. Pure.

The deployed validator knows miners by uid and overwrites the hotkey in place, so a stranger on a recycled uid inherits
the nodes and their ramps. Here nodes belong to a hotkey; they follow it to another uid, and to another hotkey only when
the coldkey says that the owner stayed the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Registration:
    """One hotkey's place on the chain. ``coldkey`` may be empty when the chain did not tell."""

    uid: int
    coldkey: str = ""


@dataclass(frozen=True, slots=True)
class RegistryChange:
    """What differs. ``moved``: hotkey to its new uid; ``swapped``: old hotkey to new; ``gone``: hotkeys that lost their
    uid to a stranger."""

    moved: Mapping[str, int]
    swapped: Mapping[str, str]
    gone: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.moved or self.swapped or self.gone)


def compare_registry(known: Mapping[str, Registration], now: Mapping[str, Registration]) -> RegistryChange:
    """From the last reading to this one. A hotkey that vanished with its uid unused is nobody's loss yet: it stays."""
    owners = {place.uid: hotkey for hotkey, place in now.items()}
    moved = {
        hotkey: now[hotkey].uid for hotkey, place in known.items() if hotkey in now and now[hotkey].uid != place.uid
    }
    swapped, gone = {}, []
    for hotkey, place in known.items():
        heir = owners.get(place.uid)
        if hotkey in now or heir is None:
            continue
        is_same_owner = bool(place.coldkey) and now[heir].coldkey == place.coldkey
        if is_same_owner and heir not in known:
            swapped[hotkey] = heir
        else:
            gone.append(hotkey)
    return RegistryChange(moved, swapped, tuple(gone))


def registry_to_json(places: Mapping[str, Registration]) -> list[list[object]]:
    """For the store."""
    return [[hotkey, place.uid, place.coldkey] for hotkey, place in places.items()]


def registry_from_json(value: object) -> dict[str, Registration]:
    """What ``registry_to_json`` wrote; anything else is "nobody known"."""
    rows: Iterable[object] = value if isinstance(value, list) else ()
    found = {}
    for row in rows:
        match row:
            case [str(hotkey), int(uid), str(coldkey)]:
                found[hotkey] = Registration(uid, coldkey)
    return found
