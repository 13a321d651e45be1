from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from fedasr.data.audio import AudioProblem, inspect, probe, read_audio, samples_at_16khz
from fedasr.data.corpus import BadAudio
from tests.fedasr.data.speech_files import BROKEN, noise, patch, write


@pytest.mark.parametrize("suffix", ["flac", "wav"])
def test_what_was_written_is_read(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}")
    result = read_audio(path)
    assert result.dtype == np.float32
    assert result.shape == (16_000,)
    np.testing.assert_allclose(result, noise(), atol=2 / 32768)


@pytest.mark.parametrize("suffix", ["ogg", "mp3", "aiff", "flac", "wav"])
def test_every_format_is_probed_inspected_and_read(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", seconds=1.5)
    assert probe(path) == inspect(path) == (24_000, 16_000, 1)
    assert abs(len(read_audio(path)) - 24_000) <= 2304


def test_channels_are_averaged(tmp_path: Path) -> None:
    both = noise(channels=2)
    sf.write(tmp_path / "stereo.wav", both, 16_000, subtype="FLOAT")
    assert probe(tmp_path / "stereo.wav") == (16_000, 16_000, 2)
    np.testing.assert_allclose(read_audio(tmp_path / "stereo.wav"), both.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
def test_a_tone_stays_the_tone_at_another_rate(tmp_path: Path, rate_hz: int) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(rate_hz + 7) / rate_hz) / 2
    sf.write(tmp_path / "tone.wav", tone, rate_hz, subtype="FLOAT")
    result = read_audio(tmp_path / "tone.wav")
    assert len(result) == samples_at_16khz(rate_hz + 7, rate_hz)
    expected = np.sin(2 * np.pi * 440 * np.arange(len(result)) / 16_000) / 2
    np.testing.assert_allclose(result[200:-200], expected[200:-200], atol=5e-3)


def test_loud_float_audio_is_clipped_to_one(tmp_path: Path) -> None:
    sf.write(tmp_path / "loud.wav", noise() * 4, 16_000, subtype="FLOAT")
    assert np.abs(read_audio(tmp_path / "loud.wav")).max() == 1


def test_a_wav_written_to_a_pipe_has_no_length_and_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "pipe.wav")
    patch(path, path.read_bytes().index(b"data") + 4, b"\xff\xff\xff\xff")
    assert len(read_audio(path)) == 16_000


@pytest.mark.parametrize("name", BROKEN)
def test_broken_audio_says_why_in_one_line(tmp_path: Path, name: str) -> None:
    make, kind = BROKEN[name]
    path = make(tmp_path)
    with pytest.raises(AudioProblem) as caught:
        read_audio(path)
    assert caught.value.kind == kind
    assert isinstance(caught.value, BadAudio)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) > 8


@pytest.mark.parametrize("name", sorted(set(BROKEN) - {"nan"}))
def test_inspection_finds_what_decoding_finds(tmp_path: Path, name: str) -> None:
    make, kind = BROKEN[name]
    with pytest.raises(AudioProblem) as caught:
        inspect(make(tmp_path))
    assert caught.value.kind == kind


def test_a_path_that_no_file_can_have_is_missing() -> None:
    with pytest.raises(AudioProblem) as caught:
        read_audio("a\0b.wav")
    assert caught.value.kind == "missing"


def test_the_reason_survives_the_way_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(AudioProblem("is empty", "empty")))
    assert (str(error), error.kind) == ("is empty", "empty")


def test_real_speech_is_sound(speech: Path) -> None:
    paths = sorted(speech.glob("*/audio/*/*.flac"))[::200]
    assert len(paths) > 10
    for path in paths:
        frames, rate, channels = inspect(path)
        assert (rate, channels) == (16_000, 1)
        assert len(read_audio(path)) == frames
