"""Combinations of keys that cannot run, each with what to do instead."""

from __future__ import annotations

import math
from dataclasses import fields

from fedasr.config.schema import (
    Config,
    DevicesConfig,
    PartitionConfig,
    PateConfig,
    PrivacyConfig,
    StrategyConfig,
    StreamConfig,
    SyntheticConfig,
)
from fedasr.errors import InputError

LONGEST_NAME = 100
MOST_TIERS = 100


def check_combinations(config: Config, where: str) -> None:
    """Raise on a combination of valid values that has no meaning.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    data, model = config.data, config.model
    usual = config.name.isprintable() and not config.name.startswith(".") and not set(config.name) & set("/\\")
    if not config.name or not usual or len(config.name) > LONGEST_NAME:
        refuse(f"'name' is '{config.name}'; expected a name that can be part of a file name")
    if data.corpus == "manifest" and data.manifest is None:
        refuse("'data.corpus' is 'manifest' but 'data.manifest' is not set; give the path of the manifest")
    if data.corpus in ("librispeech", "speechcommands", "commonvoice") and data.root is None:
        refuse(f"'data.corpus' is '{data.corpus}' but 'data.root' is not set; give the folder of the corpus")
    if data.download and data.corpus == "commonvoice":
        refuse("'data.download' is true, but Common Voice asks for a consent in a browser; download it there")
    if data.max_seconds <= data.min_seconds:
        refuse("'data.max_seconds' must be larger than 'data.min_seconds'")
    if data.train_split == data.test_split:
        refuse(f"'data.train_split' and 'data.test_split' are both '{data.train_split}'; evaluate on held-out speech")
    if data.corpus == "synthetic":
        if data.synthetic.grammar == "words" and not data.synthetic.words:
            refuse("'data.synthetic.grammar' is 'words' but 'data.synthetic.words' is empty; list the words")
        if data.synthetic.min_snr_db > data.synthetic.max_snr_db:
            refuse("'data.synthetic.min_snr_db' must not be larger than 'data.synthetic.max_snr_db'")
    if len(model.channels) != len(model.strides):
        refuse(
            f"'model.channels' has {len(model.channels)} entries and 'model.strides' {len(model.strides)};"
            " expected one stride per convolution"
        )
    if not model.channels or min(model.channels) < 1 or min(model.strides) < 1:
        refuse("'model.channels' and 'model.strides' must be lists of integers of at least 1")
    if model.kernel % 2 == 0 or model.conformer.kernel % 2 == 0:
        refuse("'model.kernel' and 'model.conformer.kernel' must be odd, so that frames stay aligned")
    conformer = model.name == "ctc-conformer" or (model.encoder == "conformer" and model.name != "las")
    if conformer and model.hidden % model.conformer.heads:
        refuse(f"'model.conformer.heads' is {model.conformer.heads}; it must divide 'model.hidden' ({model.hidden})")
    speller = model.speller
    if model.name in ("las", "hybrid") and speller.hidden % speller.heads:
        refuse(f"'model.speller.heads' is {speller.heads}; it must divide 'model.speller.hidden' ({speller.hidden})")
    if model.name == "las" and model.encoder != "blstm":
        refuse(f"'model.encoder' is '{model.encoder}', but the listener of 'las' is a pyramid of BLSTM; leave it out")
    if config.evaluate.deciles and not config.evaluate.held_out:
        refuse("'evaluate.deciles' needs speech that no client trains on: set 'evaluate.held_out', for example to 0.1")
    if config.strategy.name == "fedprox" and config.client.proximal == 0:
        refuse("'strategy.name' is 'fedprox' but 'client.proximal' is 0; set mu, for example client.proximal=0.01")
    if config.data.features.hop_ms > config.data.features.window_ms:
        refuse("'data.features.hop_ms' must not be larger than 'data.features.window_ms'")
    check_runtime(config, where)
    check_stream(config, where)
    check_devices(config, where)
    check_selection(config, where)
    check_aggregation(config, where)
    check_pate(config, where)
    check_privacy(config, where)
    check_deployment(config, where)


def check_deployment(config: Config, where: str) -> None:
    """Raise on what cannot be with boxes that hold their own speech, or that nothing would read there.

    Raises:
        InputError: naming the keys and what to change.
    """
    if config.runtime.name != "deployment":
        return

    def refuse(message: str) -> None:
        raise InputError(f"'runtime.name' is 'deployment' but {message}", where=where)

    if config.data.partition != PartitionConfig():
        refuse("'data.partition' is set; every box is a client: leave it out")
    if config.stream.arrival != "static":
        refuse(f"'stream.arrival' is '{config.stream.arrival}'; speech comes as boxes record it: leave 'stream' out")
    if config.devices.clock:
        refuse("'devices.clock' is true; real boxes take the time they take: leave 'devices' out")
    if config.evaluate.held_out:
        refuse(
            f"'evaluate.held_out' is {config.evaluate.held_out}; the server has no speech of the boxes: leave it out"
        )
    if config.model.alphabet == "auto" and config.init_from is None:
        refuse("'model.alphabet' is 'auto'; the server sees no transcripts: choose latin or arabic, or list characters")
    if config.evaluate.decoder == "vocabulary" and not config.evaluate.vocabulary:
        refuse("'evaluate.vocabulary' is empty; the server sees no transcripts: list the phrases")


def check_runtime(config: Config, where: str) -> None:
    """Raise on keys of Ray where nothing reads them, and on workers that would see no GPU.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    runtime = config.runtime
    if runtime.name != "ray":
        for name, value in (("ray_address", runtime.ray_address), ("gpus_per_client", runtime.gpus_per_client)):
            if value:
                refuse(f"'runtime.{name}' is set but 'runtime.name' is '{runtime.name}'; set it to ray")
        return
    address = runtime.ray_address
    host, _, port = (address or "auto").rpartition(":")
    if address not in (None, "auto") and not (host and "/" not in host and port.isdecimal() and int(port) < 65536):
        refuse(
            f"'runtime.ray_address' is '{address}'; expected host:port of the cluster's head, or auto, on a machine"
            " that is a node of the cluster"
        )
    share = runtime.gpus_per_client
    if share and runtime.device == "cpu":
        refuse("'runtime.gpus_per_client' is set but 'runtime.device' is 'cpu'; set runtime.device=cuda")
    if not share and runtime.device != "cpu":
        refuse(
            f"'runtime.name' is 'ray' and 'runtime.device' is '{runtime.device}' but 'runtime.gpus_per_client' is not"
            " set, and Ray shows workers no GPU; set it, for example to 0.25"
        )
    if share > 1 and share != int(share):
        refuse(f"'runtime.gpus_per_client' is {share:g}; expected a part of one GPU, or a whole number of GPUs")


