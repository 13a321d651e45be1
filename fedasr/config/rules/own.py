"""What a part of a user's own may not be combined with."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError
from fedasr.registry import is_reference


def check_own(config: Config, where: str) -> None:
    """Raise where a guarantee would rest on code that nobody here knows.

    Raises:
        InputError: naming the keys and what to change.
    """
    private = f"'privacy.unit' is '{config.privacy.unit}'" if config.privacy.unit != "none" else None
    if is_reference(config.strategy.name) and private:
        raise InputError(
            f"'strategy.name' is '{config.strategy.name}' but {private}; what a strategy of your own releases, no"
            " accountant knows: leave section 'privacy' out, or choose a shipped strategy",
            where=where,
        )
    if config.strategy.name == "pate":
        private = "'strategy.name' is 'pate'"
    if config.client_app is not None and private:
        raise InputError(
            f"'client_app' is '{config.client_app}' but {private}; what a client app of your own sends, no accountant"
            " knows: leave one of them out",
            where=where,
        )
