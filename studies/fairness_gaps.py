"""Which choices widen the gaps between groups of speakers: train, compare with plain federated training, and draw.

    FEDASR_DATA=FOLDER python -m studies.fairness_gaps --out runs/fairness_gaps --record docs/results/fairness_gaps

``digits`` is synthetic speech with 200 test speakers (gender, accent, device), ``sentences`` are recordings of
speechocean762 with 20 (gender, children and adults), whose sentences are told apart by decoder ``vocabulary``. Each
training starts from one public initial model a corpus, of studio voices or of readers of audiobooks, and runs under
each seed, on the same speech. Runs that are done are kept. ``--record`` gets ``fairness_gaps.csv``, a row for each
corpus, attribute, training and group, ``fairness_ranks.csv``, how measures rank the models, and ``fairness_gaps.png``.
``--search`` prints instead what settings of the fair objectives do to other synthetic speech, which takes no part in
the study.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from fedasr.config import load
from fedasr.data.sources import open_corpus
from fedasr.files import write_bytes, write_text
from fedasr.results.fairness import assess_fairness
from fedasr.results.figures.impact import draw
from fedasr.results.impact import assess_impact
from fedasr.results.load import Run, load_run
from fedasr.results.tables.fairness import read_fairness
from fedasr.results.tables.impact import impact_table
from fedasr.results.tables.voice_measures import rank_correlations
from fedasr.runtime.launch import launch
from studies.leakage_cells import COHORT, FAMILIES, NO_NOISE, PRIVATE, SCALES, SERVER_RATES, Cell, Tree, start_config
from studies.tables import grid

FAMILY, ROUNDS, COHORTS = "ctc", {"digits": 12, "sentences": 16}, {"digits": COHORT["digits"], "sentences": 20}
MODELS: dict[str, Tree] = {
    "digits": FAMILIES[FAMILY],
    "sentences": {
        **{"name": "ctc", "encoder": "dsconv", "channels": [32, 96], "hidden": 160, "layers": 6, "kernel": 11},
        **{"dropout": 0.1, "alphabet": "latin"},
    },
}
"""Of ``sentences`` that of ``simulations/seed_readers.yaml``, from which it starts."""
CLIENTS: dict[str, Tree] = {
    "digits": {"learning_rate": 0.006, "batch_size": 8},
    # Of four settings the one with the fewest character errors in split ``valid``, which is not the test speech.
    "sentences": {"learning_rate": 0.001, "batch_size": 4},
}
TABLE, RANKS, FIGURE = "fairness_gaps.csv", "fairness_ranks.csv", "fairness_gaps.png"
ATTRIBUTES = {"digits": ["gender", "accent", "device"], "sentences": ["gender", "age:16"]}
GROUPS = {"digits": "device", "sentences": "gender"}
"""By which the trainings that know of groups work: where the gap is."""
BASELINE = "federated"
MEASURED = "digits"
"""Where intrinsic measures are taken: other voices need synthetic speech, and 20 speakers rank no models."""
VOICES, SPOKEN = "gender", 100
"""Which attribute of the voices is changed, and in how many utterances."""
DP = {"DP, no noise": None, "DP, ε = 8": 8.0, "DP, ε = 1": 1.0}
MITIGATION: dict[str, Tree] = {
    "q-FFL": {"strategy": {"fairness": "q", "fairness_q": 0.2, "fairness_lipschitz": 0.03}},
    "group DRO": {"strategy": {"fairness": "group-dro", "fairness_by": "", "fairness_step": 10.0}},
    "AFL": {"strategy": {"fairness": "afl", "fairness_by": "", "fairness_step": 0.1}},
    "balanced": {"selection": {"name": "balanced", "by": ""}},
}
"""Of the settings in ``SEARCHED``, those with the fewest errors in the worst group of the other speech."""
SEARCHED: dict[str, list[Tree]] = {
    "q-FFL": [
        {"fairness_q": q, "fairness_lipschitz": lipschitz} for q in (0.2, 1.0, 5.0) for lipschitz in (0.03, 0.3, 3.0)
    ],
    "group DRO": [{"fairness_step": step} for step in (0.1, 1.0, 10.0, 100.0)],
    "AFL": [{"fairness_step": step} for step in (0.1, 1.0, 10.0)],
}
"""Settings of ``strategy`` that are tried."""
OTHER_SPEECH, OTHER_SEED = 11, 9
TRAININGS = (BASELINE, "central", *DP, "PATE", "activity", *MITIGATION)


def speech(corpus: str) -> Tree:
    """Return section ``data``: that of the study of leakage, with more test speakers."""
    data = deepcopy(PRIVATE[corpus])
    if corpus == "digits":
        data["synthetic"] |= {"test_speakers": 200, "test_utterances_per_speaker": 2}
    else:
        data["manifest"] = "${oc.env:FEDASR_DATA,../shared/data}/speechocean762/manifest.csv"
        data["max_seconds"] = 5.0
    return data


def start(corpus: str, out: Path, changes: Sequence[str] = ()) -> Path:
    """Return the run of a public initial model, trained where it has not been: of readers, for real sentences."""
    kept = out / f"start-{corpus}"
    if corpus == "digits":
        finished(start_config(corpus, FAMILY), kept, changes)
    else:
        first = finished("seed_sentences", out / "start-synthetic", changes).path
        finished("seed_readers", kept, [f"init_from={first}", *changes])
    return kept


@cache
def sentences() -> list[str]:
    """Return what is said in the recorded test speech: a model of this size tells sentences apart, and spells none."""
    data = load({"data": speech("sentences")}).data
    columns = open_corpus(data, 0).columns
    said = (columns["split"] == "test") & (columns["duration_s"] <= data.max_seconds)
    return sorted(set(map(str, columns["text"][said])))


def config_of(corpus: str, training: str, seed: int, out: Path) -> Tree:
    """Return the config of a run; all but PATE train for as many rounds on cohorts of the same size."""
    tree: Tree = {
        "name": training,
        "seed": seed,
        "rounds": ROUNDS[corpus],
        "init_from": str(out / f"start-{corpus}"),
        "data": speech(corpus),
        "model": deepcopy(MODELS[corpus]),
        "runtime": {"executor": "serial"},
        "evaluate": {"every": 0, "transcripts": 1000},
        "strategy": {"name": "fedavgm", "momentum": 0.8, "schedule": "cosine", "weighting": "uniform"},
        "selection": {"name": "poisson", "clients_per_round": COHORTS[corpus]},
        "client": {"optimizer": "adamw", **CLIENTS[corpus]},
    }
    if corpus == "sentences":
        tree["evaluate"] |= {"decoder": "vocabulary", "vocabulary": sentences()}
    if training == "central":
        tree["strategy"] = {"name": "central"}
        tree["client"]["schedule"] = "cosine"
    elif training in DP:
        epsilon = DP[training]
        noise = {"noise_multiplier": NO_NOISE} if epsilon is None else {"epsilon": epsilon}
        tree["strategy"]["learning_rate"] = SERVER_RATES[epsilon]
        tree["privacy"] = {"unit": "user", "clip_norm": 0.2, "clipping": "per-layer", **noise}
    elif training == "PATE":
        voted = Cell(corpus, FAMILY, "PATE").voted(out)
        voted["pate"]["scale"] = SCALES[8.0]
        voted["privacy"] |= {"epsilon": 8.0}
        tree |= voted
        del tree["selection"]
    elif training == "activity":
        tree["selection"]["name"] = "activity"
    elif training in MITIGATION:
        for section, keys in MITIGATION[training].items():
            named = {key: GROUPS[corpus] if key in ("fairness_by", "by") else value for key, value in keys.items()}
            tree[section] |= named
    return tree


def folder(out: Path, corpus: str, training: str, seed: int) -> Path:
    """Return the folder of a run."""
    kept = "".join(c if c.isalnum() else "_" for c in training.replace("ε", "eps")).strip("_")
    return out / f"{corpus}-{kept}-seed{seed}"


def finished(config: Tree | str, out: Path, changes: Sequence[str]) -> Run:
    """Return a finished run, trained where it has not been."""
    if (out / "summary.json").exists() and (done := load_run(out)).finished:
        return done
    started = time.process_time()
    run = load_run(launch(load(config, list(changes)), out, resume=True))
    if not run.finished:
        raise SystemExit(f"{out}: the run is {run.status}; start the study again to go on")
    print(f"{out.name}: {time.process_time() - started:.0f} CPU seconds", flush=True)
    return run


def search(out: Path, changes: Sequence[str] = (), settings_of: Mapping[str, Sequence[Tree]] = SEARCHED) -> str:
    """Return a Markdown table of what settings of the fair objectives do to other speech, in per cent of its words."""
    start("digits", out, changes)
    other = [f"data.synthetic.seed={OTHER_SPEECH}", *changes]
    by = GROUPS["digits"]
    body = []
    for training, settings in {BASELINE: [dict[str, Any]()], **settings_of}.items():
        for setting in settings:
            tree = config_of("digits", training, OTHER_SEED, out)
            tree["strategy"] |= setting
            tree["evaluate"]["by"] = [by]
            name = "-".join([training, *(f"{key}-{value:g}" for key, value in setting.items())])
            run = finished(tree, out / f"search-{name.replace(' ', '_')}", other)
            last = run.groups["round"] == run.summary["rounds"]
            rates = run.groups[last & (run.groups["column"] == by)]["wer"]
            shown = ", ".join(f"`{key}` {value:g}" for key, value in setting.items())
            measured = (run.last("wer"), max(rates), max(rates) - min(rates))
            body.append([training, shown, *(f"{100 * value:.1f}" for value in measured)])
    return grid(("training", "settings", "WER", f"worst {by}", "gap"), body)


def measure(run: Run) -> None:
    """Take the intrinsic measures of a run into its ``fairness.json``, where they are not there yet."""
    found = read_fairness(run.path)
    voices = any(one.get("counterfactual") == VOICES for one in found)
    if not voices or not any("sensitivity" in one for one in found):
        started = time.process_time()
        assess_fairness(run, [VOICES], seed=1, counterfactual=[VOICES], utterances=SPOKEN, intrinsic=True)
        print(f"{run.path.name}: measured in {time.process_time() - started:.0f} CPU seconds", flush=True)


def study(
    out: Path, corpora: Sequence[str], trainings: Sequence[str], seeds: Sequence[int], changes: Sequence[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Return the table of groups, that of rank correlations, and what the figure shows.

    Args:
        out: folder of all runs.
        corpora: of ``ATTRIBUTES``.
        trainings: of ``TRAININGS``, the baseline among them.
        seeds: of each training.
        changes: of every config, for a study in miniature.
    """
    tables, ranks, panels = [], [pd.DataFrame()], []
    for corpus in corpora:
        start(corpus, out, changes)
        runs = [
            finished(config_of(corpus, name, seed, out), folder(out, corpus, name, seed), changes)
            for seed in seeds
            for name in trainings
        ]
        if corpus == MEASURED:
            for run in runs:
                measure(run)
            ranks.append(rank_correlations(runs, VOICES).assign(corpus=corpus))
        baseline = next(run for run in runs if run.name == BASELINE)
        result = named(assess_impact(runs, ATTRIBUTES[corpus], baseline, 1), runs)
        spent = {run.name: run.summary.get("epsilon") for run in runs}
        table = impact_table(result)
        tables.append(table.assign(corpus=corpus, epsilon=table["label"].map(spent)))
        panels += [{**one, "attribute": f"{one['attribute']}, {corpus}"} for one in result["attributes"]]
    return pd.concat(tables, ignore_index=True), pd.concat(ranks, ignore_index=True), {"attributes": panels}


