"""The callbacks that ``log`` names, shipped or a user's own."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.config.schema.log import Logged, logged
from fedasr.errors import InputError
from fedasr.registry import is_reference, make_part
from fedasr.runtime.callbacks.base import Callback

HERE = "fedasr.runtime.callbacks"
SHIPPED = {
    "early-stopping": f"{HERE}.early_stopping:EarlyStopping",
    "mlflow": f"{HERE}.mlflow:MLflow",
    "tensorboard": f"{HERE}.tensorboard:TensorBoard",
    "wandb": f"{HERE}.wandb:WandB",
}


def make_callbacks(config: Config) -> list[tuple[str, Callback]]:
    """Return the callbacks of ``log`` with their names, in its order; none of them has done anything yet.

    Raises:
        InputError: there is no such callback, it does not take its options, or its package is not installed.
    """
    return [(item.name, make(item)) for item in logged(config.log)]


def make(item: Logged) -> Callback:
    """Return the callback of an item of ``log``."""
    key = f"log[{item.number}]"
    own = is_reference(item.name)
    reference = item.name if own else SHIPPED[item.name]
    try:
        callback = make_part(reference, key, {}, item.options, f"{key}.options")
    except InputError as error:
        problem = str(error).replace(f"'{reference}'", f"'{item.name}'")
        names_it = problem.startswith((f"'{key}", "unknown option"))
        raise InputError(problem if names_it else f"'{key}' is '{item.name}': {problem}") from None
    if not isinstance(callback, Callback):
        raise InputError(f"'{key}' is '{item.name}', which makes no callback; let it inherit from fedasr.Callback")
    return callback
