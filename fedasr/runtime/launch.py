"""Start a run: check everything that can be checked, make the folder, and run the apps in the runtime asked for."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, RecordDict

from fedasr.attacks import described, make_attack
from fedasr.codecs.checks import check_compression
from fedasr.config import Config, to_dict, to_yaml
from fedasr.config.loading import get, load
from fedasr.config.parts import look_for_parts, note_places, own_parts
from fedasr.config.rules.unread import warnings
from fedasr.config.schema import SelectionConfig, walk
from fedasr.data.fleet import Fleet
from fedasr.data.people import in_both, in_several_clients
from fedasr.data.quality import transcript_problem
from fedasr.errors import InputError, RunFailed
from fedasr.experiment import Experiment, as_json, experiment, seed_config
from fedasr.files import system_refusal, write_json, write_json_anyhow, write_text
from fedasr.flower import check
from fedasr.flower.messages import RUN_ID
from fedasr.models.decoding.own import make_decoder
from fedasr.models.weights import Layout
from fedasr.objects import lives_here_alone
from fedasr.paths import exists, is_file, is_folder
from fedasr.privacy.initial_model import caveat
from fedasr.references import load_reference
from fedasr.runtime import checkpoint, fingerprint
from fedasr.runtime.callbacks import given
from fedasr.runtime.callbacks.factory import make_callbacks
from fedasr.runtime.client_apps import WorkerApp, make_client_app
from fedasr.runtime.clock import Clock
from fedasr.runtime.cores import cores
from fedasr.runtime.executors import DebugExecutor, Executor, PoolExecutor, SerialExecutor
from fedasr.runtime.executors.ray_cluster import check_cluster, ray_executor
from fedasr.runtime.grid import LocalGrid
from fedasr.runtime.one_writer import one_writer
from fedasr.runtime.run_folder import RunFolder
from fedasr.runtime.session import Watcher, current, session, signals_held
from fedasr.runtime.spawned import leave_spawned
from fedasr.runtime.threads import one_thread, threads_restored
from fedasr.secure.checks import check_secure_aggregation
from fedasr.training.optimizers import make_local_optimizer

SERVER_STEPS_CHECK = "fedasr.strategies.server_steps:public_rows"
SERVER_APP = "fedasr.strategies.server_app:app"
SELECTORS = "fedasr.strategies.selection:make_selector"
PRIVACY = "fedasr.strategies.privacy.settling:settled_privacy"
PRIVACY_CHECK = "fedasr.strategies.privacy.settling:check_privacy_of"
PATE_CHECK = "fedasr.strategies.pate.run:check_pate"
TEACHER_CHECK = "fedasr.strategies.taught:check_teacher"
DEPENDING = ("model.alphabet", "privacy.unit", "privacy.noise_multiplier", "privacy.epsilon")
"""Keys that ``settle`` makes explicit."""
DEFAULT_COHORT = SelectionConfig().clients_per_round
CANARIES_CHECK = "fedasr.strategies.canary_checks:check_canaries"
AGGREGATOR_CHECK = "fedasr.strategies.aggregation.factory:check_aggregator"
GROUPS_CHECK = "fedasr.strategies.client_groups:client_groups"
FAIRNESS_CHECK = "fedasr.strategies.fairness.factory:check_fairness"
CLIENT_STORE = "clients"
"""Folder of the checkpoint in which simulated devices keep what never leaves them."""


EXECUTION = ("runtime.", "data.cache.", "pate.store", "distillation.store", "log")
"""Keys that say how a run is carried out and who sees it, which may change when it is resumed."""
STRATEGY_CHECK = "fedasr.strategies.factory:check_strategy"
STRATEGY_TRAITS = "fedasr.strategies.factory:strategy_traits"


def launch(
    config: Config,
    out: Path | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
    callbacks: Sequence[object] = (),
) -> Path:
    """Run a config and return its folder.

    Args:
        config: a checked config.
        out: the run folder; absent: ``runs/<name>-<time>``.
        resume: go on from the folder's last checkpoint; a finished run is left as it is.
        watcher: sees the rounds go by.
        callbacks: objects of ``fedasr.Callback``, after those of ``log``.

    Raises:
        UnsupportedFlower: Flower lacks something that is needed; nothing was written.
        InputError: the input is wrong. Nothing was written, unless it is audio that turns out to be damaged only when
            it is decoded: then the run has begun, and its ``summary.json`` says that it failed.
        RunFailed: too many clients failed, or a callback did; ``resume`` goes on from the last checkpoint.
    """
    leave_spawned()
    called = [*make_callbacks(config), *given(callbacks)]
    if config.runtime.name == "deployment":
        raise InputError(
            "'runtime.name' is 'deployment', whose edge devices are reached through a SuperLink; submit the run with"
            " 'flwr run' (docs/edge.md), or set runtime.name=local"
        )
    check("messages", *(["simulation"] if config.runtime.name == "flower" else []))
    path = out or Path("runs") / f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    if resume:
        look_for_parts(path, resumed=True)
    experiment.cache_clear()  # in a notebook the speech may have been mended since the last run
    with ExitStack() as lock:
        run = open_run(config, path, resume, lock=lock)
        if run is None:
            return path
        settings: dict[str, Any] = {"experiment": as_json(run.config), "out": str(path), "resume": resume}
        store = config.pate.store or str(path.resolve() / "checkpoint" / CLIENT_STORE)
        lock.enter_context(failures_recorded(path, config))
        lock.enter_context(session(watcher, callbacks=called))
        say_what_is_special(run)
        if config.runtime.name == "flower" and load_reference(STRATEGY_TRAITS)(config).asks_clients:
            from fedasr.runtime.flower_engine import run_in_flower

            run_in_flower(config, len(run.partition), settings, store)
        else:
            with threads_restored():
                run_locally(run.config, len(run.partition), settings, store)
    if finished(RunFolder(path)):
        shutil.rmtree(path / "checkpoint" / CLIENT_STORE, ignore_errors=True)
    return path


@contextmanager
def recorded(path: Path, config: Config) -> Iterator[None]:
    """Be the folder's only writer, and say in its ``summary.json`` that the run failed, and why, where it does."""
    with one_writer(RunFolder(path).checkpoint), failures_recorded(path, config):
        yield


