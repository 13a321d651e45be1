"""Device selection."""

from __future__ import annotations

from fedasr.config.schema import SelectionConfig
from fedasr.errors import InputError
from fedasr.references import call_reference
from strategies.selection.activity import Activity
from strategies.selection.base import Feedback, Selection, Selector
from strategies.selection.uniform import Uniform

__all__ = ["Activity", "Feedback", "Selection", "Selector", "Uniform", "make_selector"]


def make_selector(config: SelectionConfig) -> Selector:
    """Return the selector of ``selection.name``; a reference is called with the selection config.

    Raises:
        InputError: the reference names nothing, fails, or makes no selector.
    """
    if ":" in config.name:
        selector: Selector = call_reference(config.name, "selection.name", "(selection config)", config)
        missing = [
            name for name in ("select", "observe", "state_dict", "load_state_dict") if not hasattr(selector, name)
        ]
        if missing:
            raise InputError(f"'selection.name' is '{config.name}', which makes no selector: it has no '{missing[0]}'")
        return selector
    if config.name == "activity":
        return Activity(config.activity, config.exponent)
    return Uniform()
