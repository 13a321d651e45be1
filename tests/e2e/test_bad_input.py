"""Wrong input gives one line that names the place and the way out, exit status 2, and changes nothing on disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import fedasr
from fedasr.config.schema import walk
from tests.fedasr.data.speech_files import cut, write

from .small_speech import HEADER, refused, save, small, speech

TOO_LONG = "a" * 300


@dataclass(frozen=True)
class Place:
    """A folder of sound inputs: ``root`` is watched for changes, and broken inputs go into it first."""

    root: Path
    manifest: Path
    config: Path
    run: Path

    @property
    def out(self) -> Path:
        """A run folder that must not come into being."""
        return self.root / "out"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("sound")
    manifest = speech(root / "speech")
    config = small(manifest, rounds=2)
    fedasr.run(config, out=root / "run")
    return Place(root, manifest, save(config, root / "small.yaml"), root / "run")


@pytest.fixture
def place(sound: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A copy that the test may break; also the working folder, where the default run folder would be made."""
    root = tmp_path / "place"
    shutil.copytree(sound.root, root)
    monkeypatch.chdir(root)
    manifest = root / "speech" / "manifest.csv"
    # The same config as the finished run's, which names the speech where it was first.
    return Place(root, manifest, root / "small.yaml", root / "run")


@pytest.fixture
def refuse(place: Place, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return ``refused`` for the place: the command's arguments as a list, then what the line must say."""

    def check(arguments: list[object], *says: str) -> str:
        line = refused(capsys, place.root, arguments, *says)
        assert line.startswith("error: ")
        return line

    return check


Refuse = Callable[..., str]


def yaml(place: Place, content: str | bytes) -> Path:
    path = place.root / "bad.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Config files

CONFIGS: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "unknown key": ("round: 3", ("unknown key 'round'", "did you mean 'rounds'?", "known here: name, seed")),
    "unknown key in a section": ("client:\n  epoch: 3", ("unknown key 'client.epoch'", "did you mean 'epochs'?")),
    "unknown key two sections down": (
        "data:\n  features:\n    mel: 3",
        ("unknown key 'data.features.mel'", "did you mean 'mel_bins'?"),
    ),
    "key of another section": ("epochs: 3", ("unknown key 'epochs'", "did you mean 'client.epochs'?")),
    "unknown key like no other": ("zzzz: 3", ("unknown key 'zzzz'; known here: name",)),
    "a number as a key": ("3: 4", ("unknown key '3'",)),
    "a null key": ("null: 3", ("key type 'NoneType'",)),
    "a list as a key": ("? [a, b]\n: 3", (":1: ", "unhashable key")),
    "text for a number": ("rounds: many", ("'rounds' is 'many'; expected an integer",)),
    "a fraction for a count": ("rounds: 1.5", ("'rounds' is 1.5; expected an integer",)),
    "true for a count": ("rounds: true", ("'rounds' is True; expected an integer",)),
    "a count for true": ("runtime: {longest_first: 2}", ("'runtime.longest_first' is 2; expected true or false",)),
    "text for true": ("runtime: {longest_first: maybe}", ("is 'maybe'; expected true or false",)),
    "null where something must be": ("rounds: null", ("'rounds' is empty; expected an integer",)),
    "a list for a number": ("rounds: [1, 2]", ("'rounds' is [1, 2]; expected an integer",)),
    "a mapping for a number": ("rounds: {a: 1}", ("'rounds' is {'a': 1}; expected an integer",)),
    "a number for a list": ("model: {channels: 3}", ("'model.channels' is 3; expected a list of integers",)),
    "text for a list": ("evaluate: {by: gender}", ("'evaluate.by' is 'gender'; expected a list of texts",)),
    "a list of other things": ("model: {channels: [8, x]}", ("'model.channels' is [8, 'x']; expected a list of",)),
    "a list with a hole": ("evaluate: {by: [null]}", ("'evaluate.by' is [None]; expected a list of texts",)),
    "text for a mapping": ("data: {where: train}", ("'data.where' is 'train'; expected a mapping of names",)),
    "not a number": ("client: {learning_rate: .nan}", ("'client.learning_rate' is nan; expected a finite number",)),
    "infinite": ("client: {learning_rate: .inf}", ("'client.learning_rate' is inf; expected a finite number",)),
    "beyond floating point": ("client: {learning_rate: 1" + "0" * 400 + "}", ("'client.learning_rate' is 1000",)),
    "beyond any digits": ("rounds: 1" + "0" * 5000, ("is not valid YAML: ",)),
    "beyond 64 bits": ("seed: 36893488147419103232", ("'seed' is 36893488147419103232; expected at most 92233",)),
    "negative": ("rounds: -1", ("'rounds' is -1; expected at least 0",)),
    "a value for a section": ("client: 3", ("'client' is a section, not a value; expected keys: optimizer",)),
    "nothing for a section": ("client:", ("'client' is a section, not a value",)),
    "a list for a section": ("client: [epochs]", ("'client' is a section, not a value",)),
    "a name with a slash": ("name: a/b", ("'name' is 'a/b'; expected a name that can be part of a file name",)),
    "a name with a line break": ('name: "a\\nb"', ("'name' is 'a b'; expected a name",)),
    "a hidden name": ("name: .a", ("'name' is '.a'; expected a name",)),
    "an endless name": (f"name: {TOO_LONG}", ("'name' is 'aaa", "expected a name")),
    "a path with a NUL": ('data: {manifest: "a\\0b"}', ("'data.manifest' is 'a\\x00b'; expected a path",)),
    "empty": ("", ("is empty; expected keys such as 'rounds: 10'",)),
    "only a comment": ("# rounds: 10\n", ("is empty; expected keys",)),
    "a list": ("- 1\n- 2\n", ("holds no mapping; expected keys such as 'rounds: 10'",)),
    "a number": ("42", ("holds no mapping",)),
    "binary": (bytes(range(256)), (":2: is not UTF-8 text (byte 128)",)),
    "Latin-1": ("rounds: 3\nname: caf\xe9".encode("latin-1"), (":2: is not UTF-8 text (byte 19); save it as UTF-8",)),
    "a NUL": (b"rounds: 3\nname: \0", (":2: is not valid YAML: ", "(U+0000)")),
    "an open bracket": ("rounds: 1\nevaluate: {by: [a, b\nseed: 3", (":3: is not valid YAML: ",)),
    "an open quote": ('name: "abc\nrounds: 3', (":2: is not valid YAML: ",)),
    "a tab": ("client:\n\tepochs: 1", (":2: is not valid YAML: found character that cannot start any token",)),
    "a key twice": ("rounds: 1\nseed: 2\nrounds: 2", (":3: is not valid YAML: found duplicate key rounds",)),
    "two documents": ("rounds: 1\n---\nrounds: 2", (":2: is not valid YAML: ",)),
    "a Python object": ("name: !!python/object:os.system x", (":1: is not valid YAML: ", "constructor")),
    "a tag that lies": ("rounds: !!int x", ("is not valid YAML: ",)),
    "a timestamp that is none": ("name: !!timestamp x", ("is not valid YAML: ",)),
    "an alias of itself": ("data: &a\n  where: *a", ("is not valid YAML: ",)),
    "too deep": ("data: " + "{a: " * 3000 + "1" + "}" * 3000, ("nested too deeply",)),
    "an interpolation of nothing": ("rounds: ${round}", ("'rounds': Interpolation key 'round' not found",)),
    "an interpolation of itself": ("name: ${name}", ("'name': Recursive interpolation",)),
    "an open interpolation": ("name: ${", ("'name': ",)),
    "an unknown resolver": ("name: ${now:x}", ("'name': Unsupported interpolation type now",)),
    "an absent variable": ("name: ${oc.env:NO_SUCH_VARIABLE}", ("'name': ", "'NO_SUCH_VARIABLE' not found")),
    "a value to be given": ("rounds: ???", ("'rounds': Missing mandatory value",)),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_config_files(name: str, place: Place, refuse: Refuse) -> None:
    content, says = CONFIGS[name]
    path = yaml(place, content)
    refuse(["run", path, "--out", place.out], str(path), *says)


def test_config_paths(place: Place, refuse: Refuse) -> None:
    refuse(
        ["run", place.root / "none.yaml"], f"{place.root / 'none.yaml'}: no such config; expected a YAML file or one"
    )
    refuse(["run", "quickstrat"], "quickstrat: no such config (did you mean 'quickstart'?)", "quickstart,")
    refuse(["run", place.root], f"{place.root}: is a folder; expected a YAML config")
    refuse(["run", ""], "'': no such config")
    refuse(["run", TOO_LONG], f"{TOO_LONG}: no such config")
    refuse(["run", "a\nb"], "a\\nb: no such config")


# KEY=VALUE

ARGUMENTS = {
    "rounds": ("expected KEY=VALUE, such as rounds=3",),
    "=3": ("expected KEY=VALUE",),
    "round=3": ("unknown key 'round' (did you mean 'rounds'?)",),
    "client.epoch=3": ("unknown key 'client.epoch' (did you mean 'epochs'?)",),
    "client..epochs=3": ("unknown key 'client.'",),
    ".client=3": ("unknown key ''",),
    "rounds =3": ("unknown key 'rounds ' (did you mean 'rounds'?)",),
    "client=3": ("'client' is a section, not a value",),
    "rounds.x=3": ("'rounds' is {'x': 3}; expected an integer",),
    "rounds=x": ("'rounds' is 'x'; expected an integer",),
    "rounds=": ("'rounds' is empty; expected an integer",),
    "rounds=null": ("'rounds' is empty",),
    "rounds=-1": ("'rounds' is -1; expected at least 0",),
    "rounds=[1,2]": ("'rounds' is [1, 2]; expected an integer",),
    "model.channels.0=3": ("'model.channels' is {'0': 3}; expected a list of integers",),
    "rounds=[1,2": ("the value is not valid YAML: did not find expected ',' or ']'; quote it",),
    'name="abc': ("the value is not valid YAML: ",),
    "rounds=${nope}": ("'rounds': Interpolation key 'nope' not found",),
    "name=${oc.env:NO_SUCH_VARIABLE}": ("'NO_SUCH_VARIABLE' not found",),
    "rounds=???": ("'rounds': Missing mandatory value",),
    "client.learning_rate=1e999": ("'client.learning_rate' is inf; expected a finite number",),
}


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("command", [["run"], ["data", "describe"]], ids=["run", "describe"])
def test_key_value_arguments(command: list[str], argument: str, place: Place, refuse: Refuse) -> None:
    out = ["--out", place.out] if command == ["run"] else []
    refuse([*command, place.config, argument, *out], f"error: argument '{argument}': ", *ARGUMENTS[argument])


def test_an_argument_that_a_later_one_hides_is_checked_too(place: Place, refuse: Refuse) -> None:
    refuse(["run", place.config, "client=2", "client.epochs=1", "--out", place.out], "argument 'client=2': ")


@pytest.mark.parametrize("key", [name for name, item in walk() if item.metadata["choices"]])
def test_every_key_with_choices_lists_them(key: str, place: Place, refuse: Refuse) -> None:
    choices = dict(walk())[key].metadata["choices"]
    says = f"'{key}' is 'nonsense'", f"expected one of: {', '.join(choices)}"
    refuse(["run", place.config, f"{key}=nonsense", "--out", place.out], f"argument '{key}=nonsense': ", *says)
    near = choices[0][:-1] + ("z" if choices[0].endswith("x") else "x")
    refuse(["run", place.config, f"{key}={near}"], f"did you mean '{choices[0]}'?" if len(near) > 3 else near)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [(n, i.metadata["low"] - 1, f"expected at least {i.metadata['low']}") for n, i in walk() if i.metadata["low"]]
    + [(n, i.metadata["above"], f"expected more than {i.metadata['above']}") for n, i in walk() if i.metadata["above"]]
    + [(n, i.metadata["high"] + 1, f"expected at most {i.metadata['high']}") for n, i in walk() if i.metadata["high"]],
)
def test_every_bound_is_said(key: str, value: float, says: str, place: Place, refuse: Refuse) -> None:
    refuse(["run", place.config, f"{key}={value}", "--out", place.out], f"argument '{key}={value}': '{key}' is ", says)


