"""Can speech be rebuilt from an update? Gradient inversion of exactly what the server receives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from fedasr.audits.finding import EVERYBODY, SERVER, Finding, told
from fedasr.audits.finding import not_attacked as nothing
from fedasr.audits.matching import Effort, Matcher, Rebuilt
from fedasr.audits.received import Received, Senders, Update, altered, cohort_of, obstacle, one_sum
from fedasr.audits.spread import interval
from fedasr.audits.target import Target
from fedasr.config import Config
from fedasr.errors import InputError
from fedasr.models.base import SpeechModel
from fedasr.models.tokenizer import BLANK
from fedasr.privacy.audit.linking import area_under_curve
from fedasr.privacy.audit.similarity import correlation, without_loudness
from fedasr.typing import Floats

REBUILT = "update inversion"
CHARACTERS = "characters in an update"


@dataclass(frozen=True)
class Utterance:
    """What an attack made of one utterance."""

    row: int
    """of the corpus"""
    truth: Floats
    """``(frames, mel)``, as the client trained on it"""
    rebuilt: Floats
    """from the update that holds it"""
    other: Floats
    """from the update that does not"""
    start: str
    """where the best guess began"""

    @property
    def own_correlation(self) -> float:
        """Of the frames with those rebuilt from the update that holds them."""
        return correlation(self.rebuilt, self.truth)

    @property
    def other_correlation(self) -> float:
        """Of the frames with those rebuilt from another update."""
        return correlation(self.other, self.truth)

    @property
    def detail(self) -> tuple[float, float]:
        """Return both without loudness, which rises and falls alike in all recordings."""
        truth = without_loudness(self.truth)
        first, second = (correlation(without_loudness(x), truth) for x in (self.rebuilt, self.other))
        return first, second


@dataclass(frozen=True)
class Inversion:
    """What attacks on the updates of a config show."""

    utterances: tuple[Utterance, ...]
    characters: tuple[tuple[float, float], ...]
    """of each update: area under the curve of the bias gradient, and of public frequencies"""
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the findings, and a row an utterance."""
        rows = [
            {
                "row": one.row,
                "frames": len(one.truth),
                "correlation": one.own_correlation,
                "other": one.other_correlation,
                "detail": one.detail[0],
                "other_detail": one.detail[1],
                "start": one.start,
            }
            for one in self.utterances
        ]
        return {"findings": [finding.as_json() for finding in self.findings], "utterances": rows}


