"""What stored posteriors cost: top k beside dense storage and beside asking the teacher again; a large index.

    python -m benchmarks.posteriors

The teacher is as large as the published one (arXiv 1904.01624: a bidirectional LSTM of five layers, 3,000 classes,
k = 20), with random weights: what it costs does not depend on them. Frames a second are of one thread; reading is of
utterances in random order, from the page cache, up to the tensors that the loss takes. Ratios are of one run.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from fedasr.config.schema import ModelConfig
from fedasr.data.batches import Batch
from fedasr.data.posteriors import Header, PosteriorStore, ShardWriter
from fedasr.data.posteriors.frames import packed, unpacked
from fedasr.data.posteriors.layout import FRAMES
from fedasr.data.speech import collate
from fedasr.models.base import SpeechModel
from fedasr.models.factory import build_model
from fedasr.seeds import torch_scope
from studies.tables import grid

CLASSES, TOP_K, FRAMES_A_SECOND = 3000, 20, 100 / 3
UTTERANCE_FRAMES = 300
"""Output frames of an utterance: 9 seconds."""
WAYS = ("way", "bytes a frame", "bytes an hour", "× dense", "frames a second", "× the teacher")
INDEX_HEAD = (
    "utterances",
    "index, bytes",
    "open, seconds",
    "held in memory, MB",
    "find 1,000, ms",
    "write, utterances a second",
)


def header(top_k: int) -> Header:
    """Return the header of a store at the published size."""
    return Header("frames", CLASSES, "teacher", "tokenizer", "features", {}, {"top_k": top_k})


def teacher(hidden: int, layers: int) -> SpeechModel:
    """Return a bidirectional teacher whose frames are 30 ms."""
    model = ModelConfig(name="ctc", encoder="blstm", channels=[64], strides=[3], hidden=hidden, layers=layers)
    with torch_scope(0, "model"):
        return build_model(model, 64, CLASSES).eval()


def seconds_of(work: Callable[[], object], repeats: int) -> float:
    """Return the median processor seconds of some work."""
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return median(taken)


def write(folder: Path, posteriors: np.ndarray, top_k: int, utterances: int) -> None:
    """Write a store of so many utterances."""
    made = header(top_k)
    made.create(folder)
    with ShardWriter(folder / "shard-000-of-001", made.layout) as shard:
        for number in range(utterances):
            shard.add(
                np.array([number * 0x9E3779B97F4A7C15 % 2**64, number], np.uint64), {FRAMES: packed(posteriors, top_k)}
            )
        shard.commit()


def read(store: PosteriorStore, order: np.ndarray) -> int:
    """Read utterances as the loss takes them; return the frames."""
    frames = 0
    for place in order.tolist():
        ids, logp, rest = unpacked(store.rows(place, FRAMES))
        torch.from_numpy(np.ascontiguousarray(ids)), torch.from_numpy(logp)
        frames += len(rest)
    return frames


def ways(folder: Path, utterances: int, repeats: int, hidden: int, layers: int) -> list[list[str]]:
    """Return the rows of the first table."""
    model = teacher(hidden, layers)
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(3 * UTTERANCE_FRAMES, 64)).astype(np.float32) for _ in range(4)]
    batch = collate(features, [np.zeros(0, np.int64)] * 4, 36.0, (0, 1, 2, 3))
    with model.as_it_decodes():
        frames = model.encode(batch).frames
    posteriors = frames[0].numpy()
    asked = seconds_of(lambda: model_again(model, batch), repeats) / (4 * UTTERANCE_FRAMES)
    rows = []
    dense = 2 * CLASSES
    for name, top_k in ((f"top {TOP_K} and the rest", TOP_K), ("dense, half precision", CLASSES)):
        path = folder / name.replace(" ", "-")
        count = utterances if top_k == TOP_K else max(1, utterances // 20)
        write(path, posteriors, top_k, count)
        store = PosteriorStore(path)
        size = store.bytes()[FRAMES] / (count * UTTERANCE_FRAMES)
        order = rng.permutation(count)
        each = seconds_of(lambda: read(store, order), repeats) / (count * UTTERANCE_FRAMES)  # noqa: B023
        rows.append([name, *cells(size, dense, each, asked)])
    rows.append(["the teacher again", *cells(0, dense, asked, asked)])
    parameters = sum(p.numel() for p in model.parameters())
    rows[-1][0] += f" ({parameters / 1e6:.1f} million parameters)"
    return rows


def model_again(model: SpeechModel, batch: Batch) -> None:
    """Ask the teacher."""
    with model.as_it_decodes():
        model.encode(batch)


def cells(size: float, dense: float, seconds: float, asked: float) -> list[str]:
    """Return the numbers of a row."""
    hour = size * 3600 * FRAMES_A_SECOND
    return [
        f"{size:.0f}",
        f"{hour / 1e6:.1f} MB",
        f"{size / dense:.4f}",
        f"{1 / seconds:,.0f}",
        f"{asked / seconds:,.0f}",
    ]


def index(folder: Path, utterances: int, parts: int) -> list[str]:
    """Return the row of a store of so many utterances in several parts, of one frame each so that it fits a disk."""
    made = header(TOP_K)
    made.create(folder)
    row = packed(np.log(np.full((1, CLASSES), 1 / CLASSES, np.float32)), TOP_K)
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**64, (utterances, 2), np.uint64)
    began = time.process_time()
    for part in range(parts):
        with ShardWriter(folder / f"shard-{part:03d}-of-{parts:03d}", made.layout) as shard:
            for place, key in enumerate(keys[part::parts], 1):
                shard.add(key, {FRAMES: row})
                if place % 1000 == 0:
                    shard.commit()
            shard.commit()
    wrote = time.process_time() - began
    began = time.process_time()
    store = PosteriorStore(folder)
    opened = time.process_time() - began
    assert len(store) == utterances
    wanted = keys[rng.integers(0, utterances, 1000)]
    result = seconds_of(lambda: store.find(wanted), 5)
    assert (store.find(wanted) >= 0).all()
    held = store.order.nbytes + store.sorted.nbytes + store.starts.nbytes
    size = store.bytes()["index"]
    return [
        f"{utterances:,}",
        f"{size:,}",
        f"{opened:.2f}",
        f"{held / 1e6:.0f}",
        f"{1000 * result:.2f}",
        f"{utterances / wrote:,.0f}",
    ]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=200, help="of the store that is read")
    parser.add_argument("--index", type=int, default=1_000_000, help="utterances of the large index")
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layers", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="posteriors-"))
    try:
        print(grid(WAYS, ways(folder, given.utterances, given.repeats, given.hidden, given.layers)))
        print()
        print(grid(INDEX_HEAD, [index(folder / "index", given.index, given.parts)]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