def check_pate(config: Config, where: str) -> None:
    """Raise on a PATE run that cannot be, or on keys that nothing would read.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    pate, privacy = config.pate, config.privacy
    if config.strategy.name != "pate":
        if unread_keys := changed(pate, PateConfig()):
            refuse(f"'pate.{unread_keys[0]}' is set but 'strategy.name' is '{config.strategy.name}'; set it to pate")
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
        if not confident and value is not None:
            refuse(f"'pate.{name}' is set but 'pate.mechanism' is '{pate.mechanism}', which reads none; leave it out")
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
    if pate.unit != "utterance" and pate.candidates:
        refuse(f"'pate.candidates' is set but 'pate.unit' is '{pate.unit}', which reads none; leave it out")
    if pate.unit == "utterance" and len(pate.candidates) == 1:
        refuse("'pate.candidates' has one entry; a vote needs at least two")
    if pate.unit == "frame" and config.model.name not in ("ctc", "ctc-conformer"):
        refuse(
            f"'pate.unit' is 'frame' but 'model.name' is '{config.model.name}', which has no posteriors of frames;"
            " choose token or utterance, or model.name=ctc"
        )
    check_soft_votes(config, where)
    check_recorded_votes(config, where)
    if pate.release_order is not None and (
        pate.mechanism not in ("gnmax", "confident-gnmax") or pate.noise_at != "server"
    ):
        refuse(
            "'pate.release_order' is set but there is no data-dependent ε with smooth sensitivity to release: it takes"
            " pate.mechanism=gnmax or confident-gnmax, and pate.noise_at=server"
        )
    if (pate.min_confidence or 0.0) > (1.0 if pate.max_confidence is None else pate.max_confidence):
        refuse("'pate.min_confidence' must not be larger than 'pate.max_confidence'")
    check_public_speech(config, where)
    for section, training in (("client", config.client), ("pate.student", pate.student)):
        if training.steps is not None:
            refuse(f"'{section}.steps' is set, but teachers and student of 'pate' train by epochs; leave it out")
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


def check_soft_votes(config: Config, where: str) -> None:
    """Raise on keys of the soft mechanisms that are wrong, or that another mechanism would not read.

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
        return
    for name, set_to in (("weights", bool(pate.weights)), ("student.answers", pate.student.answers > 1)):
        if set_to:
            raise InputError(
                f"'pate.{name}' is set but 'pate.mechanism' is '{pate.mechanism}', which reads none; leave it out, or"
                " choose soft-gaussian or soft-laplace",
                where=where,
            )