def invert_updates(
    target: Target,
    utterances: int = 8,
    cohort: int | None = None,
    effort: Effort | None = None,
    seed: int = 0,
    released: bool = False,
) -> Inversion:
    """Rebuild utterances from what the server receives of the clients' updates.

    Args:
        target: a config, or a run.
        utterances: how many are to be rebuilt, at least.
        cohort: clients whose sum alone is received; None: one, or with secure aggregation as many as a round has.
        effort: how hard to try; None: the usual.
        seed: of the choice of clients and of the starts.
        released: attack what everybody sees of a cohort, the mean with the server's noise, and not what it receives.

    Raises:
        InputError: the numbers are wrong, or the config cannot be attacked so.
    """
    effort = effort or Effort()
    for name, value, least in (("utterances", utterances, 2), ("seed", seed, 0)):
        if value < least:
            raise InputError(f"'--{name}' is {value}; expected a whole number of at least {least}")
    config = target.config
    cohort = cohort_of(config, cohort)
    if released and (config.privacy.unit != "user" or config.privacy.noise_at != "server"):
        raise InputError(
            "'--released' attacks the noisy mean, which only a config with privacy.unit=user and noise on the server"
            " has; leave it out"
        )
    observer, access = observed(target, cohort, released)
    if (why := obstacle(config, 1)) is not None:
        return refused(why, observer, access)
    senders = Senders(config, target.weights)
    groups: list[Received] = []
    rng = np.random.default_rng([seed, 0])
    order = rng.permutation(len(senders))
    played = 0
    while sum(len(group.batch) for group in groups) < utterances or len(groups) < 2:
        members: list[Update] = []
        round = target.rounds(played // len(senders) + 1)[-1]
        while len(members) < cohort:
            update = senders.update(int(order[played % len(senders)]), round)
            if (why := obstacle(config, len(update.batches))) is not None:
                return refused(why, observer, access)
            members.append(update)
            played += 1
        groups.append(received(senders, members, round, released))
    guesses = [attack(senders, group, effort, seed) for group in groups]
    rebuilt = tuple(utterances_of(groups, guesses))
    characters = tuple(character_scores(senders, group) for group in groups)
    findings = (
        speech_finding(senders.config, rebuilt, guesses, effort, observer, access),
        character_finding(senders.config, characters, observer, access),
    )
    return Inversion(rebuilt, characters, findings)


def received(senders: Senders, members: Sequence[Update], round: int, released: bool) -> Received:
    """Return what the observer sees of some updates."""
    if released:
        return Received(tuple(members), senders.released(members, round))
    if senders.config.secure_aggregation.mode != "none":
        return Received(tuple(members), senders.summed(members, round))
    return one_sum(members)


def observed(target: Target, cohort: int, released: bool) -> tuple[str, str]:
    """Return who looks, and at what, in words."""
    step = f"one step at {target.model}"
    if released:
        return EVERYBODY, f"the released mean of {cohort} updates of {step}, clipped and with the server's noise"
    what = f"the sum of {cohort} updates" if cohort > 1 else "one update"
    return SERVER, f"{what}{altered(target.config)} of {step}"


def refused(why: str, observer: str, access: str) -> Inversion:
    """Return what stands for attacks that were not possible."""
    findings = [
        nothing(name, why, observer=observer, access=access, unit="utterance") for name in (REBUILT, CHARACTERS)
    ]
    return Inversion((), (), tuple(findings))


def gradient_of(senders: Senders, group: Received) -> Floats:
    """Return the gradient that an update tells, up to scale, shape ``(parameters,)``."""
    decay = senders.config.client.weight_decay
    if not decay or senders.config.privacy.unit == "user":
        return -group.vector
    rates = sum(senders.rate(update.round) for update in group.updates)
    return -group.vector - rates * decay * senders.start.astype(np.float64)


def attack(senders: Senders, group: Received, effort: Effort, seed: int) -> Rebuilt:
    """Return what the attack makes of what was received."""
    run = senders.experiment
    normalised = senders.config.data.features.normalize == "utterance" and not speech_is_masked(senders.config)
    matcher = Matcher(run.model(), senders.arrays, group.batch, group.weights, normalised)
    return matcher.rebuild(gradient_of(senders, group), effort, seed)


def speech_is_masked(config: Config) -> bool:
    """Say whether training masks features, after which their mean is no longer 0."""
    return bool(config.data.augment.frequency_masks or config.data.augment.time_masks)


def utterances_of(groups: Sequence[Received], guesses: Sequence[Rebuilt]) -> list[Utterance]:
    """Return each utterance with what was made of its own update and of the next one.

    Of an update with several utterances it is the rebuilt one that is most like it, in either case.
    """
    result = []
    for index, (group, own) in enumerate(zip(groups, guesses, strict=True)):
        other = guesses[(index + 1) % len(guesses)]
        batch = group.batch
        for row, length in enumerate(batch.feature_lengths.tolist()):
            truth = batch.features[row, :length].double().numpy()
            best, stranger = (max(g.frames, key=lambda frames: correlation(frames, truth)) for g in (own, other))
            result.append(Utterance(batch.indices[row], truth, best, stranger, own.start))
    return result


def head_of(model: SpeechModel, tokens: int) -> str | None:
    """Return the name of the bias of the layer that writes tokens; None where there is none that is trained."""
    result, trained = None, dict(model.named_parameters())
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module.out_features == tokens and module.bias is not None:
            result = f"{name}.bias"
    return result if result in trained else None


def character_scores(senders: Senders, group: Received) -> tuple[float, float]:
    """Return how well the head's bias tells which characters were said, and how well public frequencies do.

    NaN where all characters occur, or the model has no such bias.
    """
    run = senders.experiment
    name = head_of(run.model(), run.tokenizer.size)
    occurs = np.zeros(run.tokenizer.size, bool)
    occurs[group.batch.targets.numpy()] = True
    occurs = np.delete(occurs, BLANK)
    if name is None or occurs.all():
        return np.nan, np.nan
    scores = np.delete(-senders.layout.views(gradient_of(senders, group))[name], BLANK)
    public = np.delete(public_frequencies(senders), BLANK)
    return area_under_curve(scores[occurs], scores[~occurs]), area_under_curve(public[occurs], public[~occurs])


def public_frequencies(senders: Senders) -> Floats:
    """Return how often each token is in the transcripts of the test split, shape ``(tokens,)``."""
    run = senders.experiment
    counts = np.zeros(run.tokenizer.size)
    for text in run.corpus.columns["text"][run.rows(run.config.data.test_split)]:
        np.add.at(counts, run.tokenizer.encode(str(text)), 1.0)
    return counts


def speech_finding(
    config: Config,
    utterances: Sequence[Utterance],
    guesses: Sequence[Rebuilt],
    effort: Effort,
    observer: str,
    access: str,
) -> Finding:
    """Return what the rebuilt speech shows."""
    own = np.array([one.own_correlation for one in utterances])
    other = np.array([one.other_correlation for one in utterances])
    detail = np.array([one.detail for one in utterances]).mean(axis=0)
    low, high = interval(own)
    spectral = sum(guess.start == "windows" for guess in guesses)
    private = config.privacy.unit == "user"
    return told(
        Finding(
            attack=REBUILT,
            observer=observer,
            access=access,
            knowledge="the model, the number of frames and the transcript of each utterance",
            kind="estimate",
            quantity="mel correlation",
            value=float(own.mean()),
            low=low,
            high=high,
            delta=config.privacy.delta if private else None,
            claim_epsilon=config.privacy.epsilon if private else None,
            unit="utterance",
            n=len(utterances),
            method=(
                f"windows of the first convolution and {effort.restarts} random starts, then {effort.steps} steps of"
                f" gradient matching; the windows' start won for {spectral} of {len(guesses)} updates; without"
                f" loudness {detail[0]:.2f}, of another update {detail[1]:.2f}"
            ),
            confidence=0.95 if low is not None else None,
            floors={"another utterance's update": float(other.mean())},
        )
    )


def character_finding(config: Config, characters: Sequence[tuple[float, float]], observer: str, access: str) -> Finding:
    """Return what the gradient of the head's bias shows."""
    pairs = np.array([pair for pair in characters if not np.isnan(pair).any()])
    if not len(pairs):
        why = "all characters occur in each update, or the model's head has no bias"
        return nothing(CHARACTERS, why, observer=observer, access=access, unit="utterance")
    low, high = interval(pairs[:, 0])
    private = config.privacy.unit == "user"
    return told(
        Finding(
            attack=CHARACTERS,
            observer=observer,
            access=access,
            knowledge="the model",
            kind="estimate",
            quantity="AUC",
            value=float(pairs[:, 0].mean()),
            low=low,
            high=high,
            delta=config.privacy.delta if private else None,
            claim_epsilon=config.privacy.epsilon if private else None,
            unit="utterance",
            n=len(pairs),
            method="gradient of the head's bias, its sign turned, over the characters said and not said",
            confidence=0.95 if low is not None else None,
            floors={"random": 0.5, "public character frequencies": float(pairs[:, 1].mean())},
        )
    )
