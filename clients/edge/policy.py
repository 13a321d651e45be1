"""What a server asks of a device, held against the policy of the device's owner before anything private is read."""

from __future__ import annotations

import hashlib
import json
import math
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from types import FrameType
from typing import Any

import torch
from flwr.app import ArrayRecord, Message

from fedasr.config import Config, load
from fedasr.config.schema import ModelConfig
from fedasr.edge.policy import PRIVACY, REFUSES, UNNOISED, Policy, PolicyRefused
from fedasr.errors import InputError
from fedasr.files import read_object, write_durably
from fedasr.flower.records import content_bytes, entries, values_of
from fedasr.models.factory import build_model
from fedasr.models.own_tokenizer import make_tokenizer
from fedasr.privacy.ledger import Entry, Ledger
from fedasr.protocol import SECURE_KINDS, Key, Kind, Name, Order, Record

from .edge_device import SECRET, EdgeDevice

TEACHERS = (Kind.TEACH, Kind.VOTE)
MOST = {
    "model.layers": 64,
    "model.kernel": 1001,
    "model.conformer.heads": 64,
    "model.conformer.kernel": 1001,
    "model.speller.heads": 64,
    "evaluate.beam": 64,
    "data.augment.frequency_masks": 100,
    "data.augment.time_masks": 100,
    "data.max_seconds": 120,
}
"""What no run needs more of, and what would keep a device busy, or fill its memory, beside the rules of its owner."""
MOST_STAGES = 16
MOST_PHRASES = 10_000
LONGEST_ALPHABET = 10_000
LONGEST_BATCH_UTTERANCE_S = 30.0
CLIP_NORMS = (1e-6, 1e6)
"""Outside of these the update or its noise would not survive single precision."""
MOST_COUNTS = 50_000_000
"""Entries of an answer to a question to a teacher: utterances or frames times answers."""


def check_order(edge_device: EdgeDevice, policy: Policy, message: Message) -> None:
    """Raise where a message asks what the owner of the device does not allow; count what may be asked so often only.

    Raises:
        PolicyRefused: naming what was asked, and what is allowed.
        InputError: the message is none that an edge device can read.
    """
    kind = message.metadata.message_type
    if kind not in policy.messages:
        raise PolicyRefused(f"a message '{kind}'", "asked", ", ".join(policy.messages) or "nothing")
    size = content_bytes(message.content) / 1e6
    if size > policy.message_mb:
        raise PolicyRefused("the message", f"{size:.0f} MB", f"at most {policy.message_mb:g} MB (message_mb)")
    config = sent_config(edge_device.config(Order.of(message).experiment))
    check_protection(kind, config, policy)
    check_sums(kind, config, policy)
    check_work(config, policy)
    if kind == Kind.VOTE:
        check_votes(message, config)
    count(edge_device, policy, config, questions(message) if kind == Kind.VOTE else 0)


def sent_config(config_json: str) -> Config:
    """Return the config of a message, without what the device has put into it: its server may hear what is wrong with
    it.

    Raises:
        InputError: a key or value does not fit the schema.
    """
    tree = json.loads(config_json)
    tree["data"] |= {"manifest": None, "cache": {}}
    try:
        return load(tree)
    except InputError as error:
        raise InputError(f"{REFUSES}the run's config is wrong: {error}") from None


def protection(kind: str, config: Config) -> str:
    """Return who adds noise to what the device sends in a run: ``device``, ``server`` or ``none``.

    Args:
        kind: of the message; that the device describes itself, and a step of secure aggregation, is for the run's
            training or its votes.
        config: as the device reads it.
    """
    pate, privacy = config.strategy.name == "pate", config.privacy
    if kind in TEACHERS or (kind in (Kind.DESCRIBE, *SECURE_KINDS) and pate):
        # With noise at the teachers too: how large the share of an edge device is, its server says, and a share
        # protects by the others' shares, which its server would have to have summed.
        return "server" if pate else "none"
    if pate or kind in UNNOISED:
        return "none"
    if privacy.unit == "example":
        return "device"
    # A share of noise protects by the others' shares, which its server would have to have summed.
    shared = {"shares": "server"}
    return shared.get(privacy.noise_at, privacy.noise_at) if privacy.unit == "user" else "none"


