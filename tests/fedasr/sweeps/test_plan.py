import itertools
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.config import load, override, to_dict
from fedasr.errors import InputError
from fedasr.sweeps import read_plan
from tests.tiers import examples


def write(folder: Path, **content) -> Path:
    """Write a sweep file of the quickstart."""
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"config": "quickstart", **content}, sort_keys=False), encoding="utf-8")
    return path


def test_a_grid_is_the_product_of_values_and_seeds(tmp_path):
    grid = {"selection.name": ["uniform", "activity"], "client.epochs": [1, 2]}
    plan = read_plan(write(tmp_path, grid=grid, seeds=[3, 5], overrides={"rounds": 7}))
    assert [run.folder for run in plan.runs] == [
        f"{name},epochs={epochs}-seed{seed}"
        for name, epochs, seed in itertools.product(("uniform", "activity"), (1, 2), (3, 5))
    ]
    last = plan.runs[-1]
    assert (last.config.selection.name, last.config.client.epochs) == ("activity", 2)
    assert (last.config.seed, last.config.rounds, last.config.name) == (5, 7, "activity,epochs=2")
    assert last.changes == {"selection.name": "activity", "client.epochs": 2}


def test_a_run_differs_from_its_config_only_in_what_the_sweep_says(tmp_path):
    plan = read_plan(write(tmp_path, variants={"heavy": {"selection": {"name": "activity", "exponent": 2.0}}}))
    (run,) = plan.runs
    expected = override(load("quickstart"), {"selection.name": "activity", "selection.exponent": 2.0, "name": "heavy"})
    assert to_dict(run.config) == to_dict(expected)
    assert run.folder == "heavy-seed0"  # the config's own seed where none is listed


def test_variants_and_grid_multiply(tmp_path):
    variants = {"base": None, "heavy": {"selection.name": "activity"}}
    plan = read_plan(write(tmp_path, variants=variants, grid={"client.learning_rate": [0.1, 0.2]}))
    assert plan.labels == [f"{name},learning_rate={rate}" for name in ("base", "heavy") for rate in (0.1, 0.2)]


@pytest.mark.thorough
def test_a_variant_may_change_what_all_others_share(tmp_path):
    variants = {"short": {}, "long": {"rounds": 9}}
    plan = read_plan(write(tmp_path, overrides={"rounds": 3}, variants=variants))
    assert [run.config.rounds for run in plan.runs] == [3, 9]


def test_arguments_come_after_the_files_own_overrides(tmp_path):
    path = write(tmp_path, overrides={"rounds": 3}, grid={"client.epochs": [1, 2]})
    assert {run.config.rounds for run in read_plan(path, ["rounds=4"]).runs} == {4}


def test_a_config_beside_the_sweep_and_paths_beside_it(tmp_path, monkeypatch):
    speech = tmp_path / "study" / "speech"
    speech.mkdir(parents=True)
    (speech / "a.csv").touch()
    (tmp_path / "study" / "base.yaml").write_text("rounds: 2\n", encoding="utf-8")
    variants = {"real": {"data.corpus": "manifest", "data.manifest": "speech/a.csv"}}
    path = write(tmp_path / "study", config="base.yaml", variants=variants)
    monkeypatch.chdir(tmp_path)
    (run,) = read_plan(path.relative_to(tmp_path)).runs
    assert run.config.data.manifest == str(speech / "a.csv")
    assert run.config.rounds == 2


def test_only_keeps_labels_and_folders(tmp_path):
    plan = read_plan(write(tmp_path, grid={"selection.name": ["uniform", "activity"]}, seeds=[0, 1]))
    assert [run.folder for run in plan.only(["activity"]).runs] == ["activity-seed0", "activity-seed1"]
    assert [run.folder for run in plan.only(["*-seed1"]).runs] == ["uniform-seed1", "activity-seed1"]
    assert plan.only([]) == plan
    with pytest.raises(InputError, match=r"--only activty: matches no run .* \(did you mean 'activity'\?\)"):
        plan.only(["activty"])


