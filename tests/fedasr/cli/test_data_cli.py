import csv
import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from fedasr.cli.data import app
from fedasr.errors import InputError


def call(*arguments, status=0):
    outcome = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(outcome.exception, InputError):
        raise outcome.exception
    assert outcome.exit_code == status, outcome.output
    return outcome


def write_manifest(folder, speakers=6, each=4, words=("yes", "no", "stop")):
    """Write half-second noises of several speakers, the last of whom is the test split."""
    rng = np.random.default_rng(0)
    rows = []
    for speaker in range(speakers):
        for index in range(each):
            path = f"s{speaker}_{index}.wav"
            soundfile.write(folder / path, rng.normal(0, 0.1, 8000), 16_000)
            split = "test" if speaker == speakers - 1 else "train"
            rows.append([path, f"s{speaker}", words[(speaker * each + index) % len(words)], split])
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "speaker", "text", "split"], *rows])
    return manifest


@pytest.fixture
def config(tmp_path):
    write_manifest(tmp_path)
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "name: tiny\ndata:\n  corpus: manifest\n  manifest: manifest.csv\n  cache: {directory: 'off'}\n", "utf-8"
    )
    return path


def test_a_sound_manifest_has_no_problems(tmp_path):
    manifest = write_manifest(tmp_path)
    outcome = call("check", manifest)
    assert outcome.stdout == ""
    assert "no problems" in outcome.stderr
    assert json.loads(call("check", manifest, "--json").stdout) == {
        "manifest": str(manifest),
        "ok": True,
        "problems": [],
        "characters": "enopsty",
        "left_out": {},
    }


def test_every_problem_is_a_line_and_the_status_is_2(tmp_path):
    manifest = write_manifest(tmp_path)
    (tmp_path / "s0_1.wav").unlink()
    (tmp_path / "s2_0.wav").write_text("not audio")
    text = manifest.read_text("utf-8").replace("s1_0.wav,s1,no", "s1_0.wav,s1,")
    manifest.write_text(text, "utf-8")
    result = json.loads(call("check", manifest, "--json", status=2).stdout)
    assert not result["ok"]
    assert [problem["line"] for problem in result["problems"]] == [3, 6, 10]
    assert [problem["kind"] for problem in result["problems"]] == ["missing", "transcript", "not-audio"]
    outcome = call("check", manifest, status=2)
    assert outcome.stdout == ""
    lines = outcome.stderr.splitlines()
    assert [line.split(" ")[0] for line in lines] == [*(f"{manifest}:{n}" for n in (3, 6, 10)), f"{manifest}:"]
    assert lines[-1].endswith("3 problems")


def test_the_alphabet_is_that_of_the_config_or_the_option(tmp_path):
    manifest = write_manifest(tmp_path)
    manifest.write_text(manifest.read_text("utf-8").replace(",yes", ",да́"), "utf-8")
    assert "characters" in call("check", manifest).stderr, "letters of any script are listed, and no problem"
    result = json.loads(call("check", manifest, "--alphabet", "latin", "--json", status=2).stdout)
    assert {problem["kind"] for problem in result["problems"]} == {"characters"}
    config = tmp_path / "tiny.yaml"
    config.write_text("data: {corpus: manifest, manifest: manifest.csv}\n", "utf-8")
    assert json.loads(call("check", config, "--json", status=2).stdout)["problems"] == result["problems"]
    assert json.loads(call("check", config, "model.alphabet=auto", "--json").stdout)["ok"]
    own = json.loads(call("check", config, "model.alphabet=auto", "data.max_seconds=0.1", "--json").stdout)
    assert list(own["left_out"]) == ["longer than data.max_seconds (0.1 s)"]
    with pytest.raises(InputError, match="is a manifest, which has no keys to change"):
        call("check", manifest, "rounds=1")


def test_a_manifest_that_is_not_there_is_a_problem(tmp_path):
    outcome = call("check", tmp_path / "nothing.csv", status=2)
    assert "there is no such manifest" in outcome.stderr
    assert "Traceback" not in outcome.output


def test_describe_prints_one_json_object(config):
    report = json.loads(call("describe", config, "--json").stdout)
    assert (report["name"], report["partition"], report["column"]) == ("tiny", "natural", "speaker")
    assert (report["clients"], report["utterances"], report["labels"]) == (5, 20, 3)
    assert report["hours"] == pytest.approx(20 * 0.5 / 3600)
    assert report["hours_gini"] == pytest.approx(0, abs=1e-6)
    assert report["labels_per_client"]["min"] == report["labels_per_client"]["max"] == 3
    assert 0 < report["jensen_shannon"] < 1
    assert (report["dropped_clients"], report["left_out_utterances"]) == (0, 0)


