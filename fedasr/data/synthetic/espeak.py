"""espeak-ng through the library inside the ``espeakng-loader`` wheel: text and a voice in, samples out.

The library keeps state between utterances that no call resets (the phase of its pitch flutter, resonators, an automatic
gain), and two noise generators, its own and the C library's. Each utterance is therefore rendered by a freshly loaded
library with both generators seeded. That costs about half a millisecond and makes the samples a function of text and
voice alone. It also makes rendering safe after a fork: nothing stays loaded between two utterances.
"""

from __future__ import annotations

import _ctypes
import atexit
import ctypes
import importlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from fedasr.data.corpus import SAMPLE_RATE_HZ, Waveform
from fedasr.errors import InputError

ESPEAK_RATE_HZ = 22_050
SPEECH_RMS = 0.08  # full scale is 1; leaves about 22 dB for peaks
SILENCE_KEPT_S = 0.05
SILENCE_DB = -45.0

# From espeak-ng's public header, speak_lib.h.
_SYNCHRONOUS, _DO_NOT_EXIT, _CHARACTERS_UTF8 = 2, 0x8000, 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_BUFFER_MS = 1000
_NOISE_SEED = 1

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)

# The library is not thread-safe, and two loads at a time would share one state.
_lock = threading.Lock()
_links: Path | None = None


def _new_lock() -> None:
    """Forget a lock that another thread of the parent held while it forked."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


@dataclass(frozen=True)
class Voice:
    """A voice of espeak-ng.

    ``language`` is espeak's name (``en-us``, ``ar``) and ``variant`` a file of ``voices/!v`` (``f3``). ``rate_wpm`` is
    words a minute (80 to 450); ``pitch`` and ``pitch_range`` are espeak's scales from 0 to 99, where 50 is the
    variant's own.
    """

    language: str
    variant: str
    rate_wpm: int = 175
    pitch: int = 50
    pitch_range: int = 50


def render(text: str, voice: Voice) -> Waveform:
    """Render ``text`` as float32, mono, 16,000 Hz, shape ``(samples,)``, at an RMS of ``SPEECH_RMS``, peaks within ±1.

    Silence before and after the speech is cut to 50 ms. The array is empty where espeak-ng makes no sound of the text.

    Raises:
        InputError: the wheel is not installed, or it has no such language or variant.
    """
    speech = _trim(_resample(samples(text, voice)))
    if not speech.size:
        return speech
    level = np.sqrt(np.mean(np.square(speech, dtype=np.float64)))
    return speech * np.float32(min(SPEECH_RMS / level, 1.0 / np.abs(speech).max()))


def samples(text: str, voice: Voice) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Return what espeak-ng makes of ``text``: int16, 22,050 Hz, shape ``(samples,)``.

    Raises:
        InputError: the wheel is not installed, or it has no such language or variant.
    """
    parts: list[bytes] = []

    def collect(wave: int | None, count: int, events: int | None) -> int:
        if wave and count > 0:
            parts.append(ctypes.string_at(wave, 2 * count))
        return 0

    callback = _Callback(collect)
    with _library() as library:
        library.espeak_SetSynthCallback(callback)
        name = f"{voice.language}+{voice.variant}"
        # An unknown language is an error to espeak-ng; an unknown variant is passed over in silence.
        if voice.variant not in variants() or library.espeak_SetVoiceByName(name.encode()) != 0:
            raise InputError(
                f"espeak-ng has no voice '{name}'; expected one of its languages (en-us, ar, de, …) and variants"
            )
        for parameter, value in (
            (_RATE, voice.rate_wpm),
            (_VOLUME, 100),
            (_PITCH, voice.pitch),
            (_RANGE, voice.pitch_range),
        ):
            library.espeak_SetParameter(parameter, value, 0)
        # Aspiration and breath come from espeak's own generator, the Klatt voices' noise from the C library's.
        library.espeak_ng_SetRandSeed(ctypes.c_long(_NOISE_SEED))
        _c_library().srand(_NOISE_SEED)
        data = text.encode()
        status = library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 0, 0, _CHARACTERS_UTF8, None, None)
        if status != 0:
            raise RuntimeError(f"espeak-ng could not render {text!r} with {name} (status {status})")
    return np.frombuffer(b"".join(parts), np.int16)


@cache
def version() -> str:
    """Return the version of espeak-ng in the wheel, such as ``1.52.0``.

    Raises:
        InputError: the wheel is not installed.
    """
    with _library() as library:
        library.espeak_Info.restype = ctypes.c_char_p
        return str(library.espeak_Info(None).decode())


@cache
def variants() -> frozenset[str]:
    """Return the names of the wheel's voice variants.

    Raises:
        InputError: the wheel is not installed.
    """
    return frozenset(path.name for path in (_paths()[1] / "voices" / "!v").iterdir())


