"""Can speech be rebuilt from a model? Model inversion, and what of it is due to a speaker who was in the training.

The inverted features of a transcript are x* = argmin NLL(y|x)/|y| + λ₁·TV(x) + λ₂·(x − m)ᵀΣ⁻¹(x − m), with m and Σ of
public speech. They look like speech whether or not the speaker's recordings were in the training: what leaks is only
the difference between a model that heard the speaker and one that did not, from the same random start.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import wilcoxon

from fedasr import seeds
from fedasr.audits.finding import Finding, told
from fedasr.audits.spread import interval
from fedasr.data.batches import Batch
from fedasr.errors import InputError
from fedasr.evaluation.recognizer import Recognizer
from fedasr.experiment import Experiment
from fedasr.privacy.audit.similarity import warped_correlation
from fedasr.results.load import Run, load_run
from fedasr.training.local import normalised_loss
from fedasr.typing import Floats

INVERTED = "model inversion"
ENOUGH = 20
"""Speakers below which the test has no power."""
PUBLIC_UTTERANCES = 100
"""Of the test split, that the public statistics are of."""
SMALLEST_DEVIATION = 1e-3
WHOEVER = "whoever has the final model"


@dataclass(frozen=True)
class Search:
    """How x* is looked for."""

    steps: int = 200
    """of Adam"""
    rate: float = 0.1
    """Adam's, falling as a cosine"""
    smoothness: float = 0.1
    """λ₁: of the total variation, a mean over the entries"""
    prior: float = 0.1
    """λ₂: of the Mahalanobis distance, a mean over the entries"""

    @classmethod
    def checked(cls, steps: int) -> Search:
        """Return the search that a command line asks for.

        Raises:
            InputError: there are no steps.
        """
        if steps < 1:
            raise InputError(f"'--steps' is {steps}; expected a whole number of at least 1")
        return cls(steps)


class Trained:
    """A finished run as the attack reads it: its model, and what speech it heard.

    Raises:
        InputError: the folder holds no finished run, or one on devices.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.recognizer = Recognizer(run.path)
        self.config = self.recognizer.config
        self.experiment = Experiment(self.config)
        rows = self.experiment.partition.rows
        self.by_speaker: dict[str, list[int]] = defaultdict(list)
        for row, speaker in zip(rows.tolist(), self.experiment.corpus.columns["speaker"][rows], strict=True):
            self.by_speaker[str(speaker)].append(row)

    def batch(self, rows: Sequence[int]) -> Batch:
        """Return utterances of its speech as a batch."""
        return self.experiment.speech.batch(rows)

    def own_words(self, speaker: str, everybody: Sequence[Trained]) -> tuple[int, int]:
        """Return the speaker's utterance whose words the fewest others say, and how many others say them."""
        texts = self.experiment.corpus.columns["text"]
        speakers_of: dict[str, set[str]] = defaultdict(set)
        for model in everybody:
            other_texts = model.experiment.corpus.columns["text"]
            for who, rows in model.by_speaker.items():
                for row in rows:
                    speakers_of[str(other_texts[row])].add(who)
        counted = [(len(speakers_of[str(texts[row])] - {speaker}), row) for row in self.by_speaker[speaker]]
        others, row = min(counted)
        return row, others


@dataclass(frozen=True)
class Public:
    """Mean and covariance of mel frames of public speech."""

    mean: torch.Tensor
    """``(mel,)``"""
    precision: torch.Tensor
    """inverse covariance, ``(mel, mel)``"""

    @classmethod
    def of(cls, model: Trained) -> Public:
        """Return those of the test split of a run."""
        rows = model.experiment.rows(model.config.data.test_split)[:PUBLIC_UTTERANCES]
        frames = np.concatenate([model.experiment.speech.features(int(row)) for row in rows]).astype(np.float64)
        covariance = np.cov(frames.T) + 1e-3 * np.eye(frames.shape[1])
        precision = torch.from_numpy(np.linalg.inv(covariance)).float()
        return cls(torch.from_numpy(frames.mean(axis=0)).float(), precision)


