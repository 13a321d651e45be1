"""Attacks on the membership of utterances or speakers, with their floors and the ledger's ceiling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedasr.audits.finding import Finding, not_attacked, told
from fedasr.audits.membership.candidates import UNITS, Candidates, drawn
from fedasr.audits.membership.claims import Claim, claim_of, spent_of
from fedasr.audits.membership.figure import Line, draw
from fedasr.audits.membership.floors import described, without_model
from fedasr.audits.membership.losses import batches_of, losses
from fedasr.audits.membership.shadows import FEWEST, Shadow, shadows_of
from fedasr.errors import InputError
from fedasr.models.weights import load_arrays
from fedasr.privacy.audit.bounds import upper
from fedasr.privacy.audit.membership import freedom, lira, ratios, rmia, shape_of, stable_logit
from fedasr.privacy.audit.roc import CONFIDENCE, FALSE_RATES, Rate, Rates, chance, rates
from fedasr.results.load import as_run
from fedasr.typing import Floats

FIGURE = "audit_membership.png"
LIMIT = 2000
FEWEST_FALSE = 0.02
"""Probability at most with which a floor is above chance although nothing tells members apart."""
OBSERVER = "whoever has the final model"
ACCESS = "the final model's loss"
BEFORE = "what was there before training"
ONE = {"utterance": "the utterance and its transcript", "speaker": "some utterances of the speaker, with transcripts"}
AUC = "AUC"
MOST_CLIENTS = 1 << 40
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Shown:
    """What one attack shows."""

    name: str
    scores: Floats
    member: Bools
    rates: Rates
    chance: float
    """of so large an area where nothing leaks"""
    knowledge: str
    method: str
    assumes: tuple[str, ...] = ()


def quantity(rate: float) -> str:
    """Return the name of a true-positive rate: ``TPR at 1 % FPR``."""
    return f"TPR at {100 * rate:g} % FPR"


def audit_membership(
    run: str | Path,
    shadows: str | Path | None = None,
    unit: str = "utterance",
    non_members: str | None = None,
    pool: bool = False,
    limit: int = LIMIT,
) -> list[Finding]:
    """Attack the membership of utterances or speakers in a finished run, and draw ``audit_membership.png`` into it.

    Args:
        run: the run folder.
        shadows: the folder of a sweep whose runs differ from it in their seed; None: no attack that needs them.
        unit: ``utterance`` or ``speaker``.
        non_members: unit speaker: the split of those who were left out; None: one that was drawn at random.
        pool: attack each run of the sweep too, with all others for shadow models, and pool what comes out.
        limit: units at most.

    Raises:
        InputError: the run is not finished, its non-members are not exchangeable with its members, or the sweep does
            not fit.
    """
    if unit not in UNITS:
        raise InputError(f"is '{unit}'; expected one of: {', '.join(UNITS)}", where="--unit")
    if limit < 2:
        raise InputError(f"is {limit}; expected a whole number of at least 2", where="--limit")
    if pool and shadows is None:
        raise InputError("needs the runs of a sweep; give their folder with --shadows", where="--pool")
    loaded = as_run(run)
    if not loaded.finished:
        raise InputError(f"the run is {loaded.status}; an audit needs a finished one", where=str(loaded.path))
    target = Shadow(loaded)
    candidates = Candidates(target.experiment, loaded, unit, limit, non_members)
    others = [] if shadows is None else shadows_of(target, Path(shadows))
    game = Game(target, others, candidates, pool)
    shown = [*game.attacks(), *game.floors()]
    claim = claim_of(loaded, target.experiment, unit)
    findings = told_of(game, shown, claim)
    draw(
        loaded.path / FIGURE,
        [Line(each.name, each.scores, each.member, floor=each.name in FLOORS) for each in shown],
        None if isinstance(claim, str) else claim.ceiling,
        caption(game, claim),
    )
    return findings


INITIAL, NO_MODEL = "loss of the initial model", "no model"
FLOORS = (INITIAL, NO_MODEL)


class Game:
    """Losses of all models on all candidates, and who was a member of which.

    Args:
        target: the run that is attacked.
        others: shadow models.
        candidates: the units.
        pool: attack each of the others, too.
    """

    def __init__(self, target: Shadow, others: Sequence[Shadow], candidates: Candidates, pool: bool) -> None:
        self.target = target
        self.others = list(others)
        self.candidates = candidates
        self.pool = pool
        runs = [target, *others]
        split = candidates.split
        draws = [
            candidates.first if each is target else drawn(each.experiment, each.run, candidates.unit, split)
            for each in runs
        ]
        self.inside = np.array([candidates.members(draw) for draw in draws])
        self.compared = np.array(
            [candidates.compared(draw, each.recognizer.config.seed) for draw, each in zip(draws, runs, strict=True)]
        )
        one_draw = candidates.unit == "speaker"
        self.groups = [
            np.full(len(candidates), number) if one_draw else number * MOST_CLIENTS + draw.clients[candidates.rows]
            for number, draw in enumerate(draws)
        ]
        """within which a coin told members from non-members, by run"""
        speech = target.experiment.speech
        self.batches = batches_of(speech, candidates.rows, target.recognizer.config.evaluate.batch_size)
        heard = [
            losses(each.recognizer.model, each.recognizer.tokenizer, speech, self.batches, candidates.rows)
            for each in runs
        ]
        by_utterance = np.array(heard)
        self.loss = candidates.mean(by_utterance)
        self.phi = candidates.mean(stable_logit(by_utterance))
        damaged = ~np.isfinite(self.loss).all(0)
        if damaged.all() or not np.isfinite(by_utterance[0]).any():
            raise InputError("no utterance has a finite loss under the model", where=str(target.run.path))
        self.compared &= ~damaged
        self.left_out = int(damaged.sum())
        """units that cannot be decoded, or have no alignment: whether members or not"""

    @cached_property
    def before(self) -> Floats:
        """Loss of each unit under the initial model, shape ``(units,)``."""
        experiment = self.target.experiment
        start = experiment.model()
        load_arrays(start, experiment.first_weights())
        result = losses(start, experiment.tokenizer, experiment.speech, self.batches, self.candidates.rows)
        return self.candidates.mean(result)

    @property
    def attacked(self) -> range:
        """Which runs are attacked."""
        return range(len(self.inside) if self.pool else 1)

    def show(self, name: str, scores: Sequence[Floats], knowledge: str, method: str, *assumes: str) -> Shown:
        """Return what scores show on all runs that are attacked.

        Args:
            name: of the attack.
            scores: of each attacked run, shape ``(units,)``; NaN: none.
            knowledge: what the attacker knows.
            method: how.
            assumes: what it assumes.
        """
        kept = [self.compared[number] & np.isfinite(score) for number, score in enumerate(scores)]
        values = np.concatenate([score[keep] for score, keep in zip(scores, kept, strict=True)])
        member = np.concatenate([self.inside[number][keep] for number, keep in enumerate(kept)])
        speakers = np.concatenate([self.candidates.speakers[keep] for keep in kept])
        groups = np.concatenate([self.groups[number][keep] for number, keep in enumerate(kept)])
        seed = self.target.recognizer.config.seed
        result, by_chance = rates(values, member, speakers, seed), chance(values, member, groups, seed)
        return Shown(name, values, member, result, by_chance, knowledge, method, tuple(assumes))

    def attacks(self) -> list[Shown]:
        """Return what the attacks show that are possible."""
        one = ONE[self.candidates.unit]
        shown = [self.show("loss", [-self.loss[number] for number in self.attacked], one, "threshold on the loss")]
        if not self.others:
            return shown
        likelihoods, relative = [], []
        for number in self.attacked:
            rest = np.arange(len(self.inside)) != number
            likelihoods.append(lira(self.phi[number], self.phi[rest], self.inside[rest]))
            ratio = ratios(self.loss[number], self.loss[rest], self.inside[rest])
            known = ratio[np.isfinite(ratio)]
            relative.append(np.where(np.isfinite(ratio), rmia(ratio, known), np.nan))
        count = len(self.others)
        trained = f"{one}, and {count} shadow models trained like the attacked one on others drawn alike"
        skewness, kurtosis = shape_of(self.phi, self.inside)
        gaussian = f"φ is Gaussian over models (skewness {skewness:.2g}, excess kurtosis {kurtosis:.2g}; both 0 if so)"
        if freedom(self.inside[1:]) > 0:
            shown.append(self.show("LiRA", likelihoods, trained, f"LiRA with {count} shadow models", gaussian))
        shown.append(self.show("RMIA", relative, trained, f"RMIA with {count} shadow models, a = 0.3"))
        return shown

    def floors(self) -> list[Shown]:
        """Return what is found where the model learnt nothing, and where there is none."""
        shown = []
        candidates, speech = self.candidates, self.target.experiment.speech
        one = ONE[candidates.unit]
        shown.append(self.show(INITIAL, [-self.before], one, "threshold on the loss before training"))
        features = described(speech, self.batches, candidates.rows)
        features = candidates.mean(features.T).T
        usable = self.compared[0] & np.isfinite(features).all(1)
        scores = np.full(len(candidates), np.nan)
        scores[usable] = without_model(features[usable], self.inside[0][usable], candidates.speakers[usable])
        method = "logistic regression on length, text, level and spectrum, fitted on other speakers"
        shown.append(self.show(NO_MODEL, [scores], f"{one}, and which others are members", method))
        return shown


def told_of(game: Game, shown: Sequence[Shown], claim: Claim | str) -> list[Finding]:
    """Return the findings: three quantities an attack, the area of each floor, and what was not attacked."""
    floors = {each.name: each.rates for each in shown if each.name in FLOORS}
    exchangeable = all(each.chance > FEWEST_FALSE / len(FLOORS) for each in shown if each.name in FLOORS)
    findings: list[Finding] = []
    for each in shown:
        asked = (AUC,) if each.name in FLOORS else (AUC, *FALSE_RATES)
        for what in asked:
            findings.append(finding(game, each, what, claim, {} if each.name in FLOORS else floors, exchangeable))
    if not game.others:
        reason = f"no shadow models were given; '--shadows' takes a sweep of at least {FEWEST} other seeds"
        for name in ("LiRA", "RMIA"):
            findings.append(
                not_attacked(
                    f"{name}, membership of {game.candidates.unit}s",
                    reason,
                    observer=OBSERVER,
                    access=ACCESS,
                    unit=game.candidates.unit,
                )
            )
    return findings


def finding(
    game: Game, shown: Shown, what: str | float, claim: Claim | str, floors: dict[str, Rates], exchangeable: bool
) -> Finding:
    """Return one quantity of one attack.

    Args:
        game: that was played.
        shown: what the attack shows.
        what: ``AUC``, or the false-positive rate at which true positives are told.
        claim: of the ledger, or why there is none.
        floors: what is found where there is nothing to be found.
        exchangeable: whether the floors are no better than chance.
    """
    rate: Rate = shown.rates.auc if isinstance(what, str) else shown.rates.true[what]
    beside = {"random": 0.5 if isinstance(what, str) else what}
    beside |= {
        name: (result.auc if isinstance(what, str) else result.true[what]).value for name, result in floors.items()
    }
    certified = shown.rates.certified()
    method = [shown.method, "interval by resampling speakers"]
    if game.left_out:
        method.append(f"{game.left_out} {game.candidates.unit}s left out that cannot be aligned or decoded")
    if isinstance(what, str):
        method.append(f"p = {shown.chance:.2g} of so large an area by chance")
    if game.pool and shown.name not in FLOORS:
        method.append(f"{len(game.attacked)} runs attacked, each with all others for shadow models")
    if not isinstance(what, str) and certified > what:
        method.append(
            f"{shown.rates.non_members:,} non-members certify no false-positive rate below {100 * certified:.2g} %"
        )
    if not exchangeable:
        method.append("A FLOOR IS ABOVE CHANCE: members and non-members differ without the model, and this says little")
    narrow = not math.isnan(rate.low)
    base = Finding(
        attack=f"{shown.name}, membership of {game.candidates.unit}s",
        observer=OBSERVER if shown.name != NO_MODEL else "whoever has the speech alone",
        access=ACCESS if shown.name not in FLOORS else BEFORE,
        knowledge=shown.knowledge,
        kind="estimate",
        quantity=what if isinstance(what, str) else quantity(what),
        value=rate.value,
        low=rate.low if narrow else None,
        high=rate.high if narrow else None,
        unit=game.candidates.unit,
        clients=len(game.target.experiment.partition),
        n=shown.rates.members + shown.rates.non_members,
        inside=shown.rates.members,
        outside=shown.rates.non_members,
        confidence=CONFIDENCE if narrow else None,
        assumes=(f"the interval is over {shown.rates.speakers} speakers", *shown.assumes),
        floors=beside,
    )
    if shown.name in FLOORS:
        return told(replace(base, method="; ".join(method)))
    if isinstance(claim, str):
        epsilon, delta = spent_of(game.target.run)
        unclaimed = replace(base, claim_epsilon=epsilon, delta=delta)
        return told(replace(unclaimed, method="; ".join([*method, f"no ceiling: {claim}"])))
    ceiling = claim.ceiling
    most = ceiling.area() if isinstance(what, str) else ceiling.true_rate(what)
    limit = most if isinstance(what, str) else ceiling.true_rate(false_rate(what, shown.rates.non_members))
    return told(
        replace(
            base,
            method="; ".join([*method, claim.words]),
            claim=most,
            claim_epsilon=claim.epsilon,
            delta=claim.spending.delta,
            adjacency=claim.spending.adjacency,
            sampling=", ".join(claim.spending.sampling),
            randomness=claim.spending.randomness,
            of_ledger=claim.whole,
            contradiction=exchangeable and bool(rate.low > limit),
        )
    )


def false_rate(wanted: float, non_members: int) -> float:
    """Return the false-positive rate that is certain of a threshold with at most a share of false positives."""
    return upper(math.floor(wanted * non_members), non_members, 1 - CONFIDENCE)


def caption(game: Game, claim: Claim | str) -> str:
    """Return what the figure says below."""
    count = int(game.compared[0].sum())
    if isinstance(claim, str):
        return f"{count:,} {game.candidates.unit}s, half of them members; no ceiling: {claim}"
    return (
        f"{count:,} {game.candidates.unit}s; ceiling of ε = {claim.epsilon:.3g} at δ = {claim.spending.delta:g}:"
        f" {claim.words}"
    )