@contextmanager
def failures_recorded(path: Path, config: Config) -> Iterator[None]:
    """Say in the folder's ``summary.json`` that its run failed, and why in a line, or was interrupted, where it was."""
    try:
        yield
    except BaseException as error:
        with signals_held(), suppress(OSError):  # the first failure is the one to tell
            write_json_anyhow(path / "summary.json", summary_of(error, config))
        raise


def summary_of(error: BaseException, config: Config) -> dict[str, Any]:
    """Return the summary of a run that an error has ended: it failed, or was interrupted."""
    summary: dict[str, Any] = {"name": config.name, "status": "interrupted", "seed": config.seed}
    if isinstance(error, Exception):
        message = (str(error).splitlines() or [""])[0]
        reason = message if isinstance(error, (InputError, RunFailed)) else f"{type(error).__name__}: {message}"
        if isinstance(error, (OSError, MemoryError)):
            reason = system_refusal(error) or reason
        summary |= {"status": "failed", "error": reason}
    return summary


def open_run(
    config: Config, path: Path, resume: bool, fleet: Fleet | None = None, lock: ExitStack | None = None
) -> Experiment | None:
    """Check a config against its data and its folder, and make the folder; return None where it holds the finished run.

    Args:
        config: a checked config.
        path: the run folder.
        resume: go on from the folder's last checkpoint.
        fleet: the edge devices of a deployed run.
        lock: keeps other processes from the folder until it is closed; None: only while it is opened.

    Raises:
        InputError: the input is wrong, or another process writes the folder; nothing was written.
    """
    if lock is None:
        with ExitStack() as briefly:
            return open_run(config, path, resume, fleet, briefly)
    folder = RunFolder(path)
    saved: checkpoint.Checkpoint | None = None
    before: fingerprint.Fingerprint | None = None
    locked = resume and is_folder(folder.checkpoint)
    if resume:
        lock.enter_context(one_writer(folder.checkpoint))
        if finished(folder):
            return None
        saved = checkpoint.load(folder.checkpoint)
        if saved is not None:
            check_same(config, folder, settled=False)
            before = started_with(saved, folder)
            if before is not None and fleet is None:
                fingerprint.check_speech(before, Experiment(config), folder.path)
    else:
        folder.refuse_run()
    config = settle(config, fleet)
    run = experiment(as_json(config)) if fleet is None else Experiment(config, fleet)
    if saved is not None:
        check_same(config, folder)
        check_accounts(config, saved, folder)
        if before is not None:
            fingerprint.check_rest(before, run, folder.path)
    prepare(run)
    if saved is not None:
        check_checkpoint(saved, run, folder)
    folder.create()
    if not locked:
        lock.enter_context(one_writer(folder.checkpoint))
        folder.refuse_run()  # another process may have started one meanwhile
    if before is None:
        fingerprint.fingerprint(run).save(folder.checkpoint)
    write_text(path / "config.yaml", to_yaml(config))
    note_places(path, config)
    write_json(path / "summary.json", {"name": config.name, "status": "running", "seed": config.seed})
    return run


