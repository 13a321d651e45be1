"""Exposure and extraction of the codes that a run planted, against what chance gives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from fedasr.audits.finding import Finding, not_attacked, told
from fedasr.audits.membership.candidates import took_part
from fedasr.audits.membership.claims import spent_of
from fedasr.audits.secrets.figure import draw
from fedasr.audits.secrets.ranks import Ranked, by_language, by_speech, has_language
from fedasr.data.corpus import Corpus
from fedasr.data.ctc_frames import frames_needed
from fedasr.data.subset import Subset
from fedasr.data.synthetic import SyntheticCorpus
from fedasr.errors import InputError
from fedasr.evaluation.recognizer import Recognizer
from fedasr.experiment import Experiment
from fedasr.models.base import SpeechModel
from fedasr.models.tokenizer import Tokenizer
from fedasr.models.weights import load_arrays
from fedasr.privacy.audit.bounds import upper
from fedasr.privacy.audit.exposure import exposure, null_moments, p_value
from fedasr.results.load import Run, as_run
from fedasr.typing import Floats, Integers

FIGURE = "audit_secrets.png"
CONFIDENCE = 0.95
OBSERVER = "whoever has the final model"
KNOWLEDGE = "the sentence up to the code, and how many digits follow"
LANGUAGE, MASKED, VOICE = "internal language model", "noise for the code", "noise for the code, another voice"
ACCESS = {
    LANGUAGE: "what the final model expects to be said before it hears anything",
    MASKED: "what the final model hears in noise after the beginning of the sentence",
    VOICE: "what the final model hears in noise after the beginning, said by a test speaker",
}
Rank = Callable[[SpeechModel, Tokenizer], Ranked]


@dataclass(frozen=True)
class Planted:
    """The codes that a run was trained on.

    Args:
        corpus: that they are in.
        codes: which of them, shape ``(n,)``.
        heard: how often each, shape ``(n,)``.
        missed: codes of which no utterance was trained on.
    """

    corpus: SyntheticCorpus
    codes: Integers
    heard: Integers
    missed: int

    @property
    def words(self) -> str:
        """Say who said them, and how often."""
        mean = float(self.heard.mean())
        often = "once" if mean == 1 else f"{mean:g} times"
        users = self.corpus.secrets.across == "users" and mean > 1
        return f"codes said {often} {'by as many users' if users else 'by one user'}"


def planted_in(run: Run, experiment: Experiment, model: SpeechModel, tokenizer: Tokenizer) -> Planted:
    """Return the codes that a run was trained on.

    An utterance with fewer output frames than its text needs has no alignment, and its loss of CTC was zero: nothing
    of it was learnt. A run looks at estimated durations, so that rendered speech may be shorter.

    Raises:
        InputError: there are none.
    """
    secrets = experiment.config.audit.secrets
    if not secrets.codes:
        raise InputError(
            "'audit.secrets.codes' is 0, so that no secret was said in this run; audit one with"
            " audit.secrets.codes=50 audit.secrets.repeats=16",
            where=str(run.path),
        )
    corpus, rows = unwrapped(experiment.corpus)
    partition = experiment.partition
    trained = np.zeros(len(corpus), bool)
    trained[rows[partition.rows[took_part(experiment, run)[partition.clients]]]] = True
    for row in corpus.planted_rows[trained[corpus.planted_rows]].tolist():
        trained[row] = alignable(experiment, model, tokenizer, corpus, row)
    heard = trained[corpus.planted_rows].sum(1)
    codes = np.flatnonzero(heard)
    if not len(codes):
        raise InputError(
            "nothing was learnt of any utterance with a code: their speakers were never selected or set aside, or the"
            " utterances were held out, or have fewer output frames than their text needs (then set"
            " model.strides=[2,1])",
            where=str(run.path),
        )
    return Planted(corpus, codes, heard[codes], len(heard) - len(codes))


def alignable(
    experiment: Experiment, model: SpeechModel, tokenizer: Tokenizer, corpus: SyntheticCorpus, row: int
) -> bool:
    """Return whether an utterance has an output frame for every token that needs one."""
    many = torch.tensor([1000])
    if int(model.output_frames(many)) == 1000:
        return True
    frames = torch.tensor([len(experiment.speech.log_mel(corpus.waveform(row)))])
    return frames_needed(tokenizer.encode(str(corpus.columns["text"][row]))) <= int(model.output_frames(frames)[0])


def unwrapped(corpus: Corpus) -> tuple[SyntheticCorpus, Integers]:
    """Return the synthetic corpus behind subsets of it, and its row for each of theirs."""
    rows = np.arange(len(corpus))
    while isinstance(corpus, Subset):
        rows, corpus = corpus.rows[rows], corpus.corpus
    assert isinstance(corpus, SyntheticCorpus), "the config sees to it"
    return corpus, rows


def audit_secrets(run: str | Path) -> list[Finding]:
    """Look for the codes that were planted in a finished run, and draw ``audit_secrets.png`` into it.

    Raises:
        InputError: the run is not finished, or no code was planted in it.
    """
    loaded = as_run(run)
    if not loaded.finished:
        raise InputError(f"the run is {loaded.status}; an audit needs a finished one", where=str(loaded.path))
    recognizer = Recognizer(loaded.path)
    experiment = Experiment(recognizer.config)
    planted = planted_in(loaded, experiment, recognizer.model, recognizer.tokenizer)
    corpus, codes = planted.corpus, planted.codes
    start = experiment.model()
    load_arrays(start, experiment.first_weights())
    start.eval()

    def heard(other: bool) -> Rank:
        return lambda model, tokenizer: by_speech(model, tokenizer, experiment, corpus, codes, other)

    ways: dict[str, Rank] = {
        LANGUAGE: lambda model, tokenizer: by_language(model, tokenizer, corpus, codes),
        MASKED: heard(False),
        VOICE: heard(True),
    }
    findings: list[Finding] = []
    shown: dict[str, tuple[Floats, Floats]] = {}
    for name, rank in ways.items():
        if name == LANGUAGE and not has_language(recognizer.model, recognizer.tokenizer):
            reason = f"a model '{recognizer.config.model.name}' has no language model of its own"
            findings.append(unattacked(name, planted, reason))
            continue
        now = rank(recognizer.model, recognizer.tokenizer)
        if not len(now.codes):
            reason = (
                "the encoder leaves the noise too few frames for a code, so that no alignment exists; train with"
                " shorter model.strides, such as [2, 1]"
            )
            findings.append(unattacked(name, planted, reason))
            continue
        before = rank(start, experiment.tokenizer)
        number = 10**corpus.planted.digits
        shown[name] = exposure(now.ranks, number), exposure(before.ranks, number)
        epsilon, delta = spent_of(loaded)
        findings += [
            told(replace(each, claim_epsilon=epsilon, delta=delta))
            for each in findings_of(name, planted, now, before, len(experiment.partition))
        ]
    if shown:
        draw(loaded.path / FIGURE, shown, 10**corpus.planted.digits, f"{len(codes)} {planted.words}")
    return findings


def unattacked(name: str, planted: Planted, reason: str) -> Finding:
    """Return what stands for a way that was not possible."""
    return not_attacked(
        f"{name}, {planted.words}", reason, observer=OBSERVER, access=ACCESS[name], unit=unit_of(planted)
    )


def unit_of(planted: Planted) -> str:
    """Return whose secret it is: of one user, or of all that share it."""
    return "code" if planted.corpus.secrets.across == "users" and planted.heard.max() > 1 else "user"


def findings_of(name: str, planted: Planted, now: Ranked, before: Ranked, clients: int) -> list[Finding]:
    """Return the exposure, the codes that were extracted, and the digits that are right, of one way of looking."""
    digits = planted.corpus.planted.digits
    number = 10**digits
    bits, first = exposure(now.ranks, number), exposure(before.ranks, number)
    mean, deviation = null_moments(number)
    count = len(bits)
    left_out = []
    if planted.missed:
        left_out.append(f"{planted.missed} codes were never learnt: not trained on, or without an alignment")
    if now.short:
        left_out.append(f"{now.short} have noise with too few frames for a code")
    ranking = f"rank among {number:,} codes"
    common = {
        "attack": f"{name}, {planted.words}",
        "observer": OBSERVER,
        "access": ACCESS[name],
        "knowledge": KNOWLEDGE,
        "kind": "estimate",
        "unit": unit_of(planted),
        "clients": clients,
        "n": count,
        "confidence": CONFIDENCE,
    }
    half = 1.96 * float(bits.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    exact, digit = int((now.ranks == 1).sum()), float(now.right.mean() / digits)
    spread = 1.96 * float(now.right.std(ddof=1)) / digits / math.sqrt(count) if count > 1 else math.inf
    figures = [
        {
            "quantity": "exposure",
            "quantity_unit": "bits",
            "value": float(bits.mean()),
            "low": float(bits.mean()) - half,
            "high": float(bits.mean()) + half,
            "floors": {"chance": mean, "initial model": float(first.mean())},
            "method": [ranking, f"p = {p_value(bits):.2g} by chance, where the standard deviation is {deviation:.3g}"],
        },
        {
            "quantity": "codes extracted",
            "value": exact / count,
            "low": 1 - upper(count - exact, count, (1 - CONFIDENCE) / 2),
            "high": upper(exact, count, (1 - CONFIDENCE) / 2),
            "floors": {"chance": 1 / number, "initial model": float((before.ranks == 1).mean())},
            "method": ["share of codes that are the likeliest of all"],
        },
        {
            "quantity": "digits extracted",
            "value": digit,
            "low": max(0.0, digit - spread),
            "high": min(1.0, digit + spread),
            "floors": {"chance": 0.1, "initial model": float(before.right.mean() / digits)},
            "method": ["share of digits that are right in the likeliest code"],
        },
    ]
    findings = []
    for figure in figures:
        method = "; ".join([*figure.pop("method"), *left_out])  # type: ignore[misc]
        if not math.isfinite(float(figure["low"])):  # type: ignore[arg-type]
            figure |= {"low": None, "high": None}
        findings.append(told(Finding(**{**common, **figure}, method=method)))  # type: ignore[arg-type]
    return findings