def named(result: dict[str, Any], runs: Sequence[Run]) -> dict[str, Any]:
    """Return a comparison whose configs are called by the names of their trainings."""
    names = {str(run.path): run.name for run in runs}
    for one in result["attributes"]:
        for config in one["configs"]:
            config["label"] = names[config["runs"][0]]
        one["baseline"] = BASELINE
    return result


def markdown(table: pd.DataFrame) -> str:
    """Return the gaps as a Markdown table: a row a corpus, attribute and training."""
    head = ("corpus", "by", "training", "ε", "WER", "gap, points", "seeds", "change of the gap, points")
    body = []
    for (corpus, attribute, label), rows in table.groupby(["corpus", "attribute", "label"], sort=False):
        gap, overall = (rows[rows["kind"] == kind].iloc[0] for kind in ("gap", "all"))
        change = "–" if pd.isna(gap["change"]) else interval(gap["change"], gap["change_low"], gap["change_high"])
        seeds = "–" if pd.isna(gap["seed_low"]) else f"{100 * gap['seed_low']:.1f} to {100 * gap['seed_high']:.1f}"
        epsilon = "–" if pd.isna(gap["epsilon"]) else f"{gap['epsilon']:.3g}"
        cells = [f"{overall['value']:.3f}", interval(gap["value"], gap["low"], gap["high"]), seeds, change]
        body.append([str(corpus), str(attribute), str(label), epsilon, *cells])
    return grid(head, body)


