"""Keys that a field handles itself, in the order in which they were typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events

if TYPE_CHECKING:
    from textual.widget import Widget

    Base = Widget
else:
    Base = object  # a Widget among the bases would hide the component styles of the field itself


class OwnKeys(Base):
    """Runs the field's own bindings at once; comes before the widget among the bases.

    Textual lets an unhandled key rise to the application first, so of ``abc``, backspace, ``d`` in one piece, as a slow
    link brings it, the backspace would come last.
    """

    async def run_own(self, key: str) -> bool:
        """Whether the field has a use for that key, which it has made of it then."""
        bindings = self._bindings.key_to_bindings.get(key)
        if bindings:
            await self.run_action(bindings[0].action)
        return bool(bindings)

    async def _on_key(self, event: events.Key) -> None:
        if event.key in self._bindings.key_to_bindings:
            event.stop()
            event.prevent_default()
            await self.run_own(event.key)
