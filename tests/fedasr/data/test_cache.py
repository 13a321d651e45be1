from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from fedasr.config.schema import CacheConfig
from fedasr.data.cache import FeatureCache, cache_folder, pack, unpack


def value(seed: int = 0, frames: int = 101) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((frames, 40)).astype(np.float32)


def config(folder: Path, **changes: float) -> CacheConfig:
    return CacheConfig(directory=str(folder / "cache"), **changes)


def refuse() -> np.ndarray:
    raise AssertionError("computed although it should be cached")


@pytest.fixture(autouse=True)
def no_warnings() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("memory_mb", [0.0, 64.0])
def test_a_value_is_computed_once_and_stays_bit_identical(tmp_path: Path, memory_mb: float) -> None:
    cache = FeatureCache(config(tmp_path, memory_mb=memory_mb))
    fresh = cache.get_or_compute(b"a", value)
    again = cache.get_or_compute(b"a", refuse)
    from_disk = FeatureCache(config(tmp_path)).get_or_compute(b"a", refuse)
    for result in (fresh, again, from_disk):
        assert result.tobytes() == value().tobytes()
        assert (result.dtype, result.shape) == (np.float32, (101, 40))
        assert not result.flags.writeable


def test_waveforms_and_large_arrays_fit_too(tmp_path: Path) -> None:
    cache = FeatureCache(config(tmp_path, memory_mb=0))
    for name, array in ((b"w", value().ravel()), (b"large", value(frames=3000))):
        cache.get_or_compute(name, lambda array=array: array)
        assert cache.get_or_compute(name, refuse).tolist() == array.tolist()


def test_the_computed_array_stays_its_makers(tmp_path: Path) -> None:
    own = value()
    FeatureCache(config(tmp_path)).get_or_compute(b"a", lambda: own)
    own[0, 0] = 1
    assert own.flags.writeable


def test_off_keeps_memory_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = FeatureCache(CacheConfig(directory="off"))
    cache.get_or_compute(b"a", value)
    assert cache.get_or_compute(b"a", refuse).shape == (101, 40)
    assert not list(tmp_path.iterdir())


def test_the_default_is_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / "fedasr"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / ".cache" / "fedasr"
    assert cache_folder("~/x") == tmp_path / "x"


def test_memory_is_bounded_and_forgets_the_least_recently_used() -> None:
    size = value().nbytes
    cache = FeatureCache(CacheConfig(directory="off", memory_mb=2.5 * size / 1e6))
    for name in (b"a", b"b", b"a", b"c"):
        cache.get_or_compute(name, value)
    cache.get_or_compute(b"a", refuse)
    cache.get_or_compute(b"c", refuse)
    with pytest.raises(AssertionError, match="although"):
        cache.get_or_compute(b"b", refuse)
    cache.get_or_compute(b"larger than all", lambda: value(frames=300))
    cache.get_or_compute(b"a", refuse)


def test_the_disk_is_bounded(tmp_path: Path) -> None:
    cache = FeatureCache(config(tmp_path, disk_mb=4, memory_mb=0))
    for seed in range(600):
        cache.get_or_compute(b"%d" % seed, lambda: value(frames=101))
    size = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("cache.db"))
    assert 1e6 < size < 5e6
    cache.get_or_compute(b"599", refuse)


def test_an_error_of_the_computation_passes_through(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="although"):
        FeatureCache(config(tmp_path)).get_or_compute(b"a", refuse)


def damage(folder: Path) -> None:
    for path in folder.rglob("cache.db"):
        path.write_bytes(b"this is no database" * 1000)


def test_a_damaged_database_costs_a_warning_not_the_run(tmp_path: Path) -> None:
    FeatureCache(config(tmp_path)).get_or_compute(b"a", value)
    damage(tmp_path)
    cache = FeatureCache(config(tmp_path, memory_mb=0))
    with pytest.warns(RuntimeWarning, match=r"feature cache in .* cannot be used .* Delete the folder"):
        result = cache.get_or_compute(b"a", value)
    assert result.tobytes() == value().tobytes()
    # One warning is enough: no_warnings makes a second one an error.
    assert cache.get_or_compute(b"b", lambda: value(1)).tobytes() == value(1).tobytes()


