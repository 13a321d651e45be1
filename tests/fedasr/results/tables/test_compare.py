import math

import numpy as np
import pytest

import fedasr
from fedasr.errors import InputError
from fedasr.results.tables.compare import align, curves, price_table, rounds_to_target
from fedasr.results.tables.groups import group_runs
from fedasr.results.tables.statistics import t_quantile
from tests.fedasr.results.run_folders import MODEL_BYTES, make_run, simulate_clock, two_strategies


def test_runs_that_differ_only_in_their_seed_are_one_row(tmp_path):
    runs = two_strategies(tmp_path, seeds=3)
    table = fedasr.compare(runs)
    assert list(table["label"]) == ["selection.name=uniform", "selection.name=activity"]
    assert list(table["seeds"]) == [[0, 1, 2], [0, 1, 2]]
    assert list(table["n"]) == [3, 3]
    finals = [fedasr.load_run(path).rounds["wer"].iloc[-1] for path in runs[:3]]
    half = t_quantile(2) * np.std(finals, ddof=1) / math.sqrt(3)
    assert table["wer"][0] == pytest.approx(np.mean(finals))
    assert table["wer_low"][0] == pytest.approx(np.mean(finals) - half)
    assert table["wer_high"][0] == pytest.approx(np.mean(finals) + half)
    assert (table["wer_best"] <= table["wer"]).all()
    assert list(table["rounds"]) == [20, 20]
    assert list(table["bytes_down"]) == [200 * MODEL_BYTES] * 2
    assert list(table["wall_seconds"]) == [21, 21]


def test_one_seed_has_no_interval(tmp_path):
    table = fedasr.compare([make_run(tmp_path / "a", wer=[0.5, 0.25], rounds=2)])
    assert table["label"][0] == "home"
    assert table["wer"][0] == 0.25
    assert math.isnan(table["wer_low"][0])
    assert math.isnan(table["wer_high"][0])


def test_what_does_not_change_a_result_does_not_split_a_group(tmp_path):
    slow = {"runtime.workers": 1, "runtime.executor": "serial", "name": "other"}
    runs = [make_run(tmp_path / "a", seed=0), make_run(tmp_path / "b", seed=1, config=slow)]
    assert [group.seeds for group in group_runs(runs)] == [[0, 1]]
    other = make_run(tmp_path / "c", seed=2, config={"runtime.name": "flower"})
    assert [group.label for group in group_runs([*runs, other])] == ["runtime.name=local", "runtime.name=flower"]


def test_a_repeated_seed_is_no_independent_run(tmp_path):
    first = make_run(tmp_path / "a", seed=0, rounds=3, wer=[0.9, 0.8, 0.7])
    again = make_run(tmp_path / "b", seed=0, rounds=3, wer=[0.9, 0.8, 0.7])
    (group,) = group_runs([first, again, first])
    assert [run.path for run in group.runs] == [first]
    assert [run.path for run in group.repeats] == [again]
    assert fedasr.compare([first, again])["n"][0] == 1


def test_labels_by_key_by_name_and_by_path(tmp_path):
    def grouped(*configs):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return [g.label for g in group_runs([make_run(folder / str(i), **c) for i, c in enumerate(configs)])]

    assert grouped({"config": {"client.learning_rate": 0.1}}, {"config": {"client.learning_rate": 0.2}}) == [
        "client.learning_rate=0.1", "client.learning_rate=0.2",
    ]  # fmt: skip
    assert grouped({"config": {"data.manifest": "/x/a.csv"}}, {"config": {"data.manifest": "/x/b.csv"}}) == [
        "data.manifest=a.csv", "data.manifest=b.csv",
    ]  # fmt: skip
    assert grouped({"config": {"data.manifest": "/x/a.csv"}}, {"config": {"data.manifest": "/y/a.csv"}}) == [
        "data.manifest=/x/a.csv", "data.manifest=/y/a.csv",
    ]  # fmt: skip
    assert grouped({}, {"config": {"strategy.name": "fedadam"}}) == ["strategy.name=absent", "strategy.name=fedadam"]
    watched = {"log": ["tensorboard", {"name": "mlflow", "options": {"tracking_uri": "/x"}}]}
    stopped = {"log": ["tensorboard", "early-stopping"]}
    assert grouped({}, {"config": watched, "seed": 1}) == ["home"]  # a tracker changes nothing of what comes out
    assert grouped({"config": watched}, {"config": stopped}) == ["log=absent", "log=['early-stopping']"]
    many = {"client.epochs": 2, "client.batch_size": 4, "strategy.name": "x", "strategy.momentum": 0.5}
    assert grouped({"name": "small"}, {"name": "large", "config": many}) == ["small", "large"]
    few = {"data.exclude.speaker": [f"s{number:06d}" for number in range(20)]}
    assert grouped({"name": "all"}, {"name": "few", "config": few}) == ["all", "few"]
    assert grouped({}, {"config": few})[1].startswith("data.exclude.speaker=['s000000'")  # they have one name