def check_recorded_votes(config: Config, where: str) -> None:
    """Raise on votes of an earlier run that cannot take the place of teachers.

    Raises:
        InputError: naming the keys.
    """
    pate = config.pate
    if pate.votes_from is None:
        if pate.simulated_teachers is not None:
            raise InputError(
                "'pate.simulated_teachers' is set but 'pate.votes_from' is not; give the run whose votes they would"
                " cast",
                where=where,
            )
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


def check_public_speech(config: Config, where: str) -> None:
    """Raise on public speech that is not described in full, or that is the private speech.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    data, public = config.data, config.pate.public
    if public.corpus == "manifest" and public.manifest is None:
        refuse(
            "'pate.public.corpus' is 'manifest' but 'pate.public.manifest' is not set; give the path of the manifest"
        )
    if public.corpus in ("librispeech", "speechcommands", "commonvoice") and public.root is None:
        refuse(f"'pate.public.corpus' is '{public.corpus}' but 'pate.public.root' is not set; give its folder")
    if public.corpus == "synthetic":
        if public.synthetic.grammar == "words" and not public.synthetic.words:
            refuse("'pate.public.synthetic.grammar' is 'words' but 'pate.public.synthetic.words' is empty; list them")
        if public.synthetic.min_snr_db > public.synthetic.max_snr_db:
            refuse("'pate.public.synthetic.min_snr_db' must not be larger than 'pate.public.synthetic.max_snr_db'")
    elif public.synthetic != SyntheticConfig():
        refuse(f"'pate.public.synthetic' is set but 'pate.public.corpus' is '{public.corpus}'; leave it out")
    names = ("corpus", "manifest", "root", "subset", "where")
    same = all(getattr(public, name) == getattr(data, name) for name in names)
    if same and public.corpus != "synthetic" and public.split in (data.train_split, data.test_split):
        refuse(
            f"'pate.public.split' is '{public.split}' of the corpus that 'data' reads too; public speech must be"
            " neither the teachers' nor what the student is evaluated on: choose another split, or other rows by"
            " 'where'"
        )


def check_privacy(config: Config, where: str) -> None:
    """Raise where a private run would not be what its accountant assumes.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    privacy = config.privacy
    if privacy.unit == "none":
        for item in fields(PrivacyConfig):
            if getattr(privacy, item.name) != getattr(PrivacyConfig(), item.name):
                refuse(
                    f"'privacy.{item.name}' is set but 'privacy.unit' is 'none'; set privacy.unit=user or example, or"
                    " strategy.name=pate"
                )
        return
    if privacy.unit == "teacher":
        read = ("unit", "epsilon", "delta", "secret_noise")
        unread(privacy, tuple(item.name for item in fields(PrivacyConfig) if item.name not in read), where)
        return
    if privacy.noise_multiplier is None and privacy.epsilon is None:
        refuse(f"'privacy.unit' is '{privacy.unit}': set 'privacy.noise_multiplier', or 'privacy.epsilon' to find it")
    if config.model.alphabet == "auto" and config.init_from is None:
        refuse(
            f"'privacy.unit' is '{privacy.unit}' but 'model.alphabet' is 'auto', which tells what characters occur in"
            " the transcripts; list them after 'chars:', or choose latin or arabic"
        )
    if privacy.unit == "example":
        check_example_level(config, where)
        return
    check_user_level(config, where)


