"""What ``strategy.name`` runs: a shipped strategy, or one of a user's own."""

from __future__ import annotations

from flwr.serverapp import Grid

from fedasr.config import Config
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.references import load_reference
from fedasr.registry import arguments, is_reference, make_part
from fedasr.runtime.run_folder import RunFolder

from .server_run import ServerRun
from .traits import StrategyTraits


def shipped(name: str, private: bool = False) -> type[ServerRun]:
    """Return the run of a shipped strategy; what the others import is left alone.

    Args:
        name: ``strategy.name``.
        private: whether the run protects its speech, which is a run of its own in central training.
    """
    if name == "pate":
        from .pate.run import PateRun

        return PateRun
    if name == "central" and private:
        from .private_central_run import PrivateCentralRun

        return PrivateCentralRun
    if name == "central":
        from .central_run import CentralRun

        return CentralRun
    if name == "scaffold":
        from .scaffold_run import ScaffoldRun

        return ScaffoldRun
    from .federated_run import FederatedRun

    return FederatedRun


def make_run(grid: Grid, experiment: Experiment, folder: RunFolder) -> ServerRun:
    """Return the run of ``strategy.name``; nothing of it has happened yet.

    Args:
        grid: any Flower grid.
        experiment: what is trained on what.
        folder: where the run is written.

    Raises:
        InputError: a strategy of the user's own cannot be made.
    """
    strategy = experiment.config.strategy
    if not is_reference(strategy.name):
        private = experiment.config.privacy.unit != "none"
        return shipped(strategy.name, private)(grid, experiment, folder)
    known = {"grid": grid, "experiment": experiment, "folder": folder}
    server_run = make_part(strategy.name, "strategy.name", known, strategy.options, "strategy.options")
    if not isinstance(server_run, ServerRun):
        raise InputError(f"'strategy.name' is '{strategy.name}', which makes no run; {EXPECTED}")
    return server_run


def strategy_traits(config: Config) -> StrategyTraits:
    """Return what the strategy of ``strategy.name`` declares of itself.

    Raises:
        InputError: the reference of a strategy of the user's own names nothing.
    """
    name = config.strategy.name
    made: object = load_reference(name, "strategy.name") if is_reference(name) else shipped(name)
    result = getattr(made, "traits", None)
    return result if isinstance(result, StrategyTraits) else StrategyTraits()


EXPECTED = "expected a class that inherits from fedasr.strategies.server_run.ServerRun"


def check_strategy(config: Config) -> None:
    """Raise where a strategy of the user's own cannot be found or does not take its options, or one cannot be run.

    Raises:
        InputError: naming the key.
    """
    strategy = config.strategy
    if strategy.name == "central":
        from .budget import check_budget

        check_budget(config)
    if not is_reference(strategy.name):
        return
    make = load_reference(strategy.name, "strategy.name")
    if not callable(make):
        raise InputError(f"'strategy.name' is '{strategy.name}', which cannot be called; {EXPECTED}")
    if isinstance(make, type) and not issubclass(make, ServerRun):
        raise InputError(f"'strategy.name' is '{strategy.name}', which makes no run; {EXPECTED}")
    known = dict.fromkeys(("grid", "experiment", "folder"))
    arguments(make, strategy.name, "strategy.name", known, strategy.options, "strategy.options", ())
