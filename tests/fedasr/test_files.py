"""Files are written whole or not at all, by one writer."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

import numpy as np
import pytest

from fedasr import files
from fedasr.errors import InputError
from fedasr.files import create, refused, replacing, replacing_folder, write_arrays, write_bytes, write_durably

ROOT = Path(__file__).resolve().parents[2]


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def broken_off(path: Path, error: BaseException, shared: bool) -> None:
    with replacing(path, shared=shared) as temporary:
        temporary.write_text("half")
        raise error


def folder_broken_off(path: Path) -> None:
    with replacing_folder(path) as folder:
        (folder / "a").write_text("half")
        raise KeyboardInterrupt


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced(tmp_path: Path, durable: bool, shared: bool) -> None:
    path = tmp_path / "a"
    for content in (b"old", b"new"):
        write_bytes(path, content, mode=0o640, durable=durable, shared=shared)
        assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert left(tmp_path) == ["a"]


@pytest.mark.parametrize("shared", [False, True])
def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, shared: bool) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left") as caught:
        broken_off(path, OSError(errno.ENOSPC, "full"), shared)
    assert caught.value.filename == str(path), "a person looks for the file, not for its temporary name"
    with pytest.raises(KeyboardInterrupt):
        broken_off(path, KeyboardInterrupt(), shared)
    assert path.read_text() == "old"
    assert left(tmp_path) == ["a"]


def test_a_private_file_is_never_open_to_others(tmp_path: Path) -> None:
    with replacing(tmp_path / "a", mode=0o600) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        temporary.write_text("secret")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    write_arrays(tmp_path / "b", {"x": np.zeros(2)}, mode=0o600)
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600


def test_what_must_survive_a_power_cut_is_on_the_disk_before_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of the system's calls: content, rename, name."""
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        calls.append("rename")
        return replace(self, target)

    monkeypatch.setattr(files.os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    write_durably(tmp_path / "new" / "a.json", {"x": 1})
    assert calls == ["file", "rename", "folder"]
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_who_is_first_decides(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        create(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == b"first"
    assert left(tmp_path) == ["a"]


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with pytest.raises(KeyboardInterrupt):
        folder_broken_off(out)
    assert left(tmp_path / "deep") == []
    out.mkdir()
    with replacing_folder(out) as folder:
        (folder / "a").write_text("whole")
        assert not list(out.iterdir())
    assert (out / "a").read_text() == "whole"
    assert left(tmp_path / "deep") == ["out"]


def test_a_refusal_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "a"
    with pytest.raises(InputError, match="cannot be written: No such file or directory"), refused(path):
        write_bytes(path, b"")


def test_nobody_else_renames_files_into_their_place() -> None:
    """A second writer would have to promise all this anew."""
    own = re.compile(r"\.part\"|os\.replace\(|mkstemp|NamedTemporaryFile|os\.fsync")
    for room in ("fedasr", "strategies", "clients"):
        for path in (ROOT / room).rglob("*.py"):
            if path != ROOT / "fedasr" / "files.py":
                assert not own.search(path.read_text(encoding="utf-8")), path