@pytest.mark.parametrize(
    "name",
    ["natural", "grouped", "iid", "dirichlet", "dirichlet-prior", "quantity-dirichlet", "quantity-lognormal",
     "quantity-power"],
)  # fmt: skip
def test_describe_every_partitioner(config, name):
    column = "text" if name.startswith("dirichlet") else "speaker"
    keys = [f"data.partition.name={name}", f"data.partition.column={column}", "data.clients=3"]
    report = json.loads(call("describe", config, *keys, "--json").stdout)
    assert report["partition"] == name
    assert report["clients"] + report["dropped_clients"] == 3
    assert report["utterances"] + report["left_out_utterances"] == 20
    assert report["left_out_utterances"] == (8 if name == "natural" else 0)


@pytest.mark.thorough
def test_people_read_on_standard_error(config, tmp_path):
    out = tmp_path / "deep" / "clients.png"
    outcome = call("describe", config, "data.clients=3", "--label", "speaker", "--out", out)
    assert outcome.stdout == ""
    for wanted in ("3 clients", "Gini of the hours", "1.000 bits", "8 training utterances are with no client", "wrote"):
        assert wanted in outcome.stderr
    assert out.read_bytes().startswith(b"\x89PNG")


def test_a_column_that_says_nothing_is_noted(config, tmp_path):
    assert "occur once" not in call("describe", config).stderr
    write_manifest(tmp_path, words=[a + b for a in "abcd" for b in "uvwxyz"])
    assert "occur once" in call("describe", config).stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["data.partition.column=acent"], "no column 'acent'; the corpus has: "),
        (["--label", "txt"], "no column 'txt' (did you mean 'text'?)"),
        (["data.partition.name=iid", "data.clients=21"], "only 20 training utterances"),
        (["--out", "clients.doc"], "--out clients.doc: expected a name that ends in .png, .pdf, .svg"),
        (["data.partition.nam=iid"], "unknown key 'data.partition.nam'"),
    ],
)
def test_bad_input_is_one_line(config, arguments, expected):
    with pytest.raises(InputError) as error:
        call("describe", config, *arguments)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_figure_that_cannot_be_written(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        call("describe", config, "--out", tmp_path / "file" / "clients.png")


def test_synthesize_writes_speech_that_check_accepts(tmp_path):
    pytest.importorskip("espeakng_loader", reason="the espeak-ng wheel is not installed")
    out = tmp_path / "speech"
    keys = ["--out", out, "--speakers", 2, "--utterances-per-speaker", 2, "--grammar", "digits", "--seed", 3]
    result = json.loads(call("synthesize", *keys, "--json").stdout)
    assert (result["utterances"], result["speakers"]) == (4, 2)
    assert result["manifest"] == str(out / "manifest.csv")
    assert json.loads(call("check", out / "manifest.csv", "--json").stdout)["ok"]
    with pytest.raises(InputError, match="not empty"):
        call("synthesize", *keys)
    keys[1] = tmp_path / "again"
    outcome = call("synthesize", *keys)
    assert (outcome.stdout, "4 utterances of 2 speakers" in outcome.stderr) == ("", True)


def test_every_command_has_an_example():
    for command in ("check", "describe", "synthesize"):
        assert f"Example: fedasr data {command} " in " ".join(call(command, "--help").stdout.split())


@pytest.mark.slow
def test_real_speech_is_described(speech, tmp_path):
    manifest = speech / "speech_commands_v2_testset_mini" / "manifest.csv"
    if not manifest.is_file():
        pytest.skip(f"no {manifest}")
    config = tmp_path / "real.yaml"
    config.write_text(
        f"data: {{corpus: manifest, manifest: {manifest}, partition: {{column: text, alpha: 0.1}}}}\n", "utf-8"
    )
    natural = json.loads(call("describe", config, "data.partition.column=speaker", "--json").stdout)
    assert (natural["clients"], natural["utterances"], natural["labels"]) == (166, 1357, 35)
    # Speakers of Speech Commands say random words: they are no more unlike than chance makes them.
    assert natural["jensen_shannon"] == pytest.approx(natural["jensen_shannon_iid"], abs=0.05)
    skewed = json.loads(call("describe", config, "data.partition.name=dirichlet-prior", "--json").stdout)
    assert skewed["clients"] == 166
    assert skewed["jensen_shannon"] > skewed["jensen_shannon_iid"] + 0.2
