"""Wrong configs: files, arguments, references, and keys that do not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedasr.config.schema import walk

from .world import TOO_LONG, Place, Refuse


def yaml(place: Place, content: str | bytes) -> Path:
    path = place.root / "bad.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


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
    "a text": ("path,speaker\na.wav,anna\n", ("holds no mapping; expected keys such as",)),
    "an absent variable": ("name: ${oc.env:NO_SUCH_VARIABLE}", ("'name': ", "'NO_SUCH_VARIABLE' not found")),
    "a value to be given": ("rounds: ???", ("'rounds' is ???; expected an integer: add rounds=VALUE",)),
}


@pytest.mark.slow
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
    table = place.root / "speech.CSV"
    table.write_text("path,speaker,text\na.wav,anna,no: never\n")
    refuse(["data", "describe", table], f"{table}: is a table, not a config; ", f"data.manifest={table}")
    refuse(["run", ""], "'': no such config")
    refuse(["run", TOO_LONG], f"{TOO_LONG}: no such config")
    refuse(["run", "a\nb"], "a\\nb: no such config")


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


@pytest.mark.slow
@pytest.mark.parametrize("key", [name for name, item in walk() if item.metadata["choices"]])
def test_every_key_with_choices_lists_them(key: str, place: Place, refuse: Refuse) -> None:
    choices = dict(walk())[key].metadata["choices"]
    says = f"'{key}' is 'nonsense'", f"expected one of: {', '.join(choices)}"
    refuse(["run", place.config, f"{key}=nonsense", "--out", place.out], f"argument '{key}=nonsense': ", *says)
    near = choices[0][:-1] + ("z" if choices[0].endswith("x") else "x")
    refuse(["run", place.config, f"{key}={near}"], f"did you mean '{choices[0]}'?" if len(near) > 3 else near)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value", "says"),
    [(n, i.metadata["low"] - 1, f"expected at least {i.metadata['low']}") for n, i in walk() if i.metadata["low"]]
    + [(n, i.metadata["above"], f"expected more than {i.metadata['above']}") for n, i in walk() if i.metadata["above"]]
    + [(n, i.metadata["high"] + 1, f"expected at most {i.metadata['high']}") for n, i in walk() if i.metadata["high"]],
)
def test_every_bound_is_said(key: str, value: float, says: str, place: Place, refuse: Refuse) -> None:
    refuse(["run", place.config, f"{key}={value}", "--out", place.out], f"argument '{key}={value}': '{key}' is ", says)


REFERENCES = {
    "no_such_module:x": "but there is no module 'no_such_module' on the Python path",
    "os.path:nope": "but module 'os.path' has no 'nope'",
    "os:sep": "which cannot be called; expected a ",
    "os.path:join": "",
    "..a:b": "expected 'package.module:attribute'",
    "a b:c": "expected 'package.module:attribute'",
    "broken_module:x": "but module 'broken_module' cannot be imported: ZeroDivisionError: division by zero",
}


@pytest.mark.slow
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
    if key.startswith("attack."):
        arguments.append("attack.share=0.2")
    says = REFERENCES[reference]
    if reference == "os.path:join":
        by_position = key in ("selection.name", "data.corpus", "pate.public.corpus")
        says = "failed: TypeError: " if by_position else "which needs 'a'; set '"
    refuse(arguments, f"{place.config}: '{key}' is '{reference}'", says)


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_roots_of_public_corpora(place: Place, refuse: Refuse) -> None:
    for corpus, said in (("librispeech", "LibriSpeech"), ("speechcommands", "Speech Commands"), ("commonvoice", "")):
        start = ["run", place.config, "--out", place.out, f"data.corpus={corpus}"]
        refuse([*start, "data.root=/no/such/folder"], "/no/such/folder: there is no such folder (key 'data.root')")
        refuse([*start, f"data.root={place.root}"], f"{place.root}: ", f"holds no {said}", "(key 'data.root')")