def test_curves_at_the_same_rounds_are_plain_means(tmp_path):
    runs = [
        make_run(tmp_path / "a", seed=0, rounds=2, wer=[0.8, 0.4]),
        make_run(tmp_path / "b", seed=1, rounds=2, wer=[0.6, 0.2]),
    ]
    table = curves(runs)
    assert list(table["round"]) == [1, 2]
    np.testing.assert_allclose(table["mean"], [0.7, 0.3])
    assert list(table["n"]) == [2, 2]


def test_curves_at_different_costs_are_interpolated_where_all_seeds_have_been(tmp_path):
    runs = [
        make_run(tmp_path / "a", seed=0, rounds=2, wer=[0.8, 0.4], audio_seconds=[100, 100]),
        make_run(tmp_path / "b", seed=1, rounds=2, wer=[0.6, 0.2], audio_seconds=[150, 150]),
    ]
    table = curves(runs, x="audio_seconds")
    assert list(table["audio_seconds"]) == [150, 200]
    np.testing.assert_allclose(table["mean"], [(0.6 + 0.6) / 2, (0.4 + (0.6 - 0.4 / 3)) / 2])


def test_rounds_without_evaluation_are_left_out_but_their_cost_counts(tmp_path):
    run = make_run(tmp_path / "a", rounds=4, every=2, failures=False)
    assert list(curves([run])["round"]) == [2, 4]
    assert list(curves([run], x="updates")["updates"]) == [20, 40]
    assert list(curves([run], x="bytes")["bytes"]) == [40 * MODEL_BYTES, 80 * MODEL_BYTES]


def test_one_evaluation_each_at_different_costs(tmp_path):
    runs = [
        make_run(tmp_path / "a", seed=0, rounds=1, wer=[0.8], audio_seconds=[100]),
        make_run(tmp_path / "b", seed=1, rounds=1, wer=[0.6], audio_seconds=[200]),
    ]
    table = curves(runs, x="audio_seconds")
    assert list(table["audio_seconds"]) == [150]
    np.testing.assert_allclose(table["mean"], [0.7])


def test_the_grid_does_not_grow_with_the_seeds():
    at = np.linspace(0, 1, 50)
    grid, values = align([(at + shift / 1000, at) for shift in range(10)])
    assert len(grid) == 50
    assert values.shape == (10, 50)


def test_rounds_to_target(tmp_path):
    runs = [
        make_run(tmp_path / "a", seed=0, rounds=3, wer=[0.8, 0.3, 0.35]),
        make_run(tmp_path / "b", seed=1, rounds=3, wer=[0.6, 0.5, 0.3]),
        make_run(tmp_path / "c", seed=0, rounds=3, wer=[0.6, 0.5, 0.4], selection="activity"),
    ]
    table = rounds_to_target(runs, 0.3)
    assert list(table["reached"]) == [2, 0]
    assert list(table["n"]) == [2, 1]
    assert table["mean"][0] == 2.5
    assert math.isnan(table["mean"][1])


