import json
import subprocess
import sys

import pandas as pd
import pytest

from fedasr.errors import InputError
from fedasr.results.load import load_run
from fedasr.runtime.run_folder import RunFolder
from tests.fedasr.results.run_folders import add_activity, add_periods, make_run


def test_a_run_is_read_back(tmp_path):
    run = load_run(make_run(tmp_path / "a", seed=7, rounds=4, every=2))
    assert list(run.rounds["round"]) == [1, 2, 3, 4]
    assert list(run.rounds["wer"].isna()) == [True, False, True, False]
    assert len(run.clients) == 40
    assert run.config.selection.name == run.config["selection"]["name"] == "uniform"
    assert (run.seed, run.name, run.status, run.finished, run.privacy) == (7, "home", "done", True, None)
    assert run.last("wer") == run.rounds["wer"].iloc[-1]
    assert run.groups.empty
    assert "status done" in repr(run)
    assert "rounds 4" in repr(run)
    assert "<script" not in run._repr_html_()


def test_what_the_writer_writes_is_read(tmp_path):
    folder = RunFolder(tmp_path / "a")
    folder.create()
    (folder.path / "config.yaml").write_text("name: a\nseed: 3\n", encoding="utf-8")
    folder.append("rounds", [{"round": 1, "train_loss": 2.5, "bytes_up": 7}, {"round": 2, "wer": 0.5}])
    folder.append("clients", [{"round": 1, "client": "speaker-é", "status": "failed", "reason": "no audio"}])
    folder.append("groups", [{"round": 2, "column": "gender", "value": "f", "wer": 0.25, "utterances": 8}])
    folder.write_tables()
    run = load_run(folder.path)
    assert list(run.rounds["wer"].isna()) == [True, False]
    assert run.last("wer") == 0.5
    assert run.rounds["bytes_up"].sum() == 7
    assert run.clients["client"][0] == "speaker-é"
    assert run.clients["probability"].isna().all()
    assert run.groups["wer"][0] == 0.25


def test_a_name_is_escaped_in_a_notebook(tmp_path):
    run = load_run(make_run(tmp_path / "a", name="<script>alert(1)</script>"))
    assert "&lt;script&gt;" in run._repr_html_()


def test_a_run_without_its_first_round_is_readable(tmp_path):
    folder = make_run(tmp_path / "a", status=None)
    for name in ("rounds.parquet", "clients.parquet"):
        (folder / name).unlink()
    run = load_run(folder)
    assert run.rounds.empty
    assert {"wer", "bytes_up", "simulated_seconds"} <= set(run.rounds.columns)
    assert run.clients.empty
    assert (run.status, run.finished, run.summary) == ("unfinished", False, {})


def test_no_run_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for path, message in (("empty", "'config.yaml' is missing"), ("file", "is a file"), ("none", "no such folder")):
        with pytest.raises(InputError, match=message):
            load_run(tmp_path / path)


@pytest.mark.parametrize("file", ["rounds.parquet", "clients.parquet", "activity.parquet", "periods.parquet"])
def test_a_damaged_table_is_named(tmp_path, file):
    folder = add_periods(add_activity(make_run(tmp_path / "a"), [0.1] * 10), [[0.5], [0.4, 0.3]])
    data = (folder / file).read_bytes()
    for damaged in (b"", b"PAR1 and no more", data[: len(data) // 2]):
        (folder / file).write_bytes(damaged)
        with pytest.raises(InputError, match=f"{file}: cannot be read as Parquet"):
            getattr(load_run(folder), file.removesuffix(".parquet"))


def test_a_table_of_something_else_is_named(tmp_path):
    folder = make_run(tmp_path / "a")
    pd.DataFrame({"epoch": [1]}).to_parquet(folder / "rounds.parquet")
    with pytest.raises(InputError, match="has no column 'round'"):
        _ = load_run(folder).rounds
    pd.DataFrame({"round": [1], "wer": ["low"]}).to_parquet(folder / "rounds.parquet")
    with pytest.raises(InputError, match="column 'wer' holds text"):
        _ = load_run(folder).rounds


def test_columns_of_nulls_and_absent_columns_are_nan(tmp_path):
    folder = make_run(tmp_path / "a")
    pd.DataFrame({"round": [1, 2], "wer": [None, None]}).to_parquet(folder / "rounds.parquet")
    rounds = load_run(folder).rounds
    assert rounds["wer"].isna().all()
    assert rounds["cer"].isna().all()
    assert rounds[["wer", "cer"]].dtypes.map(str).to_list() != ["object", "object"]


def test_a_finished_run_without_its_table_is_damaged(tmp_path):
    folder = make_run(tmp_path / "a")
    (folder / "rounds.parquet").unlink()
    with pytest.raises(InputError, match=r"rounds\.parquet: is missing"):
        _ = load_run(folder).rounds


def test_damaged_json_names_file_and_line(tmp_path):
    folder = make_run(tmp_path / "a")
    (folder / "summary.json").write_text('{\n "name": }', encoding="utf-8")
    with pytest.raises(InputError, match=r"summary\.json:2: is not valid JSON"):
        _ = load_run(folder).summary
    (folder / "summary.json").write_text(json.dumps([1]), encoding="utf-8")
    with pytest.raises(InputError, match="no JSON object"):
        _ = load_run(folder).summary


@pytest.mark.thorough
def test_reading_a_run_needs_neither_torch_nor_flower():
    code = "import fedasr, sys; fedasr.load_run, fedasr.compare; print(sorted({'torch', 'flwr'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
