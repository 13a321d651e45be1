from __future__ import annotations

import ctypes
import hashlib
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.e2e.tiny import ROOT
from tests.tiers import examples

pytest.importorskip("espeakng_loader", reason='needs the espeak-ng wheel: pip install "fedasr[synth]"')

from fedasr.data.synthetic import espeak
from fedasr.data.synthetic.espeak import Voice, render, samples
from fedasr.data.synthetic.speakers import ACCENTS, VARIANTS
from fedasr.errors import InputError

# Flutter and resonators (f3), breath (victor), the Klatt synthesiser (klatt), the speech player's noise (Reed), Arabic.
VOICES = [
    Voice("en-us", "f3"),
    Voice("en-gb-scotland", "victor", 140, 40, 60),
    Voice("en-us", "klatt"),
    Voice("en-029", "Reed", 190, 60, 30),
    Voice("ar", "m3"),
]
TEXTS = ["turn on the lights", "نعم"]


def digests(order: int = 1) -> dict[tuple[str, str], str]:
    pairs = [(text, voice) for voice in VOICES for text in TEXTS][::order]
    result = {(text, str(voice)): hashlib.sha256(samples(text, voice).tobytes()).hexdigest() for text, voice in pairs}
    return dict(sorted(result.items()))


def test_samples_do_not_depend_on_what_was_said_before() -> None:
    first = digests()
    assert len(set(first.values())) == len(first)
    assert digests(-1) == first
    for voice in VOICES:
        once = samples("stop", voice)
        np.testing.assert_array_equal(samples("stop", voice), once)


def python(code: str, folder: Path) -> str:
    """Run this code, which may import this module, in a process whose temporary files are in ``folder``."""
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": paths}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.thorough
def test_samples_are_the_same_in_another_process(tmp_path: Path) -> None:
    code = "from test_espeak import digests; print(digests(-1))"
    expected = digests()
    time.sleep(1.1)  # without a seed of ours, espeak-ng takes the clock's second
    assert python(code, tmp_path).strip() == str(expected)


def test_samples_are_the_same_after_a_fork_and_in_threads() -> None:
    expected = digests()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(digests) == expected
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(digests, (1, -1, 1))) == [expected] * 3


def test_samples_are_the_same_while_someone_else_holds_the_library() -> None:
    import espeakng_loader

    expected = samples("open the door", VOICES[0])
    theirs = ctypes.CDLL(espeakng_loader.get_library_path())
    assert theirs.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0x8000) == espeak.ESPEAK_RATE_HZ
    try:
        np.testing.assert_array_equal(samples("open the door", VOICES[0]), expected)
        np.testing.assert_array_equal(samples("open the door", VOICES[0]), expected)
    finally:
        theirs.espeak_Terminate()
        import _ctypes

        _ctypes.dlclose(theirs._handle)


def test_the_links_to_the_data_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    linked = digests()
    assert espeak._links not in (None, espeak._paths()[1])
    monkeypatch.setattr(espeak, "_links", espeak._paths()[1])
    assert digests() == linked
    monkeypatch.setattr(espeak, "_links", Path("/nonexistent/links"))
    assert digests() == linked


@pytest.mark.thorough
def test_the_links_are_gone_at_exit(tmp_path: Path) -> None:
    code = (
        "import multiprocessing; from test_espeak import VOICES, espeak, samples; samples('yes', VOICES[0]);"
        " child = multiprocessing.get_context('fork').Process(target=samples, args=('yes', VOICES[0]));"
        " child.start(); child.join(); assert child.exitcode == 0; assert espeak._links.is_dir(); print(espeak._links)"
    )
    links = python(code, tmp_path)
    assert links.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_every_voice_and_accent_of_the_table_speaks() -> None:
    assert set(VARIANTS) <= espeak.variants()
    heard = [render("seven", Voice("en-us", variant)) for variant in VARIANTS]
    heard += [render("garden", Voice(language, "m1")) for language in ACCENTS.values()]
    for wave in heard:
        assert wave.dtype == np.float32
        assert 0.2 < wave.size / 16_000 < 1.2
        assert np.abs(wave).max() <= 1.0
        assert 0.04 < np.sqrt(np.mean(wave**2)) <= 0.0801
    assert len({wave.tobytes() for wave in heard}) == len(heard)


def test_rate_and_pitch_are_heard() -> None:
    slow, fast = (render("turn on the lights", Voice("en-us", "m1", rate)) for rate in (120, 200))
    assert slow.size > 1.25 * fast.size
    low, high = (render("aaa", Voice("en-us", "m1", 150, pitch)) for pitch in (20, 80))
    assert not np.array_equal(low[:4000], high[:4000])


def test_nothing_to_say_is_an_empty_array() -> None:
    assert render("", VOICES[0]).shape == (0,)


def test_an_unknown_voice_is_refused() -> None:
    with pytest.raises(InputError, match=r"no voice 'xx-none\+m1'"):
        render("yes", Voice("xx-none", "m1"))
    with pytest.raises(InputError, match=r"no voice 'en-us\+nobody'"):
        render("yes", Voice("en-us", "nobody"))
    with pytest.raises(InputError, match=r"^data\.synthetic\.language: espeak-ng has no voice"):
        espeak.check_voice(Voice("klingonish", "m1"), "data.synthetic.language")


def test_a_missing_wheel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    espeak._paths.cache_clear()
    espeak.variants.cache_clear()
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    try:
        with pytest.raises(InputError, match=r'pip install "fedasr\[synth\]"'):
            render("yes", VOICES[0])
    finally:
        espeak._paths.cache_clear()


def test_resampling_keeps_tones_and_drops_what_16_khz_cannot_hold() -> None:
    seconds = np.arange(22_050) / 22_050
    fade = np.hanning(seconds.size)
    tone = (16_000 * fade * np.sin(2 * np.pi * 1000 * seconds)).astype(np.int16)
    out = espeak._resample(tone)
    assert out.shape == (16_000,)
    expected = 16_000 / 32_768 * np.interp(np.arange(16_000) / 16_000, seconds, fade)
    expected *= np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(out, expected, atol=1e-3)
    above = (16_000 * fade * np.sin(2 * np.pi * 9000 * seconds)).astype(np.int16)
    assert np.abs(espeak._resample(above)).max() < 1e-3


@settings(deadline=None, max_examples=examples(30))
@given(st.integers(0, 5000))
def test_resampled_length_is_the_ratio_rounded_up(size: int) -> None:
    assert espeak._resample(np.ones(size, np.int16)).size == -(-size * 320 // 441)


def test_trimming_keeps_50_ms_a_side() -> None:
    wave = np.zeros(16_000, np.float32)
    wave[6000:7000] = 0.5
    assert espeak._trim(wave).size == 1000 + 2 * 800
    assert espeak._trim(wave[6000:7000]).size == 1000
    assert espeak._trim(np.zeros(100, np.float32)).size == 0