def test_a_database_damaged_while_it_is_open_costs_no_run(tmp_path: Path) -> None:
    cache = FeatureCache(config(tmp_path, memory_mb=0))
    cache.get_or_compute(b"a", value)
    damage(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(40):
            assert cache.get_or_compute(b"%d" % seed, lambda seed=seed: value(seed)).tobytes() == value(seed).tobytes()


def test_a_folder_that_is_deleted_meanwhile_costs_no_run(tmp_path: Path) -> None:
    cache = FeatureCache(config(tmp_path, memory_mb=0))
    cache.get_or_compute(b"large", lambda: value(frames=3000))
    shutil.rmtree(tmp_path / "cache")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (b"large", b"other"):
            assert cache.get_or_compute(name, lambda: value(frames=3000)).shape == (3000, 40)


def test_a_damaged_or_deleted_value_file_is_computed_anew(tmp_path: Path) -> None:
    for change in (lambda path: path.write_bytes(path.read_bytes()[:-8]), lambda path: path.unlink()):
        cache = FeatureCache(config(tmp_path, memory_mb=0))
        cache.get_or_compute(b"large", lambda: value(frames=3000))
        [file] = (tmp_path / "cache").rglob("*.val")
        change(file)
        assert cache.get_or_compute(b"large", lambda: value(frames=3000)).tobytes() == value(frames=3000).tobytes()
        assert cache.get_or_compute(b"large", refuse).tobytes() == value(frames=3000).tobytes()


def test_a_file_in_the_folders_place_costs_a_warning(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    cache = FeatureCache(config(tmp_path))
    with pytest.warns(RuntimeWarning, match="cannot be used"):
        cache.get_or_compute(b"a", value)
    assert cache.get_or_compute(b"b", lambda: value(1)).tobytes() == value(1).tobytes()


def test_a_full_disk_costs_a_warning(tmp_path: Path) -> None:
    cache = FeatureCache(config(tmp_path, memory_mb=0))
    cache.get_or_compute(b"a", value)
    # A limit of pages per database is SQLite's own way to say that the disk is full.
    for shard in cache._disk._shards:
        shard._sql("PRAGMA max_page_count = 1")
    with pytest.warns(RuntimeWarning, match="full"):
        result = cache.get_or_compute(b"b", lambda: value(1))
    assert result.tobytes() == value(1).tobytes()
    assert cache.get_or_compute(b"c", lambda: value(2)).tobytes() == value(2).tobytes()


def work(folder: str, first: int, count: int) -> None:
    warnings.simplefilter("error")
    cache = FeatureCache(CacheConfig(directory=folder, memory_mb=0))
    for seed in [*range(first, first + count), *range(first, first + count)]:
        result = cache.get_or_compute(b"%d" % seed, lambda seed=seed: value(seed))
        assert result.tobytes() == value(seed).tobytes()


@pytest.mark.thorough
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_many_processes_create_and_fill_one_cache_at_once(tmp_path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    folder = str(tmp_path / "cache")
    workers = [context.Process(target=work, args=(folder, first, 60)) for first in (0, 0, 30, 60)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    cache = FeatureCache(CacheConfig(directory=folder, memory_mb=0))
    for seed in range(120):
        cache.get_or_compute(b"%d" % seed, refuse)


def test_a_forked_child_uses_its_own_connection(tmp_path: Path) -> None:
    cache = FeatureCache(config(tmp_path, memory_mb=0))
    cache.get_or_compute(b"parent", value)
    child = os.fork()
    if child == 0:
        try:
            cache.get_or_compute(b"parent", refuse)
            cache.get_or_compute(b"child", lambda: value(1))
            os._exit(0)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 60
    done, status = 0, 0
    while not done and time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    assert (done, status) == (child, 0)
    assert cache.get_or_compute(b"child", refuse).tobytes() == value(1).tobytes()
    assert cache.get_or_compute(b"parent", refuse).tobytes() == value().tobytes()


def test_a_pickled_cache_is_the_same_cache(tmp_path: Path) -> None:
    cache = FeatureCache(config(tmp_path))
    cache.get_or_compute(b"a", value)
    assert pickle.loads(pickle.dumps(cache)).get_or_compute(b"a", refuse).tobytes() == value().tobytes()


@given(arrays(np.float32, array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=5)))
def test_packing_keeps_every_bit_and_sees_every_change(array: np.ndarray) -> None:
    stored = pack(array)
    result = unpack(stored)
    assert result is not None
    assert result.shape == array.shape
    assert result.tobytes() == array.tobytes()
    for position in (0, 5, 13, len(stored) - 1):
        changed = bytearray(stored)
        changed[position] ^= 1
        assert unpack(bytes(changed)) is None
    assert unpack(stored[:-1]) is None
    assert unpack(b"") is None
    assert unpack("text") is None
