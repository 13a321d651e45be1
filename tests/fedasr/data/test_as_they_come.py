"""Audio and tables as people have them: each test is named after a kind of fault."""

from __future__ import annotations

import json
import os
import threading
import time
import unicodedata
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from fedasr.config.schema import DataConfig
from fedasr.data.audio import AudioProblem, Segment, decode, inspect, probe, read_audio, resample, samples_at_16khz
from fedasr.data.check import check_manifest
from fedasr.data.identity import identity
from fedasr.data.manifest import ManifestCorpus, ManifestError, read_table
from fedasr.data.partition import Partition
from fedasr.data.people import in_both, in_several_clients
from fedasr.data.public import commonvoice, speechcommands
from fedasr.data.quiet import quiet
from fedasr.data.resampling import evaluated, tabulated
from fedasr.data.sources import open_corpus
from fedasr.data.speech import Speech
from fedasr.models.tokenizer import build_tokenizer
from tests.fedasr.data.speech_files import noise, write

NFC, NFD = (unicodedata.normalize(form, "Zoé Müller") for form in ("NFC", "NFD"))

# Audio


@pytest.mark.parametrize("scale", [127, 32767, 2**31 - 1])
def test_floats_in_the_scale_of_integers(tmp_path: Path, scale: int) -> None:
    sf.write(tmp_path / "a.wav", noise() * scale, 16_000, subtype="DOUBLE")
    for read in (read_audio, inspect):
        with pytest.raises(AudioProblem, match="where full scale is 1: they are those of") as caught:
            read(tmp_path / "a.wav")
        assert caught.value.kind == "scale"


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "GSM610"), ("AIFF", "GSM610"), ("W64", "GSM610"), ("WAV", "G721_32"), ("AU", "G723_24"),
     ("WAV", "NMS_ADPCM_16"), ("AIFF", "DWVW_16"), ("PAF", "PCM_24"), ("SDS", "PCM_16")],
)  # fmt: skip
def test_formats_that_cannot_seek(tmp_path: Path, kind: str, subtype: str) -> None:
    tone = (0.4 * np.sin(np.arange(12_000) * 0.3)).astype(np.float32)
    path = tmp_path / f"a.{kind.lower()}"
    sf.write(path, tone, 8000, format=kind, subtype=subtype)
    frames, rate, _ = inspect(path)
    result, _ = decode(path)
    assert probe(path)[:2] == (frames, rate) == (len(result), 8000)
    assert np.corrcoef(result[:12_000], tone)[0, 1] > 0.9
    part, _ = decode(path, Segment(0.25, 0.5))
    np.testing.assert_array_equal(part, result[2000:6000])
    if kind == "WAV":  # the others have no length to compare with
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(AudioProblem):
            inspect(path)


@pytest.mark.parametrize("rate_hz", [1_001, 7_919, 15_999, 16_001, 44_101, 191_999])
def test_any_rate_is_resampled_in_bounded_time(tmp_path: Path, rate_hz: int) -> None:
    tone = (np.sin(2 * np.pi * 300 * np.arange(rate_hz) / rate_hz) / 2).astype(np.float32)
    started = time.perf_counter()
    result = resample(tone, rate_hz)
    assert time.perf_counter() - started < 20
    assert len(result) == samples_at_16khz(rate_hz, rate_hz) == 16_000
    expected = np.sin(2 * np.pi * 300 * np.arange(16_000) / 16_000) / 2
    np.testing.assert_allclose(result[200:-200], expected[200:-200], atol=5e-3)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_the_two_ways_to_resample_agree(rate_hz: int) -> None:
    samples = noise(0.5, rate_hz)
    np.testing.assert_allclose(evaluated(samples, rate_hz), tabulated(samples, rate_hz), atol=3e-5)


@pytest.mark.parametrize("rate_hz", [1, 10_000_000])
def test_a_rate_of_no_recorder_is_a_line(tmp_path: Path, rate_hz: int) -> None:
    sf.write(tmp_path / "a.wav", noise(0.01), rate_hz)
    with pytest.raises(AudioProblem, match=f"it declares {rate_hz} Hz; expected 1000 to 768000 Hz"):
        probe(tmp_path / "a.wav")


def seek_about(path: Path) -> None:
    """Seek in an MP3 file, after which libmpg123 misses what lay before."""
    with sf.SoundFile(path) as file:
        for place in range(0, file.frames, 700):
            file.seek(place)
            file.read(1)