def invert(model: Trained, known: Batch, public: Public, search: Search, start: torch.Tensor) -> list[Floats]:
    """Return x* of each transcript, ``(frames, mel)``.

    Args:
        model: that is inverted.
        known: lengths and transcripts; the features are not read.
        public: the prior.
        search: how to look.
        start: where, shape of the features.
    """
    recogniser = model.recognizer.model
    recogniser.requires_grad_(False)
    lengths = known.feature_lengths.view(-1, 1, 1).float()
    mask = (torch.arange(start.shape[1]) < known.feature_lengths.unsqueeze(1)).unsqueeze(2).float()
    normalised = model.config.data.features.normalize == "utterance"

    def normal(x: torch.Tensor) -> torch.Tensor:
        if not normalised:
            return x * mask
        rest = (x - (x * mask).sum(1, keepdim=True) / lengths) * mask
        deviation = (rest.square().sum(1, keepdim=True) / lengths).sqrt()
        return rest / deviation.clamp(min=SMALLEST_DEVIATION)

    x = normal(start)
    first, second = torch.zeros_like(x), torch.zeros_like(x)
    for step in range(1, search.steps + 1):
        guess = x.detach().requires_grad_(True)
        loss = normalised_loss(recogniser, replace(known, features=guess)).sum()
        away = (guess - public.mean) * mask
        distance = ((away @ public.precision) * away).sum((1, 2)) / (lengths.flatten() * x.shape[2])
        variation = guess.diff(dim=1).abs().mul(mask[:, 1:]).sum((1, 2)) + guess.diff(dim=2).abs().sum((1, 2))
        variation = variation / (lengths.flatten() * x.shape[2])
        total = loss + search.prior * distance.sum() + search.smoothness * variation.sum()
        [slope] = torch.autograd.grad(total, guess)
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope.square()
        rate = 0.5 * search.rate * (1 + math.cos(math.pi * step / search.steps))
        change = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        x = normal(x - rate * change)
    return [x[row, :length].double().numpy() for row, length in enumerate(known.feature_lengths.tolist())]


def noise(known: Batch, seed: int) -> torch.Tensor:
    """Return where searches begin, of the shape of the features: the same for both models of a pair."""
    rng = seeds.generator(seed, "inversion")
    return torch.from_numpy(rng.standard_normal(tuple(known.features.shape)).astype(np.float32))


@dataclass(frozen=True)
class Pair:
    """One speaker, a model that heard them and one that did not."""

    speaker: str
    others: int
    """other speakers who say the same words"""
    heard: float
    """similarity of x* of the model that heard the speaker with the speaker's utterance"""
    unheard: float

    @property
    def difference(self) -> float:
        """What is due to the speaker."""
        return self.heard - self.unheard


@dataclass(frozen=True)
class ModelInversion:
    """What model inversion shows of speakers."""

    pairs: tuple[Pair, ...]
    finding: Finding

    def as_json(self) -> dict[str, Any]:
        """Return the finding, and a row a speaker."""
        rows = [
            {
                "speaker": pair.speaker,
                "others": pair.others,
                "heard": pair.heard,
                "unheard": pair.unheard,
                "difference": pair.difference,
            }
            for pair in self.pairs
        ]
        return {"findings": [self.finding.as_json()], "speakers": rows}


def invert_model(
    folder: Path | str,
    without: Sequence[Path | str],
    speakers: int | None = None,
    search: Search | None = None,
    seed: int = 0,
) -> ModelInversion:
    """Compare what models tell of speakers they heard with what models tell of speakers they did not.

    Speakers who are in one run of a pair and not in the other count, whichever run it is: with two runs that hold
    either half of the speakers, a model that is better altogether favours nobody.

    Args:
        folder: of the run.
        without: runs that differ from it in who was in the training alone (``data.exclude``).
        speakers: that are looked at, at most; None: all.
        search: how x* is looked for; None: the usual.
        seed: of the choice of speakers and of the starts.

    Raises:
        InputError: the runs cannot be compared, or no speaker is in one alone.
    """
    search = search or Search()
    if speakers is not None and speakers < 1:
        raise InputError(f"'--speakers' is {speakers}; expected a whole number of at least 1")
    if seed < 0:
        raise InputError(f"'--seed' is {seed}; expected a whole number of at least 0")
    base = Trained(load_run(folder))
    public = Public.of(base)
    jobs: list[tuple[str, Trained, Trained]] = []
    for place in without:
        other = Trained(load_run(place))
        check_alike(base, other)
        jobs += [(who, base, other) for who in sorted(base.by_speaker.keys() - other.by_speaker.keys())]
        jobs += [(who, other, base) for who in sorted(other.by_speaker.keys() - base.by_speaker.keys())]
    if not jobs:
        raise InputError(
            "has the same speakers as the runs of '--without'; train those with data.exclude", where=str(folder)
        )
    if speakers is not None and speakers < len(jobs):
        drawn = np.random.default_rng([seed, 3]).choice(len(jobs), speakers, replace=False)
        jobs = [jobs[index] for index in np.sort(drawn)]
    pairs: list[Pair] = []
    for heard, unheard in dict.fromkeys((heard, unheard) for _, heard, unheard in jobs):
        whom = [who for who, *models in jobs if models == [heard, unheard]]
        pairs += compared(whom, heard, unheard, public, search, seed)
    return ModelInversion(tuple(pairs), finding_of(base, pairs, len(without), search))