def interval(value: float, low: float, high: float) -> str:
    """Return a fraction and its interval in points."""
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def record(place: Path, table: pd.DataFrame, ranks: pd.DataFrame, shown: dict[str, Any]) -> None:
    """Write tables and figure into a folder."""
    place.mkdir(parents=True, exist_ok=True)
    write_text(place / TABLE, table.to_csv(index=False, float_format="%.5g"))
    write_text(place / RANKS, ranks.to_csv(index=False, float_format="%.5g"))
    image = io.BytesIO()
    draw(shown).savefig(image, format="png", dpi=160)
    write_bytes(place / FIGURE, image.getvalue())


MINIATURE = (
    "rounds=1", "data.synthetic.speakers=24", "data.synthetic.utterances_per_speaker=2",
    "data.synthetic.test_speakers=12", "data.synthetic.activity=constant",
    "selection.clients_per_round=12",
)  # fmt: skip
"""Seconds a run; of the digits alone."""
SOME = (BASELINE, "DP, ε = 8", "balanced")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--record", type=Path, help="folder of the tables and the figure; default: --out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--corpora", nargs="+", choices=list(ATTRIBUTES), default=list(ATTRIBUTES))
    parser.add_argument("--trainings", nargs="+", choices=TRAININGS, help="default: all")
    parser.add_argument("--search", action="store_true", help="try settings of the fair objectives on other speech")
    parser.add_argument("--miniature", action="store_true", help="a few small runs, to see that it works")
    given = parser.parse_args()
    if given.search:
        print(search(given.out, MINIATURE if given.miniature else ()))
        raise SystemExit
    if given.miniature:
        found = study(given.out, ["digits"], given.trainings or SOME, [1], MINIATURE)
    else:
        found = study(given.out, given.corpora, given.trainings or TRAININGS, given.seeds)
    record(given.record or given.out, *found)
    print(markdown(found[0]))
    if len(found[1]):
        print(json.dumps(found[1].to_dict("records"), indent=1))