def test_libmpg123_is_not_heard(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.mp3", seconds=2, rate_hz=8000)
    seek_about(path)
    assert "libmpg123" in capfd.readouterr().err
    with quiet(path.read_bytes()[:4]):
        seek_about(path)
    inspect(path)
    decode(path, Segment(0.5, 1.0))
    assert capfd.readouterr().err == ""


def test_others_are_heard_meanwhile(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet(b"ID3"):
        other = threading.Thread(target=os.write, args=(2, b"a line\n[src/libmpg123/x.c] error\n"))
        other.start()
        other.join()
        child = os.fork()
        if not child:
            os.write(2, b"a child\n")
            os._exit(0)
        os.waitpid(child, 0)
    os.write(2, b"afterwards\n")
    assert sorted(capfd.readouterr().err.splitlines()) == ["a child", "a line", "afterwards"]


def test_what_macos_leaves_beside_a_file(tmp_path: Path) -> None:
    with pytest.raises(AudioProblem, match="a macOS metadata file"):
        read_audio(write(tmp_path / "._a.wav"))
    for speaker in ("s1", "s2"):
        write(tmp_path / "yes" / f"{speaker}_nohash_0.wav")
    (tmp_path / "yes" / "._s1_nohash_0.wav").write_bytes(b"\0\5\x16\7")
    corpus = speechcommands(DataConfig(corpus="speechcommands", root=str(tmp_path)), 0)
    assert sorted(corpus.columns["speaker"].tolist()) == ["s1", "s2"]


def test_silence_and_antiphase(tmp_path: Path) -> None:
    wave = noise()
    sf.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    sf.write(tmp_path / "offset.wav", np.full(16_000, 0.25), 16_000)
    sf.write(tmp_path / "antiphase.wav", np.stack([wave, -0.9 * wave], axis=1), 16_000)
    sf.write(tmp_path / "one-sided.wav", np.stack([wave, 0 * wave], axis=1), 16_000)
    names = ("silent", "offset", "antiphase", "one-sided")
    (tmp_path / "m.csv").write_text("path,speaker,text\n" + "".join(f"{n}.wav,s,yes\n" for n in names))
    result = [(problem.line, problem.kind) for problem in check_manifest(tmp_path / "m.csv")]
    assert result == [(2, "silence"), (3, "silence"), (4, "antiphase")]


# Segments


def test_a_segment_is_what_cutting_by_hand_gives(tmp_path: Path) -> None:
    rate = 22_050
    wave = noise(3.0, rate)
    sf.write(tmp_path / "long.wav", wave, rate)
    sf.write(tmp_path / "cut.wav", sf.read(tmp_path / "long.wav", dtype="int16")[0][rate : rate + rate // 2], rate)
    rows = [{"path": "long.wav", "speaker": "s", "text": "yes", "offset": 1.0, "duration": 0.5},
            {"path": "long.wav", "speaker": "s", "text": "no", "offset": 0, "duration": 0.5},
            {"path": "long.wav", "speaker": "t", "text": "on", "offset": 2.5},
            {"path": "cut.wav", "speaker": "t", "text": "yes"}]  # fmt: skip
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = ManifestCorpus(tmp_path / "m.jsonl")
    np.testing.assert_array_equal(corpus.waveform(0), corpus.waveform(3))
    assert [len(corpus.waveform(row)) for row in range(4)] == [8000] * 4
    np.testing.assert_allclose(corpus.columns["duration_s"].astype(float), 0.5, atol=1e-3)
    assert len({corpus.content_key(row) for row in range(4)}) == 4
    assert corpus.bad_audio(range(4)) == []
    assert check_manifest(tmp_path / "m.jsonl") == []
    speech = Speech(corpus, build_tokenizer("latin"), DataConfig())
    np.testing.assert_array_equal(speech.features(0), speech.features(3))
    assert not np.array_equal(speech.features(0), speech.features(1))


@pytest.mark.parametrize(
    ("offset", "duration", "says"),
    [("2.8", "0.5", "the row's segment goes from 2.800 s to 3.300 s"), ("3000", "500", "goes from 3000.000 s"),
     ("4", "", "goes from 4.000 s to its end")],
)  # fmt: skip
def test_a_segment_outside_its_file_is_bad_audio(tmp_path: Path, offset: str, duration: str, says: str) -> None:
    write(tmp_path / "a.wav", 3.0)
    (tmp_path / "m.csv").write_text(f"path,speaker,text,offset,duration\na.wav,s,yes,{offset},{duration}\n")
    corpus = ManifestCorpus(tmp_path / "m.csv")
    ((_, reason),) = corpus.bad_audio([0])
    assert says in reason
    assert [problem.kind for problem in check_manifest(tmp_path / "m.csv")] == ["segment"]


def test_an_offset_that_is_none_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,speaker,text,offset\na.wav,s,yes,-1\n")
    with pytest.raises(ManifestError, match=r"m\.csv:2: offset is '-1'"):
        ManifestCorpus(tmp_path / "m.csv")


# Tables as their makers write them


def test_common_voice_quotes_nothing_and_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    sentences = ['"Stop", he said.', "And went.", 'He said "go', "two\u2028lines", '"Whole."']
    lines = ["client_id\tpath\tsentence", *(f"c{n}\tx{n}.mp3\t{text}" for n, text in enumerate(sentences))]
    (tmp_path / "train.tsv").write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())
    corpus = commonvoice(DataConfig(corpus="commonvoice", root=str(tmp_path)), 0)
    assert corpus.columns["text"].tolist() == sentences
    assert corpus.columns["speaker"].tolist() == [f"c{n}" for n in range(5)]


def test_a_tab_separated_manifest_of_either_kind(tmp_path: Path) -> None:
    plain = 'path\tspeaker\ttext\na\ts\t"Stop," he said\nb\ts\tgo "on"\n'
    quoted = 'path\tspeaker\ttext\na\ts\t"""Stop,"" he said"\nb\ts\t"go\t""on"""\n'
    (tmp_path / "plain.tsv").write_text(plain)
    (tmp_path / "quoted.tsv").write_text(quoted)
    assert read_table(tmp_path / "plain.tsv").columns["text"] == ['"Stop," he said', 'go "on"']
    assert read_table(tmp_path / "quoted.tsv").columns["text"] == ['"Stop," he said', 'go\t"on"']


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_a_byte_order_mark_and_lines_of_windows(tmp_path: Path, suffix: str) -> None:
    mark = "," if suffix == "csv" else "\t"
    table = "\r\n".join([mark.join(("path", "speaker", "text")), mark.join(("a", "s", "yes")), ""])
    rows = '{"path": "a", "speaker": "s", "text": "yes"}\r\n'
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(("\ufeff" + (rows if suffix == "jsonl" else table)).encode())
    assert read_table(path).columns == {"path": ["a"], "speaker": ["s"], "text": ["yes"]}


def test_what_a_spreadsheet_leaves(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,speaker,text,\na,s,yes,\nb,s,no\n,,,\n")
    assert read_table(tmp_path / "m.csv").columns == {"path": ["a", "b"], "speaker": ["s", "s"], "text": ["yes", "no"]}
    (tmp_path / "w.csv").write_bytes("path,speaker,text\na,s,yes\n".encode("utf-16"))
    with pytest.raises(ManifestError, match="is UTF-16 text"):
        read_table(tmp_path / "w.csv")


def test_a_nested_column_that_nobody_needs(tmp_path: Path) -> None:
    rows = [{"path": "a", "speaker": "s", "text": "yes", "audio": {"bytes": b"RIFF", "path": "a"}, "tags": ["x"]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet")
    plain = [{**row, "audio": {"path": "a"}} for row in rows]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in plain))
    for name in ("m.parquet", "m.jsonl"):
        assert read_table(tmp_path / name).columns == {"path": ["a"], "speaker": ["s"], "text": ["yes"]}


# Identity


@pytest.mark.parametrize(
    ("one", "other"),
    [(NFC, NFD), ("a b", "a\u00a0 b"), ("ann", "\u200bann\ufeff"), ("cooperate", "co\u00adoperate")],
)
def test_one_name_is_one_speaker(tmp_path: Path, one: str, other: str) -> None:
    assert one != other
    assert identity(one) == identity(other)
    write(tmp_path / "a.wav")
    write(tmp_path / "b.wav", seed=1)
    (tmp_path / "m.csv").write_text(
        f"path,speaker,text,gender\na.wav,{one},yes,{one}\nb.wav,{other},no,{other}\n", encoding="utf-8"
    )
    corpus = ManifestCorpus(tmp_path / "m.csv")
    for column in ("speaker", "gender"):
        assert len(set(corpus.columns[column].tolist())) == 1
    config = DataConfig(corpus="manifest", manifest=str(tmp_path / "m.csv"), where={"speaker": other})
    assert len(open_corpus(config, 0)) == 2


def test_a_file_name_in_another_form_is_that_file(tmp_path: Path) -> None:
    write(tmp_path / f"{NFC}.wav")
    (tmp_path / "m.csv").write_text(f"path,speaker,text\n{NFD}.wav,s,yes\n", encoding="utf-8")
    assert len(ManifestCorpus(tmp_path / "m.csv").waveform(0)) == 16_000
    assert check_manifest(tmp_path / "m.csv") == []


# People


def test_who_is_in_several_clients_and_on_both_sides() -> None:
    speakers: npt.NDArray[np.object_] = np.array(["a", "a", "b", "c", "b"], object)
    partition = Partition.from_ids(np.array([0, 0, 1, 1, 0]), np.arange(5), ["x", "y"])
    assert in_several_clients(partition, speakers) == ["b"]
    assert in_both(speakers, np.array([1, 1, 1, 0, 0], bool), np.array([0, 0, 0, 1, 1], bool)) == ["b"]


def test_a_speaker_in_both_splits_is_a_problem(tmp_path: Path) -> None:
    rows = []
    for number, split in enumerate(("train", "test", "valid")):
        write(tmp_path / f"{number}.wav", seed=number)
        rows.append(f"{number}.wav,s,yes,{split}\n")
    (tmp_path / "m.csv").write_text("path,speaker,text,split\n" + "".join(rows))
    (problem,) = check_manifest(tmp_path / "m.csv")
    assert (problem.line, problem.kind) == (3, "split")