def check_voice(voice: Voice, where: str | None = None) -> None:
    """Check that the wheel is there and has the voice.

    Raises:
        InputError: it does not; the message names ``where``, a config key.
    """
    try:
        samples("", voice)
    except InputError as error:
        raise InputError(str(error), where=where) from None


@cache
def _paths() -> tuple[Path, Path]:
    try:
        wheel = importlib.import_module("espeakng_loader")
    except ImportError:
        raise InputError(
            "synthetic speech needs the espeak-ng voices, which are not installed; install them with"
            ' `pip install "fedasr[synth]"`'
        ) from None
    return Path(wheel.get_library_path()), Path(wheel.get_data_path())


@cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL("msvcrt" if os.name == "nt" else None)


@contextmanager
def _library() -> Iterator[ctypes.CDLL]:
    """Load the library in the state it has in a new process, and unload it afterwards."""
    path = _paths()[0]
    with _lock, _private_copy(path) as file:
        data = _data_folder()
        library = ctypes.CDLL(str(file))
        try:
            rate = library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, str(data).encode(), _DO_NOT_EXIT)
            if rate != ESPEAK_RATE_HZ:
                raise RuntimeError(
                    f"espeak-ng did not start from {data} (it returned {rate}); reinstall espeakng-loader"
                )
            try:
                yield library
            finally:
                library.espeak_Terminate()
        finally:
            getattr(_ctypes, "FreeLibrary" if os.name == "nt" else "dlclose")(library._handle)


@contextmanager
def _private_copy(path: Path) -> Iterator[Path]:
    """Yield ``path``, or a copy of it while someone else in this process has the library loaded (phonemizer, say)."""
    if not _loaded(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="fedasr-espeak-") as folder:
        yield Path(shutil.copy(path, folder))


def _data_folder() -> Path:
    """Return the wheel's data folder as espeak-ng finds languages in it fastest.

    It looks for the file of ``en-US`` under a lower-case name, misses it, and then reads all 240 voice files: 2 ms an
    utterance, half of the time of rendering one. A folder of links with lower-case names spares that.
    """
    global _links
    # A forked process outlives its parent's folder at times.
    if _links is None or not (_links / "lang").is_dir():
        _links = _link(_paths()[1])
    return _links


def _link(data: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fedasr-espeak-"))
    atexit.register(_remove, folder, os.getpid())
    try:
        (folder / "lang").mkdir()
        for entry in data.iterdir():
            if entry.name != "lang":
                (folder / entry.name).symlink_to(entry)
        for entry in (data / "lang").rglob("*"):
            if entry.is_file():
                (folder / "lang" / entry.name.lower()).symlink_to(entry)
    except OSError:
        return data  # no links on this file system or for this user: slower, and the same samples
    return folder


def _remove(folder: Path, owner: int) -> None:
    """Remove the links at exit, but not at the exit of a forked child."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _loaded(path: Path) -> bool:
    if not hasattr(os, "RTLD_NOLOAD"):
        return False
    try:
        handle = _ctypes.dlopen(str(path), os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return False
    _ctypes.dlclose(handle)
    return True


def _resample(wave: np.ndarray[tuple[int], np.dtype[np.int16]]) -> Waveform:
    """Resample 22,050 Hz int16 to 16,000 Hz float32 by cutting the spectrum, with a fade from 7.4 to 8 kHz.

    The ratio is 320/441, so that a block of 441·k samples becomes exactly 320·k.
    """
    blocks = _smooth(-(-wave.size // 441))
    spectrum = np.fft.rfft(wave.astype(np.float32) / np.float32(32768), 441 * blocks)[: 160 * blocks + 1]
    hertz = np.arange(spectrum.size) / blocks * (SAMPLE_RATE_HZ / 320)
    fade = 0.5 + 0.5 * np.cos(np.pi * np.clip((hertz - 7400) / 600, 0, 1))
    out = np.fft.irfft(spectrum * fade.astype(np.float32), 320 * blocks)
    return np.asarray(out[: -(-wave.size * 320 // 441)] * np.float32(320 / 441), np.float32)


def _smooth(least: int) -> int:
    """Return the smallest number from ``least`` on whose prime factors are 2, 3 and 5: such FFTs are fast."""
    number = max(least, 1)
    while True:
        rest = number
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return number
        number += 1


def _trim(wave: Waveform) -> Waveform:
    """Cut the silence around the speech to ``SILENCE_KEPT_S`` a side."""
    if not wave.size or not wave.any():
        return wave[:0]
    loud = np.flatnonzero(np.abs(wave) > np.abs(wave).max() * 10 ** (SILENCE_DB / 20))
    margin = round(SILENCE_KEPT_S * SAMPLE_RATE_HZ)
    return wave[max(int(loud[0]) - margin, 0) : int(loud[-1]) + 1 + margin]