def started_with(saved: checkpoint.Checkpoint, folder: RunFolder) -> fingerprint.Fingerprint | None:
    """Return what a run was started with; None where nobody wrote it down.

    Raises:
        InputError: the checkpoint lacks the digest, or says that there is one, and what it is of is not there.
    """
    advice = "start the run anew in another folder"
    if "speech" not in saved.facts:
        where = str(folder.checkpoint / checkpoint.NAME)
        raise InputError(f"is a damaged checkpoint (it has no 'speech'); {advice}", where=where)
    wanted = saved.facts["speech"]
    if wanted is None:
        return None
    before = fingerprint.load(folder.checkpoint)
    if before is None or before.digest != wanted:
        raise InputError(
            f"is missing or damaged beside a checkpoint; restore the file, or {advice}",
            where=str(folder.checkpoint / fingerprint.NAME),
        )
    return before


def settle(config: Config, fleet: Fleet | None = None) -> Config:
    """Return the config with what depends on the data made explicit, so that every client resolves it alike."""
    tree = to_dict(config)
    if config.model.alphabet == "auto":
        tree["model"]["alphabet"] = "chars:" + "".join(Experiment(config).tokenizer.characters)
    if config.strategy.name == "pate":
        tree["privacy"]["unit"] = "teacher"
    elif config.privacy.unit != "none" and config.privacy.noise_multiplier is None:
        if fleet is None:
            run = experiment(as_json(load(tree)))
            tree["privacy"] |= load_reference(PRIVACY)(config, run.registered, run)
        else:
            tree["privacy"] |= load_reference(PRIVACY)(config, len(fleet))
    return load(tree)


def prepare(run: Experiment) -> None:
    """Build what can be wrong before anything is written.

    Raises:
        InputError: the data, the partition, the seed model, the selector or the device is wrong.
    """
    device = run.config.runtime.device
    load_reference(STRATEGY_CHECK)(run.config)
    traits = load_reference(STRATEGY_TRAITS)(run.config)
    on_ray = asks_ray(run.config)
    # On a cluster the clients' nodes need a GPU; where the server trains is here.
    server_trains = traits.trains or not on_ray
    if device == "cuda" and server_trains and not torch_has_cuda():
        raise InputError("'runtime.device' is 'cuda', but torch sees no GPU; expected cpu or auto")
    if on_ray:
        check_cluster(run.config)
    load_reference(SELECTORS)(run.config.selection)
    make_callbacks(run.config)
    run.check_columns()
    if not len(run.partition):
        raise InputError("the partition has no clients; lower 'data.partition.min_utterances'")
    check_people(run)
    load_reference(PRIVACY_CHECK)(run.config, run.registered)
    if run.config.audit.canaries:
        load_reference(CANARIES_CHECK)(run)
    if run.config.strategy.name == "pate":
        load_reference(PATE_CHECK)(run)
        store = run.config.pate.store
        if store is not None and exists(Path(store)) and not is_folder(Path(store)):
            raise InputError("is not a folder; 'pate.store' names the folder of the teachers", where=store)
    run.training_stream.check()
    run.stream.test_periods(run.test_rows)
    if traits.cohorts:
        check_cohort(run)
    if run.config.devices.clock:
        Clock(run.config.devices, run.config.seed, run.partition.names)
    if run.config.distillation.teacher is not None:
        load_reference(TEACHER_CHECK)(run)
    if run.config.self_labels.server_steps:
        load_reference(SERVER_STEPS_CHECK)(run)
    layout = Layout.of(run.first_weights())
    load_reference(AGGREGATOR_CHECK)(run.config, layout)
    if run.config.selection.by is not None:
        load_reference(GROUPS_CHECK)(run, run.config.selection.by, "selection.by")
    if run.config.strategy.fairness != "none":
        load_reference(FAIRNESS_CHECK)(run)
    if run.config.attack.name != "none":
        make_attack(run.config.attack, layout)
        described(run.config, run.partition.names)
    check_compression(run.config, layout)
    check_secure_aggregation(run.config, layout, len(run.partition))
    make_local_optimizer(run.config.client)
    make_client_app(run.config)
    make_decoder(run.config.evaluate, run.tokenizer)
    check_own_parts(run.config)
    if run.config.strategy.name == "pate":
        make_local_optimizer(run.config.pate.student)
    if run.config.privacy.unit != "none":
        caveat(run.config)
    if run.config.evaluate.decoder == "vocabulary":
        for phrase in run.vocabulary:
            problem = transcript_problem(phrase, run.tokenizer)
            if problem is not None:
                raise InputError(f"'evaluate.vocabulary' has '{phrase}': {problem}")


