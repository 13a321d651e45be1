from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytest.importorskip("espeakng_loader", reason='needs the espeak-ng wheel: pip install "fedasr[synth]"')

import soundfile

from fedasr.data.synthetic import synthesize
from fedasr.data.synthetic.export import COLUMNS
from fedasr.errors import InputError


def read(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_files_and_manifest(tmp_path: Path) -> None:
    out = tmp_path / "new" / "speech"
    result = synthesize(out, speakers=4, utterances_per_speaker=3, seed=5, grammar="digits")
    rows = read(out)
    assert result == {
        "utterances": 12,
        "speakers": 4,
        "seconds": pytest.approx(sum(float(row["duration_s"]) for row in rows), abs=0.01),
        "manifest": str(out / "manifest.csv"),
    }
    assert tuple(rows[0]) == COLUMNS
    assert [row["speaker"] for row in rows] == ["s00000"] * 3 + ["s00001"] * 3 + ["s00002"] * 3 + ["t00000"] * 3
    assert [row["split"] for row in rows] == ["train"] * 9 + ["test"] * 3
    assert rows[4]["path"] == "audio/s00001/0001.flac"
    for row in rows:
        info = soundfile.info(out / row["path"])
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        assert info.frames / 16_000 == pytest.approx(float(row["duration_s"]), abs=1e-3)
    assert sorted(path.name for path in out.parent.iterdir()) == ["speech"]
    assert sorted(path.name for path in out.iterdir()) == ["audio", "manifest.csv"]


def test_the_seed_decides_every_byte(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthesize(tmp_path / name, speakers=2, utterances_per_speaker=2, seed=seed, grammar="home")
    files = {name: [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.*"))] for name in "abc"}
    assert files["a"] == files["b"] != files["c"]


def test_one_speaker_has_no_test_split(tmp_path: Path) -> None:
    synthesize(tmp_path / "one", speakers=1, utterances_per_speaker=1, seed=0, grammar="keywords")
    assert [row["split"] for row in read(tmp_path / "one")] == ["train"]


def test_an_empty_folder_is_used_and_a_full_one_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    synthesize(tmp_path / "empty", speakers=1, utterances_per_speaker=1, seed=0, grammar="home")
    before = sorted((tmp_path / "empty").rglob("*"))
    with pytest.raises(InputError, match=r"empty: the folder is not empty"):
        synthesize(tmp_path / "empty", speakers=1, utterances_per_speaker=1, seed=0, grammar="home")
    assert sorted((tmp_path / "empty").rglob("*")) == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"file: the folder is not empty"):
        synthesize(tmp_path / "file", speakers=1, utterances_per_speaker=1, seed=0, grammar="home")


@pytest.mark.parametrize(
    ("speakers", "utterances", "grammar"), [(0, 1, "home"), (1, 0, "home"), (1, 1, "words"), (1, 1, "opera")]
)
def test_bad_requests_leave_nothing_behind(tmp_path: Path, speakers: int, utterances: int, grammar: str) -> None:
    with pytest.raises(InputError):
        synthesize(tmp_path / "out", speakers=speakers, utterances_per_speaker=utterances, seed=0, grammar=grammar)
    assert list(tmp_path.iterdir()) == []
