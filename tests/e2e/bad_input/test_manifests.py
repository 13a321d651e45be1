"""Wrong manifests, and what the commands on data say of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.fedasr.data.speech_files import cut

from ..small_speech import HEADER, refused
from .world import TOO_LONG, Place, Refuse


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
    "unknown extension": (
        "m.xlsx",
        HEADER,
        ("m.xlsx: is not named like a manifest; expected a name that ends in .csv",),
    ),
    "empty": ("m.csv", "", ("m.csv: is empty; expected a header with path, speaker, text",)),
    "blank lines": ("m.csv", "\n\n\n", ("m.csv: is empty",)),
    "header only": ("m.csv", HEADER + "\n", ("m.csv: has no rows; expected one utterance a row",)),
    "missing column": ("m.csv", "path,speaker,txt\n", ("m.csv:1: misses the column 'text' (did you mean 'txt'?)",)),
    "another delimiter": ("m.csv", replaced(",", ";"), ("m.csv:1: is separated by semicolons; expected commas",)),
    "a column twice": ("m.csv", "path,path,text\n", ("m.csv:1: the header has the column 'path' 2 times",)),
    "ragged row": ("m.csv", replaced("s0/1.wav,s0,two,train,f", "a,b"), ("m.csv:3: the row has 2 fields; expected 5",)),
    "open quote": ("m.csv", replaced("s0/1.wav", '"s0/1.wav'), ("m.csv:3: cannot be read as a table",)),
    "an endless field": ("m.csv", replaced("s0/1.wav", "a" * 200_000), ("m.csv:3: cannot be read as a table",)),
    "not UTF-8": ("m.csv", HEADER.encode() + b"\na.wav,s0,caf\xe9,train,f\n", ("m.csv:2: is not UTF-8 text (byte ",)),
    "UTF-16": ("m.csv", HEADER.encode("utf-16"), ("m.csv: is UTF-16 text (what Excel calls Unicode text)",)),
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_data_check(place: Place, refuse: Refuse, capsys: pytest.CaptureFixture[str]) -> None:
    """A table that cannot be read is one problem; everything else is a list, one line a problem."""
    check = ["data", "check"]
    refused(capsys, place.root, [*check, "/none.csv"], "/none.csv: manifest: there is no such manifest")
    refuse([*check, "none"], "none: no such config")
    refuse([*check, place.config, "data.corpus=synthetic"], f"{place.config}: 'data.corpus' is 'synthetic'; only")
    refuse([*check, place.manifest, "--alphabet", "latn"], "'latn' (did you mean 'latin'?)")
    refuse(check, "fedasr data check: Missing argument 'CONFIG|MANIFEST'")
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
