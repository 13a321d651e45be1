"""Laws of reading a manifest: whatever the bytes, it is a table or one line that says what is wrong and where."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fedasr.data.check import check_manifest
from fedasr.data.manifest import SUFFIXES, ManifestCorpus, ManifestError, read_table
from fedasr.errors import InputError
from tests.tiers import examples

from .speech_files import write

QUICK = settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SOUND = {
    ".csv": b"path,speaker,text,duration_s\na.wav,s,one,0.1\nb.wav,t,two,\n",
    ".tsv": b"path\tspeaker\ttext\na.wav\ts\tone\nb.wav\tt\ttwo\n",
    ".jsonl": b'{"path": "a.wav", "speaker": "s", "text": "one"}\n{"path": "b.wav", "speaker": 1, "text": ""}\n',
}
PIECES = b'path speaker text duration_s split , \t \r " { } [ : a 1e400 - \0 \xff \xef\xbb\xbf NaN null'.split(b" ")
fragments = st.lists(st.sampled_from([*PIECES, b"\n", b" "]), max_size=30).map(b"".join)


def judge(path: Path) -> None:
    """Read a manifest in every way that a command does."""
    refusal = f"{path}: nothing"
    try:
        table = read_table(path)
        assert len(table) > 0
        assert all(len(values) == len(table) for values in table.columns.values())
        ManifestCorpus(path)
    except InputError as error:
        refusal = str(error)
    assert refusal.isprintable()
    assert refusal.startswith(f"{path}:")
    for problem in check_manifest(path):
        assert problem.message


@QUICK
@given(suffix=st.sampled_from(sorted(SUFFIXES)), content=st.one_of(st.binary(max_size=80), fragments))
@example(suffix=".csv", content=b"path,speaker,text\r\na,b,c")
@example(suffix=".csv", content=b"path,speaker,text\na\rb,c,d")
@example(suffix=".csv", content=b"path,speaker,text,duration_s\na,b,c,1e400")
@example(suffix=".jsonl", content=b'{"path": 1, "speaker": 2, "text": 3, "duration_s": NaN}')
@example(suffix=".jsonl", content=b'{"path": "\\ud800", "speaker": "s", "text": "t"}')
@example(suffix=".jsonl", content=b"1" * 5000)
@example(suffix=".parquet", content=b"PAR1" + b"\0" * 40 + b"PAR1")
def test_any_bytes(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(content)
    judge(path)


@QUICK
@given(
    suffix=st.sampled_from(sorted(SOUND)), position=st.integers(0, 80), junk=st.one_of(st.binary(max_size=3), fragments)
)
def test_a_sound_manifest_with_something_else_inside(suffix: str, position: int, junk: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"spoilt{suffix}"
    content = SOUND[suffix]
    position = min(position, len(content))
    path.write_bytes(content[:position] + junk + content[position + len(junk) :])
    judge(path)


@pytest.mark.parametrize("suffix", sorted(SOUND))
def test_the_sound_ones_are_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"sound{suffix}"
    path.write_bytes(SOUND[suffix])
    assert len(read_table(path)) == 2


def test_any_cut_of_a_parquet_manifest(tmp_path: Path) -> None:
    """A download that ended too early, at a hundred places; only the whole file is read."""
    import pandas as pd

    write(tmp_path / "a.wav", 0.1)
    whole = tmp_path / "whole.parquet"
    pd.DataFrame({"path": ["a.wav"], "speaker": ["s"], "text": ["one"]}).to_parquet(whole)
    content = whole.read_bytes()
    assert len(read_table(whole)) == 1
    path = tmp_path / "cut.parquet"
    for length in range(0, len(content), max(1, len(content) // 100)):
        path.write_bytes(content[:length])
        with pytest.raises(ManifestError, match=r"cut\.parquet: is not Parquet"):
            read_table(path)
