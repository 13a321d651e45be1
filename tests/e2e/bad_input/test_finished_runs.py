"""Runs that cannot be evaluated, compared or shown, and the command itself."""

from __future__ import annotations

import json

import pytest

from tests.fedasr.data.speech_files import write

from ..small_speech import HEADER
from .world import TOO_LONG, Place, Refuse, commands


@pytest.mark.slow
def test_a_folder_that_is_no_run(place: Place, refuse: Refuse) -> None:
    for folder in (place.root / "none", place.manifest, place.manifest.parent, place.root / TOO_LONG):
        for command in commands(place, folder):
            refuse(command, f"{folder}: is not a run folder: it has no config.yaml")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("config.yaml", "a: [", ":2: is not valid YAML"),
        ("config.yaml", "rounds: x", ": 'rounds' is 'x'; expected an integer"),
        ("config.yaml", "", ": is empty"),
        ("config.yaml", None, ""),
        ("tokenizer.json", "{", ":1: is not JSON"),
        ("tokenizer.json", "{}", ": is not a tokenizer"),
        ("tokenizer.json", None, ": cannot be read: No such file"),
        ("model.safetensors", "x", ": is not a readable safetensors file"),
        ("model.safetensors", None, ": no such weights; expected a finished run folder"),
    ],
)
def test_a_damaged_run_folder(file: str, content: str | None, says: str, place: Place, refuse: Refuse) -> None:
    path = place.run / file
    path.unlink() if content is None else path.write_text(content)
    for command in commands(place, place.run):
        refuse(command, f"{path}{says}" if says else f"{place.run}: is not a run folder")


def test_a_config_or_tokenizer_of_another_model(place: Place, refuse: Refuse) -> None:
    config, tokenizer = place.run / "config.yaml", place.run / "tokenizer.json"
    kept = config.read_text()
    config.write_text(kept.replace("hidden: 8", "hidden: 9"))
    for command in commands(place, place.run):
        refuse(command, f"{place.run}/model.safetensors: ", "the model has (36, 8)", "config.yaml is of another model")
    config.write_text(kept)
    content = json.loads(tokenizer.read_text())
    tokenizer.write_text(json.dumps({**content, "characters": content["characters"][:5]}))
    for command in commands(place, place.run):
        refuse(command, f"{place.run}/model.safetensors: 'head.", "the model has (6, 8)")


@pytest.mark.slow
def test_evaluate(place: Place, refuse: Refuse) -> None:
    start = ["evaluate", place.run, "--manifest"]
    manifest = place.manifest
    refuse(["evaluate", place.run], "fedasr evaluate: Missing option '--manifest'")
    refuse([*start, "/none.csv"], "/none.csv: there is no such manifest")
    refuse([*start, manifest, "--split", "tst"], f"{manifest}: no utterances in split 'tst' (did you mean 'test'?)")
    refuse([*start, manifest, "--by", "gendr"], f"{manifest}: --by 'gendr' (did you mean 'gender'?)", "speaker, text")
    refuse([*start, manifest, "--decoder", "gredy"], "--decoder: is 'gredy' (did you mean 'greedy'?)", "beam")
    other = manifest.parent / "other.csv"
    other.write_text(f"{HEADER}\ns0/0.wav,s0,one,test,f\nnone.wav,s0,one,test,f\n")
    refuse([*start, other], f"{other}:3 (none.wav): the audio is missing; mend or remove it ('fedasr data check'")
    config = place.run / "config.yaml"
    config.write_text(config.read_text().replace("on_bad_audio: stop", "on_bad_audio: skip"))
    other.write_text(f"{HEADER}\nnone.wav,s0,one,test,f\n")
    refuse([*start, other], f"{other}: the audio of none of 1 utterances can be used")


@pytest.mark.slow
def test_transcribe(place: Place, refuse: Refuse) -> None:
    sound = place.manifest.parent / "s0" / "0.wav"
    empty = place.manifest.parent / "empty.wav"
    empty.touch()
    start = ["transcribe", place.run]
    refuse(start, "fedasr transcribe: Missing argument 'AUDIO...'")
    refuse([*start, "none.wav"], "none.wav: the audio is missing")
    refuse([*start, place.manifest], f"{place.manifest}: the audio is not audio that libsndfile reads")
    refuse([*start, place.root], f"{place.root}: the audio is a folder, not a file")
    refuse([*start, empty], f"{empty}: the audio is empty (0 bytes)")
    refuse([*start, f"{TOO_LONG}.wav"], f"{TOO_LONG}.wav: the audio cannot be read: File name too long")
    refuse([*start, sound, "--decoder", "beem"], "--decoder: is 'beem' (did you mean 'beam'?)")
    config = place.run / "config.yaml"
    text = config.read_text()
    path = next(line.split(": ")[1] for line in text.splitlines() if line.strip().startswith("manifest: "))
    config.write_text(text.replace(path, "/none.csv"))
    says = "the phrases of decoder 'vocabulary' are the run's training transcripts", "/none.csv: there is no such"
    refuse([*start, sound, "--decoder", "vocabulary"], *says)


