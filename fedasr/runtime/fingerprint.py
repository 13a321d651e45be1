"""What a run was started with beside its config: rows, clients, audio, the seed model, traces, public speech.

A checkpoint numbers devices and utterances. If a row came or went before a run is resumed, the numbers mean others: a
device would go on with the privacy ledger of another, and somebody held out would be trained on. So a run is resumed
with the very speech that it began with, or not at all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.data.corpus import BadAudio, Corpus
from fedasr.data.files import FileCorpus
from fedasr.data.subset import Subset
from fedasr.errors import InputError
from fedasr.experiment import Experiment, seed_tokenizer
from fedasr.files import write_arrays
from fedasr.models.weights import read_weights
from fedasr.models.weights import sha256 as weights_sha256
from fedasr.paths import is_folder, of_seed
from fedasr.references import load_reference

NAME = "speech.safetensors"
"""File of the checkpoint's folder."""

PUBLIC_ROWS = "fedasr.strategies.pate.public:public_rows"
ADVICE = "put back what was there, or start anew in another folder"

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Fingerprint:
    """What a run was started with.

    ``rows`` has a hash of each utterance of the training and test split in their order, of what the table says of it
    and of its audio, shape ``(utterances,)``; ``public`` those that PATE's teachers are asked about. Both are empty for
    synthetic speech, which follows from the config. ``facts`` names digests of all else.
    """

    rows: Hashes
    public: Hashes
    facts: dict[str, str]

    @property
    def digest(self) -> str:
        """Return one digest of all."""
        digest = blake2b(self.rows.tobytes() + b"|" + self.public.tobytes(), digest_size=16)
        digest.update(json.dumps(self.facts, sort_keys=True).encode())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write it into the checkpoint's folder."""
        about = {"facts": json.dumps(self.facts), "digest": self.digest}
        write_arrays(folder / NAME, {"rows": self.rows, "public": self.public}, about)


def load(folder: Path) -> Fingerprint | None:
    """Return what the checkpoint's folder says; None where it says nothing that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / NAME, framework="numpy") as file:
            facts = json.loads(file.metadata()["facts"])
            return Fingerprint(file.get_tensor("rows"), file.get_tensor("public"), facts)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None


def digest_in(folder: Path) -> str | None:
    """Return the digest in the checkpoint's folder; None where there is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / NAME, framework="numpy") as file:
            return str(file.metadata()["digest"])
    except (SafetensorError, OSError, KeyError, TypeError):
        return None


def of_speech(run: Experiment) -> Hashes:
    """Return the hash of each utterance that a run may use; of synthetic and of edge devices' speech none."""
    data = run.config.data
    if run.fleet is not None or data.corpus == "synthetic":
        return np.zeros(0, np.uint64)
    return hashes(run.corpus, np.flatnonzero((run.splits == data.train_split) | (run.splits == data.test_split)))


def fingerprint(run: Experiment) -> Fingerprint:
    """Return what a run is started with.

    Raises:
        InputError: something that it needs is not there.
    """
    return Fingerprint(of_speech(run), of_public(run), facts_of(run))


def of_public(run: Experiment) -> Hashes:
    """Return the hash of each public utterance of PATE."""
    config = run.config
    if config.strategy.name != "pate" or config.pate.public.corpus == "synthetic":
        return np.zeros(0, np.uint64)
    corpus, rows = load_reference(PUBLIC_ROWS)(run)
    return hashes(corpus, rows)


def facts_of(run: Experiment) -> dict[str, str]:
    """Return the digests of what is no row of a table."""
    config, partition = run.config, run.partition
    clients = blake2b(digest_size=16)
    clients.update("\0".join(map(str, partition.names.tolist())).encode())
    clients.update(partition.offsets.tobytes() + np.ascontiguousarray(partition.rows).tobytes())
    facts = {"the clients": f"{len(partition)} {clients.hexdigest()}"}
    if config.init_from is not None:
        arrays, _ = read_weights(config.init_from)
        facts["the seed model 'init_from'"] = weights_sha256(arrays)
        tokenizer = seed_tokenizer(config.init_from)
        if tokenizer is not None:
            facts["the seed model's tokenizer"] = file_hash(tokenizer)
    if config.distillation.teacher is not None:
        folder = of_seed(config.distillation.teacher, config.seed)
        arrays, _ = read_weights(folder)
        facts["the teacher 'distillation.teacher'"] = weights_sha256(arrays)
    if config.devices.trace is not None:
        facts["'devices.trace'"] = file_hash(Path(config.devices.trace))
    if config.pate.votes_from is not None:
        # Not the whole folder: a report of it that is drawn again changes no vote.
        votes = of_seed(config.pate.votes_from, config.seed) / "votes.npy"
        facts["'pate.votes_from'"] = file_hash(votes)
    return facts


