"""What an attacker learns of one finished cell of the study of leakage, as the columns of its row.

The membership attack of the study is stronger than the plain loss: the loss over that of the public initial model,
which the attacker has too, and which says how hard an utterance is (Watson et al. 2022, arXiv 2111.08440).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from fedasr.audits.finding import Finding
from fedasr.audits.inversion import Search, invert_model
from fedasr.audits.membership.audit import AUC, FLOORS, INITIAL, NO_MODEL, Game, quantity, told_of
from fedasr.audits.membership.candidates import Candidates
from fedasr.audits.membership.claims import claim_of
from fedasr.audits.membership.shadows import Shadow
from fedasr.audits.secrets.audit import LANGUAGE, MASKED, VOICE, audit_secrets, findings_of, planted_in
from fedasr.audits.secrets.ranks import by_language
from fedasr.evaluation.recognizer import Recognizer
from fedasr.experiment import Experiment
from fedasr.models.weights import load_arrays
from fedasr.results.load import Run
from fedasr.typing import Floats

Row = dict[str, Any]

CALIBRATED = "calibrated loss"
MOST = 2000
LEAST = 1e-6
"""Loss below which all are alike."""
WAYS = {VOICE: "voice", MASKED: "noise", LANGUAGE: "language"}
"""Names of columns; that of another voice begins as that of the speaker's own."""
INVERSION_STEPS = 100


def members(run: Run) -> tuple[Row, pd.DataFrame]:
    """Return what membership attacks show of a run, and the score of each utterance with its speaker's groups."""
    target = Shadow(run)
    candidates = Candidates(target.experiment, run, "utterance", MOST)
    game = Game(target, [], candidates, pool=False)
    known = np.isfinite(game.before) & np.isfinite(game.loss[0])
    fallen = np.full(len(candidates), np.nan)
    fallen[known] = np.log(np.maximum(game.before[known], LEAST)) - np.log(np.maximum(game.loss[0][known], LEAST))
    knowledge = "the utterance, its transcript and the public initial model"
    calibrated = game.show(CALIBRATED, [fallen], knowledge, "threshold on the loss over that of the initial model")
    claim = claim_of(run, target.experiment, "utterance")
    shown = [calibrated, *game.attacks(), *game.floors()]
    row: Row = {}
    for finding in told_of(game, shown, claim):
        row |= of_finding(finding)
    for each, name in zip(shown, ("calibrated", "loss", "initial", "no_model"), strict=True):
        row[f"{name}_p"] = each.chance
    row["members"], row["non_members"] = calibrated.rates.members, calibrated.rates.non_members
    row["certified_fpr"] = calibrated.rates.certified()
    return row, scores_of(game, fallen)


def of_finding(finding: Finding) -> Row:
    """Return a finding about membership as columns."""
    attack = finding.attack.split(",")[0]
    if finding.value is None:
        return {}
    if attack in FLOORS:
        return {f"{ {INITIAL: 'initial', NO_MODEL: 'no_model'}[attack] }_auc": finding.value}
    name = {"loss": "loss", CALIBRATED: "calibrated"}[attack]
    what = {AUC: "auc", quantity(0.01): "tpr1", quantity(0.001): "tpr01"}[finding.quantity]
    row = {f"{name}_{what}": finding.value, f"{name}_{what}_low": finding.low, f"{name}_{what}_high": finding.high}
    if what != "tpr01":
        row[f"{what}_ceiling"] = finding.claim
    return {**row, f"{name}_{what}_contradicts": finding.contradiction}


def scores_of(game: Game, scores: Floats) -> pd.DataFrame:
    """Return a row an utterance that was compared: its score, whether a member, and the groups of its speaker."""
    candidates, experiment = game.candidates, game.target.experiment
    kept = np.flatnonzero(game.compared[0] & np.isfinite(scores))
    rows = candidates.rows[kept]
    clients = candidates.first.clients
    held = np.bincount(clients[clients >= 0])[clients[rows]]
    table = pd.DataFrame(
        {
            "score": scores[kept],
            "loss": game.loss[0][kept],
            "loss_before": game.before[kept],
            "member": game.inside[0][kept],
            "speaker": candidates.speakers[kept],
            "activity": held,
        }
    )
    columns = experiment.corpus.columns
    for name in ("gender", "age"):
        if name in columns:
            table[name] = np.asarray(columns[name])[rows]
    return table


def codes(run: Run, every_way: bool) -> Row:
    """Return how exposed the planted codes are, by way of looking.

    Args:
        run: with codes.
        every_way: False: by the internal language model alone, which takes a second and not ten.
    """
    row: Row = {}
    for finding in audit_secrets(run.path) if every_way else by_language_alone(run):
        way = next(short for name, short in WAYS.items() if finding.attack.startswith(name))
        if finding.value is None:
            row[f"{way}_reason"] = finding.method
        elif finding.quantity == "exposure":
            row |= {f"{way}_exposure": finding.value, f"{way}_low": finding.low, f"{way}_high": finding.high}
            row |= {f"{way}_initial": finding.floors["initial model"], "exposure_null": finding.floors["chance"]}
            row |= {f"{way}_p": float(finding.method.split("p = ")[1].split(" ")[0]), "codes": finding.n}
        else:
            row[f"{way}_{finding.quantity.replace(' ', '_')}"] = finding.value
    return row


def by_language_alone(run: Run) -> list[Finding]:
    """Return what the internal language model tells of the codes."""
    recognizer = Recognizer(run.path)
    experiment = Experiment(recognizer.config)
    planted = planted_in(run, experiment, recognizer.model, recognizer.tokenizer)
    start = experiment.model()
    load_arrays(start, experiment.first_weights())
    ranks = [
        by_language(model, experiment.tokenizer, planted.corpus, planted.codes)
        for model in (recognizer.model, start.eval())
    ]
    return findings_of(LANGUAGE, planted, ranks[0], ranks[1], len(experiment.partition))


def ledger(run: Run) -> Row:
    """Return what the ledger says: ε whatever the data were, and all that it depends on."""
    spent = (run.privacy or {}).get("spent")
    if not spent:
        return {"epsilon": math.inf}
    first = spent[0]
    epsilon = first.get("epsilon_data_independent", first["epsilon"])
    row = {name: first.get(name) for name in ("delta", "unit", "adjacency", "sampling")}
    population = first["population"]
    row["population"] = max(population) if isinstance(population, list) else population
    return {**row, "epsilon": math.inf if epsilon is None else float(epsilon), "epsilon_of_votes": first["epsilon"]}


def inverted(one: Run, other: Run) -> Row:
    """Return the paired difference of model inversion of two runs on either half of the speakers."""
    finding = invert_model(one.path, [other.path], search=Search(steps=INVERSION_STEPS)).finding
    return {
        "inversion": finding.value,
        "inversion_low": finding.low,
        "inversion_high": finding.high,
        "inversion_p": float(finding.method.split("Wilcoxon p = ")[1].split(" ")[0]),
        "inversion_unheard": next(iter(finding.floors.values())),
        "inversion_speakers": finding.n,
    }