def check_protection(kind: str, config: Config, policy: Policy) -> None:
    """Raise where a run protects less than the owner asks for.

    Raises:
        PolicyRefused: naming the key.
    """
    privacy, pate = config.privacy, config.pate
    if kind in UNNOISED and privacy.unit != "none":
        raise PolicyRefused(f"a message '{kind}'", f"asked in a run of privacy.unit={privacy.unit}", "none there")
    place = protection(kind, config)
    if PRIVACY.index(place) > PRIVACY.index(policy.privacy):
        where = {"user": privacy.noise_at, "teacher": pate.noise_at}.get(privacy.unit, place)
        asked = f"{privacy.unit} with noise at the {where}" if place == "server" else privacy.unit
        wanted = (
            "noise that this edge device adds"
            if policy.privacy == "device"
            else "noise by this edge device or its server"
        )
        raise PolicyRefused("privacy.unit", asked, f"a run with {wanted} (privacy: {policy.privacy})")
    if not policy.protects:
        return
    if config.strategy.name == "pate":
        allowed = ", ".join(policy.pate_mechanisms) or "none"
        if pate.mechanism not in policy.pate_mechanisms:
            raise PolicyRefused("pate.mechanism", pate.mechanism, f"{allowed} (pate_mechanisms)")
        if pate.scale < policy.pate_scale:
            raise PolicyRefused("pate.scale", pate.scale, f"at least {policy.pate_scale:g} (pate_scale)")
    if policy.secret_noise and not privacy.secret_noise:
        raise PolicyRefused("privacy.secret_noise", "false", SECRET)
    if privacy.delta > policy.delta:
        raise PolicyRefused("privacy.delta", privacy.delta, f"at most {policy.delta:g} (delta)")
    if privacy.epsilon is not None and privacy.epsilon > policy.epsilon_per_run:
        limit = f"at most {policy.epsilon_per_run:g} (epsilon_per_run)"
        raise PolicyRefused("privacy.epsilon", privacy.epsilon, limit)
    if config.strategy.name == "pate":
        return
    if privacy.noise_multiplier is not None and privacy.noise_multiplier < policy.noise_multiplier:
        limit = f"at least {policy.noise_multiplier:g} (noise_multiplier)"
        raise PolicyRefused("privacy.noise_multiplier", privacy.noise_multiplier, limit)
    if not CLIP_NORMS[0] <= privacy.clip_norm <= CLIP_NORMS[1]:
        raise PolicyRefused("privacy.clip_norm", privacy.clip_norm, f"{CLIP_NORMS[0]:g} to {CLIP_NORMS[1]:g}")


def check_work(config: Config, policy: Policy) -> None:
    """Raise where a run would take more of the device than its owner gives.

    Raises:
        PolicyRefused: naming the key.
    """
    client, privacy = config.client, config.privacy
    limits: list[tuple[str, float | None, float]] = [
        ("client.epochs", client.epochs, policy.epochs),
        ("client.steps", client.steps, policy.steps),
        ("client.batch_size", client.batch_size, policy.batch_size),
        ("client.batch_seconds", client.batch_seconds, policy.batch_size * LONGEST_BATCH_UTTERANCE_S),
        ("privacy.physical_batch", privacy.physical_batch, policy.batch_size),
        ("privacy.micro_batches", privacy.micro_batches, policy.batch_size),
        ("evaluate.batch_size", config.evaluate.batch_size, policy.batch_size),
        ("evaluate.vocabulary", len(config.evaluate.vocabulary), MOST_PHRASES),
        ("model.channels", len(config.model.channels), MOST_STAGES),
        ("model.alphabet", len(config.model.alphabet), LONGEST_ALPHABET),
    ]
    limits += [(name, value_of(config, name), most) for name, most in MOST.items()]
    for name, asked, most in limits:
        if asked is not None and asked > most:
            raise PolicyRefused(name, f"{asked:g}", f"at most {most:g}")
    size = parameters(config)
    if size > policy.parameters:
        raise PolicyRefused("the model", f"of {size:,} parameters", f"at most {policy.parameters:,} (parameters)")


def check_sums(kind: str, config: Config, policy: Policy) -> None:
    """Raise where the owner wants the server to see sums alone, and a run would show it a single update or vote.

    Raises:
        PolicyRefused: naming the key.
    """
    mode, told = config.secure_aggregation.mode, (Kind.TRAIN, Kind.DESCRIBE, Kind.ESTIMATE, *TEACHERS)
    if policy.secure_aggregation and kind in told and mode != "protocol":
        raise PolicyRefused("secure_aggregation.mode", mode, "protocol (secure_aggregation)")


def value_of(config: Config, name: str) -> float:
    """Return the value of a dotted key."""
    value: Any = config
    for step in name.split("."):
        value = getattr(value, step)
    return float(value)