def file_hash(path: Path) -> str:
    """Return a digest of a file, or of the files of a folder by name."""
    digest = sha256()
    files = sorted(item for item in path.iterdir() if item.is_file()) if is_folder(path) else [path]
    for file in files:
        try:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror or error}", where=str(file)) from None
    return digest.hexdigest()


def hashes(corpus: Corpus, rows: npt.NDArray[np.integer]) -> Hashes:
    """Return the hash of each of the ``rows``: of what the table says of it and of its audio, shape ``(rows,)``."""
    names = sorted(corpus.columns)
    columns = [np.asarray(corpus.columns[name])[rows].tolist() for name in names]
    digests = np.empty(len(rows), np.uint64)
    for place, (row, *values) in enumerate(zip(rows.tolist(), *columns, strict=True)):
        digest = blake2b(content(corpus, row), digest_size=8)
        for name, value in zip(names, values, strict=True):
            digest.update(f"\0{name}\1{value}".encode("utf-8", "surrogatepass"))
        digests[place] = int.from_bytes(digest.digest(), "little")
    return digests


def content(corpus: Corpus, row: int) -> bytes:
    """Return bytes that change with the audio of an utterance."""
    while isinstance(corpus, Subset):
        row = int(corpus.rows[row])
        corpus = corpus.corpus
    if isinstance(corpus, FileCorpus):
        return corpus.glance(row)
    try:
        return corpus.content_key(row)
    except BadAudio:
        return b""


def check_speech(before: Fingerprint, run: Experiment, folder: Path) -> None:
    """Raise where the speech of a resumed run is not what it was started with.

    Raises:
        InputError: saying what was added, removed or changed, and the first example.
    """
    data = run.config.data
    rows = np.flatnonzero((run.splits == data.train_split) | (run.splits == data.test_split))
    changes = difference(before.rows, of_speech(run), lambda place: run.corpus.where(int(rows[place])))
    if changes is not None:
        raise InputError(f"was started with other speech: {changes}; {ADVICE}", where=str(folder))


def check_rest(before: Fingerprint, run: Experiment, folder: Path) -> None:
    """Raise where the public speech, the clients, the seed model or a trace is not what a resumed run started with.

    Raises:
        InputError: saying what is.
    """
    changes = difference(before.public, of_public(run), None)
    if changes is not None:
        raise InputError(f"was started with other public speech: {changes}; {ADVICE}", where=str(folder))
    now = facts_of(run)
    for name in sorted({*before.facts, *now}):
        if before.facts.get(name) != now.get(name):
            raise InputError(f"was started with another content of {name}; {ADVICE}", where=str(folder))


def difference(before: Hashes, now: Hashes, where: Any) -> str | None:
    """Say how the utterances of two lists of hashes differ; None where they do not.

    Args:
        before: at the start of the run.
        now: when it is resumed.
        where: says what the place of an utterance now is; None: nobody can.
    """
    if np.array_equal(before, now):
        return None
    counts, present = Counter(before.tolist()), Counter(now.tolist())
    fresh, gone = sum((present - counts).values()), sum((counts - present).values())
    example = next(iter(places_of(now, present - counts)), None)
    at = f", the first is {where(example)}" if where is not None and example is not None else ""
    if not fresh and not gone:
        return f"its {len(now)} utterances are in another order"
    changed = min(fresh, gone)
    parts = [(fresh - changed, "added"), (gone - changed, "removed"), (changed, "changed")]
    changes = " and ".join(f"{count} of its utterances were {what}" for count, what in parts if count)
    return f"{changes} ({len(before)} then, {len(now)} now{at})"


def places_of(hashes: Hashes, wanted: Counter[int]) -> Iterator[int]:
    """Yield the places of hashes that are wanted."""
    return (place for place, value in enumerate(hashes.tolist()) if value in wanted)
