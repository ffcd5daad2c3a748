"""The lists that tables open: sorting, columns, actions for rows, how long an alert stays silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from basilica_tui.actions import COLLECTION_OF, EngineAction, for_rows
from basilica_tui.format import plural
from basilica_tui.screens.chooser import Choice, Chooser
from basilica_tui.screens.confirm import Confirm
from basilica_tui.tables import item_name
from basilica_tui.text import clean
from engine.control.models import VerificationView

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp
    from basilica_tui.screens.table_screen import TableScreen

SILENCES = (("30 minutes", 1800.0), ("1 hour", 3600.0), ("4 hours", 14_400.0), ("1 day", 86_400.0))
NAMED = 12
"""Names that a dialog lists; of more it says how many."""
NOTHING_MORE: Mapping[str, object] = {}


def choose_sorting(screen: TableScreen[Any]) -> None:
    """A list of the columns; the same column again turns the order round."""
    query, table = screen.view_query, screen.TABLE
    current = query.sort or table.first_sort
    choices = [
        Choice(c.id, c.title, "sorted by it now; again reverses" if c.id == current else "") for c in table.columns
    ]

    def chosen(column: str | None) -> None:
        if column is not None:
            reverse = not query.reverse if column == current else False
            screen.set_query(replace(screen.view_query, sort=column, reverse=reverse))

    screen.desk.push_screen(Chooser("Sort by", choices, start=current), chosen)


def choose_columns(screen: TableScreen[Any]) -> None:
    """Which columns, in which order."""
    every = [c.id for c in screen.TABLE.columns]
    titles = {c.id: c.title for c in screen.TABLE.columns}
    order = [*screen.view_columns, *(c for c in every if c not in screen.view_columns)]
    on = set(screen.view_columns or every)

    def listed() -> list[Choice]:
        return [Choice(c, titles[c], is_on=c in on) for c in order]

    def toggle(column: str) -> list[Choice]:
        if column in on and len(on) > 1:
            on.remove(column)
        else:
            on.add(column)
        return applied()

    def move(column: str, step: int) -> list[Choice]:
        place = order.index(column)
        other = min(max(place + step, 0), len(order) - 1)
        order.insert(other, order.pop(place))
        return applied()

    def applied() -> list[Choice]:
        screen.set_columns([c for c in order if c in on])
        return listed()

    screen.desk.push_screen(Chooser("Columns", listed(), toggle=toggle, move=move))


def choose_action(desk: ConsoleApp, collection: str, ids: Sequence[str]) -> None:
    """What can be done with these rows; danger asks once more, by name."""
    if desk.read_only:
        desk.say("this console is read-only", "warn")
        return
    actions = for_rows(collection, desk.store.engine.role, desk.store.verbs)
    if not ids or not actions:
        desk.say("there is nothing to do with it here", "dim")
        return
    choices = [Choice(a.verb, a.words, f":{a.verb}", danger=a.danger) for a in actions]
    by_verb = {a.verb: a for a in actions}

    def chosen(verb: str | None) -> None:
        if verb == "alert.silence":
            choose_silence(desk, ids)
        elif verb is not None and by_verb[verb].choice is not None:
            choose_other(desk, by_verb[verb], collection, ids)
        elif verb is not None:
            act_on_rows(desk, by_verb[verb], collection, ids)

    desk.push_screen(Chooser(f"With {_names(desk, collection, ids)}", choices), chosen)


def choose_other(desk: ConsoleApp, action: EngineAction, collection: str, ids: Sequence[str]) -> None:
    """Choose the second object of an action, such as the validator whose key is meant."""
    wanted = action.choice
    assert wanted is not None
    others = COLLECTION_OF[wanted.kind]
    rows = desk.store.collection(others)
    choices = [Choice(i, _name(desk, others, i), getattr(rows[i], "state", "")) for i in rows]
    if not choices:
        desk.say(f"there is no {wanted.kind} to choose", "warn")
        return

    def chosen(other: str | None) -> None:
        if other is not None:
            act_on_rows(desk, action, collection, ids, {wanted.name: other})

    desk.push_screen(Chooser(f"{_sentence(action.words)} {_names(desk, collection, ids)}: whose?", choices), chosen)


def act_on_rows(
    desk: ConsoleApp,
    action: EngineAction,
    collection: str,
    ids: Sequence[str],
    more: Mapping[str, object] = NOTHING_MORE,
) -> None:
    """One action for each row, after one dialog for all of them where it is dangerous."""
    names = {row_id: _name(desk, collection, row_id) for row_id in ids}

    def go() -> None:
        desk.act_each(
            action.verb,
            [({action.args[0].name: row_id, **more}, f"{action.words} {name}") for row_id, name in names.items()],
        )

    if not action.danger:
        go()
        return
    question = f"{_sentence(action.words)} {_names(desk, collection, ids)}?"
    listed = [words for row_id in list(names)[:NAMED] for words in _described(desk, collection, row_id)]
    if len(names) > NAMED:
        listed.append(f"and {plural(len(names) - NAMED, 'more', 'more')}")
    listed += [f"{name}: {value}" for name, value in more.items()]
    confirm(desk, question, [*listed, "", action.warning], action.words.split(" ")[0], go)


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"


def confirm(desk: ConsoleApp, question: str, lines: Sequence[str], verb: str, go: Any) -> None:
    """Ask; on a yes, go."""

    def decided(is_sure: bool | None) -> None:
        if is_sure:
            go()

    desk.push_screen(Confirm(question, lines, verb), decided)


def choose_silence(desk: ConsoleApp, ids: Sequence[str]) -> None:
    """For how long nobody is told about these alerts."""
    if desk.read_only or not ids:
        desk.say("this console is read-only" if desk.read_only else "no alert is selected", "warn")
        return
    choices = [Choice(str(seconds), text) for text, seconds in SILENCES]

    def chosen(seconds: str | None) -> None:
        if seconds is not None:
            named = [(alert_id, f"silence {_name(desk, 'alerts', alert_id)}") for alert_id in ids]
            desk.act_each("alert.silence", [({"alert_id": i, "seconds": float(seconds)}, words) for i, words in named])

    desk.push_screen(Chooser(f"Silence {_names(desk, 'alerts', ids)} for", choices, start="3600.0"), chosen)


def _name(desk: ConsoleApp, collection: str, row_id: str) -> str:
    row = desk.store.collection(collection).get(row_id)
    return clean(item_name(row)) if row is not None else row_id


def _described(desk: ConsoleApp, collection: str, row_id: str) -> list[str]:
    """A row's name, and whose it is where its name alone does not say: miners choose the ids of their nodes."""
    name, row = _name(desk, collection, row_id), desk.store.collection(collection).get(row_id)
    if not isinstance(row, VerificationView):
        return [name]
    uid = "" if row.miner_uid is None else f"uid {row.miner_uid}, "
    return [name, f"  of the miner {uid}{clean(row.miner_hotkey)}"]


def _names(desk: ConsoleApp, collection: str, ids: Sequence[str]) -> str:
    return _name(desk, collection, ids[0]) if len(ids) == 1 else plural(len(ids), collection.removesuffix("s"))
