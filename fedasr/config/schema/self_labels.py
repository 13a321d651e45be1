"""Keys of section ``self_labels``."""

from __future__ import annotations

from dataclasses import dataclass

from fedasr.config.schema.conditions import unless, when
from fedasr.config.schema.keys import key

HEARD = when("client.labels", "self", "feedback", refused=True)
FEEDBACK = when("client.labels", "feedback", refused=True)
SERVER = unless("self_labels.server_steps", 0, refused=True)
GUARDS = ("empty", "repeated", "same")


@dataclass
class SelfLabelsConfig:
    """Labels that devices make of their own speech; see `docs/labels-on-devices.md`."""

    teacher: str = key(
        "ema",
        "whose hypotheses are the labels: frozen: the model that the run starts from; ema: a moving average of the"
        " global models; global: the global model of the round. The first two are sent beside the global model, and"
        " their bytes are counted",
        choices=("frozen", "ema", "global"),
        when=HEARD,
    )
    decay: float = key(
        0.9,
        "what the moving average keeps of itself after a round; 0 is global, 1 is frozen",
        low=0,
        high=1,
        when=(HEARD, when(".teacher", "ema", refused=True)),
    )
    threshold: list[float] = key(
        lambda: [0.9, 0.8],
        "how sure the teacher must be of a label in the first and in the last round, on a line between them: the"
        " probability of the hypothesis, as a geometric mean over its tokens and the end. It depends on the round"
        " alone, never on anybody's speech; above 1 nothing is learnt",
        when=HEARD,
    )
    keep_share: float = key(
        1.0,
        "share of a device's hypotheses that are learnt at most, the surest first",
        above=0,
        high=1,
        when=HEARD,
    )
    augment: bool = key(
        True,
        "the student hears self-labelled speech as `data.augment` changes it; the teacher always hears it unchanged",
        when=HEARD,
    )
    guard: list[str] = key(
        lambda: list(GUARDS),
        "hypotheses that are never learnt: empty: those in which nothing is heard; repeated: of six characters or words"
        " or more, more than half the same; same: a text that more than half of a device's utterances are given, of"
        " four or more; leave same out where people say the same all day",
        when=HEARD,
    )
    made: str = key(
        "each-round",
        "each-round: labels are made anew whenever the device trains; on-arrival: once, when it first trains after the"
        " speech has come, and kept on the device with their confidence",
        choices=("each-round", "on-arrival"),
        when=HEARD,
    )
    feedback_right: float = key(
        0.0, "probability that the user gives the true text of an utterance", low=0, high=1, when=FEEDBACK
    )
    feedback_wrong: float = key(
        0.0,
        "probability that the user gives the text of another utterance of the device; the rest is labelled as with"
        " self",
        low=0,
        high=1,
        when=FEEDBACK,
    )
    server_steps: int = key(
        0,
        "steps that the server takes each round, after the updates are in the model, on transcribed public speech; its"
        " optimiser is that of `client`, made anew each round",
        low=0,
        when=unless("strategy.name", "central", "pate", refused=True),
    )
    server_rate: float = key(
        1.0, "the learning rate of these steps, as a multiple of `client.learning_rate`", above=0, when=SERVER
    )
    public_split: str = key(
        "public",
        "the split of `data` with the public speech, such as what `data.public_share` sets aside",
        when=SERVER,
    )
