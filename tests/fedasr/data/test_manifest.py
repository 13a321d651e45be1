from __future__ import annotations

import json
import pickle
from collections import Counter
from datetime import datetime
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.data.corpus import BadAudio, Corpus
from fedasr.data.identity import identity
from fedasr.data.manifest import ManifestCorpus, ManifestError, read_table
from fedasr.errors import InputError
from tests.fedasr.data.speech_files import BROKEN, noise, write
from tests.tiers import examples

ROWS = [
    {"path": "a.flac", "speaker": "s1", "text": "yes", "duration_s": "1.0", "accent": "welsh"},
    {"path": "b.flac", "speaker": "s2", "text": 'turn, "on"', "duration_s": "1.0", "accent": ""},
]


def write_manifest(folder: Path, name: str, rows: list[dict[str, str]] = ROWS) -> Path:
    path = folder / name
    names = list(rows[0])
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        mark = "," if name.endswith(".csv") else "\t"
        quoted = [['"' + value.replace('"', '""') + '"' for value in (row[n] for n in names)] for row in rows]
        path.write_text("\n".join(mark.join(line) for line in [names, *quoted]) + "\n", encoding="utf-8")
    return path


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "m.csv"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl", "m.parquet"])
def test_every_format_gives_the_same_table(tmp_path: Path, name: str) -> None:
    table = read_table(write_manifest(tmp_path, name))
    assert table.columns == {key: [row[key] for row in ROWS] for key in ROWS[0]}
    assert table.lines == ([2, 3] if name in ("m.csv", "m.tsv") else [1, 2])


def test_the_corpus_has_the_columns_and_the_waveforms(tmp_path: Path) -> None:
    write(tmp_path / "a.flac", seed=1)
    path = write_manifest(tmp_path, "m.csv")
    corpus = ManifestCorpus(path)
    assert isinstance(corpus, Corpus)
    assert len(corpus) == 2
    assert corpus.columns["text"].tolist() == ["yes", 'turn, "on"']
    assert corpus.columns["accent"].tolist() == ["welsh", ""]
    assert corpus.columns["duration_s"].dtype == np.float32
    assert "path" not in corpus.columns
    np.testing.assert_allclose(corpus.waveform(0), noise(seed=1), atol=1e-4)
    assert corpus.where(1) == f"{path}:3 (b.flac)"
    with pytest.raises(BadAudio, match=r"m\.csv:3 \(b\.flac\): the audio is missing"):
        corpus.waveform(1)
    with pytest.raises(BadAudio, match=r"m\.csv:3 \(b\.flac\): the audio is missing"):
        corpus.content_key(1)


def test_lines_are_those_of_the_file_after_blank_and_two_line_rows(tmp_path: Path) -> None:
    path = csv_file(tmp_path, 'path,speaker,text\r\n\r\na,s,"one\r\ntwo"\r\nb,s,three\r\n')
    table = read_table(path)
    assert table.lines == [3, 5]
    assert table.columns["text"][1] == "three"


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert read_table(csv_file(tmp_path, "\ufeffpath,speaker,text\na,s,t\n")).columns["path"] == ["a"]


