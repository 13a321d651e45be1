"""A config becomes a run: the corpus, who holds what, the tokenizer and the first model, each made when asked for.

Server and clients build the same experiment from the same config; a worker that was forked inherits its parent's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache, wraps
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.config import Config, load, to_dict
from fedasr.config.loading import get
from fedasr.config.rules.unread import unread_keys
from fedasr.config.schema import (
    AttackConfig,
    AuditConfig,
    ClientConfig,
    CompressionConfig,
    DistillationConfig,
    EstimateConfig,
    InterleaveConfig,
    SecureAggregationConfig,
    SelfLabelsConfig,
    StrategyConfig,
    walk,
)
from fedasr.data.corpus import Corpus
from fedasr.data.fleet import Fleet
from fedasr.data.held_out import decile_sample, part, split_held_out
from fedasr.data.partition import Partition, make_partition, utterance_embeddings
from fedasr.data.quality import usable_rows
from fedasr.data.roster import Roster
from fedasr.data.sources import usable_corpus
from fedasr.data.speech import Speech
from fedasr.data.splits import hold_out
from fedasr.data.stream import Stored, Stream, make_stream
from fedasr.errors import InputError, nearest
from fedasr.models.base import SpeechModel
from fedasr.models.factory import build_model
from fedasr.models.frozen import freeze, frozen_names
from fedasr.models.own_tokenizer import load_tokenizer, make_tokenizer
from fedasr.models.tokenizer import Tokenizer, build_tokenizer
from fedasr.models.weights import load_arrays, model_arrays, read_weights
from fedasr.paths import is_file, is_folder
from fedasr.registry import is_reference

Rows = npt.NDArray[np.int64]
Made = TypeVar("Made")


class Experiment:
    """Everything that follows from a config.

    Args:
        config: a checked one.
        fleet: what the edge devices say they hold, for the server of a deployed run: its own corpus has none of it; or
            what those of a planned one are thought to hold.
    """

    def __init__(self, config: Config, fleet: Fleet | None = None) -> None:
        self.config = config
        self.fleet = fleet

    @cached_property
    def corpus(self) -> Corpus:
        """The corpus."""
        return self._usable_corpus[0]

    @cached_property
    def _usable_corpus(self) -> tuple[Corpus, dict[str, int]]:
        secrets, transcribed = self.config.audit.secrets, not without_transcripts(self.config)
        return usable_corpus(self.config.data, self.config.seed, secrets, transcribed)

    @cached_property
    def splits(self) -> npt.NDArray[Any]:
        """The split of every utterance."""
        return np.asarray(self.corpus.columns["split"])

    @cached_property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Whether the transcript of each utterance is read: all are, but of the training split those of a share of its
        speakers (``interleave.labelled_share``, ``client.labelled_share``), and with a teacher those that there are.
        """
        config, columns = self.config, self.corpus.columns
        labelled = np.ones(len(self.corpus), bool)
        rows = np.flatnonzero(self.splits == config.data.train_split)
        if config.interleave.labelled_share < 1 and len(rows):
            labelled[rows] = self._drawn_as_labelled(rows, config.interleave.labelled_share)
        if without_transcripts(config):
            labelled[rows] = self.transcribed[rows]
        if config.distillation.teacher is not None:
            labelled[rows] &= np.array([bool(str(text).strip()) for text in columns["text"][rows].tolist()], bool)
        return labelled

    @cached_property
    def transcribed(self) -> npt.NDArray[np.bool_]:
        """Whether a device that holds an utterance is taught by its transcript; see ``client.labels``."""
        client = self.config.client
        transcribed = np.ones(len(self.corpus), bool)
        rows = np.flatnonzero(self.splits == self.config.data.train_split)
        if client.labels != "truth":
            transcribed[rows] = self._drawn_as_labelled(rows, client.labelled_share) if client.labelled_share else False
        return transcribed

    def _drawn_as_labelled(self, rows: Rows, share: float) -> npt.NDArray[np.bool_]:
        """Return which rows are of a share of their speakers, drawn once with the seed."""
        speakers = np.asarray(self.corpus.columns["speaker"])[rows]
        drawn: npt.NDArray[np.bool_] = (
            hold_out(speakers, share, self.config.seed, "", "labelled", "labelled") == "labelled"
        )
        return drawn

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer: the seed model's where there is one, otherwise what section ``model`` says."""
        model = self.config.model
        if self.config.init_from is not None:
            seed_file = seed_tokenizer(self.config.init_from)
            if seed_file is not None:
                tokenizer = load_tokenizer(seed_file, model)
                if model.alphabet != "auto" and not is_reference(model.tokenizer):
                    wanted = build_tokenizer(model.alphabet, model.lowercase)
                    if wanted != tokenizer:
                        raise InputError(
                            f"'model.alphabet' is '{model.alphabet}', but the seed model was trained with other"
                            f" characters ({seed_file}); set model.alphabet=auto to take the seed model's"
                        )
                return tokenizer
        texts: Sequence[str] = ()
        if model.alphabet == "auto":
            if self.config.init_from is not None:
                raise InputError(
                    f"'model.alphabet' is 'auto', but 'init_from' has no tokenizer.json beside its weights"
                    f" ({self.config.init_from}); put it there, or list the characters that the seed model was trained"
                    " with after 'chars:'"
                )
            # Of a simulation without transcripts the characters alone are taken from them, as a list of them would be.
            read = (self.splits == self.config.data.train_split) & (self.labelled | without_transcripts(self.config))
            texts = self.corpus.columns["text"][read].tolist()
            if not any(map(str, texts)):
                raise InputError(
                    "'model.alphabet' is 'auto', but the training speech has no transcripts; list the characters after"
                    " 'chars:', choose latin or arabic, or start from a seed model ('init_from')"
                )
        return make_tokenizer(model, texts)

    @cached_property
    def speech(self) -> Speech:
        """Features and tokens of the corpus."""
        return Speech(self.corpus, self.tokenizer, self.config.data)

    @cached_property
    def skipped(self) -> int:
        """How many utterances were left out under ``data.on_bad_audio: skip``."""
        return sum(self._usable[1].values())

    @cached_property
    def left_out(self) -> dict[str, int]:
        """How many utterances of the training and test split the run leaves out, by reason; on devices nobody knows."""
        return {} if self.fleet is not None else {**self._usable_corpus[1], **self._usable[1]}

    @cached_property
    def _usable(self) -> tuple[npt.NDArray[np.bool_], dict[str, int]]:
        model = self.model()
        return usable_rows(self.corpus, self.config.data, self.tokenizer, model.output_frames, self.labelled)

    def rows(self, split: str) -> Rows:
        """Return the usable rows of a split.

        Raises:
            InputError: there are none.
        """
        there = self.splits == split
        key = "data.train_split" if split == self.config.data.train_split else "data.test_split"
        if not there.any():
            known = sorted({str(s) or "(none)" for s in np.unique(self.splits)})
            raise InputError(
                f"'{key}' is '{split}'{nearest(split, known)}, which no utterance has; the corpus has:"
                f" {', '.join(known)}"
            )
        present = np.flatnonzero(there & self._usable[0])
        if not len(present):
            raise InputError(
                f"none of the {int(there.sum())} utterances of '{key}', '{split}', can be used: all were skipped as"
                " bad ('data.on_bad_audio' is 'skip'); 'fedasr data check' on the manifest says why"
            )
        return present

    @cached_property
    def _split(self) -> tuple[Partition, Partition | None]:
        if self.fleet is not None:
            return self.fleet.partition(), None
        if self.config.runtime.name == "deployment":
            raise InputError(
                "'runtime.name' is 'deployment', where each device holds its speech and only it knows how much;"
                " submit the run to the SuperLink with 'flwr run' (docs/edge.md), or set runtime.name=local"
            )
        data, share = self.config.data, self.config.evaluate.held_out
        whole = make_partition(
            data.partition, self.corpus.columns, self.rows(data.train_split), data.clients, self.config.seed, self.embed
        )
        return split_held_out(whole, share, self.config.seed) if share else (whole, None)

    @property
    def partition(self) -> Partition:
        """Which client trains on which utterances, over its whole life."""
        return self._split[0]

    @property
    def held_out(self) -> Partition | None:
        """What the clients hold and never train on, with ``evaluate.held_out``; None: nothing."""
        return self._split[1]

    @cached_property
    def stream(self) -> Stream:
        """What each client stores in each round."""
        return make_stream(
            self.config.stream, self.config.rounds, self.partition, self.corpus, self.speech.durations, self.config.seed
        )

    @cached_property
    def training_stream(self) -> Stream:
        """What of it each client may train on: with ``client.labels: none`` what has transcripts."""
        if self.config.client.labels != "none" or not self.config.client.labelled_share:
            return self.stream
        partition = self.partition
        taught = part(partition, self.transcribed[partition.rows])
        return Stream(self.config.stream, self.config.rounds, taught, self.speech.durations, self.stream.arrivals)

    def stored(self, client: int, round: int) -> npt.NDArray[np.integer]:
        """Return the corpus rows that a client stores in a round."""
        return self.stream.rows(client, self.stream.period_of_round(round))

    @cached_property
    def decile_rows(self) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Held-out rows of the clients, with the decile of activity and the client of each, shape ``(rows,)``."""
        train, held = self._split
        assert held is not None, "evaluate.deciles needs evaluate.held_out"
        return decile_sample(train, held, self.config.evaluate.deciles, self.config.seed)

    def embed(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Return an embedding of utterances, mean and deviation of each mel band over time, ``(n, 2·mel)``."""
        return utterance_embeddings(self.corpus, self.config.data)(rows)

    @property
    def registered(self) -> int:
        """How many users there are for a ledger: the clients, and after them the canary users of an audit."""
        return len(self.partition) + self.config.audit.canaries

    def counts(self, period: int) -> Stored:
        """Return what the registered users store in a period that they may train on; shape ``(registered,)`` each.

        A canary user has no speech. It is listed with what a client drawn once with the seed stores, so that a selector
        treats it as one of them. Where that is to be hidden it is one utterance: whether a canary takes part must not
        follow from what a client holds, who would then have two updates in the sum.
        """
        stored = self.training_stream.counts(period)
        canaries = self.config.audit.canaries
        if not canaries:
            return stored
        privacy = self.config.privacy
        if privacy.unit == "user" and privacy.noise_at == "server" and not privacy.public_activity:
            return Stored(*(np.concatenate([column, np.ones(canaries, column.dtype)]) for column in stored))
        like = seeds.generator(self.config.seed, "canary-users").integers(len(self.partition), size=canaries)
        return Stored(*(np.concatenate([column, column[like]]) for column in stored))

    def roster(self) -> Roster:
        """Return a fresh roster of the population."""
        if self.fleet is not None:
            return self.fleet.roster()
        stored = self.counts(0)
        roster = Roster.from_counts(stored.utterances, stored.seconds)
        roster.store(*stored)
        return roster

    @cached_property
    def test_rows(self) -> Rows:
        """The rows that the server evaluates on."""
        rows = self.rows(self.config.data.test_split)
        limit = self.config.evaluate.limit
        if limit is not None and limit < len(rows):
            drawn = seeds.generator(self.config.seed, "evaluation-rows").choice(len(rows), limit, replace=False)
            rows = rows[np.sort(drawn)]
        return rows

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The phrases that decoder ``vocabulary`` chooses among.

        Raises:
            InputError: they would be the transcripts of private speech.
        """
        given = self.config.evaluate.vocabulary
        if given:
            return tuple(given)
        if self.config.privacy.unit != "none" or self.config.strategy.name == "pate":
            raise InputError(
                "'evaluate.vocabulary' is empty, and the phrases of decoder 'vocabulary' would be the training"
                " transcripts, which are private in this run; list the phrases"
            )
        rows = self.rows(self.config.data.train_split)
        texts = self.corpus.columns["text"][rows[self.labelled[rows]]]
        return tuple(sorted({self.tokenizer.normalise(str(text)) for text in texts}))

    def model(self) -> SpeechModel:
        """Return a freshly initialised model, the same for the same seed; what is frozen has its initial values.

        Raises:
            InputError: it cannot be made; in practice it would not fit into memory.
        """
        model = self._fresh_model()
        if self.config.model.frozen:
            freeze(model, self.frozen)
        return model

    def _fresh_model(self) -> SpeechModel:
        with seeds.torch_scope(self.config.seed, "model"):
            try:
                return build_model(self.config.model, self.config.data.features.mel_bins, self.tokenizer.size)
            except (RuntimeError, MemoryError, OverflowError, TypeError) as error:
                message = (str(error).splitlines() or [type(error).__name__])[0]
                raise InputError(f"the model of section 'model' cannot be made: {message}") from None

    def first_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the weights that training starts from, without frozen ones.

        Raises:
            InputError: ``init_from`` names no weights, or those of another model, or ``model.frozen`` does not fit it.
        """
        return self.shared(self._initial_weights())

    @cached_property
    def frozen(self) -> dict[str, npt.NDArray[np.float32]]:
        """The tensors of the initial model that keep their values for the whole run (``model.frozen``)."""
        globs = self.config.model.frozen
        if not globs:
            return {}
        arrays = self._initial_weights()
        return {name: arrays[name] for name in frozen_names(arrays, globs)}

    def shared(self, whole: Mapping[str, Made]) -> dict[str, Made]:
        """Return of all weights of a model those that are trained and sent."""
        return {name: array for name, array in whole.items() if name not in self.frozen}

    def whole(self, shared: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return all weights of a model: those that are trained, and the frozen ones."""
        return {**self.frozen, **shared}

    def _initial_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        model = self._fresh_model()
        if self.config.init_from is not None:
            arrays, path = read_weights(self.config.init_from)
            try:
                load_arrays(model, arrays)
            except ValueError as error:
                raise InputError(
                    f"{error}; 'init_from' needs weights of the same 'model' and 'data.features' settings",
                    where=str(path),
                ) from None
            check_seed_config(self.config)
        return model_arrays(model)

    def check_columns(self) -> None:
        """Raise when ``evaluate.by`` names a column that the corpus does not have."""
        for column in self.config.evaluate.by:
            if column not in self.corpus.columns:
                known = ", ".join(self.corpus.columns)
                raise InputError(
                    f"'evaluate.by' names column '{column}'{nearest(column, self.corpus.columns)};"
                    f" the corpus has: {known}"
                )


def without_transcripts(config: Config) -> bool:
    """Say whether training speech needs no transcripts: nobody reads any, but of ``client.labelled_share``."""
    return config.client.labels in ("self", "none")


def seed_tokenizer(source: str) -> Path | None:
    """Return the tokenizer file that lies beside the weights of ``init_from``, if any."""
    path = Path(source)
    file = (path if is_folder(path) else path.parent) / "tokenizer.json"
    return file if is_file(file) else None


def seed_config(source: str) -> Path | None:
    """Return the config file that lies beside the weights of ``init_from``, if any."""
    path = Path(source)
    file = (path if is_folder(path) else path.parent) / "config.yaml"
    return file if is_file(file) else None


FREE = (
    "model.alphabet",
    "model.lowercase",
    "model.dropout",
    "model.ctc_weight",
    "model.speller.label_smoothing",
    "model.frozen",
)
"""Keys of section ``model`` that do not change what its weights mean; the tokenizer is compared by itself."""


def check_seed_config(config: Config) -> None:
    """Raise where weights would get other features, or be used in other layers, than they were trained with.

    Sizes show in the weights; a hop, a window, a stride or a number of heads does not. Keys that the run does not read,
    such as the kernel of another encoder, may differ.

    Raises:
        InputError: naming the first key that differs.
    """
    assert config.init_from is not None
    file = seed_config(config.init_from)
    if file is None:
        return
    old, unread = load(file, checked=False), unread_keys(config)
    for name, _ in walk():
        if not name.startswith(("data.features.", "model.")) or name.startswith(FREE) or name in unread:
            continue
        before, after = get(old, name), get(config, name)
        if before != after:
            raise InputError(
                f"the seed model was trained with '{name}' {before!r}, and the run has {after!r}; set it alike, or"
                " choose another 'init_from'",
                where=str(file),
            )


def as_json(config: Config) -> str:
    """Return the config as one line of JSON: how it travels to the clients, who need not know who watches the run.

    Sections that say nothing are left out, since every byte goes to every client: no attack, no section `attack`.
    """
    tree = to_dict(config)
    del tree["log"]
    if not tree["strategy"]["options"]:
        del tree["strategy"]["options"]
    if config.strategy.central_round == StrategyConfig.central_round:
        del tree["strategy"]["central_round"]
    if not tree["model"]["frozen"]:
        del tree["model"]["frozen"]
    for name in ("labels", "labelled_share"):
        if getattr(config.client, name) == getattr(ClientConfig, name):
            del tree["client"][name]
    if not tree["data"]["exclude"]:
        del tree["data"]["exclude"]
    if config.attack == AttackConfig():
        del tree["attack"]
    if config.audit == AuditConfig():
        del tree["audit"]
    if config.compression == CompressionConfig():
        del tree["compression"]
    elif config.compression.down == "none":
        del tree["compression"]["down"], tree["compression"]["down_options"]
    if config.distillation == DistillationConfig():
        del tree["distillation"]
    if config.interleave == InterleaveConfig():
        del tree["interleave"]
    if config.evaluate.estimate == EstimateConfig():
        del tree["evaluate"]["estimate"]
    if config.self_labels == SelfLabelsConfig():
        del tree["self_labels"]
    if config.secure_aggregation == SecureAggregationConfig():
        del tree["secure_aggregation"]
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=4)
def experiment(config_json: str) -> Experiment:
    """Return this process's experiment of a config, made once."""
    return Experiment(load(json.loads(config_json)))


def per_experiment(make: Callable[[str], Made]) -> Callable[[str], Made]:
    """Keep what a function makes of a config for as long as this process keeps its experiment.

    In a notebook the next run of the same config may be of a class that was defined anew meanwhile.
    """
    kept: WeakKeyDictionary[Experiment, Made] = WeakKeyDictionary()

    @wraps(make)
    def made(config_json: str) -> Made:
        run = experiment(config_json)
        if run not in kept:
            kept[run] = make(config_json)
        return kept[run]

    return made
