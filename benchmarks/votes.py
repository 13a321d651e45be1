"""What a teacher's votes cost: all candidates on one tree, beside the search that leaves out what cannot win.

    python -m benchmarks.votes runs/pate_seed_home_hybrid runs/pate_seed_home_las

One device's teacher learns from each public start, as in ``simulations/pate_home.yaml``, and votes on public speech in
both ways, in turn. A ratio is the median over the repeats of the CPU seconds on the tree / of the search.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from fedasr.config import load
from fedasr.data.batches import Batch
from fedasr.experiment import Experiment
from fedasr.models.base import SpeechModel
from fedasr.models.decoding.best_candidates import best_candidates
from fedasr.strategies.pate.public import PublicSpeech
from fedasr.training import local
from fedasr.training.batching import plan_batches
from studies.tables import grid

EPOCHS = 20
BATCH = 32
HEAD = ("family", "search, ms an utterance", "tree", "ratio", "the same votes")


def teacher(run: Experiment) -> SpeechModel:
    """Return the teacher of the first device."""
    settings, rng = run.config.client, np.random.default_rng(0)
    state = local.init(local.Resident(run.model()), run.first_weights(), settings, settings.learning_rate)
    rows = run.partition.rows[: int(run.partition.offsets[1])]
    seconds = run.corpus.columns["duration_s"][rows]
    for _ in range(EPOCHS):
        for batch in plan_batches(rows, seconds, settings, rng):
            local.step(state, run.speech.batch(batch, rng))
    return state.resident.model


def measured(start: Path, utterances: int, repeats: int) -> list[str]:
    """Return the cells of a public start."""
    model_of = load(start / "config.yaml").model
    overrides = [f"init_from={start}", "data.synthetic.speakers=2", "pate.public.synthetic.speakers=200"]
    config = load("pate_home", overrides)
    config.model = model_of
    run = Experiment(config)
    public = PublicSpeech(run)
    model = teacher(run)
    phrases = [run.tokenizer.encode(text) for text in public.candidates]
    batches = [public.whole.batch(public.rows[first : first + BATCH]) for first in range(0, utterances, BATCH)]

    def searched(batch: Batch) -> list[int]:
        return best_candidates(model.prefixes(encoded := model.encode(batch)), len(encoded), phrases)

    def on_tree(batch: Batch) -> list[int]:
        return model.likeliest_phrases(model.encode(batch), phrases)

    seconds: dict[Callable[[Batch], list[int]], list[float]] = {searched: [], on_tree: []}
    votes: dict[Callable[[Batch], list[int]], list[int]] = {}
    with model.as_it_decodes():
        for _ in range(repeats):
            for ask, taken in seconds.items():
                began = time.process_time()
                votes[ask] = [best for batch in batches for best in ask(batch)]
                taken.append(time.process_time() - began)
    alike = np.mean(np.equal(votes[searched], votes[on_tree]))
    ratio = median(tree / search for search, tree in zip(seconds[searched], seconds[on_tree], strict=True))
    each = [f"{1000 * median(taken) / utterances:.1f}" for taken in seconds.values()]
    return [model_of.name, *each, f"{ratio:.2f}", f"{alike:.3f}"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("starts", nargs="+", type=Path, help="run folders of public starts")
    parser.add_argument("--utterances", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(grid(HEAD, [measured(start, given.utterances, given.repeats) for start in given.starts]))


if __name__ == "__main__":
    main()