def check_example_level(config: Config, where: str) -> None:
    """Raise where something else than what DP-SGD protects would leave the devices, or a key would not be read.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    privacy = config.privacy
    if config.selection.name in ("oort", "afl", "power-of-choice"):
        refuse(
            f"'privacy.unit' is 'example' but 'selection.name' is '{config.selection.name}', for which devices would"
            " have to tell their losses; choose another selection"
        )
    if config.evaluate.client_side:
        refuse(
            f"'privacy.unit' is 'example' but 'evaluate.client_side' is {config.evaluate.client_side}, for which"
            " devices would have to tell their error rates; set evaluate.client_side=0"
        )
    if config.client.batch_seconds is not None:
        refuse(
            "'privacy.unit' is 'example' and draws utterances, not seconds; set 'client.batch_size' instead of"
            " 'client.batch_seconds'"
        )
    if privacy.clipping == "adaptive":
        refuse("'privacy.clipping' is 'adaptive' but 'privacy.unit' is 'example'; choose flat, per-layer or automatic")
    names = ("quantile", "quantile_rate", "public_activity", "population", "cohort", "noise_at", "noise", "bands")
    unread(privacy, names, where)


def check_user_level(config: Config, where: str) -> None:
    """Raise where a user's weight in a round is not bounded, or a key would not be read.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    privacy = config.privacy
    unread(privacy, ("micro_batches", "noise_decay", "physical_batch"), where)
    if privacy.clipping == "automatic":
        refuse("'privacy.clipping' is 'automatic' but 'privacy.unit' is 'user'; choose flat, per-layer or adaptive")
    if privacy.noise_at == "server":
        unread(privacy, ("participations",), where)
        check_correlated_noise(config, where)
    else:
        unread(privacy, ("public_activity", "population", "cohort", "noise", "bands"), where)
        if privacy.clipping == "adaptive":
            refuse("'privacy.clipping' is 'adaptive' but 'privacy.noise_at' is 'device'; choose flat or per-layer")
        if config.selection.name in ("oort", "afl", "power-of-choice"):
            refuse(
                f"'privacy.noise_at' is 'device' but 'selection.name' is '{config.selection.name}', for which devices"
                " would have to tell their losses; choose another selection"
            )
        if config.evaluate.client_side:
            refuse(
                f"'privacy.noise_at' is 'device' but 'evaluate.client_side' is {config.evaluate.client_side}, for which"
                " devices would have to tell their error rates; set evaluate.client_side=0"
            )
    if privacy.cohort is not None and privacy.population is None:
        refuse("'privacy.cohort' is set but 'privacy.population' is not; say how large the population would be")
    if config.strategy.weighting != "uniform":
        refuse(
            f"'privacy.unit' is 'user' but 'strategy.weighting' is '{config.strategy.weighting}'; a user's weight"
            " would multiply the noise that is needed; set strategy.weighting=uniform"
        )
    if privacy.clipping != "adaptive":
        for name in ("quantile", "quantile_rate"):
            if getattr(privacy, name) != getattr(PrivacyConfig(), name):
                refuse(f"'privacy.{name}' is set but 'privacy.clipping' is '{privacy.clipping}'; it reads none")
    elif privacy.noise_multiplier is not None and privacy.noise_multiplier >= config.selection.clients_per_round / 10:
        refuse(
            f"'privacy.noise_multiplier' is {privacy.noise_multiplier}, too much for 'privacy.clipping: adaptive' with"
            f" {config.selection.clients_per_round} clients per round; it must be below a tenth of the cohort"
        )


