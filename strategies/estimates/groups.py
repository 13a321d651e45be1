"""The groups of an estimate that are named before anybody is asked, so that they tell nothing of the devices."""

from __future__ import annotations

from fedasr.errors import InputError
from fedasr.evaluation.secure_sums import MOST_GROUPS, OTHER
from fedasr.experiment import Experiment
from fedasr.protocol import Longest


def known_groups(run: Experiment) -> list[tuple[str, str]]:
    """Return column and value of the groups of ``evaluate.by`` that the test speech has, and ``OTHER`` of each column.

    Raises:
        InputError: there are too many.
    """
    groups = []
    for column in run.config.evaluate.by:
        tested = {str(value)[: Longest.DETAIL] for value in run.corpus.columns[column][run.test_rows]}
        groups += [(column, value) for value in sorted(tested | {OTHER})]
    if len(groups) > MOST_GROUPS:
        raise InputError(
            f"'evaluate.by' has {len(groups)} groups, and a sum for 'evaluate.estimate' has one part for each;"
            f" expected at most {MOST_GROUPS}: leave out columns such as the speaker"
        )
    return groups
