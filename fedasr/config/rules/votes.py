"""What soft votes and recorded votes need."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_internal_lm(config: Config, where: str) -> None:
    """Raise where there are no candidates to take anything off.

    Raises:
        InputError: naming the keys.
    """
    if config.pate.internal_lm and config.pate.unit != "utterance":
        raise InputError(
            f"'pate.internal_lm' is {config.pate.internal_lm:g} but 'pate.unit' is '{config.pate.unit}', which has no"
            " candidates; leave it out, or set pate.unit=utterance",
            where=where,
        )


def check_soft_votes(config: Config, where: str) -> None:
    """Raise on keys of the soft mechanisms that are wrong, or that another mechanism would not read.

    Raises:
        InputError: naming the key.
    """
    pate = config.pate
    if pate.mechanism.startswith("soft-"):
        if pate.budget == "data-dependent":
            raise InputError(
                f"'pate.mechanism' is '{pate.mechanism}', which costs the same whatever the votes, but 'pate.budget' is"
                " 'data-dependent'; leave it out",
                where=where,
            )
        for name, weight in pate.weights.items():
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1:
                raise InputError(f"'pate.weights.{name}' is {weight!r}; expected a number between 0 and 1", where=where)
        if pate.student.answers > 1 and pate.unit != "utterance":
            raise InputError(
                f"'pate.student.answers' is {pate.student.answers} but 'pate.unit' is '{pate.unit}', whose answers are"
                " parts of one transcript; set it to 1, or pate.unit=utterance",
                where=where,
            )
        return
    for name, set_to in (("weights", bool(pate.weights)), ("student.answers", pate.student.answers > 1)):
        if set_to:
            raise InputError(
                f"'pate.{name}' is set but 'pate.mechanism' is '{pate.mechanism}', which reads none; leave it out, or"
                " choose soft-gaussian or soft-laplace",
                where=where,
            )


def check_recorded_votes(config: Config, where: str) -> None:
    """Raise on votes of an earlier run that cannot take the place of teachers.

    Raises:
        InputError: naming the keys.
    """
    pate = config.pate
    if pate.votes_from is None:
        if pate.simulated_teachers is not None:
            raise InputError(
                "'pate.simulated_teachers' is set but 'pate.votes_from' is not; give the run whose votes they would"
                " cast",
                where=where,
            )
        return
    for name, value, wanted in (("unit", pate.unit, "utterance"), ("noise_at", pate.noise_at, "server")):
        if value != wanted:
            raise InputError(
                f"'pate.votes_from' is set but 'pate.{name}' is '{value}'; recorded votes need {wanted}", where=where
            )
    if pate.mechanism.startswith("soft-"):
        raise InputError(
            f"'pate.votes_from' is set but 'pate.mechanism' is '{pate.mechanism}', which needs posteriors, not votes",
            where=where,
        )
    if pate.store is not None:
        raise InputError("'pate.votes_from' and 'pate.store' are set, but recorded votes need no teachers", where=where)
