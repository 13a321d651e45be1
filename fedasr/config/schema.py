"""The typed schema of a run: every key, its meaning, its unit and its bounds.

``docs/configuration.md`` is generated from this module, and ``loading.py`` checks a config against it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any


def key(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    reference: bool = False,
) -> Any:
    """Declare a config key: its default, what it means, and the values it may take.

    ``low`` and ``high`` are inclusive bounds, ``above`` an exclusive lower one. With ``reference`` the key also takes
    ``"package.module:attribute"``, the extension point for a user's own part.
    """
    meta = {"help": help, "choices": choices, "low": low, "high": high, "above": above, "reference": reference}
    if callable(default):
        return field(default_factory=default, metadata=meta)
    return field(default=default, metadata=meta)


def part(factory: Any, help: str) -> Any:
    """Declare a section of the config."""
    return field(default_factory=factory, metadata={"help": help})


@dataclass
class SyntheticConfig:
    """Speech rendered by espeak-ng; see ``docs/synthetic-speech.md``."""

    grammar: str = key(
        "home",
        "what is said: commands (home), sentences that are none (everyday), connected digits, single words",
        choices=("home", "everyday", "digits", "keywords", "words"),
    )
    words: list[str] = key(list, "the vocabulary of grammar `words`; one word an utterance")
    language: str = key("en", "espeak-ng language of grammar `words` (`en`, `ar`, …)")
    speakers: int = key(200, "training speakers, each a client under the natural partition", low=1)
    test_speakers: int = key(24, "held-out speakers; no training speaker has their voice", low=1)
    utterances_per_speaker: float = key(10.0, "mean utterances a training speaker", above=0)
    test_utterances_per_speaker: int = key(8, "utterances of each held-out speaker", low=1)
    activity: str = key("lognormal", "the law of utterances per speaker", choices=("constant", "lognormal", "pareto"))
    activity_spread: float = key(0.8, "sigma of `lognormal`; tail exponent is 1 + 1/spread for `pareto`", above=0)
    topic_alpha: float = key(1.0, "Dirichlet concentration of a speaker's topic preference; small is skewed", above=0)
    clip_seconds: float = key(
        0.0, "shorter utterances lie somewhere in a recording of this many seconds; 0: no more than their own", low=0
    )
    device: bool = key(True, "pass the voice through a device: gain, band limit, small room, noise")
    min_snr_db: float = key(15.0, "lowest signal-to-noise ratio of a device, in decibels")
    max_snr_db: float = key(40.0, "highest signal-to-noise ratio of a device, in decibels")


@dataclass
class PartitionConfig:
    """How utterances become clients."""

    name: str = key(
        "natural",
        "natural: one client a value of `column`; grouped: several values a client; iid; dirichlet: symmetric over"
        " clients; dirichlet-prior: FedNLP's Dir(alpha·prior), equal-sized clients; quantity-*: skewed sizes;"
        " feature-kmeans: skewed clusters of utterance embeddings",
        choices=(
            "natural",
            "grouped",
            "iid",
            "dirichlet",
            "dirichlet-prior",
            "quantity-dirichlet",
            "quantity-lognormal",
            "quantity-power",
            "feature-kmeans",
        ),
        reference=True,
    )
    column: str = key("speaker", "the column to partition on (speaker, text, accent, gender, any other)")
    alpha: float = key(0.5, "Dirichlet concentration; small is skewed", above=0)
    sigma: float = key(1.0, "sigma of the log-normal sizes", above=0)
    exponent: float = key(1.2, "exponent of the power-law sizes", above=0)
    clusters: int = key(10, "k of feature-kmeans", low=2)
    min_utterances: int = key(1, "clients with fewer utterances are left out", low=1)


@dataclass
class FeatureConfig:
    """Log-mel features."""

    mel_bins: int = key(40, "mel bands", low=8, high=256)
    window_ms: float = key(25.0, "analysis window in milliseconds", low=1, high=1000)
    hop_ms: float = key(10.0, "hop between frames in milliseconds", low=1, high=1000)
    normalize: str = key("utterance", "mean and variance per utterance, or none", choices=("utterance", "none"))


@dataclass
class AugmentConfig:
    """Augmentation of training speech; evaluation never sees it."""

    time_shift_ms: float = key(0.0, "largest random shift of the waveform, either way", low=0)
    speed: float = key(0.0, "speed drawn from 1 ± this", low=0, high=0.5)
    noise_snr_db: float | None = key(None, "lowest SNR of added noise in decibels (up to 40); absent: none")
    gain_db: float = key(0.0, "gain drawn from ± this, in decibels", low=0)
    frequency_masks: int = key(0, "SpecAugment frequency masks", low=0)
    frequency_mask_bins: int = key(8, "widest frequency mask in mel bands", low=0)
    time_masks: int = key(0, "SpecAugment time masks", low=0)
    time_mask_share: float = key(0.1, "widest time mask as a share of the utterance", low=0, high=1)


@dataclass
class CacheConfig:
    """The cache of features: bounded, keyed by content and parameters, safe for several processes."""

    directory: str | None = key(None, "folder of the cache on disk; absent: the user's cache folder; `off`: none")
    disk_mb: float = key(2048.0, "bound of the cache on disk in megabytes", above=0)
    memory_mb: float = key(64.0, "bound of what each process keeps in memory, in megabytes", low=0)


@dataclass
class DataConfig:
    """The speech and who holds it."""

    corpus: str = key(
        "synthetic",
        "where the speech comes from",
        choices=("synthetic", "manifest", "librispeech", "speechcommands", "commonvoice"),
        reference=True,
    )
    manifest: str | None = key(None, "the table of corpus `manifest`: CSV, TSV, JSON Lines or Parquet")
    root: str | None = key(None, "the folder of a public corpus (librispeech, speechcommands, commonvoice)")
    subset: str | None = key(None, "librispeech: `train-clean-100`; commonvoice: `train.tsv`; else unused")
    download: bool = key(False, "let torchaudio download the public corpus into `root` first")
    where: dict[str, Any] = key(dict, "keep rows whose column has the value, or one of the listed values")
    train_split: str = key("train", "the split that the clients hold")
    test_split: str = key("test", "the split that the server evaluates on")
    held_out: float = key(0.1, "share of speakers held out where the corpus has no splits", above=0, high=0.9)
    clients: int | None = key(
        None,
        "how many clients, where the partitioner allows a choice; runtime `deployment`: how many boxes the start waits"
        " for; absent: those that are connected",
        low=1,
    )
    min_seconds: float = key(0.0, "shorter utterances are left out", low=0)
    max_seconds: float = key(30.0, "longer utterances are left out", above=0)
    on_bad_audio: str = key("stop", "stop with a line, or skip and count", choices=("stop", "skip"))
    synthetic: SyntheticConfig = part(SyntheticConfig, "corpus `synthetic`")
    partition: PartitionConfig = part(PartitionConfig, "how utterances become clients")
    features: FeatureConfig = part(FeatureConfig, "log-mel features")
    augment: AugmentConfig = part(AugmentConfig, "augmentation of training speech")
    cache: CacheConfig = part(CacheConfig, "the feature cache")


@dataclass
class ConformerConfig:
    """What only `ctc-conformer` and encoder `conformer` read."""

    heads: int = key(4, "attention heads; must divide `model.hidden`", low=1)
    feedforward: int = key(4, "width of the feed-forward modules as a multiple of `model.hidden`", low=1)
    kernel: int = key(15, "kernel of the convolution module in frames; odd", low=3)


@dataclass
class SpellerConfig:
    """The attention decoder of `las` and `hybrid`."""

    hidden: int = key(128, "width of the token embedding, the LSTM and the attention", low=1)
    heads: int = key(4, "attention heads; must divide `model.speller.hidden`", low=1)
    label_smoothing: float = key(
        0.1, "share of each target that is spread over all characters in training", low=0, high=0.9
    )


@dataclass
class TransducerConfig:
    """The prediction and joint networks of `rnnt`."""

    prediction: int = key(128, "width of the token embedding and of the prediction LSTM", low=1)
    joint: int = key(128, "width of the joint network", low=1)


@dataclass
class ModelConfig:
    """The recogniser; see `docs/models.md`."""

    name: str = key(
        "ctc",
        "the model family: ctc; ctc-conformer; las: a pyramid of BLSTM layers that listens, and an attention speller;"
        " hybrid: CTC and a speller on one encoder; rnnt: RNN transducer",
        choices=("ctc", "ctc-conformer", "las", "hybrid", "rnnt"),
    )
    encoder: str = key(
        "blstm",
        "encoder of `ctc`, `hybrid` and `rnnt`: recurrent, dilated depth-wise convolutions, or Conformer",
        choices=("lstm", "blstm", "dsconv", "conformer"),
    )
    channels: list[int] = key(
        lambda: [64, 96], "channels of the subsampling convolutions, one per layer; each halves the frame rate"
    )
    strides: list[int] = key(lambda: [2, 2], "stride of each subsampling convolution (1 keeps the frame rate)")
    hidden: int = key(128, "width of the encoder (per direction for blstm)", low=1)
    layers: int = key(1, "encoder layers; each of `las` halves the frame rate", low=1)
    kernel: int = key(9, "kernel of the dsconv encoder in frames; odd", low=3)
    dropout: float = key(
        0.0, "dropout in the encoder and of what the decoders of las, hybrid, rnnt read", low=0, high=0.95
    )
    norm: str = key("layer", "normalisation after each block (never BatchNorm)", choices=("layer", "group", "none"))
    alphabet: str = key(
        "latin",
        "characters: `latin` (a-z, apostrophe), `arabic`, `auto` (collected from the training transcripts: on real"
        " devices that would reveal which characters occur), or the characters themselves after `chars:`",
    )
    lowercase: bool = key(True, "lower-case transcripts before they are encoded")
    ctc_weight: float = key(
        0.3, "`hybrid`: share of CTC in the loss and in joint decoding; the rest is attention's", low=0, high=1
    )
    conformer: ConformerConfig = part(ConformerConfig, "what only ctc-conformer and encoder conformer read")
    speller: SpellerConfig = part(SpellerConfig, "the attention decoder of las and hybrid")
    transducer: TransducerConfig = part(TransducerConfig, "the prediction and joint networks of rnnt")


@dataclass
class ClientConfig:
    """Local training."""

    optimizer: str = key("sgd", "the local optimiser", choices=("sgd", "adamw"))
    learning_rate: float = key(0.1, "local learning rate", above=0)
    momentum: float = key(0.0, "momentum of sgd", low=0, high=0.999)
    weight_decay: float = key(0.0, "decoupled weight decay (adamw) or L2 (sgd)", low=0)
    epochs: int = key(
        1, "passes over the client's speech a round; 0: clients return the model unchanged (to measure overhead)", low=0
    )
    steps: int | None = key(None, "steps a round; where set, `epochs` is not read", low=1)
    batch_size: int = key(8, "utterances a batch", low=1)
    batch_seconds: float | None = key(None, "seconds of audio a batch; where set, `batch_size` is not read", above=0)
    group_by_length: bool = key(True, "batches of similar length, so that less padding is computed")
    clip_norm: float | None = key(5.0, "largest gradient norm of a step; absent: no clipping", above=0)
    proximal: float = key(0.0, "FedProx: mu of the term mu/2·‖w − w_global‖²", low=0)
    schedule: str = key("constant", "local learning rate over the rounds", choices=("constant", "linear", "cosine"))
    final_scale: float = key(0.1, "where `linear` and `cosine` end, as a share of `learning_rate`", low=0, high=1)
    warmup_rounds: int = key(0, "rounds over which the learning rate rises linearly", low=0)


@dataclass
class StrategyConfig:
    """What the server does with the updates."""

    name: str = key(
        "fedavg",
        "the server optimiser; or pate: no updates, the server aggregates the votes of teachers",
        choices=("fedavg", "fedprox", "fedavgm", "fedadam", "fedyogi", "fedlamb", "pate"),
    )
    learning_rate: float = key(1.0, "server learning rate", above=0)
    schedule: str = key(
        "constant",
        "server learning rate over the rounds; adaptive optimisers need it: they undo a smaller local rate",
        choices=("constant", "linear", "cosine"),
    )
    final_scale: float = key(0.1, "where `linear` and `cosine` end, as a share of `learning_rate`", low=0, high=1)
    warmup_rounds: int = key(0, "rounds over which the server learning rate rises linearly", low=0)
    momentum: float = key(0.9, "momentum of fedavgm", low=0, high=0.9999)
    beta1: float = key(0.9, "first-moment decay of fedadam, fedyogi, fedlamb", low=0, high=0.9999)
    beta2: float = key(0.99, "second-moment decay of fedadam, fedyogi, fedlamb", low=0, high=0.99999)
    tau: float = key(1e-3, "adaptivity of fedadam, fedyogi, fedlamb (Reddi et al. 2021: added to the root)", above=0)
    weighting: str = key(
        "examples",
        "weight of a client's update; `inverse-probability`: examples over its inclusion probability, summed over the"
        " population's examples (Horvitz–Thompson: unbiased for every selection that reports probabilities)",
        choices=("examples", "seconds", "uniform", "inverse-probability"),
    )
    aggregation: str = key(
        "mean",
        "what stands for the updates of a round: mean, weighted; or, where clients may lie, median or trimmed-mean of"
        " each parameter, every client counting once; or norm-bound: the mean of updates that are scaled down to a"
        " length; see `docs/robust-aggregation.md`",
        choices=("mean", "median", "trimmed-mean", "norm-bound"),
    )
    trim_share: float = key(
        0.2, "`trimmed-mean`: share of the replies, rounded up, left out at either end", above=0, high=0.49
    )
    norm_bound: float | None = key(None, "`norm-bound`: longest L2 norm of an update", above=0)
    max_failed_share: float = key(0.5, "a round with a larger share of failed clients stops the run", low=0, high=1)


@dataclass
class OortConfig:
    """What only `oort` reads (Lai et al., OSDI 2021)."""

    exploration: float = key(0.9, "share of the cohort that explores new devices in the first round", low=0, high=1)
    exploration_decay: float = key(0.98, "what the share is multiplied with every round", above=0, high=1)
    exploration_floor: float = key(0.2, "the share never falls below this", low=0, high=1)
    cutoff: float = key(0.95, "devices are drawn among those above this share of the k-th best score", low=0, high=1)
    clip: float = key(0.95, "statistical utilities above this quantile are clipped", above=0, high=1)
    staleness: float = key(0.1, "c of the staleness bonus √(c·ln t / last round)", low=0)
    straggler_penalty: float = key(
        2.0, "exponent of T/duration for devices slower than the preferred T; 0: none", low=0
    )
    pacer_rounds: int = key(20, "rounds between two decisions of the pacer", low=1)
    pacer_step: float = key(5.0, "how far the pacer raises the percentile of the durations that T is", low=0, high=100)
    start_percentile: float = key(50.0, "percentile of the durations that T is at first", above=0, high=100)
    blacklist_rounds: int = key(
        0, "a device that took part so often is chosen only where nobody else is left; 0: no limit", low=0
    )


@dataclass
class AflConfig:
    """What only `afl` reads (Goetz et al. 2019)."""

    drop_share: float = key(
        0.75, "share of the devices, those with the lowest valuation √n·loss, that is not drawn by value", low=0, high=1
    )
    random_share: float = key(0.1, "share of the cohort, rounded up, that is drawn uniformly", low=0, high=1)
    temperature: float = key(0.01, "the others are drawn in proportion to exp(this · valuation)", low=0)


@dataclass
class SelectionConfig:
    """Which devices take part in a round; see `docs/selection.md`."""

    name: str = key(
        "uniform",
        "uniform; poisson: each device independently; activity: in proportion to what it stores; top-activity: the most"
        " active; threshold: uniformly among the active; mixed: the active first, then uniform; round-robin: with a"
        " minimum separation; power-of-choice: highest loss among candidates; oort; afl",
        choices=(
            "uniform",
            "poisson",
            "activity",
            "top-activity",
            "threshold",
            "mixed",
            "round-robin",
            "power-of-choice",
            "oort",
            "afl",
        ),
        reference=True,
    )
    clients_per_round: int = key(10, "devices a round; for `poisson` on average", low=1)
    activity: str = key(
        "utterances",
        "what the activity of a device counts: all that is stored, or only what came in the current period",
        choices=("utterances", "seconds", "recent-utterances", "recent-seconds"),
    )
    exponent: float = key(
        1.0, "`activity`, `mixed`: draw in proportion to the count to this power; 0 is uniform", low=0
    )
    replacement: bool = key(
        False, "`activity`, `mixed`: draw with replacement; a device drawn twice trains once and counts twice"
    )
    min_activity: float = key(
        1.0, "`threshold`: devices with a smaller count are not drawn; utterances or seconds, as `activity` says", low=0
    )
    active_rounds: int = key(10, "`mixed`: so many rounds of `activity`, then uniform", low=0)
    separation: int = key(
        0,
        "`round-robin`: two turns of a device are at least so many rounds apart, if need be with smaller cohorts; 0: as"
        " many as full cohorts allow",
        low=0,
    )
    candidates: int = key(0, "`power-of-choice`: devices whose loss is compared (d); 0: twice the cohort", low=0)
    probe: str = key(
        "loss",
        "`power-of-choice`: loss: of the global model on all the device stores (pow-d); batch: on one batch (cpow-d);"
        " last: the training loss it last reported, no question asked (rpow-d)",
        choices=("loss", "batch", "last"),
    )
    oort: OortConfig = part(OortConfig, "what only oort reads")
    afl: AflConfig = part(AflConfig, "what only afl reads")


@dataclass
class StreamConfig:
    """The continual setting: devices record over time and may have to delete; see `docs/continual.md`."""

    arrival: str = key(
        "static",
        "static: everything is there from the start; poisson: a device's utterances arrive as a Poisson process over"
        " the run; trace: at their `timestamp`",
        choices=("static", "poisson", "trace"),
    )
    periods: int = key(
        5, "periods the run is divided into, with equally many rounds each (within one); `static` has one", low=1
    )
    drift: float = key(
        0.0,
        "`poisson`: probability that an utterance comes in its text's own period, not at any time of the run",
        low=0,
        high=1,
    )
    keep: str = key(
        "all",
        "what a device keeps: all; window: the last `window` periods; count: its newest `count` utterances; period:"
        " only what came in the current period",
        choices=("all", "window", "count", "period"),
    )
    window: int = key(2, "periods that `keep: window` keeps, with the current one", low=1)
    count: int = key(20, "utterances that `keep: count` keeps", low=1)


@dataclass
class DevicesConfig:
    """Real devices, simulated: a virtual clock, availability, drop-out; see `docs/devices.md`."""

    clock: bool = key(False, "simulate how long devices take, when they are there, and who drops out")
    tiers: list[str] = key(lambda: ["high", "mid", "low"], "names of the classes of devices")
    shares: list[float] = key(lambda: [0.2, 0.5, 0.3], "share of the devices in each tier; they add up to 1")
    compute: list[float] = key(
        lambda: [0.02, 0.06, 0.25], "seconds that a device of each tier takes to train on one second of audio, once"
    )
    down_mbps: list[float] = key(lambda: [50.0, 20.0, 5.0], "download of each tier in megabits a second")
    up_mbps: list[float] = key(lambda: [20.0, 5.0, 1.0], "upload of each tier in megabits a second")
    jitter: float = key(
        0.25,
        "sigma of the log-normal spread around the tier's speed; computing and network each, anew every round",
        low=0,
        high=3,
    )
    availability: str = key(
        "always",
        "always; diurnal: each device is there for part of its own day; trace: as the file says",
        choices=("always", "diurnal", "trace"),
    )
    available_share: float = key(0.5, "`diurnal`: share of the day that a device is there", above=0, high=1)
    trace: str | None = key(None, "`trace`: a CSV of `client,start_s,end_s`, repeated when the run outlasts it")
    dropout: float = key(0.0, "probability that a selected device never answers", low=0, high=0.95)
    over_commit: float = key(
        1.0, "select this many times the cohort; whoever answers after the cohort is full is discarded", low=1, high=10
    )
    deadline_s: float | None = key(None, "simulated seconds after which a round closes; absent: none", above=0)
    overhead_s: float = key(1.0, "simulated seconds that the server needs a round", low=0)


@dataclass
class PublicSpeechConfig:
    """Public speech, whose labels the teachers vote on; features and augmentation are those of `data`."""

    corpus: str = key(
        "synthetic",
        "where it comes from; `synthetic` has speakers of its own, whatever the private corpus",
        choices=("synthetic", "manifest", "librispeech", "speechcommands", "commonvoice"),
        reference=True,
    )
    manifest: str | None = key(None, "the table of corpus `manifest`")
    root: str | None = key(None, "the folder of a public corpus (librispeech, speechcommands, commonvoice)")
    subset: str | None = key(None, "as `data.subset`")
    where: dict[str, Any] = key(dict, "keep rows whose column has the value, or one of the listed values")
    split: str = key("train", "the split that is labelled")
    synthetic: SyntheticConfig = part(SyntheticConfig, "corpus `synthetic`")


@dataclass
class StudentConfig(ClientConfig):
    """Training of the student on the labelled public speech; a round is `epochs` passes."""

    optimizer: str = key("adamw", "the optimiser, which goes on from round to round", choices=("sgd", "adamw"))
    learning_rate: float = key(0.003, "learning rate", above=0)
    batch_size: int = key(16, "utterances a batch", low=1)
    answers: int = key(
        1,
        "soft mechanisms with unit `utterance`: how many of the likeliest answers the student learns of an utterance,"
        " one a pass, drawn by the released shares; 1: the winner alone",
        low=1,
    )


@dataclass
class PateConfig:
    """Strategy `pate`: clients are teachers, the server aggregates their votes; see `docs/pate.md`."""

    mechanism: str = key(
        "gnmax",
        "how a label is drawn from the votes: lnmax: the most voted after Laplace noise; gnmax: after Gaussian noise;"
        " confident-gnmax: only where a noisy check finds a consensus first; soft-gaussian, soft-laplace: from the"
        " average of the teachers' posteriors, with noise on each before averaging",
        choices=("lnmax", "gnmax", "confident-gnmax", "soft-gaussian", "soft-laplace"),
    )
    scale: float = key(10.0, "the noise on each count, in votes: λ of Laplace, σ of Gauss", above=0)
    threshold: float | None = key(
        None, "`confident-gnmax`: votes that the most voted label must have, noise included; in votes"
    )
    threshold_scale: float | None = key(
        None, "`confident-gnmax`: standard deviation of the noise of that check, in votes", above=0
    )
    unit: str = key(
        "utterance",
        "what one vote is about: utterance: which of the candidates was said; token: what comes next after the"
        " tokens that are released already; frame: which token (or blank) an output frame has (`ctc`, `ctc-conformer`)",
        choices=("utterance", "token", "frame"),
    )
    candidates: list[str] = key(
        list, "`utterance`: what may have been said; empty: the distinct transcripts of the public corpus"
    )
    queries: int | None = key(
        None, "public utterances put to the teachers at most, drawn once with the seed; absent: all", low=1
    )
    min_confidence: float | None = key(
        None,
        "only utterances of which the public start is at least this sure are put to the teachers: its posterior of the"
        " likeliest candidate (`utterance`), or a token of what it hears (`token`, `frame`); costs nothing",
        low=0,
        high=1,
    )
    max_confidence: float | None = key(
        None,
        "only utterances of which the public start is at most this sure: those that teach something",
        low=0,
        high=1,
    )
    weights: dict[str, Any] = key(
        dict,
        "soft mechanisms: the weight of a teacher's posterior by the client's name, at most 1; others have 1. Public"
        " knowledge only: weights that follow from speech are not paid for",
    )
    budget: str = key(
        "data-independent",
        "which ε must stay within `privacy.epsilon`: the one that holds whatever the votes, or the one computed from"
        " them, with which more is labelled, and when labelling ends says something about the votes",
        choices=("data-independent", "data-dependent"),
    )
    noise_at: str = key(
        "server",
        "server: on the counts, by a server that is trusted with each vote; teachers: each adds a share to its own"
        " vote, so that nobody has the exact counts",
        choices=("server", "teachers"),
    )
    release_order: float | None = key(
        None,
        "`gnmax`, `confident-gnmax`: also release the data-dependent ε so that it may be published, with noise by its"
        " smooth sensitivity, at this Rényi order, chosen before the run; absent: it is for the experimenter only",
        above=1,
    )
    votes_from: str | None = key(
        None,
        "run folder whose votes are taken instead of asking teachers (unit `utterance`): to compare mechanisms, noise,"
        " budgets and students; `{seed}` in it stands for the seed; what is published of several such runs adds up",
    )
    simulated_teachers: int | None = key(
        None, "`votes_from`: draw the votes of so many teachers from the shares of each query; absent: as cast", low=1
    )
    store: str | None = key(
        None,
        "folder in which simulated teachers keep their models: runs that differ in the votes alone then train them"
        " once; absent: in the run folder, until the run is done",
    )
    public: PublicSpeechConfig = part(PublicSpeechConfig, "the public speech")
    student: StudentConfig = part(StudentConfig, "training of the student; `client` is that of the teachers")


@dataclass
class PrivacyConfig:
    """Differential privacy; see `docs/private-training.md`."""

    unit: str = key(
        "none",
        "whose presence is hidden: none; example: one utterance, by DP-SGD on each device, also from the server; user:"
        " all that a device holds, by clipping whole updates and noise where `noise_at` says; teacher: all that one"
        " teacher of strategy `pate` was trained on, by noise on the votes (then `none` means `teacher`)",
        choices=("none", "example", "user", "teacher"),
    )
    noise_at: str = key(
        "server",
        "`user`: server: on the sum, by a server that is trusted with each update (central DP); device: on each update"
        " before it is sent, which protects from the server too (local DP)",
        choices=("server", "device"),
    )
    noise_multiplier: float | None = key(
        None, "standard deviation of the noise in clip norms; absent: found from `epsilon`, for the whole run", above=0
    )
    epsilon: float | None = key(
        None,
        "what may be spent, by the run or, with noise on the devices, by each of them; the run ends, and no device is"
        " selected, before a round that would exceed it; absent: no bound",
        above=0,
    )
    participations: int | None = key(
        None,
        "noise on the devices: rounds that a device takes part in at most, and for which noise is found from `epsilon`;"
        " absent: no limit, or where noise is to be found, the mean (`example`) or all rounds (`user`)",
        low=1,
    )
    delta: float = key(1e-5, "the δ of every ε", above=0, high=0.1)
    clip_norm: float = key(1.0, "largest L2 norm of what a unit contributes; `adaptive`: where it starts", above=0)
    clipping: str = key(
        "flat",
        "flat: the whole update or gradient; per-layer: each tensor to clip_norm/√tensors; per-layer-dim: in proportion"
        " to the root of its size; adaptive (`user`): flat, the norm follows a quantile of the updates (Andrew et al."
        " 2021); automatic (`example`): every gradient to the norm, without a threshold (Bu et al. 2022)",
        choices=("flat", "per-layer", "per-layer-dim", "adaptive", "automatic"),
    )
    micro_batches: int | None = key(
        None,
        "`example`: clip the mean gradients of so many micro-batches a step instead of each utterance's (eDP-SGD);"
        " quicker, and accounted for with their sensitivity of twice the clip norm",
        low=1,
    )
    noise_decay: float = key(
        1.0, "`example`: the noise multiplier after each local pass, as a share of the one before", above=0, high=1
    )
    physical_batch: int | None = key(
        None, "`example`: utterances computed at a time, which bounds the memory; absent: all of a step", low=1
    )
    quantile: float = key(0.5, "`adaptive`: share of the updates that is to stay unclipped", above=0, high=0.99)
    quantile_rate: float = key(0.2, "`adaptive`: learning rate of the clip norm", above=0, high=2)
    accountant: str | None = key(
        None,
        "who computes ε; absent: pld on the server, rdp (quick, and a little above) on devices",
        choices=("pld", "rdp"),
    )
    noise: str = key(
        "independent",
        "`user`: independent: fresh in every round; banded, tree: correlated over the rounds, so that much of it"
        " cancels in the sum of the updates (DP-FTRL); needs no random cohorts but `selection.name: round-robin` with a"
        " `separation`",
        choices=("independent", "banded", "tree"),
    )
    bands: int = key(
        8,
        "`noise: banded`: rounds that the noise of one round reaches into, itself included; at most the separation",
        low=1,
    )
    public_activity: bool = key(
        False,
        "how much each device stores is no secret: activity-based selection is then accounted for without amplification"
        " by sampling, instead of refused",
    )
    population: int | None = key(
        None, "say, beside the ε of this simulation, what it would be in a population of so many users", low=1
    )
    cohort: int | None = key(
        None, "with `population`: and with so many of them a round, the noise on their mean being the same", low=1
    )
    secret_noise: bool = key(
        False,
        "draw the noise from the operating system instead of from the seed: needed for a real guarantee, and then no"
        " two runs are alike",
    )


@dataclass
class EvaluateConfig:
    """Evaluation."""

    every: int = key(
        1, "server-side evaluation every so many rounds, and after the last; 0: only after the last", low=0
    )
    decoder: str = key("greedy", "how hypotheses are found", choices=("greedy", "beam", "vocabulary"))
    beam: int = key(8, "width of decoder `beam`", low=1)
    vocabulary: list[str] = key(
        list, "the phrases that decoder `vocabulary` chooses among; empty: the distinct training transcripts"
    )
    limit: int | None = key(None, "evaluate on so many utterances, drawn once with the seed; absent: all", low=1)
    batch_size: int = key(32, "utterances a batch", low=1)
    by: list[str] = key(list, "columns whose values get a WER of their own")
    held_out: float = key(
        0.0, "share of each client's utterances that it never trains on, for `deciles`", low=0, high=0.9
    )
    deciles: int = key(
        0,
        "WER of light and heavy users, after the last round and after each period: on so many held-out utterances of"
        " each tenth of the clients by activity; 0: none",
        low=0,
    )
    client_side: int = key(
        0, "every so many rounds the selected clients evaluate the global model on their own speech; 0: never", low=0
    )


@dataclass
class RuntimeConfig:
    """Where the clients run."""

    name: str = key(
        "local",
        "local: our grid with workers on this machine; ray: the same with Ray actors, on a cluster, see `docs/ray.md`;"
        " flower: Flower's engine on Ray; deployment: real boxes, by `flwr run`, see `docs/edge.md`",
        choices=("local", "ray", "flower", "deployment"),
    )
    executor: str = key(
        "pool",
        "serial: this process; pool: persistent workers; debug: serial, and a failing client raises with its inputs",
        choices=("serial", "pool", "debug"),
    )
    workers: int = key(0, "processes of `pool`, actors of `ray` (Flower: clients at a time); 0: one per core", low=0)
    longest_first: bool = key(True, "start the clients with the most audio first, so that no worker waits at the end")
    device: str = key("cpu", "where clients train", choices=("cpu", "cuda", "auto"))
    ray_address: str | None = key(
        None, "`ray`: cluster to run on, as host:port, or `auto` for that of this node; absent: one of this machine"
    )
    gpus_per_client: float = key(
        0.0, "`ray` on a GPU: part of one that each worker is given, such as 0.25 for four on a GPU", low=0
    )
    reply_timeout_s: float = key(
        600.0,
        "`deployment`: seconds after which a box that has not answered counts as failed; also how long the start waits"
        " for `data.clients` boxes",
        low=1,
    )


@dataclass
class Config:
    """A run."""

    name: str = key("run", "name of the run")
    seed: int = key(0, "every random draw is a pure function of it", low=0)
    rounds: int = key(10, "rounds of federated training", low=0)
    init_from: str | None = key(None, "a run folder or a weights file to start from")
    data: DataConfig = part(DataConfig, "the speech and who holds it")
    model: ModelConfig = part(ModelConfig, "the recogniser")
    client: ClientConfig = part(ClientConfig, "local training")
    strategy: StrategyConfig = part(StrategyConfig, "what the server does with the updates")
    selection: SelectionConfig = part(SelectionConfig, "which devices take part in a round")
    stream: StreamConfig = part(StreamConfig, "the continual setting: speech that comes over time")
    devices: DevicesConfig = part(DevicesConfig, "real devices, simulated")
    privacy: PrivacyConfig = part(PrivacyConfig, "differential privacy")
    pate: PateConfig = part(PateConfig, "strategy `pate`: teachers, votes, public speech and the student")
    evaluate: EvaluateConfig = part(EvaluateConfig, "evaluation")
    runtime: RuntimeConfig = part(RuntimeConfig, "where the clients run")


def walk(schema: type = Config, prefix: str = "") -> list[tuple[str, Any]]:
    """Return ``(dotted key, dataclass field)`` for every leaf of the schema, in order."""
    rows: list[tuple[str, Any]] = []
    for item in fields(schema):
        sub = section(item)
        if sub is not None:
            rows += walk(sub, f"{prefix}{item.name}.")
        else:
            rows.append((f"{prefix}{item.name}", item))
    return rows


def section(item: Any) -> type | None:
    """Return the dataclass of a section field, or None for a leaf."""
    factory = item.default_factory
    return factory if isinstance(factory, type) and is_dataclass(factory) else None