def test_a_lucky_seed_does_not_stand_for_the_others(tmp_path):
    runs = [
        make_run(tmp_path / "a", seed=0, rounds=2, wer=[0.8, 0.1]),
        make_run(tmp_path / "b", seed=1, rounds=2, wer=[0.8, 0.7]),
    ]
    table = rounds_to_target(runs, 0.3)
    assert table["reached"][0] == 1
    assert math.isnan(table["mean"][0])


def test_the_price_of_a_target_in_every_unit_that_was_recorded(tmp_path):
    runs = [
        make_run(tmp_path / str(seed), seed=seed, rounds=3, wer=[0.8, 0.3, 0.2], audio_seconds=[10, 20, 40],
                 failures=False)
        for seed in (0, 1)
    ]  # fmt: skip
    table = price_table(group_runs(runs), 0.3)
    assert list(table["x"]) == ["round", "bytes", "audio_seconds", "updates"]  # no clock ran
    assert list(table["mean"]) == [2, 40 * MODEL_BYTES, 30, 20]
    assert list(table["reached"]) == [2] * 4
    for run in runs:
        simulate_clock(run, 60.0)
    table = price_table(group_runs(runs), 0.3).set_index("x")
    assert table["mean"]["simulated_seconds"] == 120
    assert price_table(group_runs(runs), 0.1)["mean"].isna().all()


@pytest.mark.parametrize("nothing", [0.0, np.nan])
def test_a_clock_that_did_not_run_has_no_time(tmp_path, nothing):
    run = simulate_clock(make_run(tmp_path / "a"), nothing)
    assert math.isnan(fedasr.compare(run)["simulated_seconds"][0])
    with pytest.raises(InputError, match="recorded no 'simulated_seconds'"):
        curves(run, x="simulated_seconds")
    other = simulate_clock(make_run(tmp_path / "b", selection="activity"), 30.0)
    assert fedasr.compare(other)["simulated_seconds"][0] == 600
    assert "simulated_seconds" not in set(price_table(group_runs([run, other]), 0.5)["x"])


def test_an_unfinished_run_counts_with_what_it_has(tmp_path):
    table = fedasr.compare([make_run(tmp_path / "a", rounds=3, status="interrupted")])
    assert table["unfinished"][0] == 1
    assert table["rounds"][0] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "weer"}, r"metric: no run has a column 'weer' \(did you mean 'wer'\?\)"),
        ({"x": "byte"}, r"x: 'byte' is no axis \(did you mean 'bytes'\?\)"),
        ({"x": "simulated_seconds"}, "recorded no 'simulated_seconds'"),
    ],
)
def test_wrong_arguments(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        curves([make_run(tmp_path / "a")], **arguments)


def test_nothing_to_compare(tmp_path):
    with pytest.raises(InputError, match="no runs"):
        fedasr.compare([])
    folder = make_run(tmp_path / "a", rounds=0, status="running")
    with pytest.raises(InputError, match="no round of these runs has 'wer' yet"):
        curves([folder])
    assert math.isnan(fedasr.compare([folder])["wer"][0])


def test_seeds_that_meet_nowhere_get_an_even_grid(tmp_path):
    runs = [make_run(tmp_path / str(seed), seed=seed, rounds=5, audio_seconds=[10.0 + seed] * 5) for seed in range(3)]
    at = curves(runs, x="audio_seconds")["audio_seconds"]
    np.testing.assert_allclose(at, np.linspace(12, 50, 5))


def test_a_sweep_has_named_its_groups_already(tmp_path):
    for label, selection in (("plain", "uniform"), ("busy", "activity")):
        for seed in (0, 1):
            make_run(tmp_path / f"{label}-seed{seed}", seed=seed, selection=selection)
    folders = sorted(tmp_path.iterdir())
    assert [group.label for group in group_runs(folders)] == ["busy", "plain"]
    # One folder that no sweep named, and the config says what differs.
    other = make_run(tmp_path / "another", seed=2, selection="uniform")
    assert {group.label for group in group_runs([*folders, other])} == {
        "selection.name=uniform",
        "selection.name=activity",
    }