def check_own_parts(config: Config) -> None:
    """Raise where a part of the user's own would not be known where clients run.

    Raises:
        InputError: naming the key.
    """
    for key, reference in own_parts(config):
        if config.runtime.name == "flower" and lives_here_alone(reference):
            raise InputError(
                f"'{key}' is '{reference}', which this process alone knows, but 'runtime.name' is 'flower', whose"
                " workers import it; define it in a module (a .py file), or set runtime.name=local"
            )


def check_cohort(run: Experiment) -> None:
    """Raise where more clients a round are asked for than there are; edge devices may come later.

    Up to the default, all take part where there are fewer, and a note says so.

    Raises:
        InputError: naming both numbers.
    """
    wanted, there = run.config.selection.clients_per_round, run.registered
    if wanted > max(there, DEFAULT_COHORT) and run.fleet is None:
        raise InputError(
            f"'selection.clients_per_round' is {wanted:,}, but the run has {there:,} clients; set it to {there} or less"
        )


def check_people(run: Experiment) -> None:
    """Raise where a guarantee for users would be one for clients among which a person's speech is spread.

    Raises:
        InputError: naming somebody. What edge devices hold, nobody knows here.
    """
    if run.config.privacy.unit != "user" or run.fleet is not None:
        return
    spread = in_several_clients(run.partition, run.corpus.columns["speaker"])
    if spread:
        raise InputError(
            f"'privacy.unit' is 'user', but partition '{run.config.data.partition.name}' gives the speech of"
            f" {len(spread)} speakers, such as '{spread[0]}', to more than one client: the noise would hide a client,"
            " not a person."
            " Partition by speaker (data.partition.name=natural, data.partition.column=speaker), or protect utterances"
            " (privacy.unit=example)"
        )


def say_what_is_special(run: Experiment) -> None:
    """Note what a person should know of the run's input: what it leaves out, and who is on both sides of a split."""
    watcher = current().watcher
    for warning in warnings(run.config):
        watcher.note(warning)
    if run.fleet is not None:
        return
    wanted, there = run.config.selection.clients_per_round, run.registered
    if wanted > there and load_reference(STRATEGY_TRAITS)(run.config).cohorts:
        watcher.note(f"all {there} clients may take part in a round: 'selection.clients_per_round' is {wanted}")
    attack = described(run.config, run.partition.names)
    if attack is not None:
        watcher.note(attack)
    for reason, count in run.left_out.items():
        watcher.note(f"left out: {count} utterances: {reason}")
    data, splits = run.config.data, run.splits
    if data.corpus != "synthetic":
        both = in_both(run.corpus.columns["speaker"], splits == data.train_split, splits == data.test_split)
        if both:
            watcher.note(
                f"{len(both)} speakers, such as '{both[0]}', are in the split '{data.train_split}' and in"
                f" '{data.test_split}': the error rate is not that of people whom the model has never heard"
            )
    if run.config.client.labels == "self" and run.config.init_from is None:
        watcher.note("'client.labels' is 'self' without 'init_from': the first labels are those of an untrained model")
    if run.config.model.frozen and run.config.init_from is None:
        watcher.note("'model.frozen' is set without 'init_from': the frozen layers keep random weights")
    if run.config.init_from is not None and seed_config(run.config.init_from) is None:
        watcher.note(
            "there is no config.yaml beside the weights of 'init_from': whether they were trained with these"
            " 'data.features' cannot be checked"
        )


def torch_has_cuda() -> bool:
    """Say whether torch sees a GPU."""
    import torch

    return torch.cuda.is_available()


def finished(folder: RunFolder) -> bool:
    """Say whether the folder holds a finished run."""
    return read_summary(folder.path).get("status") == "done"


def read_summary(path: Path) -> dict[str, Any]:
    """Return ``summary.json`` of a run folder, empty where there is none.

    Raises:
        InputError: it is damaged.
    """
    file = path / "summary.json"
    if not is_file(file):
        return {}
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"is damaged ({error}); remove it to resume from the checkpoint", where=str(file)) from None
    return summary if isinstance(summary, dict) else {}