@pytest.mark.slow
def test_compare(place: Place, refuse: Refuse) -> None:
    start = ["compare", place.run]
    refuse(["compare"], "fedasr compare: Missing argument 'RUN_DIR...'")
    refuse(["compare", "none"], "none: no such folder; expected a run folder, made by 'fedasr run CONFIG --out DIR'")
    refuse(["compare", TOO_LONG], f"{TOO_LONG}: no such folder")
    refuse([*start, place.manifest], f"{place.manifest}: is a file; expected a run folder")
    refuse([*start, place.root], f"{place.root}: is not a run folder: 'config.yaml' is missing")
    refuse([*start, "--x", "rounds"], "'rounds' is no axis (did you mean 'round'?); expected one of: round, bytes")
    refuse([*start, "--x", "simulated_seconds"], f"{place.run}: recorded no 'simulated_seconds'")
    refuse([*start, "--metric", "wr"], "no run has a column 'wr' (did you mean 'wer'?); expected one of: loss")
    refuse([*start, "--target", "low"], "Invalid value for '--target'")
    refuse([*start, "--out", "a.pgn"], "a.pgn: cannot write '.pgn' (did you mean '.png'?); expected one of: .png")
    for suffix in (".png", ".html", ".csv"):
        refuse([*start, "--out", place.manifest / f"a{suffix}"], f"{place.manifest}/a{suffix}: cannot be written")


def test_report(place: Place, refuse: Refuse) -> None:
    refuse(["report"], "fedasr report: Missing argument 'RUN_DIR'")
    refuse(["report", "none"], "none: no such folder; expected a run folder")
    refuse(["report", place.root], f"{place.root}: is not a run folder")
    refuse(["report", place.run, "--out", "a.pdf"], "a.pdf: the report is a page, not '.pdf'; expected FILE.html")
    refuse(["report", place.run, "--out", place.manifest / "a.html"], f"{place.manifest}/a.html: cannot be written")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("config.yaml", "a: [", ":2: is not valid YAML"),
        ("config.yaml", "seed: x", ": 'seed' is 'x'; expected an integer"),
        ("summary.json", "{", ":1: is not valid JSON"),
        ("summary.json", "[]", ": holds no JSON object"),
        ("rounds.parquet", "x", ": cannot be read as Parquet; the file is damaged"),
        ("rounds.parquet", None, ": is missing, though the run is finished"),
    ],
)
def test_a_damaged_run_to_show(file: str, content: str | None, says: str, place: Place, refuse: Refuse) -> None:
    path = place.run / file
    path.unlink() if content is None else path.write_text(content)
    for command in ("compare", "report"):
        refuse([command, place.run], f"{path}{says}")


def test_commands_and_options(place: Place, refuse: Refuse) -> None:
    refuse(["runn"], "fedasr: No such command 'runn'. Did you mean 'run'? (see 'fedasr --help')")
    refuse(["data", "chek"], "fedasr data: No such command 'chek'. Did you mean 'check'?")
    refuse(["run"], "fedasr run: Missing argument 'CONFIG'. (see 'fedasr run --help')")
    refuse(["run", place.config, "--outt", "x"], "fedasr run: No such option '--outt'", "--out")
    refuse(["run", place.config, "--out"], "Option '--out' requires an argument")
    refuse(["evaluate", place.run, "--manifest", place.manifest, "more"], "Got unexpected extra argument (more)")


@pytest.mark.slow
def test_what_is_sound_here_is_accepted(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """The inputs that the other tests break one at a time; otherwise they would prove nothing."""
    from fedasr.cli.main import status

    write(place.manifest.parent / "more.wav", 0.5)
    assert status(["run", str(place.config), "--out", str(place.out), "--quiet"]) == 0
    assert status(["run", str(place.config), "--out", str(place.out), "--resume", "--quiet"]) == 0
    assert status(["run", str(place.config), f"init_from={place.run}", "rounds=0", "--out", "seeded", "--quiet"]) == 0
    for command in commands(place, place.run):
        assert status([str(argument) for argument in command]) == 0
    assert status(["compare", str(place.run), str(place.out)]) == 0
    assert status(["report", str(place.run), "--out", "page.html"]) == 0
    assert status(["data", "check", str(place.manifest)]) == 0
    assert status(["data", "describe", str(place.config)]) == 0
    assert "Traceback" not in capsys.readouterr().err
