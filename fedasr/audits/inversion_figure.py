"""The picture of model inversion: a recording, and what several models make of its transcript, beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from fedasr.audits.inversion import Public, Search, Trained, check_alike, invert, noise
from fedasr.errors import InputError
from fedasr.files import replacing
from fedasr.privacy.audit.similarity import warped_correlation
from fedasr.results.figures import style
from fedasr.results.load import load_run
from fedasr.typing import Floats

INCHES = 1.9
"""Height of a picture."""


def inversion_figure(
    runs: Sequence[Path | str], utterance: int | None = None, search: Search | None = None, seed: int = 0
) -> Figure:
    """Return mel spectrograms: the recording, then x* of each run for its transcript, from one random start.

    A picture shows no leakage: a model that never heard the speaker may draw the same. ``invert_model`` tells.

    Args:
        runs: finished ones with features and characters alike, such as plain, ε = 10 and ε = 1.
        utterance: row of the first run's corpus; None: the shortest that it trained on with at least three words, or
            the shortest of all.
        search: how x* is looked for; None: the usual.
        seed: of the start.

    Raises:
        InputError: there are no runs, or they read speech differently.
    """
    search = search or Search()
    if not runs:
        raise InputError("'--figure' names no run; give at least one")
    models = [Trained(load_run(folder)) for folder in runs]
    first = models[0]
    for other in models[1:]:
        check_alike(first, other, same_seed=False)
    row = shortest(first) if utterance is None else utterance
    if not 0 <= row < len(first.experiment.corpus):
        raise InputError(f"'--utterance' is {row}; the corpus has {len(first.experiment.corpus)} utterances")
    known, public = first.batch([row]), Public.of(first)
    truth = known.features[0].double().numpy()
    start = noise(known, seed)
    pictures = [("the recording", truth)]
    for model in models:
        [frames] = invert(model, known, public, search, start)
        pictures.append((f"{label(model)}: similarity {warped_correlation(frames, truth):.2f}", frames))
    text = str(first.experiment.corpus.columns["text"][row])
    return drawn(pictures, text, first.config.data.features.hop_ms)


def shortest(model: Trained) -> int:
    """Return the shortest training utterance with at least three words, or of all."""
    run = model.experiment
    rows = run.partition.rows.tolist()
    texts = run.corpus.columns["text"]
    several = [row for row in rows if len(str(texts[row]).split()) >= 3]
    return int(min(several or rows, key=lambda row: float(run.speech.durations[row])))


def label(model: Trained) -> str:
    """Return what a run is called in the figure: its name and its ε."""
    epsilon = model.run.summary.get("epsilon")
    return f"{model.run.name}, ε = {'∞' if epsilon is None else f'{float(epsilon):.3g}'}"


def drawn(pictures: Sequence[tuple[str, Floats]], text: str, hop_ms: float) -> Figure:
    """Return spectrograms below each other, low bands at the bottom."""
    fig = style.figure(4.2, INCHES * len(pictures))
    for number, (title, frames) in enumerate(pictures, start=1):
        ax = style.quiet(fig.add_subplot(len(pictures), 1, number))
        ax.grid(False)
        seconds = len(frames) * hop_ms / 1000
        extent = (0, seconds, 0, frames.shape[1])
        ax.imshow(frames.T, origin="lower", aspect="auto", cmap="viridis", vmin=-2, vmax=2, extent=extent)
        last = number == len(pictures)
        style.name_axes(ax, f"seconds of “{text}”" if last else "", f"{title} (mel bands)")
    return fig


def draw(path: Path, runs: Sequence[Path | str], utterance: int | None, search: Search, seed: int) -> None:
    """Write the picture as a PNG; arguments as ``inversion_figure``."""
    fig = inversion_figure(runs, utterance, search, seed)
    with replacing(path) as temporary:
        fig.savefig(temporary, format="png")