def check_same(config: Config, folder: RunFolder, settled: bool = True) -> None:
    """Raise when a folder's run was started from another config; how it is executed may change.

    Args:
        config: to go on with.
        folder: of the run.
        settled: whether what depends on the data is explicit in the config; otherwise those keys do not count.

    Raises:
        InputError: naming the first key that differs.
    """
    file = folder.path / "config.yaml"
    if not is_file(file):
        raise InputError("is missing beside a checkpoint; start the run anew in another folder", where=str(file))
    old = load(file)
    for name, _ in walk():
        before, after = get(old, name), get(config, name)
        depends = not settled and name in DEPENDING
        if before != after and not depends and not name.startswith(EXECUTION):
            raise InputError(
                f"'{name}' was {before!r} and is now {after!r};"
                " resume with the same config, or start anew in another folder",
                where=str(file),
            )


def check_accounts(config: Config, saved: checkpoint.Checkpoint, folder: RunFolder) -> None:
    """Raise where a resumed run would not find its devices' privacy ledgers, and what they spent would be forgotten.

    Raises:
        InputError: the devices keep accounts, and the runtime is not the one that puts them into the checkpoint.
    """
    if config.runtime.name == "deployment":
        return  # edge devices keep their accounts themselves
    spent = config.privacy.unit == "example" and (saved.facts.get("privacy") or {}).get("epsilons")
    if spent and (config.runtime.name == "flower" or not saved.states):
        raise InputError(
            "cannot be resumed in Flower's runtimes: the devices' privacy ledgers are not in its checkpoint, and what"
            " they have spent would be forgotten; start anew in another folder, or use runtime.name=local",
            where=str(folder.path),
        )


def check_checkpoint(saved: checkpoint.Checkpoint, run: Experiment, folder: RunFolder) -> None:
    """Raise when a run cannot go on from a checkpoint; nothing is changed.

    Raises:
        InputError: the checkpoint or a journal is damaged, or the weights are those of another model.
    """
    file = folder.checkpoint / checkpoint.NAME
    advice = "start the run anew in another folder"
    layout = Layout.of(run.first_weights())
    try:
        layout.flatten(saved.weights, np.empty(layout.size, np.float32))
    except ValueError as error:
        raise InputError(f"does not fit the model: {error}; {advice}", where=str(file)) from None
    for name in ("totals", "last", "population", "privacy", "journals"):
        if not isinstance(saved.facts.get(name), dict):
            raise InputError(f"is a damaged checkpoint (it has no '{name}'); {advice}", where=str(file))
    if not 0 <= saved.round <= run.config.rounds:
        raise InputError(f"is of round {saved.round}; expected at most {run.config.rounds}; {advice}", where=str(file))
    if not isinstance(saved.facts.get("callbacks", {}), dict):
        raise InputError(f"is a damaged checkpoint (its 'callbacks' are none); {advice}", where=str(file))
    folder.check_journals(saved.facts["journals"])


def asks_ray(config: Config) -> bool:
    """Say whether clients are asked that run in Ray's actors."""
    on_ray = config.runtime.name == "ray" and config.runtime.executor == "pool"
    return on_ray and bool(load_reference(STRATEGY_TRAITS)(config).asks_clients)


def make_executor(config: Config) -> Executor:
    """Return the executor of ``runtime.executor``."""
    client_app = make_client_app(config)
    if config.runtime.executor == "debug":
        return DebugExecutor(client_app)
    if config.runtime.executor == "serial" or not load_reference(STRATEGY_TRAITS)(config).asks_clients:
        return SerialExecutor(client_app)
    workers = config.runtime.workers or cores()
    fork = config.runtime.device == "cpu"
    recipe = WorkerApp(config, None) if fork and sys.platform == "linux" else WorkerApp.of(config)
    return PoolExecutor(client_app, recipe, workers, fork)


@contextmanager
def started_executor(config: Config, store: str) -> Iterator[Executor]:
    """Start the executor of ``runtime``, on this machine or on Ray, and end it.

    Args:
        config: of the run.
        store: folder in which simulated devices keep what never leaves them.
    """
    if asks_ray(config):
        with ray_executor(config, WorkerApp.of(config), store) as actors:
            yield actors
        return
    executor = make_executor(config)
    try:
        yield executor
    finally:
        executor.close()


def run_locally(config: Config, clients: int, settings: dict[str, Any], store: str) -> None:
    """Run the apps on our grid."""
    one_thread()
    server_app = load_reference(SERVER_APP)
    with started_executor(config, store) as executor:
        context = Context(RUN_ID, 0, {}, RecordDict(), settings)
        server_app(LocalGrid(executor, clients, {"client-store": store}), context)