def test_typed_values_become_text_and_absent_ones_empty(tmp_path: Path) -> None:
    rows = [
        {"path": "a", "speaker": 7, "text": "x", "age": None, "timestamp": datetime(2024, 5, 1, 12)},
        {"path": "b", "speaker": 8, "text": "y", "age": 31, "timestamp": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet")
    columns = read_table(tmp_path / "m.parquet").columns
    assert columns["speaker"] == ["7", "8"]
    assert columns["age"] == ["", "31"]
    assert columns["timestamp"] == ["2024-05-01T12:00:00", ""]


def test_json_rows_may_have_different_optional_keys(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"path":"a","speaker":1,"text":"x"}\n\n{"path":"b","speaker":2,"text":null,"age":3.5}\n')
    table = read_table(path)
    assert table.lines == [1, 3]
    assert table.columns == {"path": ["a", "b"], "speaker": ["1", "2"], "text": ["x", ""], "age": ["", "3.5"]}


BAD_TABLES = {
    "missing column": ("m.csv", "path,speaker\na,s\n", 1, "misses the column 'text'"),
    "near column": ("m.csv", "path,speakers,text\na,s,t\n", 1, "did you mean 'speakers'"),
    "empty": ("m.csv", "", 0, "is empty"),
    "header only": ("m.csv", "path,speaker,text\n", 0, "has no rows"),
    "short row": ("m.csv", "path,speaker,text\na,s,t\nb,s\n", 3, "has 2 fields; expected 3"),
    "long row": ("m.csv", "path,speaker,text\na,s,t,u\n", 2, "has 4 fields; expected 3"),
    "column twice": ("m.csv", "path,speaker,text,text\na,s,t,u\n", 1, "column 'text' 2 times"),
    "column without name": ("m.csv", "path,,speaker,text\na,u,s,t\n", 1, "column '' 1 times"),
    "open quote": ("m.csv", 'path,speaker,text\na,s,"t\n', 2, "cannot be read as a table"),
    "stray quote": ("m.csv", 'path,speaker,text\na,s,t\nb,s,"t"u\n', 3, "cannot be read as a table"),
    "huge field": ("m.csv", "path,speaker,text\na,s," + "t" * 200_000 + "\n", 2, "cannot be read as a table"),
    "not JSON": ("m.jsonl", '{"path":"a","speaker":"s","text":"t"}\n{oops}\n', 2, "is not JSON"),
    "JSON list": ("m.jsonl", "[1]\n", 1, "is not a JSON object"),
    "JSON without key": ("m.jsonl", '{"path":"a","speaker":"s"}\n', 1, "misses the key 'text'"),
    "JSON nested value": ("m.jsonl", '{"path":"a","speaker":"s","text":["t"]}\n', 1, "'text' is list"),
    "JSON nested deeply": ("m.jsonl", "[" * 200_000 + "\n", 1, "is not JSON"),
    "semicolons": ("m.csv", "path;speaker;text\na;s;t\n", 1, "separated by semicolons; expected commas"),
    "tabs in a CSV": ("m.csv", "path\tspeaker\ttext\na\ts\tt\n", 1, "separated by tabs; expected commas"),
    "JSON key with a list of keys": ("m.jsonl", '{"path":"a","who":"s","text":"t"}\n', 1, "it has: path, who, text"),
    "no JSON": ("m.jsonl", "\n\n", 0, "is empty"),
    "not Parquet": ("m.parquet", "path,speaker,text\n", 0, "is not Parquet"),
    "no manifest": ("m.txt", "path,speaker,text\na,s,t\n", 0, "is not named like a manifest"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_broken_table_is_one_line_with_its_place(tmp_path: Path, name: str) -> None:
    file, content, line, message = BAD_TABLES[name]
    path = tmp_path / file
    path.write_text(content)
    with pytest.raises(ManifestError) as caught:
        read_table(path)
    assert message in str(caught.value)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert "\n" not in str(caught.value)


def test_text_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes("path,speaker,text\na,s,ok\nb,s,é\n".encode("latin-1"))
    with pytest.raises(ManifestError, match=r"m\.csv:3: is not UTF-8"):
        read_table(tmp_path / "m.csv")


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_an_absent_manifest_and_a_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no such manifest"):
        read_table(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="is a folder"):
        read_table(tmp_path / name)


@pytest.mark.parametrize("duration", ["one", "-1", "0", "nan", "inf"])
def test_a_wrong_duration_names_the_line(tmp_path: Path, duration: str) -> None:
    path = csv_file(tmp_path, f"path,speaker,text,duration_s\na,s,t,1.0\nb,s,t,{duration}\n")
    with pytest.raises(InputError, match=r"m\.csv:3: duration_s is"):
        ManifestCorpus(path)


@pytest.mark.parametrize("column", ["path", "speaker"])
def test_an_empty_path_or_speaker_names_the_line(tmp_path: Path, column: str) -> None:
    row = {"path": "a", "speaker": "s", "text": "t", column: " "}
    path = csv_file(tmp_path, "path,speaker,text\n" + ",".join(row.values()) + "\n")
    with pytest.raises(InputError, match=rf"m\.csv:2: the {column} is empty"):
        ManifestCorpus(path)


def test_absent_durations_come_from_the_headers(tmp_path: Path) -> None:
    write(tmp_path / "a.flac", seconds=0.5)
    write(tmp_path / "b.wav", seconds=2, rate_hz=8000)
    path = csv_file(tmp_path, "path,speaker,text,duration_s\na.flac,s,t,\nb.wav,s,t,\nc.wav,s,t,\nd.wav,s,t,7\n")
    assert ManifestCorpus(path).columns["duration_s"].tolist() == [0.5, 2.0, 0.0, 7.0]


def test_paths_may_be_absolute_or_climb(tmp_path: Path) -> None:
    write(tmp_path / "audio" / "a.flac")
    (tmp_path / "tables").mkdir()
    rows = f"../audio/a.flac,s,t\n{tmp_path}/audio/a.flac,s,t\n"
    corpus = ManifestCorpus(csv_file(tmp_path / "tables", "path,speaker,text\n" + rows))
    assert corpus.waveform(0).tobytes() == corpus.waveform(1).tobytes()
    assert corpus.content_key(0) == corpus.content_key(1)


def test_speakers_are_held_out_where_there_is_no_split(tmp_path: Path) -> None:
    rows = "".join(f"{s}-{u}.wav,s{s},t,1\n" for u in range(3) for s in range(20))
    path = csv_file(tmp_path, "path,speaker,text,duration_s\n" + rows)
    splits = ManifestCorpus(path, held_out=0.2, seed=5).columns["split"]
    speakers = ManifestCorpus(path).columns["speaker"]
    assert Counter(splits) == {"train": 48, "test": 12}
    assert not set(speakers[splits == "train"]) & set(speakers[splits == "test"])
    assert splits.tolist() == ManifestCorpus(path, held_out=0.2, seed=5).columns["split"].tolist()
    assert splits.tolist() != ManifestCorpus(path, held_out=0.2, seed=6).columns["split"].tolist()
    named = ManifestCorpus(path, train_split="on", test_split="off").columns["split"]
    assert set(named) == {"on", "off"}


def test_an_empty_split_column_is_none_and_a_single_speaker_trains(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "path,speaker,text,split,duration_s\na,s,t,,1\nb,s,t,,1\n")
    assert ManifestCorpus(path).columns["split"].tolist() == ["train", "train"]


def test_content_keys_follow_the_content(tmp_path: Path) -> None:
    write(tmp_path / "a.flac", seed=1)
    write(tmp_path / "b.flac", seed=1)
    corpus = ManifestCorpus(write_manifest(tmp_path, "m.csv"))
    before = corpus.content_key(0)
    assert before == corpus.content_key(1)
    write(tmp_path / "a.flac", seed=2)
    assert corpus.content_key(0) != before


def test_a_corpus_travels_to_another_process(tmp_path: Path) -> None:
    write(tmp_path / "a.flac")
    corpus = ManifestCorpus(write_manifest(tmp_path, "m.csv"))
    copy = pickle.loads(pickle.dumps(corpus))
    assert copy.where(0) == corpus.where(0)
    assert copy.waveform(0).tobytes() == corpus.waveform(0).tobytes()


def test_bad_audio_is_found_without_decoding(tmp_path: Path) -> None:
    names = sorted(set(BROKEN) - {"nan"})
    broken = [BROKEN[name][0](tmp_path).name for name in names]
    write(tmp_path / "good.flac")
    write(tmp_path / "long.flac", seconds=2)
    files = ["good.flac", *broken, "./good.flac", "long.flac"]
    rows = "".join(f"{name},s,t,{1 if name != 'x' else ''}\n" for name in files)
    corpus = ManifestCorpus(csv_file(tmp_path, "path,speaker,text,duration_s\n" + rows))
    result = dict(corpus.bad_audio(range(len(corpus))))
    assert sorted(result) == list(range(1, len(files)))
    assert f"listed already: {corpus.where(0)}" in result[len(broken) + 1]
    assert result[len(broken) + 2] == "duration_s is 1.000, but the audio lasts 2.000 s"
    assert corpus.bad_audio([0]) == []


def test_arabic_text_is_kept(tmp_path: Path) -> None:
    rows = [{"path": "a", "speaker": "١", "text": "إغلاق", "duration_s": "1"}]
    for name in ("m.csv", "m.jsonl", "m.parquet"):
        assert ManifestCorpus(write_manifest(tmp_path, name, rows)).columns["text"].tolist() == ["إغلاق"]


@pytest.mark.parametrize("name", ["arabic_speech_commands_mini", "speech_commands_v2_testset_mini", "an4_tiny"])
def test_real_manifests_are_read(speech: Path, name: str) -> None:
    if not (speech / name).is_dir():
        pytest.skip(f"no {name} among the real speech")
    corpus = ManifestCorpus(speech / name / "manifest.csv")
    rows = range(0, len(corpus), 97)
    for row in rows:
        seconds = len(corpus.waveform(row)) / 16_000
        assert abs(seconds - corpus.columns["duration_s"][row]) < 0.001
    assert corpus.bad_audio(rows) == []


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["csv", "tsv", "jsonl", "parquet"]))
def test_whatever_the_bytes_the_reader_answers_or_refuses(tmp_path_factory, content: bytes, suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzz.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_json_lines_keep_every_text(tmp_path_factory, rows: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.getbasetemp() / "law.jsonl"
    records = [{"path": "a", "speaker": speaker, "text": text} for speaker, text in rows]
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8", newline="\n")
    columns = read_table(path).columns
    assert columns["speaker"] == [identity(speaker) for speaker, _ in rows]
    assert columns["text"] == [normalize("NFC", text.strip()) for _, text in rows]


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl", "m.parquet"])
def test_a_manifest_for_devices_that_label_their_own_speech_needs_no_transcripts(name: str, tmp_path: Path) -> None:
    path = write_manifest(tmp_path, name, [{"path": "a.wav", "speaker": "s"}, {"path": "b.wav", "speaker": "t"}])
    assert read_table(path, transcribed=False).columns["text"] == ["", ""]
    with pytest.raises(ManifestError, match=r"misses the (column|key) 'text'; it has: path, speaker; devices that"):
        read_table(path)
