"""Speech from an update, and which client an update is of: exactly what the server receives is attacked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fedasr.audits.linkability import link_updates
from fedasr.audits.matching import Effort, Matcher
from fedasr.audits.received import Senders, one_sum
from fedasr.audits.target import Target
from fedasr.audits.updates import invert_updates
from fedasr.config import load
from fedasr.errors import InputError
from fedasr.training.local import Resident, normalised_loss

CONFIG: dict[str, Any] = {
    "rounds": 4,
    "data": {
        "corpus": "synthetic",
        "synthetic": {
            "grammar": "keywords",
            "speakers": 8,
            "utterances_per_speaker": 2,
            "test_speakers": 2,
            "test_utterances_per_speaker": 2,
            "activity": "constant",
        },
        # Forty frames a second: few windows, so that they leave one sequence of frames.
        "features": {"hop_ms": 25},
        "on_bad_audio": "skip",
    },
    "model": {"encoder": "lstm", "channels": [48, 16], "strides": [2, 1], "hidden": 12},
    "client": {"optimizer": "sgd", "learning_rate": 0.1, "steps": 1, "batch_size": 1},
    "strategy": {"weighting": "uniform"},
    "selection": {"clients_per_round": 2},
}
DEVICE = {"privacy.unit": "user", "privacy.noise_at": "device", "privacy.clip_norm": 0.1}
QUICK = Effort(steps=3, restarts=0)


def target(**changes: Any) -> Target:
    """Return a small config to be attacked; keyword arguments are dotted keys with ``__`` for the dot."""
    return Target(load(CONFIG, {name.replace("__", "."): value for name, value in changes.items()}), None, None)


def device(**changes: Any) -> Target:
    """Return the config with noise on the devices."""
    return Target(load(CONFIG, {**DEVICE, **{f"privacy.{name}": value for name, value in changes.items()}}), None, None)


def test_one_step_tells_the_utterance_and_another_does_not() -> None:
    result = invert_updates(target(), utterances=3, effort=QUICK)
    speech, characters = result.findings
    assert min(one.own_correlation for one in result.utterances) > 0.99
    assert speech.value is not None
    assert speech.value > 0.99
    assert speech.floors["another utterance's update"] < 0.6
    assert "one update of one step at the initial model" in speech.sentence
    assert characters.value is not None
    assert characters.value > 0.9
    assert set(characters.floors) == {"random", "public character frequencies"}


@pytest.mark.slow
def test_clipping_alone_hides_nothing_and_noise_does() -> None:
    clipped = invert_updates(device(noise_multiplier=1e-9), utterances=2, effort=QUICK)
    noisy = invert_updates(device(epsilon=1, participations=1), utterances=2, effort=QUICK)
    assert min(one.own_correlation for one in clipped.utterances) > 0.99
    assert max(one.own_correlation for one in noisy.utterances) < 0.7
    assert "the ledger's ε = 1 at δ = 1e-05 has no ceiling for it" in noisy.findings[0].sentence
    assert "clipped to 0.1 and noisy" in noisy.findings[0].access


@pytest.mark.thorough
def test_what_the_server_receives_went_through_the_codec_and_the_devices_noise() -> None:
    plain = Senders(target().config).update(0, 1).vector
    coarse = Senders(target(compression__up="sign").config).update(0, 1).vector
    noisy = Senders(device(noise_multiplier=2.0).config).update(0, 1).vector
    assert len(np.unique(np.abs(coarse).round(12))) < 100 < len(np.unique(plain))
    assert noisy.std() == pytest.approx(0.2, rel=0.1)
    assert plain.std() < 0.01


def test_the_speech_of_an_update_is_what_its_gradient_is_of() -> None:
    senders = Senders(target(data__augment={"time_masks": 1, "frequency_masks": 1}, client__batch_size=2).config)
    update = senders.update(3, 2)
    [batch] = update.batches
    resident = Resident(senders.experiment.model())
    resident.load(senders.arrays)
    resident.gradient.zero_()
    normalised_loss(resident.model, batch).mean().backward()
    gradient = resident.gradient.numpy().astype(np.float64)
    cosine = -gradient @ update.vector / np.linalg.norm(gradient) / np.linalg.norm(update.vector)
    assert cosine > 0.9999


def test_a_sum_is_of_all_its_clients() -> None:
    senders = Senders(target().config)
    members = [senders.update(client, 1) for client in (0, 1, 2)]
    got = one_sum(members)
    assert np.allclose(got.vector, sum(member.vector for member in members))
    assert len(got.batch) == len(got.weights) == 3


def test_masked_sums_are_what_the_servers_coder_decodes() -> None:
    config = target(secure_aggregation__mode="simulate", selection__clients_per_round=3).config
    senders = Senders(config)
    members = [senders.update(client, 1) for client in (0, 1, 2)]
    mean = np.mean([member.vector for member in members], axis=0)
    assert np.abs(senders.summed(members, 1) - mean).max() < 2e-5  # rounding to 16 bits of ±0.1, of three clients
    with pytest.raises(InputError, match="opens no sum of fewer than 3 clients"):
        invert_updates(Target(config, None, None), cohort=2)
    assert [links.finding.kind for links in link_updates(Target(config, None, None))] == ["not attacked"] * 2


def test_the_slope_of_the_distance_is_that_of_small_changes() -> None:
    senders = Senders(target().config)
    got = one_sum([senders.update(0, 1)])
    matcher = Matcher(senders.experiment.model(), senders.arrays, got.batch, got.weights, normalised=False)
    gradient = torch.from_numpy(-got.vector / np.linalg.norm(got.vector))
    rng = np.random.default_rng(0)
    guess = torch.from_numpy(rng.standard_normal(tuple(got.batch.features.shape)).astype(np.float32))
    _, slope = matcher.slope(guess, gradient)
    way = slope / slope.norm()
    ahead, back = (matcher.slope(guess + sign * 0.02 * way, gradient)[0] for sign in (1, -1))
    assert (ahead - back) / 0.04 == pytest.approx(float(slope.norm()), rel=0.05)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client__optimizer": "adamw"}, "client.optimizer is adamw"),
        ({"client__steps": 3}, "the sum of 3 local steps"),
        ({"strategy__name": "central", "selection__clients_per_round": 10}, "no client sends an update"),
        (
            {"privacy__unit": "example", "privacy__noise_multiplier": 1.0, "client__clip_norm": None},
            "no attack on such a step is built yet",
        ),
    ],
)
def test_what_is_no_gradient_is_not_attacked_and_never_called_safe(changes: dict[str, Any], reason: str) -> None:
    result = invert_updates(target(**changes), utterances=2, effort=QUICK)
    assert [finding.kind for finding in result.findings] == ["not attacked"] * 2
    for finding in result.findings:
        assert finding.value is None
        assert reason in finding.sentence
        assert "no statement of safety" in finding.sentence


@pytest.mark.thorough
def test_the_released_mean_carries_the_servers_noise() -> None:
    central = {"privacy__unit": "user", "privacy__noise_multiplier": 1.0, "privacy__clip_norm": 0.1}
    private = target(**central, selection__name="poisson")
    result = invert_updates(private, utterances=2, cohort=2, effort=QUICK, released=True)
    assert result.findings[0].observer == "whoever sees all that is released"
    assert max(one.own_correlation for one in result.utterances) < 0.7
    seen = invert_updates(private, utterances=2, effort=QUICK)  # the server is trusted with each update
    assert min(one.own_correlation for one in seen.utterances) > 0.99
    with pytest.raises(InputError, match="--released"):
        invert_updates(target(), released=True)


@pytest.mark.slow
def test_updates_of_the_same_speech_are_linked_and_noise_hides_it() -> None:
    same, other = link_updates(target(client__steps=None, client__batch_size=8), clients=8)
    assert same.finding.value == 0
    assert same.scores.shape == (8, 8)
    assert other.finding.value is not None
    assert same.finding.n == other.finding.n == 8
    noisy, _ = link_updates(device(epsilon=1, participations=2), clients=8)
    assert noisy.finding.value is not None
    assert noisy.finding.value > 0.2


def test_weights_of_a_file_are_in_another_order_than_those_of_the_model() -> None:
    config = target().config
    first = Senders(config)
    again = Senders(config, dict(sorted(first.arrays.items())))
    assert tuple(again.arrays) == tuple(first.arrays)
    assert np.array_equal(again.start, first.start)
    with pytest.raises(InputError, match="those of another 'model'"):
        Senders(config, {"head.bias": np.zeros(3, np.float32)})


def test_too_few_clients_are_not_attacked() -> None:
    few = Target(load(CONFIG, {"data.clients": 2, "data.partition.name": "iid", "rounds": 1}), None, None)
    assert [links.finding.kind for links in link_updates(few)] == ["not attacked"] * 2


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="'--utterances' is 1"):
        invert_updates(target(), utterances=1)
    with pytest.raises(InputError, match="'--cohort' is 0"):
        invert_updates(target(), cohort=0)
    with pytest.raises(InputError, match="'--clients' is 2"):
        link_updates(target(), clients=2)
    with pytest.raises(InputError, match="'--steps' is 0"):
        Effort.checked(0, 1)
