"""From a config to the aggregate of a round."""

from __future__ import annotations

from fedasr.config import Config
from fedasr.config.schema import StrategyConfig
from fedasr.errors import InputError
from fedasr.models.weights import Layout, Vector
from fedasr.privacy.update_clipping import Clip
from fedasr.registry import is_reference

from .base import Aggregate
from .coordinate_wise import CoordinateWise, median, trimmed_mean
from .exact_mean import ExactMean
from .own import OwnAggregate, make_aggregator, sums_suffice
from .update_file import UpdateFile
from .weighting import Weighting


def make_aggregate(
    config: StrategyConfig, layout: Layout, start: Vector, weighting: Weighting, clip: Clip | None, file: UpdateFile
) -> Aggregate:
    """Return the aggregate of ``strategy.aggregation``, empty.

    Args:
        config: section ``strategy``.
        layout: of the model.
        start: the global weights that the clients start from, shape ``(parameters,)``.
        weighting: of the round, which a mean needs.
        clip: of a privacy mechanism, which needs a mean.
        file: for the updates of a cohort, where they are needed one by one.
    """
    assert clip is None or config.aggregation == "mean"
    if is_reference(config.aggregation):
        return OwnAggregate(layout, make_aggregator(config, layout), config.aggregation)
    if config.aggregation == "median":
        return CoordinateWise(layout, median, file)
    if config.aggregation == "trimmed-mean":
        return CoordinateWise(layout, trimmed_mean(config.trim_share), file)
    if config.aggregation == "norm-bound":
        assert config.norm_bound is not None
        clip = Clip(layout, config.norm_bound)
    return ExactMean(layout, start, weighting.expected, weighting.denominator, clip)


def check_aggregator(config: Config, layout: Layout) -> None:
    """Raise where ``strategy.aggregation`` refers to what makes no aggregator, or to one that will lack single updates.

    Raises:
        InputError: naming the key and what to change.
    """
    strategy = config.strategy
    if not is_reference(strategy.aggregation):
        return
    aggregator = make_aggregator(strategy, layout)
    if config.secure_aggregation.mode != "none" and not sums_suffice(aggregator):
        raise InputError(
            f"'secure_aggregation.mode' is '{config.secure_aggregation.mode}' but 'strategy.aggregation' is"
            f" '{strategy.aggregation}', which does not say 'sums_alone = True': the server learns the sum of the"
            " updates alone; let it say so if the mean is enough for it, or set strategy.aggregation=mean"
        )