def compared(
    speakers: Sequence[str], heard: Trained, unheard: Trained, public: Public, search: Search, seed: int
) -> list[Pair]:
    """Return the pairs of speakers whom one model heard and the other did not."""
    chosen = [heard.own_words(speaker, [heard, unheard]) for speaker in speakers]
    known = heard.batch([row for row, _ in chosen])
    if len(known) < len(speakers):
        raise InputError("an utterance cannot be decoded any more", where=str(heard.run.path))
    start = noise(known, seed)
    result = [invert(model, known, public, search, start) for model in (heard, unheard)]
    pairs = []
    for row, (speaker, (_, others)) in enumerate(zip(speakers, chosen, strict=True)):
        truth = known.features[row, : int(known.feature_lengths[row])].double().numpy()
        with_them, without_them = (warped_correlation(side[row], truth) for side in result)
        pairs.append(Pair(speaker, others, with_them, without_them))
    return pairs


def check_alike(base: Trained, other: Trained, same_seed: bool = True) -> None:
    """Raise where two runs read speech differently, or with other models or seeds where those must not differ.

    Raises:
        InputError: naming what differs.
    """
    if base.recognizer.tokenizer != other.recognizer.tokenizer:
        raise InputError(
            f"has other characters than {base.run.path}; set model.alphabet alike", where=str(other.run.path)
        )
    for name, one, two, needed in (
        ("data.features", base.config.data.features, other.config.data.features, True),
        ("model.name", base.config.model.name, other.config.model.name, same_seed),
        ("seed", base.config.seed, other.config.seed, same_seed),
    ):
        if needed and one != two:
            raise InputError(f"differs from {base.run.path} in '{name}'; set it alike", where=str(other.run.path))


def finding_of(base: Trained, pairs: Sequence[Pair], runs: int, search: Search) -> Finding:
    """Return the paired difference as a finding, with Wilcoxon's test of it."""
    differences = np.array([pair.difference for pair in pairs])
    low, high = interval(differences)
    probability = float(wilcoxon(differences, alternative="greater").pvalue) if differences.any() else 1.0
    few = f"; {len(pairs)} speakers are too few to show anything ({ENOUGH} are needed)" if len(pairs) < ENOUGH else ""
    alone = sum(pair.others == 0 for pair in pairs)
    privacy = base.config.privacy
    private = privacy.unit != "none" or base.config.strategy.name == "pate"
    return told(
        Finding(
            attack=INVERTED,
            observer=WHOEVER,
            access="the final model",
            knowledge="the transcript, the number of frames, and public speech",
            kind="estimate",
            quantity="paired difference of mel similarity",
            value=float(differences.mean()),
            low=low,
            high=high,
            delta=privacy.delta if private else None,
            claim_epsilon=base.run.summary.get("epsilon") if private else None,
            unit="user",
            n=len(pairs),
            method=(
                f"{search.steps} steps from a random start that both models share, similarity after time is warped;"
                f" Wilcoxon p = {probability:.3g} that models do not tell more of whom they heard; {len(pairs)}"
                f" speakers over {runs} pairs of runs, {alone} of whom say words that nobody else says{few}"
            ),
            confidence=0.95 if low is not None else None,
            assumes=(
                "speakers of one pair of runs are independent",
                "the runs differ in who was in the training alone",
            ),
            floors={
                "similarity of a model that did not hear the speaker": float(np.mean([p.unheard for p in pairs])),
                "no difference": 0.0,
            },
        )
    )
