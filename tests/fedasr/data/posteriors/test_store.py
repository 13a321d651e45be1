"""A store: written by several, killed anywhere, read as one; another teacher's is refused."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedasr.data.posteriors import Header, PosteriorStore, ShardWriter
from fedasr.data.posteriors.frames import packed
from fedasr.data.posteriors.layout import FRAMES, HYPOTHESES, NODES
from fedasr.errors import InputError

HEADER = Header("frames", 9, "t" * 64, "k" * 64, "f" * 64, {"1": 1, "100": 25}, {"top_k": 3})
LATTICE = replace(HEADER, targets="lattice", asked={})


def key(number: int) -> np.ndarray:
    return np.array([number * 0x9E3779B97F4A7C15 % 2**64, number], np.uint64)


def rows_of(number: int) -> np.ndarray:
    """Return the rows of an utterance of ``number % 4`` frames."""
    logits = np.random.default_rng(number).normal(size=(number % 4, 9))
    return packed((logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32), 3)


def write(folder: Path, numbers: Iterable[int], commit_every: int = 1, shard: str = "shard-000-of-001") -> None:
    HEADER.create(folder)
    with ShardWriter(folder / shard, HEADER.layout) as writer:
        for place, number in enumerate(numbers, 1):
            writer.add(key(number), {FRAMES: rows_of(number)})
            if place % commit_every == 0:
                writer.commit()


def assert_holds(folder: Path, numbers: Iterable[int]) -> None:
    store, numbers = PosteriorStore(folder), list(numbers)
    places = store.find(np.stack([key(number) for number in numbers]))
    assert (places >= 0).all()
    for number, place in zip(numbers, places.tolist(), strict=True):
        assert store.rows(place, FRAMES).tobytes() == rows_of(number).tobytes()


def test_what_was_committed_comes_back(tmp_path: Path) -> None:
    write(tmp_path / "store", range(1, 11), commit_every=5)
    assert_holds(tmp_path / "store", range(1, 11))
    store = PosteriorStore(tmp_path / "store")
    assert len(store) == 10
    assert store.find(np.stack([key(99)])).tolist() == [-1]
    assert store.counts(FRAMES).tolist() == [number % 4 for number in range(1, 11)]
    frames = sum(number % 4 for number in range(1, 11))
    assert store.bytes() == {FRAMES: frames * (3 * 3 + 2), "index": 10 * 28}
    lost = np.concatenate([np.exp(rows_of(number)["rest"].astype(np.float64)) for number in range(1, 11)]).mean()
    assert store.captured_mass() == pytest.approx(1 - lost)


def test_several_shards_are_one_store(tmp_path: Path) -> None:
    for part in range(3):
        write(tmp_path / "store", range(1 + part, 31, 3), shard=f"shard-{part:03d}-of-003")
    assert_holds(tmp_path / "store", range(1, 31))


def test_an_utterance_written_twice_is_one(tmp_path: Path) -> None:
    write(tmp_path / "store", [1, 2, 1])
    write(tmp_path / "store", [2], shard="shard-001-of-002")
    assert_holds(tmp_path / "store", [1, 2])


def test_digests_that_share_their_first_half(tmp_path: Path) -> None:
    HEADER.create(tmp_path)
    keys = np.array([[7, 1], [7, 2], [7, 3], [8, 1]], np.uint64)
    with ShardWriter(tmp_path / "shard-000-of-001", HEADER.layout) as writer:
        for number, one in enumerate(keys):
            writer.add(one, {FRAMES: rows_of(number)})
        writer.commit()
    store = PosteriorStore(tmp_path)
    assert store.find(keys[::-1]).tolist() == [3, 2, 1, 0]
    assert store.find(np.array([[7, 4], [9, 1], [0, 0]], np.uint64)).tolist() == [-1, -1, -1]


@pytest.mark.parametrize("damage", ["uncommitted rows", "half a record", "rows lost in a power cut"])
def test_killed_anywhere_and_gone_on_with(damage: str, tmp_path: Path) -> None:
    """The bytes are those of a store that nobody broke off."""
    write(tmp_path / "whole", range(1, 9))
    broken = tmp_path / "broken"
    write(broken, range(1, 6))
    shard = broken / "shard-000-of-001"
    index, frames = shard / "index.bin", shard / "frames.bin"
    if damage == "uncommitted rows":
        frames.write_bytes(frames.read_bytes() + b"123456789")
    elif damage == "half a record":
        index.write_bytes(index.read_bytes() + b"1" * 27)
    else:
        frames.write_bytes(frames.read_bytes()[:-1])
        with pytest.raises(InputError, match="is shorter than its index"):
            PosteriorStore(broken)
    with ShardWriter(shard, HEADER.layout):
        pass
    there = {number for number in range(1, 9) if PosteriorStore(broken).find(np.stack([key(number)]))[0] >= 0}
    assert there == set(range(1, 6 if damage != "rows lost in a power cut" else 5))
    write(broken, sorted(set(range(1, 9)) - there))
    for name in ("index.bin", "frames.bin"):
        assert (shard / name).read_bytes() == (tmp_path / "whole" / "shard-000-of-001" / name).read_bytes()


def test_what_was_not_committed_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, range(1, 8), commit_every=4)
    assert len(PosteriorStore(tmp_path)) == 4
    assert_holds(tmp_path, range(1, 5))


@pytest.mark.parametrize(
    "other",
    [
        {"teacher": "u" * 64},
        {"tokenizer": "u" * 64},
        {"features": "u" * 64},
        {"stride": {"1": 1, "100": 50}},
        {"asked": {"top_k": 4}},
        {"classes": 10},
        {"targets": "labels", "asked": {}},
        {"counterfactual": "pitch"},
    ],
)
def test_another_teachers_store_is_refused_with_a_line(other: dict, tmp_path: Path) -> None:
    HEADER.create(tmp_path)
    with pytest.raises(InputError) as caught:
        replace(HEADER, **other).create(tmp_path)
    assert f"'{next(iter(other))}'" in str(caught.value)
    assert "\n" not in str(caught.value)
    HEADER.check(tmp_path)


def test_a_store_of_before_there_were_other_voices_has_none(tmp_path: Path) -> None:
    HEADER.create(tmp_path)
    content = json.loads((tmp_path / "header.json").read_text())
    del content["counterfactual"]
    (tmp_path / "header.json").write_text(json.dumps(content))
    HEADER.check(tmp_path)
    with pytest.raises(InputError, match="of another counterfactual"):
        replace(HEADER, counterfactual="pitch").check(tmp_path)


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        HEADER.create(tmp_path)
    with pytest.raises(InputError, match=r"has no header\.json"):
        PosteriorStore(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        HEADER.create(tmp_path / "file")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": "fedasr-posteriors", "version": 2}'])
def test_a_damaged_header_is_a_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "header.json").write_text(content)
    with pytest.raises(InputError, match="is damaged"):
        PosteriorStore(tmp_path)


def test_two_processes_do_not_write_one_part(tmp_path: Path) -> None:
    """The lock is the process's, so a second one has to ask."""
    import subprocess
    import sys

    HEADER.create(tmp_path)
    program = (
        "import sys; from pathlib import Path; from fedasr.data.posteriors import ShardWriter\n"
        "from fedasr.data.posteriors.header import read_header\n"
        "folder = Path(sys.argv[1]); ShardWriter(folder / 'shard-000-of-001', read_header(folder).layout)"
    )
    with ShardWriter(tmp_path / "shard-000-of-001", HEADER.layout):
        result = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
        )
    assert result.returncode != 0
    assert "another process writes this part" in result.stderr


def test_two_tables(tmp_path: Path) -> None:
    """A lattice has the rows of its hypothesis and those of its nodes, at 4 bytes each."""
    LATTICE.create(tmp_path)
    assert LATTICE.layout[NODES].itemsize == 4
    hypothesis = np.array([(3, 0), (0, -1.5)], LATTICE.layout[HYPOTHESES])
    nodes = np.zeros(6, LATTICE.layout[NODES])
    with ShardWriter(tmp_path / "shard-000-of-001", LATTICE.layout) as writer:
        writer.add(key(1), {HYPOTHESES: hypothesis, NODES: nodes})
        writer.add(key(2), {HYPOTHESES: hypothesis[:1], NODES: nodes[:2]})
        writer.commit()
    store = PosteriorStore(tmp_path)
    assert store.rows(0, HYPOTHESES).tolist() == hypothesis.tolist()
    assert store.rows(1, NODES).shape == (2,)
    assert store.counts(NODES).tolist() == [6, 2]


def test_an_empty_store(tmp_path: Path) -> None:
    HEADER.create(tmp_path)
    assert PosteriorStore(tmp_path).find(np.stack([key(1)])).tolist() == [-1]
    write(tmp_path, [])
    assert len(PosteriorStore(tmp_path)) == 0
