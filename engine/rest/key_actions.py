"""What an operator may do with API keys: over the socket of a running engine, or on the store of a stopped one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from engine.control.actions import ActionTable
from engine.errors import ApiKeyInvalid
from engine.rest.keys import ApiKeys
from engine.store.records import ApiKeyRecord

DAY_S = 86_400.0
Args = Mapping[str, object]
Report = Callable[[str], None]


def add_key_actions(actions: ActionTable, keys: ApiKeys) -> None:
    """Register ``api_key.create``, ``api_key.list`` and ``api_key.revoke``."""

    async def create(args: Args, _: Report) -> Mapping[str, object]:
        return await create_key(keys, args)

    async def listed(_args: Args, _: Report) -> Mapping[str, object]:
        return await list_keys(keys)

    async def revoke(args: Args, _: Report) -> Mapping[str, object]:
        return await revoke_key(keys, args)

    actions.register("api_key.create", create, help="make an API key: name=, scopes=, days=", danger=False)
    actions.register("api_key.list", listed, help="list API keys", danger=False)
    actions.register("api_key.revoke", revoke, help="end an API key: id= or its name", danger=True)


async def create_key(keys: ApiKeys, args: Args) -> dict[str, object]:
    """``name``, ``scopes`` (words with blanks or commas between), ``days`` (none: for ever). Raises ApiKeyInvalid."""
    days = args.get("days")
    if days is not None and (isinstance(days, bool) or not isinstance(days, int | float) or not math.isfinite(days)):
        raise ApiKeyInvalid(f"days={days!r} is no number")
    scopes = str(args.get("scopes") or "read").replace(",", " ").split()
    lifetime_s = None if days is None else float(days) * DAY_S
    text, record = await keys.create(str(args.get("name", "")), scopes, lifetime_s=lifetime_s)
    return {"key": text, **to_json(record)}


async def list_keys(keys: ApiKeys) -> dict[str, object]:
    """Every key that was ever made, without its secret."""
    return {"keys": [to_json(record) for record in await keys.all()]}


async def revoke_key(keys: ApiKeys, args: Args) -> dict[str, object]:
    """``id``: the id or the name. Raises ApiKeyInvalid."""
    return to_json(await keys.revoke(str(args.get("id", ""))))


def to_json(record: ApiKeyRecord) -> dict[str, object]:
    """What may be shown of a key."""
    return {
        "id": record.id,
        "name": record.name,
        "scopes": record.scopes.split(),
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "last_used_at": record.last_used_at,
        "revoked_at": record.revoked_at,
    }
