from __future__ import annotations

from pathlib import Path

import pytest

from fedasr.data.check import Problem, check_manifest
from fedasr.data.ctc_frames import frames_needed
from fedasr.data.files import input_error
from fedasr.data.manifest import ManifestCorpus
from fedasr.errors import InputError
from tests.fedasr.data.speech_files import BROKEN, write


def manifest(folder: Path, rows: str, header: str = "path,speaker,text,duration_s") -> Path:
    path = folder / "m.csv"
    path.write_text(f"{header}\n{rows}", encoding="utf-8")
    return path


def kinds(problems: list[Problem]) -> list[tuple[int, str]]:
    return [(problem.line, problem.kind) for problem in problems]


def test_a_sound_manifest_has_no_problem(tmp_path: Path) -> None:
    write(tmp_path / "a.flac")
    write(tmp_path / "b.flac")
    rows = "a.flac,s,Don't stop,1.0\nb.flac,s,إغلاق الباب,\n"
    assert check_manifest(manifest(tmp_path, rows)) == []


def test_every_broken_file_is_listed_with_its_line_and_kind(tmp_path: Path) -> None:
    paths = [(make(tmp_path), kind) for make, kind in BROKEN.values()]
    path = manifest(tmp_path, "".join(f"{file.name},s,yes,\n" for file, _ in paths))
    problems = check_manifest(path)
    assert kinds(problems) == [(line, kind) for line, (_, kind) in enumerate(paths, 2)]
    assert [problem.path for problem in problems] == [file.name for file, _ in paths]
    assert all(problem.message.startswith("the audio ") for problem in problems)


def test_all_problems_of_the_rows_are_listed(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d", "e", "f"):
        write(tmp_path / f"{name}.flac")
    write(tmp_path / "rate.flac", rate_hz=8000)
    rows = (
        "a.flac,s,yes,1.0\n"
        "./a.flac,s,yes,1.0\n"
        "b.flac,s,,1.0\n"
        "c.flac,,no,1.0\n"
        "d.flac,s,7 o'clock!,1.0\n"
        "e.flac,s,yes,1.5\n"
        "f.flac,s,yes,soon\n"
        "rate.flac,s,yes,1.0\n"
        ",s,yes,1.0\n"
        "gone.flac,,,-1\n"
    )
    problems = check_manifest(manifest(tmp_path, rows))
    assert sorted(kinds(problems)) == [
        (3, "duplicate"),
        (4, "transcript"),
        (5, "speaker"),
        (6, "characters"),
        (7, "duration"),
        (8, "duration"),
        (9, "sample-rate"),
        (10, "path"),
        (11, "duration"),
        (11, "missing"),
        (11, "speaker"),
        (11, "transcript"),
    ]
    messages = {problem.line: problem.message for problem in problems}
    assert messages[3] == "the same file as line 2"
    assert messages[6].endswith("'!' (U+0021), '7' (U+0037)")
    assert messages[7] == "duration_s is 1.500, but the audio lasts 1.000 s"
    assert messages[9] == "the sample rate is 8000 Hz; 7 of 8 files have 16000 Hz"


def test_frames_count_repeats() -> None:
    assert [frames_needed(text) for text in ("", "a", "ab", "aa", "hello", "aaa")] == [0, 1, 2, 3, 6, 5]


def test_a_transcript_that_just_fits_is_no_problem(tmp_path: Path) -> None:
    # 0.11 s: 1760 samples, 12 frames at 10 ms, 3 output frames.
    write(tmp_path / "a.flac", seconds=0.11)
    for text, expected in (("abc", []), ("abcd", [(2, "too-long")]), ("aa", []), ("aab", [(2, "too-long")])):
        path = manifest(tmp_path, f"a.flac,s,{text},\n")
        assert kinds(check_manifest(path)) == expected
    assert kinds(check_manifest(path, subsampling=2)) == []
    assert kinds(check_manifest(path, subsampling=2, hop_ms=20)) == [(2, "too-long")]


@pytest.mark.parametrize(
    ("text", "alphabet", "lowercase", "unknown"),
    [
        ("Straße", None, True, ""),
        ("caf\u0065\u0301", None, True, ""),
        ("нет! да", None, True, "'!'"),
        ("قف ٣", None, True, "U+0663"),
        ("قِفْ", None, True, ""),
        ("a\u0007b", None, True, "U+0007"),
        ("YES", "yes", True, ""),
        ("YES", "yes", False, "'E'"),
        ("nine", "yes", True, "'i'"),
    ],
)
def test_characters_are_those_of_the_alphabet(
    tmp_path: Path, text: str, alphabet: str | None, lowercase: bool, unknown: str
) -> None:
    write(tmp_path / "a.flac")
    problems = check_manifest(manifest(tmp_path, f"a.flac,s,{text},\n"), alphabet=alphabet, lowercase=lowercase)
    if unknown:
        assert kinds(problems) == [(2, "characters")]
        assert unknown in problems[0].message
    else:
        assert problems == []


@pytest.mark.parametrize(
    ("content", "line"),
    [("path,speaker\n", 1), ("", 0), ("path,speaker,text\na,b\n", 2), ("path,speaker,text\na,b,\udcff\n", 2)],
)
def test_a_broken_manifest_is_a_single_problem(tmp_path: Path, content: str, line: int) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    [problem] = check_manifest(path)
    assert (problem.line, problem.kind) == (line, "manifest")
    assert str(path) not in problem.message


def test_an_absent_manifest_is_a_single_problem(tmp_path: Path) -> None:
    assert kinds(check_manifest(tmp_path / "absent.csv")) == [(0, "manifest")]


def test_bad_audio_in_a_run_becomes_one_line(tmp_path: Path) -> None:
    corpus = ManifestCorpus(manifest(tmp_path, "gone.flac,s,yes,1\n"))
    with pytest.raises(ValueError, match="missing") as caught:
        corpus.waveform(0)
    error = input_error(caught.value)  # type: ignore[arg-type]
    assert isinstance(error, InputError)
    assert str(error).startswith(f"{tmp_path}/m.csv:2 (gone.flac): the audio is missing; ")


def test_real_arabic_speech_has_no_problem(speech: Path) -> None:
    path = speech / "arabic_speech_commands_mini" / "manifest.csv"
    if not path.is_file():
        pytest.skip("no arabic_speech_commands_mini among the real speech")
    assert check_manifest(path) == []
