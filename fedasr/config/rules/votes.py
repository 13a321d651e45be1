"""What soft votes and recorded votes need."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_soft_votes(config: Config, where: str) -> None:
    """Raise on keys of the soft mechanisms that are wrong.

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


def check_recorded_votes(config: Config, where: str) -> None:
    """Raise on votes of an earlier run that cannot take the place of teachers.

    Raises:
        InputError: naming the keys.
    """
    pate = config.pate
    if pate.votes_from is None:
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