def check_correlated_noise(config: Config, where: str) -> None:
    """Raise where noise over the rounds would not have the sensitivity that is accounted for.

    Raises:
        InputError: naming the keys and what to change.
    """
    privacy, selection = config.privacy, config.selection
    if privacy.noise != "banded":
        unread(privacy, ("bands",), where)
    if privacy.noise == "independent":
        return
    if selection.name != "round-robin" or selection.separation < 1:
        raise InputError(
            f"'privacy.noise' is '{privacy.noise}', which needs to know how far apart the turns of a device are; set"
            " selection.name=round-robin and 'selection.separation'",
            where=where,
        )
    if privacy.noise == "banded" and privacy.bands > selection.separation:
        raise InputError(
            f"'privacy.bands' is {privacy.bands}, but 'selection.separation' {selection.separation}; the turns of a"
            " device must be at least as many rounds apart as the noise has bands: lower one or raise the other",
            where=where,
        )
    if privacy.clipping == "adaptive":
        raise InputError(
            f"'privacy.noise' is '{privacy.noise}' but 'privacy.clipping' is 'adaptive': noise in a unit that changes"
            " does not cancel; choose flat or per-layer",
            where=where,
        )


def unread(privacy: PrivacyConfig, names: tuple[str, ...], where: str) -> None:
    """Raise where a key is set that a private run of this kind does not read.

    Raises:
        InputError: naming the key.
    """
    for name in names:
        if getattr(privacy, name) != getattr(PrivacyConfig(), name):
            kind = f"'privacy.unit' is '{privacy.unit}'"
            if privacy.unit == "user":
                kind += f" and 'privacy.noise_at' is '{privacy.noise_at}'"
            raise InputError(f"'privacy.{name}' is set but {kind}, which reads none; leave it out", where=where)


def check_aggregation(config: Config, where: str) -> None:
    """Raise on an aggregate that would not be what the other keys say of it.

    Raises:
        InputError: naming the keys and what to change.
    """
    strategy, privacy = config.strategy, config.privacy

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    chosen = strategy.aggregation
    for name, reader in (("trim_share", "trimmed-mean"), ("norm_bound", "norm-bound")):
        if chosen != reader and getattr(strategy, name) != getattr(StrategyConfig(), name):
            refuse(f"'strategy.{name}' is set but 'strategy.aggregation' is '{chosen}', which reads none; leave it out")
    if chosen == "mean":
        return
    said = f"'strategy.aggregation' is '{chosen}'"
    if chosen == "norm-bound" and strategy.norm_bound is None:
        refuse(f"{said} but 'strategy.norm_bound' is not set; 'update_norm' of a run that nobody disturbed tells what")
    if strategy.name == "pate":
        refuse(f"{said} but 'strategy.name' is 'pate', whose server gets no updates; leave it out")
    if privacy.unit == "user" and privacy.noise_at == "server":
        refuse(
            f"{said} but 'privacy.unit' is 'user' with noise on the server, which is enough for a mean of updates"
            " clipped to 'privacy.clip_norm' and for nothing else; set strategy.aggregation=mean"
        )
    if chosen == "norm-bound":
        return
    if strategy.weighting != "uniform":
        refuse(
            f"{said}, which counts every client once, but 'strategy.weighting' is '{strategy.weighting}'; set"
            " strategy.weighting=uniform"
        )
    if config.selection.replacement:
        refuse(
            f"{said}, which counts every client once, but 'selection.replacement' is true; set it to false, or choose"
            " mean or norm-bound"
        )


