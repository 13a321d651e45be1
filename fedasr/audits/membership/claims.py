"""Which ceiling a run's ledger sets on an attack, if any."""

from __future__ import annotations

from dataclasses import dataclass

from fedasr.data.people import in_several_clients
from fedasr.experiment import Experiment
from fedasr.privacy.accountants import settled
from fedasr.privacy.audit.ceiling import Ceiling
from fedasr.privacy.audit.curves import curve_of
from fedasr.privacy.events import PateVotes
from fedasr.privacy.ledger import Ledger, Spending
from fedasr.results.load import Run


@dataclass(frozen=True)
class Claim:
    """A ledger's ceiling.

    Args:
        ceiling: over all rates.
        spending: what the ledger says of the same releases.
        epsilon: whatever the data were.
        words: how the ledger's unit bears on the attack's.
        whole: whether nothing else was released that costs.
    """

    ceiling: Ceiling
    spending: Spending
    epsilon: float
    words: str
    whole: bool


def claim_of(run: Run, experiment: Experiment, unit: str) -> Claim | str:
    """Return the lowest ceiling that the run's ledger sets, or why it sets none.

    Args:
        run: with or without a ledger.
        experiment: of the run.
        unit: of the attack, ``utterance`` or ``speaker``.
    """
    document = run.privacy
    if document is None or not isinstance(document.get("ledger"), dict):
        return "the run has no ledger"
    ledger = Ledger()
    ledger.load_state_dict(document["ledger"])
    delta = float(document["spent"][0]["delta"]) if document.get("spent") else experiment.config.privacy.delta
    claims: list[Claim] = []
    reasons: list[str] = []
    for group in ledger.groups():
        steps = steps_between(group[0], ledger.spending(group, delta).adjacency, unit, experiment)
        if isinstance(steps, str):
            reasons.append(steps)
            continue
        events = [e.data_independent() if isinstance(e, PateVotes) else e for e in ledger.events(group)]
        ceiling = Ceiling(curve_of(events, ledger.accountant), steps[0])
        epsilon = settled(events, delta, ledger.accountant).epsilon
        whole = len(ledger.groups()) == 1
        claims.append(Claim(ceiling, ledger.spending(group, delta), epsilon, steps[1], whole))
    if claims:
        return min(claims, key=lambda claim: claim.ceiling.area())
    return "; ".join(dict.fromkeys(reasons)) or "nothing was charged to the ledger"


def steps_between(protected: str, adjacency: str, unit: str, experiment: Experiment) -> tuple[int, str] | str:
    """Return how many neighbours lie between the two worlds of an attack, and why; a text: the ledger says nothing.

    Args:
        protected: unit of the ledger.
        adjacency: of the same.
        unit: of the attack.
        experiment: knows who holds whose speech.
    """
    if protected == "example":
        if unit == "utterance":
            return 1, "the ledger protects one utterance"
        return "the ledger protects one utterance, the attack looks for speakers"
    exchanged = 1 if adjacency == "replace-one" else 2
    twice = "" if exchanged == 1 else ", removed and added again, so the ceiling is that of two changes"
    holder = "teacher" if protected == "teacher" else "user"
    if unit == "utterance":
        return exchanged, f"the ledger protects one {holder}, and with it each of its utterances{twice}"
    speakers = experiment.corpus.columns["speaker"]
    if in_several_clients(experiment.partition, speakers):
        return f"the ledger protects one {holder}, and the speech of some speakers is spread over several"
    alone = len(set(speakers[experiment.partition.rows].tolist())) == int((experiment.partition.counts > 0).sum())
    if protected == "user" and alone:
        return 1, "the ledger protects one user, who is one speaker"
    return exchanged, f"the ledger protects one {holder}, and with it each of its speakers{twice}"


def spent_of(run: Run) -> tuple[float, float] | tuple[None, None]:
    """Return ε, whatever the data were, and δ of the ledger's first group; None: there is no ledger."""
    spent = (run.privacy or {}).get("spent")
    if not spent:
        return None, None
    epsilon = spent[0].get("epsilon_data_independent", spent[0]["epsilon"])
    return float("inf") if epsilon is None else float(epsilon), float(spent[0]["delta"])