def parameters(config: Config) -> int:
    """Return how many parameters the model of a config has, without any memory for them.

    Raises:
        InputError: there is no such model.
    """
    tokenizer = make_tokenizer(config.model)
    try:
        with torch.device("meta"):
            model = build_model(config.model, config.data.features.mel_bins, tokenizer.size)
        return sum(math.prod(parameter.shape) for parameter in model.parameters())
    except (RuntimeError, MemoryError, OverflowError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise PolicyRefused("the model", "one that cannot be made", "one that can") from None


def questions(message: Message) -> int:
    """Return how many votes an answer to a message would have: one an utterance, or one a frame.

    Raises:
        PolicyRefused: it does not say.
    """
    record = message.content.get(Record.SPEECH)
    arrays = entries(record) if isinstance(record, ArrayRecord) else {}
    if Name.LENGTHS not in arrays or Name.FRAMES not in arrays:
        raise PolicyRefused(f"a message '{Kind.VOTE}'", "without speech", "one with speech to vote on")
    frame = values_of(message, Record.CONFIG).get(Key.UNIT) == "frame"
    shape = arrays[Name.FRAMES if frame else Name.LENGTHS].shape
    return int(shape[0]) if shape else 0


def check_votes(message: Message, config: Config) -> None:
    """Raise where the question of a message is another than the run's config says, or its answer has no end.

    Raises:
        PolicyRefused: naming what was asked.
    """
    order = values_of(message, Record.CONFIG)
    unit, classes, teachers = order.get(Key.UNIT), order.get(Key.CLASSES, 1), order.get(Key.TEACHERS, 1)
    if unit != config.pate.unit:
        raise PolicyRefused("the unit of a vote", unit, f"that of the run, {config.pate.unit}")
    if not (isinstance(classes, int) and classes > 0 and classes * questions(message) <= MOST_COUNTS):
        raise PolicyRefused("the number of answers", classes, f"at most {MOST_COUNTS} in a message")
    if not (isinstance(teachers, int) and teachers > 0):
        raise PolicyRefused("the number of teachers", teachers, "a whole number of at least 1")


def count(edge_device: EdgeDevice, policy: Policy, config: Config, votes: int) -> None:
    """Count the votes of a message, and by which choice of usable speech the device is counted; for life, on the disk.

    Raises:
        PolicyRefused: the owner allows no more of it; nothing was counted.
        InputError: the counts are damaged or cannot be written.
    """
    kept = read_object(edge_device.asked)
    filters, cast = [str(name) for name in kept.get("filters", [])], int(kept.get("votes", 0))
    if cast + votes > policy.pate_queries:
        limit = f"at most {policy.pate_queries} over all runs (pate_queries)"
        raise PolicyRefused("votes", f"{votes} more after {cast}", limit)
    name = filter_of(config)
    if name not in filters:
        if len(filters) >= policy.filters:
            limit = f"at most {policy.filters} different ones over all runs (filters)"
            raise PolicyRefused("the choice of usable speech (alphabet, lengths, frame rate)", "another one", limit)
        filters.append(name)
    if kept.get("filters") != filters or votes:
        write_durably(edge_device.asked, {"filters": filters, "votes": cast + votes})


def filter_of(config: Config) -> str:
    """Return a digest of all that decides which of an edge device's recordings a run can use."""
    data, model = config.data, config.model
    facts = [
        *(data.min_seconds, data.max_seconds, data.features.window_ms, data.features.hop_ms),
        *(model.alphabet, model.lowercase, model.name, model.encoder, list(model.strides), model.layers),
    ]
    own = {name: asdict(model)[name] for name in ("tokenizer", "tokenizer_options", "options", "encoder_options")}
    usual = asdict(ModelConfig())
    facts += [[name, value] for name, value in own.items() if value != usual[name]]
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=8).hexdigest()


def over_budget(policy: Policy, delta: float, run: Ledger, life: Ledger) -> tuple[str, float, float] | None:
    """Return which budget the owner's ledgers would exceed, what it would be, and the limit; None: neither.

    Args:
        policy: of the device.
        delta: of the run.
        run: what the run has cost, what is to come included.
        life: the same of all runs.
    """
    if not policy.protects:
        return None
    for name, ledger, limit in (
        ("epsilon_per_run", run, policy.epsilon_per_run),
        ("epsilon_lifetime", life, policy.epsilon_lifetime),
    ):
        for unit, seen_by in ledger.groups():
            spent = ledger.epsilon(min(delta, policy.delta), unit, seen_by)
            if not spent <= limit:
                return name, spent, limit
    return None


def charged_since(before: Mapping[str, Any] | None, after: Ledger) -> list[Entry]:
    """Return what a ledger holds that an earlier state of it did not, of merged events the steps that came."""
    earlier = Ledger(after.accountant)
    if before:
        earlier.load_state_dict(before)
    charged: list[Entry] = []
    for place, entry in enumerate(after.entries):
        known = earlier.entries[place] if place < len(earlier.entries) else None
        if known is None:
            charged.append(entry)
        elif entry.event.steps > known.event.steps:
            charged.append(replace(entry, event=entry.event.since(known.event)))
    return charged


@contextmanager
def in_time(seconds: float) -> Iterator[None]:
    """Raise in the middle of work that takes longer than the owner allows.

    Raises:
        PolicyRefused: it did.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def over(number: int, frame: FrameType | None) -> None:
        raise PolicyRefused("the work on a message", f"longer than {seconds:g} s", f"at most {seconds:g} s (seconds)")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