def test_values_that_are_lists_or_paths_make_names(tmp_path):
    plan = read_plan(write(tmp_path, grid={"model.channels": [[16, 16], [32, 32]], "model.strides": [[2, 2]]}))
    assert plan.labels == ["channels=16_16,strides=2_2", "channels=32_32,strides=2_2"]
    twice = {"client.optimizer": ["sgd", "adamw"], "client.steps": [None, 3]}
    assert read_plan(write(tmp_path, grid=twice)).labels[0] == "sgd,steps=null"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"gird": {}}, "sweep.yaml: unknown key 'gird' (did you mean 'grid'?)"),
        ({"config": None}, "has no 'config'"),
        ({"config": "quickstrt"}, "'config': quickstrt: no such config (did you mean 'quickstart'?)"),
        ({"overrides": {"round": 3}}, "sweep.yaml, overrides: unknown key 'round' (did you mean 'rounds'?)"),
        ({"overrides": {"rounds": "many"}}, "sweep.yaml, overrides: 'rounds' is 'many'; expected an integer"),
        ({"overrides": [1]}, "'overrides' is [1]; expected keys"),
        ({"overrides": {"seed": 1}}, "'overrides' sets 'seed'; list the seeds under 'seeds'"),
        ({"variants": {"a": {"name": "b"}}}, "'variants.a' sets 'name'"),
        ({"variants": {"a": {"selection.nam": "activity"}}}, "sweep.yaml, variants.a: unknown key 'selection.nam'"),
        ({"variants": {"a": {"selection.name": "actvity"}}}, "sweep.yaml, variant 'a': 'selection.name' is 'actvity'"),
        ({"variants": {"a": {"client.epochs": -1}}}, "sweep.yaml, variant 'a': 'client.epochs' is -1"),
        ({"variants": {"a/b": {}}}, "the variant 'a/b' cannot be part of a folder's name"),
        ({"variants": {".a": {}}}, "the variant '.a' cannot be part"),
        ({"variants": {1: {}}}, "the variant 1 cannot be part"),
        ({"variants": {"a": {}, "b": {}}}, "the variants 'a' and 'b' are the same config"),
        ({"variants": {"a": {"rounds": 3, "rounds.x": 3}}}, "'variants.a' sets 'rounds' twice"),
        ({"variants": {"a": {"client": {"epochs": 1}, "client.epochs": 2}}}, "'variants.a' sets 'client.epochs' twice"),
        ({"variants": []}, "'variants' is []; expected names with their keys"),
        ({"grid": {"rounds": 3}}, "'grid.rounds' is 3; expected a list of values"),
        ({"grid": {"rounds": []}}, "'grid.rounds' is []; expected a list of values"),
        ({"grid": {"rounds": [3, 3]}}, "'grid.rounds' has a value twice"),
        ({"grid": {"selection": [{"name": "uniform"}]}}, "'grid.selection' is a section; expected a dotted key"),
        ({"grid": {"seed": [1, 2]}}, "'grid' sets 'seed'; list the seeds"),
        ({"grid": {"data.manifest": ["a/b", "a_b"]}}, "two combinations of the grid are called 'a_b'"),
        ({"grid": {"selection.name": ["x" * 90 + ":y"]}}, "is too long for a folder's name"),
        ({"grid": {"rounds": [3]}, "overrides": {"rounds": 4}}, "'rounds' is in 'overrides' and in 'grid'; keep one"),
        ({"grid": {"rounds": [3]}, "variants": {"a": {"rounds": 4}}}, "'rounds' is in 'grid' and in the variant 'a'"),
        ({"seeds": 3}, "'seeds' is 3; expected a list of integers"),
        ({"seeds": []}, "'seeds' is []"),
        ({"seeds": [0, -1]}, "'seeds' is [0, -1]"),
        ({"seeds": [True]}, "'seeds' is [True]"),
        ({"seeds": [2**63]}, "'seeds' is [9223372036854775808]"),
        ({"seeds": [1, 1]}, "a seed is there twice"),
        ({"grid": {"client.epochs": list(range(101))}, "seeds": list(range(100))}, "asks for 10,100 runs; expected at"),
    ],
)
def test_a_wrong_sweep_is_one_line_that_names_the_place(tmp_path, content, message):
    with pytest.raises(InputError) as error:
        read_plan(write(tmp_path, **content))
    assert message in str(error.value)
    assert str(tmp_path / "sweep.yaml") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("selection.name=uniform", "argument 'selection.name=uniform': 'selection.name' is what"),
        ("seed=1", "argument 'seed=1': 'seed' is not for a sweep; list the seeds"),
        ("rounds=x", "argument 'rounds=x': 'rounds' is 'x'; expected an integer"),
        ("round=1", "argument 'round=1': unknown key 'round'"),
    ],
)
def test_a_wrong_argument_is_named(tmp_path, argument, message):
    with pytest.raises(InputError) as error:
        read_plan(write(tmp_path, grid={"selection.name": ["uniform", "activity"]}), [argument])
    assert str(error.value).startswith(message)


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="no such file; expected a sweep"):
        read_plan(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("config: [\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.yaml:2: is not valid YAML"):
        read_plan(tmp_path / "bad.yaml")


names = st.sampled_from(["client.epochs", "client.batch_size", "selection.clients_per_round", "evaluate.beam"])


@pytest.mark.slow
@settings(deadline=None, max_examples=examples(15))
@given(
    grid=st.dictionaries(names, st.lists(st.integers(1, 9), min_size=1, max_size=2, unique=True), min_size=1),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
)
def test_every_combination_is_there_once_in_a_folder_of_its_own(tmp_path_factory, grid, seeds):
    plan = read_plan(write(tmp_path_factory.mktemp("sweep"), grid=grid, seeds=seeds))
    wanted = set(itertools.product(*grid.values(), seeds))
    assert {(*run.changes.values(), run.seed) for run in plan.runs} == wanted
    assert len(plan.runs) == len(wanted) == len({run.folder for run in plan.runs})