def check_selection(config: Config, where: str) -> None:
    """Raise on a selection that cannot be, or whose probabilities the weighting needs and does not get."""
    selection = config.selection

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    if selection.name == "power-of-choice" and 0 < selection.candidates < selection.clients_per_round:
        refuse(
            f"'selection.candidates' is {selection.candidates} but 'selection.clients_per_round'"
            f" {selection.clients_per_round}; compare at least as many devices as are chosen, or set 0"
        )
    if selection.name == "oort" and selection.oort.exploration_floor > selection.oort.exploration:
        refuse(
            f"'selection.oort.exploration_floor' is {selection.oort.exploration_floor} and must not be larger than"
            f" 'selection.oort.exploration' ({selection.oort.exploration})"
        )
    if config.strategy.weighting != "inverse-probability":
        return
    said = f"'strategy.weighting' is 'inverse-probability' but 'selection.name' is '{selection.name}', which"
    if selection.name in ("power-of-choice", "oort", "round-robin"):
        refuse(f"{said} has no probabilities that are known in every round; choose another of the two")
    if selection.name in ("top-activity", "threshold"):
        refuse(f"{said} never chooses some devices, so that no weights make up for them; choose another of the two")
    if selection.name == "afl" and selection.afl.random_share == 0:
        refuse(f"{said} with 'selection.afl.random_share' 0 never chooses some devices; set it above 0")
    recent = selection.name in ("activity", "mixed") and selection.activity.startswith("recent-")
    if recent and selection.exponent > 0 and config.stream.arrival != "static" and config.stream.keep != "period":
        refuse(
            f"{said} with 'selection.activity' '{selection.activity}' seldom chooses devices without recent speech, so"
            " that no weights make up for them; count all that is stored, or choose another weighting"
        )


def check_stream(config: Config, where: str) -> None:
    """Raise on a continual setting that cannot be."""
    stream = config.stream
    if stream.arrival == "static":
        unread = changed(stream, StreamConfig())
        if unread:
            raise InputError(
                f"'stream.{unread[0]}' is set but 'stream.arrival' is 'static', where everything is there from the"
                f" start and stays; set stream.arrival=poisson or trace, or leave 'stream.{unread[0]}' out",
                where=where,
            )
        return
    if stream.drift and stream.arrival != "poisson":
        raise InputError(
            f"'stream.drift' is {stream.drift} but 'stream.arrival' is '{stream.arrival}'; only poisson draws a drift",
            where=where,
        )
    if 0 < config.rounds < stream.periods:
        raise InputError(
            f"'stream.periods' is {stream.periods} but 'rounds' is {config.rounds}; a period needs at least one round",
            where=where,
        )


def check_devices(config: Config, where: str) -> None:
    """Raise on simulated devices that cannot be, or that nothing would simulate."""
    devices = config.devices

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    unread = changed(devices, DevicesConfig())
    if not devices.clock and unread:
        refuse(
            f"'devices.{unread[0]}' is set but 'devices.clock' is false, so that no devices are simulated; set"
            f" devices.clock=true, or leave 'devices.{unread[0]}' out"
        )
    tiers = len(devices.tiers)
    if not 1 <= tiers <= MOST_TIERS or len(set(devices.tiers)) < tiers:
        refuse(f"'devices.tiers' must be a list of 1 to {MOST_TIERS} different names")
    for name in ("shares", "compute", "down_mbps", "up_mbps"):
        values = getattr(devices, name)
        if len(values) != tiers:
            refuse(f"'devices.{name}' has {len(values)} entries and 'devices.tiers' {tiers}; expected one per tier")
        if not all(math.isfinite(value) and value >= 0 and (value > 0 or name == "shares") for value in values):
            at_least = "at least 0" if name == "shares" else "more than 0"
            refuse(f"'devices.{name}' is {values}; expected numbers of {at_least}")
    if abs(sum(devices.shares) - 1) > 1e-6:
        refuse(f"'devices.shares' adds up to {sum(devices.shares):.6g}; expected 1")
    if devices.availability == "trace" and devices.trace is None:
        refuse("'devices.availability' is 'trace' but 'devices.trace' is not set; give the path of a CSV")
    if devices.over_commit > 1 and config.selection.name == "poisson":
        refuse(
            f"'devices.over_commit' is {devices.over_commit} but 'selection.name' is 'poisson', whose cohorts have no"
            " fixed size to exceed; set devices.over_commit=1 or choose another selection"
        )


def changed(section: object, default: object) -> list[str]:
    """Return the keys of a section that do not have their defaults, in the order of the schema."""
    return [
        item.name
        for item in fields(section)  # type: ignore[arg-type]
        if item.name != "clock" and getattr(section, item.name) != getattr(default, item.name)
    ]
