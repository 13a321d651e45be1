"""What a PATE run needs, and what it cannot have."""

from __future__ import annotations

from fedasr.config.rules.public_speech import check_public_speech
from fedasr.config.rules.votes import check_recorded_votes, check_soft_votes
from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_pate(config: Config, where: str) -> None:
    """Raise on a PATE run that cannot be, or on keys that nothing would read.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    pate, privacy = config.pate, config.privacy
    if config.strategy.name != "pate":
        if privacy.unit == "teacher":
            refuse(f"'privacy.unit' is 'teacher' but 'strategy.name' is '{config.strategy.name}'; only pate has any")
        return
    if privacy.unit not in ("none", "teacher"):
        refuse(f"'strategy.name' is 'pate' but 'privacy.unit' is '{privacy.unit}'; set privacy.unit=teacher")
    if config.model.alphabet == "auto" and config.init_from is None:
        refuse(
            "'strategy.name' is 'pate' but 'model.alphabet' is 'auto', which tells what characters occur in the"
            " private transcripts; list them after 'chars:', or choose latin or arabic"
        )
    confident = pate.mechanism == "confident-gnmax"
    for name, value in (("threshold", pate.threshold), ("threshold_scale", pate.threshold_scale)):
        if confident and value is None:
            refuse(f"'pate.mechanism' is 'confident-gnmax' but 'pate.{name}' is not set; give it in votes")
    if pate.noise_at == "teachers":
        if confident:
            refuse(
                "'pate.noise_at' is 'teachers' but 'pate.mechanism' is 'confident-gnmax', whose check needs the exact"
                " counts; choose gnmax or lnmax"
            )
        if pate.budget == "data-dependent":
            refuse(
                "'pate.noise_at' is 'teachers' but 'pate.budget' is 'data-dependent', for which somebody would have to"
                " know the exact counts; set pate.budget=data-independent"
            )
    if pate.budget == "data-dependent" and privacy.epsilon is None:
        refuse("'pate.budget' is 'data-dependent' but 'privacy.epsilon' is not set; give a budget")
    if pate.unit == "utterance" and len(pate.candidates) == 1:
        refuse("'pate.candidates' has one entry; a vote needs at least two")
    if pate.unit == "frame" and config.model.name not in ("ctc", "ctc-conformer"):
        refuse(
            f"'pate.unit' is 'frame' but 'model.name' is '{config.model.name}', which has no posteriors of frames;"
            " choose token or utterance, or model.name=ctc"
        )
    check_soft_votes(config, where)
    check_recorded_votes(config, where)
    if (pate.min_confidence or 0.0) > (1.0 if pate.max_confidence is None else pate.max_confidence):
        refuse("'pate.min_confidence' must not be larger than 'pate.max_confidence'")
    check_public_speech(config, where)
    if config.client.steps is not None:
        refuse("'client.steps' is set, but teachers of 'pate' train by epochs; leave it out")
    stages = pate.student.self_training + 1
    if 0 < config.rounds < stages:
        refuse(
            f"'pate.student.self_training' is {stages - 1}, which makes {stages} stages, but 'rounds' is"
            f" {config.rounds}; give each stage a round at least"
        )
    if pate.student.proximal:
        refuse("'pate.student.proximal' is set, but there is no global model to stay near to; leave it out")
    if config.stream.arrival != "static":
        refuse(f"'stream.arrival' is '{config.stream.arrival}', but teachers of 'pate' train once; set it to static")
    if config.devices.clock:
        refuse("'devices.clock' is true, but nothing simulates the time of teachers of 'pate'; set it to false")
    if config.evaluate.client_side:
        refuse(
            f"'strategy.name' is 'pate' but 'evaluate.client_side' is {config.evaluate.client_side}, for which devices"
            " would have to tell their error rates; set evaluate.client_side=0"
        )
