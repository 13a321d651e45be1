"""The Python counterpart of the command line: what notebooks and scripts use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from fedasr.config.loading import load
from fedasr.config.schema import Config
from fedasr.objects import reference_of
from fedasr.references import look_beside
from fedasr.results.load import Run, as_run, load_run
from fedasr.results.tables.compare import compare
from fedasr.results.tables.groups import Runs
from fedasr.runtime.callbacks import Callback
from fedasr.runtime.spawned import leave_spawned
from fedasr.sweeps import sweep

if TYPE_CHECKING:
    import pandas as pd
    from flwr.clientapp import ClientApp

__all__ = ["Run", "compare", "fairness", "load_run", "run", "sweep"]


Part = Callable[..., Any] | str
"""A class, a function, a reference or a name."""
PARTS = {
    "model": "model.name",
    "encoder": "model.encoder",
    "tokenizer": "model.tokenizer",
    "decoder": "evaluate.decoder",
    "optimizer": "client.optimizer",
    "selector": "selection.name",
    "aggregator": "strategy.aggregation",
    "partitioner": "data.partition.name",
    "corpus": "data.corpus",
    "fairness": "strategy.fairness",
    "strategy": "strategy.name",
    "codec": "compression.up",
    "client_app": "client_app",
}
"""Parameter of ``run`` → the config key that names the part."""


def run(
    config: str | Path | Mapping[str, Any] | DictConfig | Config,
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | Sequence[str] | None = None,
    resume: bool = False,
    quiet: bool | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    model: Part | None = None,
    encoder: Part | None = None,
    tokenizer: Part | None = None,
    decoder: Part | None = None,
    optimizer: Part | None = None,
    selector: Part | None = None,
    aggregator: Part | None = None,
    partitioner: Part | None = None,
    corpus: Part | None = None,
    fairness: Part | None = None,
    strategy: Part | None = None,
    codec: Part | None = None,
    client_app: Part | ClientApp | None = None,
) -> Run:
    """Run a config and return the run, with its report written once it is done.

    A part of your own is a class, a function, or ``"package.module:attribute"``; the name of a shipped one will do too.
    The config records it by its reference, so that workers, ``resume``, ``evaluate`` and ``transcribe`` find it again.
    One that was defined in a notebook, at the prompt or within a function is known to this process and its workers
    alone.

    Args:
        config: a YAML file, the name of a file in ``simulations/`` without its suffix, or a config object.
        out: the run folder; by default ``runs/<name>-<time>``. A folder that holds a run is refused unless ``resume``.
        overrides: dotted keys and their values, such as ``{"rounds": 3, "client.epochs": 1}``, or a dot-list as on the
            command line, such as ``["rounds=3"]``. The config is checked with them.
        resume: continue ``out`` from its last checkpoint; a finished run is returned as it is.
        quiet: show no progress. False: show it, on standard error or in a notebook's cell; absent: in notebooks only.
        model: key ``model.name``; its options are in ``model.options``, and so on.
        encoder: key ``model.encoder``.
        tokenizer: key ``model.tokenizer``.
        decoder: key ``evaluate.decoder``.
        optimizer: key ``client.optimizer``.
        selector: key ``selection.name``.
        aggregator: key ``strategy.aggregation``.
        partitioner: key ``data.partition.name``.
        corpus: key ``data.corpus``.
        fairness: key ``strategy.fairness``.
        strategy: key ``strategy.name``.
        codec: key ``compression.up``.
        client_app: key ``client_app``; here a Flower ``ClientApp`` will do too.
        callbacks: objects that see the run go by and may end it, after those of ``log``; see ``docs/callbacks.md``.

    Returns:
        The run. After Ctrl-C its ``status`` is ``interrupted``, and ``resume`` goes on from there.

    Raises:
        InputError: the config, the speech or the folder is wrong, or a part is an instance, whose state no config can
            record.
        RunFailed: too many clients failed, or a callback did; ``resume`` goes on from the last checkpoint.
    """
    leave_spawned()
    parts = {
        "model": model,
        "encoder": encoder,
        "tokenizer": tokenizer,
        "decoder": decoder,
        "optimizer": optimizer,
        "selector": selector,
        "aggregator": aggregator,
        "partitioner": partitioner,
        "corpus": corpus,
        "fairness": fairness,
        "strategy": strategy,
        "codec": codec,
        "client_app": client_app,
    }
    references = {
        PARTS[name]: reference_of(part, name, PARTS[name], instances=name == "client_app")
        for name, part in parts.items()
        if part is not None
    }
    look_beside(config)
    checked = load(config, with_parts(overrides or {}, references))
    # These bring in torch and Flower, which neither a wrong config nor reading a run needs.
    from rich.console import Console

    from fedasr.runtime.launch import launch
    from fedasr.runtime.notebook import NotebookWatcher, in_notebook
    from fedasr.runtime.progress import ProgressWatcher

    watcher: ProgressWatcher | None = None
    if in_notebook():
        watcher = None if quiet else NotebookWatcher()
    elif quiet is False:
        watcher = ProgressWatcher(Console(stderr=True, highlight=False, soft_wrap=True))
    finished = load_run(launch(checked, Path(out) if out is not None else None, resume, watcher, callbacks))
    if finished.finished and not (finished.path / "report.html").exists():
        from fedasr.results.pages.report import write_report

        write_report(finished)
    return finished


def fairness(
    run: Run | str | Path,
    by: str | Sequence[str] = (),
    against: Run | str | Path | None = None,
    seed: int | None = None,
    shown: float = 0.05,
    counterfactual: str | Sequence[str] = (),
    utterances: int | None = None,
    intrinsic: bool = False,
) -> pd.DataFrame:
    """Compare the groups of a run's test speech; write ``fairness.json`` and the report anew, as ``fedasr fairness``.

    Args:
        run: a finished run, or its folder.
        by: an attribute or several: columns of the corpus, such as ``gender``; ``age:16,60`` for ranges of numbers.
            None: those of ``evaluate.by``, else of gender, accent, age, device and lang those that there are.
        against: another run that was tested on the same speech.
        seed: of the resamples; None: the run's.
        shown: the gap, a fraction, for which the speakers are counted that would show it.
        counterfactual: attributes of the voices in which the test speech is spoken again: ``gender``, ``voice``,
            ``accent``, ``device``, ``rate`` of synthetic speech, ``pitch``, ``formant``, ``age`` of any. Without
            ``by``, nothing else is compared.
        utterances: that are spoken again at most; None: all.
        intrinsic: also how sensitive the model is to what tells the group; in ``fairness.json``.

    Returns:
        ``Run.fairness``, with these attributes compared anew.

    Raises:
        InputError: an attribute, a run or a number is wrong; nothing was written.
    """
    from fedasr.results.fairness import assess_fairness

    loaded = as_run(run)
    voices = [counterfactual] if isinstance(counterfactual, str) else counterfactual
    assess_fairness(loaded, [by] if isinstance(by, str) else by, against, seed, shown, voices, utterances, intrinsic)
    return loaded.fairness


def impact(
    runs: Runs,
    by: str | Sequence[str] = (),
    baseline: Run | str | Path | None = None,
    seed: int | None = None,
) -> pd.DataFrame:
    """Return what runs do to groups of the same test speech, against a baseline, as ``fedasr fairness RUN RUN …``.

    Args:
        runs: finished runs, tested on the same speech; those that differ only in their seed are pooled.
        by: an attribute or several, as in ``fairness``.
        baseline: the run that the others are compared with; None: the first.
        seed: of the resamples; None: the baseline's.

    Returns:
        ``attribute, label, baseline, kind, group, value, low, high, speakers, seeds, seed_low, seed_high, change,
        change_low, change_high``: a row for each config and group, one for all speech and one for the gap.

    Raises:
        InputError: an attribute or a run is wrong, or the test speech differs.
    """
    from fedasr.results.impact import assess_impact
    from fedasr.results.tables.impact import impact_table

    return impact_table(assess_impact(runs, [by] if isinstance(by, str) else by, baseline, seed))


def with_parts(
    overrides: Mapping[str, Any] | Sequence[str], references: Mapping[str, str]
) -> Mapping[str, Any] | Sequence[str]:
    """Return overrides with parts that were given as objects; these win."""
    if isinstance(overrides, Mapping):
        return {**overrides, **references}
    return [*overrides, *(f"{key}={reference}" for key, reference in references.items())]
