"""Speech that cannot be used: skipped and counted, or the end of the run in one line, as ``data.on_bad_audio`` says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import fedasr
from fedasr.cli.main import status
from tests.fedasr.data.speech_files import BROKEN, write

from .small_speech import only_line, refused, save, small, speech


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return speech(tmp_path / "speech")


def broken_rows(folder: Path) -> list[str]:
    """Write a file for each way of being broken that a look at its ends reveals, and return their manifest rows."""
    rows = []
    for number, (_, (make, _)) in enumerate(sorted(BROKEN.items())):
        rows.append(f"{make(folder).name},s{number % 6},one,{'test' if number % 6 == 5 else 'train'},f")
    return rows


def insert(manifest: Path, rows: list[str]) -> None:
    """Put rows between those of a manifest."""
    lines = manifest.read_text().splitlines()
    for number, row in enumerate(rows):
        lines.insert(1 + 2 * number, row)
    manifest.write_text("\n".join(lines) + "\n")


def spoil(manifest: Path, path: str) -> int:
    """Damage the middle of the file of a row, where only decoding finds it; return the row's line."""
    samples = np.random.default_rng(0).normal(0, 0.1, 8000)
    file = manifest.parent / path
    sf.write(file, samples, 16000, format="FLAC", subtype="PCM_16")
    content = bytearray(file.read_bytes())
    middle = int(0.4 * len(content))
    content[middle : middle + 20] = bytes(20)
    file.write_bytes(content)
    rows = manifest.read_text().splitlines()
    return next(line for line, row in enumerate(rows, 1) if row.startswith(f"{path},"))


def test_skipped_rows_are_counted_and_leave_no_trace(manifest: Path, tmp_path: Path) -> None:
    """No client's name, order or draws depend on them: the bits are those of a manifest that never had them."""
    clean = fedasr.run(small(manifest, rounds=2), out=tmp_path / "clean")
    rows = broken_rows(manifest.parent)
    for name, text in (("foreign", "tw0"), ("silent", ""), ("long", "more words than half a second can hold")):
        write(manifest.parent / f"{name}.wav", 0.5)
        rows.append(f"{name}.wav,s2,{text},train,f")
    rows.append("s0/0.wav,s1,two,train,f")  # listed already
    insert(manifest, rows)
    run = fedasr.run(small(manifest, rounds=2, data__on_bad_audio="skip"), out=tmp_path / "skipped")
    assert run.summary["utterances_skipped"] == len(rows) == len(BROKEN) + 4
    assert clean.summary["utterances_skipped"] == 0
    assert run.rounds["examples"].tolist() == clean.rounds["examples"].tolist() == [15, 15]
    assert run.summary["wer"] == clean.summary["wer"]
    assert run.summary["model_sha256"] == clean.summary["model_sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "pool"])
def test_damage_that_only_decoding_shows_is_skipped_too(executor: str, manifest: Path, tmp_path: Path) -> None:
    """One of a client's three utterances, alone in its batch; and all that another one has."""
    for path in ("s1/1.wav", "s2/0.wav", "s2/1.wav", "s2/2.wav"):
        spoil(manifest, path)
    config = small(manifest, data__on_bad_audio="skip", runtime__executor=executor, client__batch_size=1)
    run = fedasr.run(config, out=tmp_path / "run")
    assert run.summary["status"] == "done"
    assert run.rounds["clients_failed"].tolist() == [0]
    assert run.rounds["train_loss"].notna().all()
    assert run.clients.loc[run.clients["train_loss"].isna(), "client"].tolist() == ["s2"]
    assert run.clients.set_index("client")["skipped"].to_dict() == {"s0": 0, "s1": 1, "s2": 3, "s3": 0, "s4": 0}
    assert run.summary["utterances_skipped"] == 4


@pytest.mark.slow
def test_a_test_utterance_that_cannot_be_decoded_is_skipped_too(manifest: Path, tmp_path: Path) -> None:
    spoil(manifest, "s5/1.wav")
    run = fedasr.run(small(manifest, data__on_bad_audio="skip", evaluate__by=["text"]), out=tmp_path / "run")
    assert run.groups["utterances"].sum() == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BROKEN))
def test_stop_refuses_before_anything_is_written(
    name: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = BROKEN[name][0](manifest.parent)
    insert(manifest, [f"{file.name},s1,one,train,f"])
    config = save(small(manifest), tmp_path / "config.yaml")
    arguments = ["run", config, "--out", tmp_path / "run"]
    line = refused(capsys, tmp_path, arguments, f"{manifest}:2 ({file.name}): the audio ", "data.on_bad_audio=skip")
    assert line.endswith("(1 of 19 utterances cannot be used)")


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "pool", "debug"])
@pytest.mark.parametrize("path", ["s1/1.wav", "s5/1.wav"], ids=["by a client", "by the server's evaluation"])
def test_stop_names_the_line_of_damage_that_only_decoding_shows(
    path: str, executor: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = spoil(manifest, path)
    config = save(small(manifest, runtime__executor=executor), tmp_path / "config.yaml")
    assert status(["run", str(config), "--out", str(tmp_path / "run"), "--quiet"]) == 2
    message = only_line(capsys)
    assert message.startswith(f"error: {manifest}:{line} ({path}): the audio is truncated, or its header is wrong")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert summary["error"] == message.removeprefix("error: ")


def test_nothing_usable_is_refused_even_under_skip(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in manifest.parent.glob("s5/*.wav"):
        file.write_bytes(b"")
    config = save(small(manifest, data__on_bad_audio="skip"), tmp_path / "config.yaml")
    says = (f"{config}: ", "none of the 3 utterances of 'data.test_split', 'test', can be used", "'fedasr data check'")
    refused(capsys, tmp_path, ["run", config, "--out", tmp_path / "run"], *says)