# Parts of the user's own

REFERENCES = {
    "no_such_module:x": "but there is no module 'no_such_module' on the Python path",
    "os.path:nope": "but module 'os.path' has no 'nope'",
    "os:sep": "which cannot be called; expected a function of (",
    "os.path:join": "failed: TypeError: ",
    "..a:b": "expected 'package.module:attribute'",
    "a b:c": "expected 'package.module:attribute'",
    "broken_module:x": "but module 'broken_module' cannot be imported: ZeroDivisionError: division by zero",
}


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("key", [name for name, item in walk() if item.metadata["reference"]])
def test_references(key: str, reference: str, place: Place, refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = place.root.parent / "modules"
    modules.mkdir()
    (modules / "broken_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(modules)
    arguments = ["run", place.config, f"{key}={reference}", "--out", place.out]
    if key.startswith("pate."):
        arguments.append("strategy.name=pate")
    refuse(arguments, f"{place.config}: '{key}' is '{reference}'", REFERENCES[reference])


# Combinations that mean nothing

COMBINATIONS = {
    "data.manifest=null": ("'data.corpus' is 'manifest' but 'data.manifest' is not set",),
    "data.corpus=librispeech": ("'data.root' is not set; give the folder",),
    "data.corpus=commonvoice data.root=. data.download=true": ("'data.download' is true", "download it there"),
    "data.min_seconds=40": ("'data.max_seconds' must be larger than 'data.min_seconds'",),
    "data.test_split=train": ("'data.train_split' and 'data.test_split' are both 'train'",),
    "data.corpus=synthetic data.synthetic.grammar=words": ("'data.synthetic.words' is empty; list the words",),
    "data.corpus=synthetic data.synthetic.min_snr_db=50": ("'data.synthetic.min_snr_db' must not be larger",),
    "model.strides=[2]": ("'model.channels' has 2 entries and 'model.strides' 1",),
    "model.channels=[] model.strides=[]": ("'model.channels' and 'model.strides' must be lists",),
    "model.channels=[0,8]": ("integers of at least 1",),
    "model.kernel=4": ("'model.kernel' and 'model.conformer.kernel' must be odd",),
    "model.name=ctc-conformer model.conformer.heads=3": ("'model.conformer.heads' is 3; it must divide",),
    "strategy.name=fedprox": ("'client.proximal' is 0; set mu, for example client.proximal=0.01",),
    "data.features.hop_ms=50": ("'data.features.hop_ms' must not be larger than 'data.features.window_ms'",),
    "model.alphabet=latn": ("'model.alphabet' is 'latn' (did you mean 'latin'?); expected latin, arabic",),
    "'model.alphabet=chars:aa'": ("'model.alphabet': ", "more than once: 'a'"),
    "'model.alphabet=chars:AB'": ("'model.alphabet': ", "give it in lower case"),
    "model.hidden=1000000000": ("the model of section 'model' cannot be made",),
    "evaluate.decoder=vocabulary evaluate.vocabulary=[t3n]": ("'evaluate.vocabulary' has 't3n': ", "'3' (U+0033)"),
    "evaluate.decoder=vocabulary evaluate.vocabulary=['']": ("'evaluate.vocabulary' has '': the transcript is empty",),
    "evaluate.by=[gendr]": ("'evaluate.by' names column 'gendr' (did you mean 'gender'?)",),
    "data.train_split=trian": ("'data.train_split' is 'trian' (did you mean 'train'?)", "has: test, train"),
    "data.test_split=valid": ("'data.test_split' is 'valid', which no utterance has", "has: test, train"),
    "data.min_seconds=5": ("nothing remains of 18 utterances", "'data.min_seconds' is 5"),
    "data.max_seconds=0.1": ("nothing remains of 18 utterances", "'data.max_seconds' is 0.1"),
    "data.where.gendr=f": ("'data.where' names column 'gendr' (did you mean 'gender'?)",),
    "data.where.gender=x": ("'data.where.gender' is 'x', which no utterance has; expected one of: 'f', 'm'",),
    "data.where.gender=[]": ("nothing remains of 18 utterances after 'data.where.gender'",),
    "data.where.gender=f data.where.speaker=s1": ("nothing remains of 18 utterances after 'data.where.speaker'",),
    "data.where.duration_s=long": ("'data.where.duration_s' is 'long'; expected a number",),
    "data.partition.column=spekr": ("'data.partition.column': no column 'spekr' (did you mean 'speaker'?)",),
    "data.clients=99": ("'data.clients' is 99, but column 'speaker' has 5 values",),
    "data.partition.min_utterances=50": ("none of the 5 clients has 50 utterances", "lower 'data.partition.min"),
    "data.partition.name=grouped": ("'data.clients' is not set; partition 'grouped' needs",),
    "data.partition.name=feature-kmeans data.partition.clusters=99": ("'data.partition.clusters' is 99",),
    "data.partition.name=quantity-power data.clients=10 data.partition.min_utterances=5": (
        "'data.partition.min_utterances' is 5, but 10 clients share 15",
    ),
    **{
        f"data.partition.name={name} data.clients=99": ("'data.clients' is 99, but ",)
        for name in ("iid", "grouped", "dirichlet", "dirichlet-prior", "quantity-dirichlet", "quantity-lognormal")
    },
}


@pytest.mark.parametrize("changes", COMBINATIONS)
def test_combinations_and_keys_that_do_not_suit_the_speech(changes: str, place: Place, refuse: Refuse) -> None:
    arguments = [change.strip("'") if change.startswith("'") else change for change in changes.split(" ")]
    refuse(["run", place.config, *arguments, "--out", place.out], f"error: {place.config}: ", *COMBINATIONS[changes])


def test_a_gpu_that_is_not_there(place: Place, refuse: Refuse) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    refuse(
        ["run", place.config, "runtime.device=cuda", "--out", place.out], "'runtime.device' is 'cuda', but torch sees"
    )


def test_roots_of_public_corpora(place: Place, refuse: Refuse) -> None:
    for corpus, said in (("librispeech", "LibriSpeech"), ("speechcommands", "Speech Commands"), ("commonvoice", "")):
        start = ["run", place.config, "--out", place.out, f"data.corpus={corpus}"]
        refuse([*start, "data.root=/no/such/folder"], "/no/such/folder: there is no such folder (key 'data.root')")
        refuse([*start, f"data.root={place.root}"], f"{place.root}: ", f"holds no {said}", "(key 'data.root')")


# Manifests


def with_durations(value: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        header, *rows = text.splitlines()
        durations = [value if number == 4 else "0.5" for number in range(len(rows))]
        return "\n".join([f"{header},duration_s", *(f"{r},{d}" for r, d in zip(rows, durations, strict=True))])

    return edit


def replaced(old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return edit


STOP = "mend or remove it, or set data.on_bad_audio=skip"
MANIFESTS: dict[str, tuple[str, str | bytes | Callable[[str], str], tuple[str, ...]]] = {
    "unknown extension": ("m.xlsx", HEADER, ("m.xlsx: is no manifest by its name; expected one that ends in .csv",)),
    "empty": ("m.csv", "", ("m.csv: is empty; expected a header with path, speaker, text",)),
    "blank lines": ("m.csv", "\n\n\n", ("m.csv: is empty",)),
    "header only": ("m.csv", HEADER + "\n", ("m.csv: has no rows; expected one utterance a row",)),
    "missing column": ("m.csv", "path,speaker,txt\n", ("m.csv:1: misses the column 'text' (did you mean 'txt'?)",)),
    "another delimiter": ("m.csv", replaced(",", ";"), ("m.csv:1: misses the column 'path'; it has: path;speaker",)),
    "a column twice": ("m.csv", "path,path,text\n", ("m.csv:1: the header has the column 'path' 2 times",)),
    "ragged row": ("m.csv", replaced("s0/1.wav,s0,two,train,f", "a,b"), ("m.csv:3: the row has 2 fields; expected 5",)),
    "open quote": ("m.csv", replaced("s0/1.wav", '"s0/1.wav'), ("m.csv:3: cannot be read as a table",)),
    "an endless field": ("m.csv", replaced("s0/1.wav", "a" * 200_000), ("m.csv:3: cannot be read as a table",)),
    "not UTF-8": ("m.csv", HEADER.encode() + b"\na.wav,s0,caf\xe9,train,f\n", ("m.csv:2: is not UTF-8 text (byte ",)),
    "UTF-16": ("m.csv", HEADER.encode("utf-16"), ("m.csv:1: is not UTF-8 text (byte 0); save it as UTF-8",)),
    "not JSON": ("m.jsonl", '{"path": 1\n', ("m.jsonl:1: is not JSON: ",)),
    "no JSON object": ("m.jsonl", "[1]\n", ("m.jsonl:1: is not a JSON object; expected one a line",)),
    "a JSON object that lacks a key": ("m.jsonl", '{"path": "a"}\n', ("m.jsonl:1: misses the key 'speaker'",)),
    "a JSON number of 5,000 digits": ("m.jsonl", '{"path": 1' + "0" * 5000 + "}\n", ("m.jsonl:1: is not JSON: ",)),
    "JSON too deep": ("m.jsonl", "[" * 100_000, ("m.jsonl:1: is not JSON: too deeply nested",)),
    "no Parquet": ("m.parquet", "hello", ("m.parquet: is not Parquet: ",)),
    "empty Parquet": ("m.parquet", "", ("m.parquet: is not Parquet: ",)),
    **{
        f"duration {value}": ("m.csv", with_durations(value), (f"m.csv:6: duration_s is '{value}'; expected seconds",))
        for value in ("abc", "-1", "0", "nan", "inf", "1e99")
    },
    "duration unlike the audio": (
        "m.csv",
        with_durations("0.9"),
        ("m.csv:6 (s1/1.wav): duration_s is 0.900, but the audio lasts 0.500 s", STOP),
    ),
    "empty path": ("m.csv", replaced("s1/1.wav", ""), ("m.csv:6: the path is empty; every row needs one",)),
    "empty speaker": ("m.csv", replaced("1.wav,s1", "1.wav,"), ("m.csv:6: the speaker is empty; every row needs one",)),
    "missing audio": ("m.csv", replaced("s1/1.wav", "no.wav"), ("m.csv:6 (no.wav): the audio is missing", STOP)),
    "missing test audio": ("m.csv", replaced("s5/1.wav", "no.wav"), ("m.csv:18 (no.wav): the audio is missing", STOP)),
    "truncated audio": ("m.csv", replaced("s1/1.wav", "cut.wav"), ("m.csv:6 (cut.wav): the audio is truncated", STOP)),
    "text as audio": (
        "m.csv",
        replaced("s1/1.wav", "manifest.csv"),
        ("m.csv:6 (manifest.csv): the audio is not", STOP),
    ),
    "a folder as audio": ("m.csv", replaced("s1/1.wav", "s1"), ("m.csv:6 (s1): the audio is a folder", STOP)),
    "a path too long": ("m.csv", replaced("s1/1.wav", TOO_LONG), (f"m.csv:6 ({TOO_LONG}): the audio cannot", STOP)),
    "a path with a line break": (
        "m.csv",
        replaced("s1/1.wav", '"s1\n/1.wav"'),
        ("m.csv:6 (s1\\n/1.wav): the audio is missing", STOP),
    ),
    "audio listed twice": ("m.csv", replaced("s1/1.wav", "s1/0.wav"), ("m.csv:6 (s1/0.wav): ", "m.csv:5 (s1/0", STOP)),
    "text outside the alphabet": (
        "m.csv",
        replaced("s1/1.wav,s1,two", "s1/1.wav,s1,tw0"),
        ("m.csv:6 (s1/1.wav): characters outside the tokenizer in 'tw0': '0' (U+0030)", STOP, "(1 of 18 utterances"),
    ),
    "empty transcript": (
        "m.csv",
        replaced("s1/1.wav,s1,two", "s1/1.wav,s1, "),
        ("m.csv:6 (s1/1.wav): the transcript is empty", STOP),
    ),
    "transcript longer than its frames": (
        "m.csv",
        replaced("s1/1.wav,s1,two", "s1/1.wav,s1,one two three four"),
        ("m.csv:6 (s1/1.wav): the transcript needs 19 frames but 0.50 s of audio give 13", STOP),
    ),
    "no test utterance": ("m.csv", replaced(",test,", ",train,"), ("'data.test_split' is 'test', which no utterance",)),
    "no training utterance": ("m.csv", replaced(",train,", ",dev,"), ("'data.train_split' is 'train', which no",)),
    "one speaker and no split": (
        "m.csv",
        "path,speaker,text\ns0/0.wav,s0,one\ns0/1.wav,s0,two\n",
        ("'data.test_split' is 'test', which no utterance has; the corpus has: train",),
    ),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests(name: str, place: Place, refuse: Refuse) -> None:
    file, content, says = MANIFESTS[name]
    folder = place.manifest.parent
    shutil.copy(folder / "s1" / "1.wav", folder / "cut.wav")
    cut(folder / "cut.wav", 0.5)
    edited = content(place.manifest.read_text()) if callable(content) else content
    (folder / file).write_bytes(edited if isinstance(edited, bytes) else edited.encode())
    says = tuple(said if said[0] == "'" or "m." not in said else f"{folder}/{said}" for said in says)
    refuse(["run", place.config, f"data.manifest={folder / file}", "--out", place.out], *says)


def test_manifest_paths(place: Place, refuse: Refuse) -> None:
    start = ["run", place.config, "--out", place.out]
    folder = place.root / "folder.csv"
    folder.mkdir()
    refuse([*start, "data.manifest=/none.csv"], "/none.csv: there is no such manifest")
    refuse([*start, f"data.manifest={folder}"], f"{folder}: is a folder; expected a manifest")
    refuse([*start, f"data.manifest={TOO_LONG}.csv"], f"{TOO_LONG}.csv: cannot be read: File name too long")


def test_a_partition_column_that_is_empty(place: Place, refuse: Refuse) -> None:
    text = place.manifest.read_text().replace(",f\n", ",\n").replace(",m\n", ",\n")
    (place.manifest.parent / "m.csv").write_text(text)
    arguments = [
        "run",
        place.config,
        f"data.manifest={place.manifest.parent / 'm.csv'}",
        "data.partition.column=gender",
    ]
    refuse([*arguments, "--out", place.out], "'data.partition.column' is 'gender', which is empty for every utterance")


# init_from


def test_init_from(place: Place, refuse: Refuse) -> None:
    def start(source: object, *more: str) -> list[object]:
        return ["run", place.config, f"init_from={source}", *more, "--out", place.out]

    weights, tokenizer = place.run / "model.safetensors", place.run / "tokenizer.json"
    expected = "no such weights; expected a finished run folder or a .safetensors file"
    refuse(start("/none"), f"/none: {expected}")
    refuse(start(TOO_LONG), f"{TOO_LONG}: {expected}")
    refuse(start(place.manifest.parent), f"{place.manifest.parent}/model.safetensors: {expected}")
    refuse(start(place.manifest), f"{place.manifest}: is not a readable safetensors file")
    other = "'init_from' needs weights of the same 'model' and 'data.features' settings"
    refuse(start(place.run, "model.hidden=16"), f"{weights}: 'encoder.layers.0.weight_ih_l0' is (32, 8); the", other)
    refuse(start(place.run, "model.encoder=blstm"), f"{weights}: weights do not match the model: ", other)
    refuse(start(place.run, "data.features.mel_bins=20"), f"{weights}: 'subsampling.", other)
    refuse(start(place.run, "model.alphabet=arabic"), "'model.alphabet' is 'arabic'", str(tokenizer), "alphabet=auto")
    whole = weights.read_bytes()
    for content in (whole[:100], whole[:-100], b"", b"x" * 1000):
        weights.write_bytes(content)
        refuse(start(place.run), f"{weights}: is not a readable safetensors file")
    weights.write_bytes(whole)
    for content in (np.nan, np.inf):
        arrays = load_file(weights)
        arrays["head.bias"][0] = content
        save_file(arrays, weights)
        refuse(start(place.run), f"{weights}: 'head.bias' (float32) holds something other than finite numbers")
    weights.write_bytes(whole)
    for text, said in (
        ("{", f"{tokenizer}:1: is not JSON"),
        ("[]", f"{tokenizer}: is not a tokenizer"),
        ('{"format": "x"}', f'{tokenizer}: is not a tokenizer; expected "format"'),
    ):
        tokenizer.write_text(text)
        refuse(start(place.run), said)


# --out


def test_out(place: Place, refuse: Refuse) -> None:
    start = ["run", place.config, "--out"]
    refuse([*start, place.run], f"{place.run}: holds a run already; give another --out, or --resume")
    refuse([*start, place.manifest], f"{place.manifest}: is a file; expected a folder for the run")
    refuse([*start, place.manifest / "run"], f"{place.manifest}/run: the run folder cannot be made: Not a directory")
    refuse([*start, "/proc/run"], "/proc/run: the run folder cannot be made")
    refuse([*start, place.root / TOO_LONG], f"{TOO_LONG}: the run folder cannot be made: File name too long")
    refuse([*start, place.manifest / "a\nb"], "manifest.csv/a\\nb: the run folder cannot be made")


@pytest.mark.parametrize("name", ["config.yaml", "summary.json", "checkpoint"])
def test_out_with_only_a_part_of_a_run(name: str, place: Place, refuse: Refuse) -> None:
    folder = place.root / "part"
    folder.mkdir()
    (folder / name).touch()
    refuse(["run", place.config, "--out", folder], f"{folder}: holds a run already")


# --resume


@pytest.fixture
def stopped(place: Place) -> Place:
    """The finished run as it was before its end, so that there is something to go on with."""
    summary = place.run / "summary.json"
    summary.write_text(json.dumps({**json.loads(summary.read_text()), "status": "interrupted"}))
    return place


def resume(place: Place, *changes: str) -> list[object]:
    return ["run", place.config, *changes, "--out", place.run, "--resume"]


def test_resume_of_another_config_names_the_key(stopped: Place, refuse: Refuse) -> None:
    config = stopped.run / "config.yaml"
    for change, said in (
        ("client.epochs=2", "'client.epochs' was 1 and is now 2"),
        ("rounds=3", "'rounds' was 2 and is now 3"),
        ("seed=7", "'seed' was 0 and is now 7"),
        ("data.where.gender=f", "'data.where' was {} and is now {'gender': 'f'}"),
    ):
        refuse(resume(stopped, change), f"{config}: {said}", "resume with the same config, or start anew in another")


def test_resume_of_a_damaged_checkpoint(stopped: Place, refuse: Refuse) -> None:
    file = stopped.run / "checkpoint" / "state.safetensors"
    whole = file.read_bytes()
    for content in (whole[:200], whole[:-1], b"", b"x" * 5000):
        file.write_bytes(content)
        refuse(resume(stopped), f"{file}: is a damaged checkpoint (", "start the run anew in another folder")


def test_resume_of_a_checkpoint_that_lacks_something(stopped: Place, refuse: Refuse) -> None:
    file = stopped.run / "checkpoint" / "state.safetensors"
    with safe_open(file, framework="numpy") as opened:
        facts = json.loads(opened.metadata()["facts"])
    tensors = load_file(file)
    for name in facts:
        save_file(tensors, file, {"facts": json.dumps({key: value for key, value in facts.items() if key != name})})
        refuse(resume(stopped), f"{file}: is a damaged checkpoint (", name)
    for metadata in (None, {}, {"facts": "{"}, {"facts": "[]"}):
        save_file(tensors, file, metadata)
        refuse(resume(stopped), f"{file}: is a damaged checkpoint (")
    save_file({}, file, {"facts": json.dumps(facts)})
    refuse(resume(stopped), f"{file}: is a damaged checkpoint (")
    save_file(tensors, file, {"facts": json.dumps({**facts, "format": 2, "order": 3})})
    refuse(resume(stopped), f"{file}: has format 2; this version of fedasr reads 1")
    save_file(tensors, file, {"facts": json.dumps({**facts, "round": 99})})
    refuse(resume(stopped), f"{file}: is of round 99; expected at most 2")
    smaller = {name: array for name, array in tensors.items() if name != "weights/head.bias"}
    order = [name for name in facts["order"] if name != "head.bias"]
    save_file(smaller, file, {"facts": json.dumps({**facts, "order": order})})
    refuse(resume(stopped), f"{file}: does not fit the model: ", "head.bias")


@pytest.mark.parametrize("table", ["rounds", "clients"])
def test_resume_of_a_damaged_journal(table: str, stopped: Place, refuse: Refuse) -> None:
    journal = stopped.run / "checkpoint" / f"{table}.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-1])
    refuse(resume(stopped), f"{journal}: is shorter ({len(whole) - 1} bytes) than the checkpoint says ({len(whole)})")
    journal.unlink()
    refuse(resume(stopped), f"{journal}: is shorter (0 bytes) than the checkpoint says")
    second = whole.index(b"\n") + 1
    for junk in (b"\xff", b"[", b"3"):
        journal.write_bytes(whole[:second] + junk + whole[second + 1 :])
        refuse(resume(stopped), f"{journal}:2: is damaged; restore the file, or start the run anew")


def test_resume_of_other_damage(stopped: Place, refuse: Refuse, capsys: pytest.CaptureFixture[str]) -> None:
    config, summary = stopped.run / "config.yaml", stopped.run / "summary.json"
    kept = config.read_text()
    config.write_text("rounds: [")
    refuse(resume(stopped), f"{config}:2: is not valid YAML")
    config.unlink()
    refuse(resume(stopped), f"{config}: is missing beside a checkpoint")
    config.write_text(kept)
    summary.write_text("{")
    refuse(resume(stopped), f"{summary}: is damaged (", "remove it to resume from the checkpoint")
    refuse(["run", stopped.config, "--resume"], "--resume: needs the run folder to go on with; add --out DIR")
    refuse(["run", stopped.config, "--resume", "--out", stopped.manifest], f"{stopped.manifest}: the run folder cannot")


# evaluate, transcribe


def commands(place: Place, folder: Path) -> list[list[object]]:
    audio = place.manifest.parent / "s0" / "0.wav"
    return [["evaluate", folder, "--manifest", place.manifest], ["transcribe", folder, audio]]


def test_a_folder_that_is_no_run(place: Place, refuse: Refuse) -> None:
    for folder in (place.root / "none", place.manifest, place.manifest.parent, place.root / TOO_LONG):
        for command in commands(place, folder):
            refuse(command, f"{folder}: is no run folder: there is no config.yaml in it")


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
        refuse(command, f"{path}{says}" if says else f"{place.run}: is no run folder")


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


def test_transcribe(place: Place, refuse: Refuse) -> None:
    sound = place.manifest.parent / "s0" / "0.wav"
    empty = place.manifest.parent / "empty.wav"
    empty.touch()
    start = ["transcribe", place.run]
    refuse(start, "fedasr transcribe: Missing argument 'AUDIO...'")
    refuse([*start, "none.wav"], "none.wav: the audio is missing")
    refuse([*start, place.manifest], f"{place.manifest}: the audio is not audio that libsndfile reads")
    refuse([*start, place.root], f"{place.root}: the audio is a folder, not a file")
    refuse([*start, sound, empty], f"{empty}: the audio is empty (0 bytes)")
    refuse([*start, f"{TOO_LONG}.wav"], f"{TOO_LONG}.wav: the audio cannot be read: File name too long")
    refuse([*start, sound, "--decoder", "beem"], "--decoder: is 'beem' (did you mean 'beam'?)")
    config = place.run / "config.yaml"
    text = config.read_text()
    path = next(line.split(": ")[1] for line in text.splitlines() if line.strip().startswith("manifest: "))
    config.write_text(text.replace(path, "/none.csv"))
    says = "the phrases of decoder 'vocabulary' are the run's training transcripts", "/none.csv: there is no such"
    refuse([*start, sound, "--decoder", "vocabulary"], *says)


# compare, report


def test_compare(place: Place, refuse: Refuse) -> None:
    start = ["compare", place.run]
    refuse(["compare"], "fedasr compare: Missing argument 'RUN_DIR...'")
    refuse(["compare", "none"], "none: no such folder; expected a run folder, made by 'fedasr run CONFIG --out DIR'")
    refuse(["compare", TOO_LONG], f"{TOO_LONG}: no such folder")
    refuse([*start, place.manifest], f"{place.manifest}: is a file; expected a run folder")
    refuse([*start, place.root], f"{place.root}: is no run folder: 'config.yaml' is missing")
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
    refuse(["report", place.root], f"{place.root}: is no run folder")
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


# data


def test_data_check(place: Place, refuse: Refuse, capsys: pytest.CaptureFixture[str]) -> None:
    """A table that cannot be read is one problem; everything else is a list, one line a problem."""
    check = ["data", "check"]
    refused(capsys, place.root, [*check, "/none.csv"], "/none.csv: manifest: there is no such manifest")
    refused(capsys, place.root, [*check, place.config], f"{place.config}: manifest: is no manifest by its name")
    refuse(check, "fedasr data check: Missing argument 'MANIFEST'")
    place.manifest.write_text(f"{HEADER}\ns0/0.wav,s0\n")
    refused(capsys, place.root, [*check, place.manifest], f"{place.manifest}:2: manifest: the row has 2 fields")


def test_data_describe(place: Place, refuse: Refuse) -> None:
    start = ["data", "describe", place.config]
    refuse(["data", "describe"], "fedasr data describe: Missing argument 'CONFIG'")
    refuse(["data", "describe", "none"], "none: no such config")
    refuse([*start, "data.manifest=/none.csv"], "/none.csv: there is no such manifest")
    refuse([*start, "data.clients=99"], f"{place.config}: 'data.clients' is 99")
    refuse([*start, "--label", "gendr"], f"{place.config}: 'label': no column 'gendr' (did you mean 'gender'?)")
    refuse([*start, "--out", "a.txt"], "--out a.txt: expected a name that ends in .png, .pdf, .svg")
    refuse([*start, "--out", place.manifest / "a.png"], f"{place.manifest}/a.png: cannot be written")


def test_data_synthesize(place: Place, refuse: Refuse) -> None:
    def start(out: object = place.out, speakers: object = 1, each: object = 1) -> list[object]:
        return ["data", "synthesize", "--out", out, "--speakers", speakers, "--utterances-per-speaker", each]

    refuse(["data", "synthesize"], "fedasr data synthesize: Missing option '--out'")
    refuse(start(speakers=0), "Invalid value for '--speakers': 0 is not in the range x>=1")
    refuse(start(each="x"), "Invalid value for '--utterances-per-speaker': 'x' is not a valid integer")
    refuse([*start(), "--seed", "-1"], "Invalid value for '--seed'")
    known = "expected one of: home, everyday, digits"
    refuse([*start(), "--grammar", "hom"], f"--grammar: is 'hom' (did you mean 'home'?); {known}")
    refuse([*start(), "--grammar", "words"], "--grammar: is 'words' (did you mean 'keywords'?); expected one of")
    refuse(start(out=place.run), f"{place.run}: the folder is not empty; give a new one")
    refuse(start(out=place.manifest), f"{place.manifest}: the folder is not empty")
    refuse(start(out=place.manifest / "speech"), f"{place.manifest}/speech: cannot write here")
    refuse(start(out=place.root / TOO_LONG), f"{TOO_LONG}: File name too long")


# The command itself


def test_commands_and_options(place: Place, refuse: Refuse) -> None:
    refuse(["runn"], "fedasr: No such command 'runn'. Did you mean 'run'? (see 'fedasr --help')")
    refuse(["data", "chek"], "fedasr data: No such command 'chek'. Did you mean 'check'?")
    refuse(["run"], "fedasr run: Missing argument 'CONFIG'. (see 'fedasr run --help')")
    refuse(["run", place.config, "--outt", "x"], "fedasr run: No such option '--outt'", "--out")
    refuse(["run", place.config, "--out"], "Option '--out' requires an argument")
    refuse(["evaluate", place.run, "--manifest", place.manifest, "more"], "Got unexpected extra argument (more)")


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
