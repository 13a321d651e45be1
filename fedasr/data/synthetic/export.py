"""A synthetic corpus as files: audio and a manifest, for other tools and for a first look."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from fedasr.config.schema import SyntheticConfig
from fedasr.data.corpus import SAMPLE_RATE_HZ
from fedasr.data.synthetic.corpus import SyntheticCorpus
from fedasr.errors import InputError
from fedasr.files import replacing_folder

COLUMNS = ("path", "speaker", "text", "duration_s", "gender", "accent", "split", "topic", "device")
_FROM_CORPUS = ("text", "gender", "accent", "split", "topic", "device")


def synthesize(
    out: Path, speakers: int, utterances_per_speaker: int, seed: int, grammar: str
) -> dict[str, int | float | str]:
    """Write ``out/audio/<speaker>/<number>.flac`` (16 bit, 16,000 Hz) and ``out/manifest.csv``.

    Every speaker says exactly ``utterances_per_speaker`` utterances. About a tenth of the speakers, at least one where
    there are two, are in split ``test``: their voices are no training speaker's. The folder appears when it
    is complete.

    Returns:
        ``utterances``, ``speakers``, ``seconds`` (of audio) and ``manifest`` (its path).

    Raises:
        InputError: the folder holds something, a number is below 1, or espeak-ng is not installed.
    """
    out = Path(out)
    if speakers < 1 or utterances_per_speaker < 1:
        raise InputError(f"{speakers} speakers with {utterances_per_speaker} utterances; expected at least 1 of each")
    if grammar == "words":
        raise InputError("grammar 'words' needs a list of words; expected home, everyday, digits or keywords")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            "the folder is not empty; give a new one: synthetic speech never overwrites files", where=str(out)
        )
    test = max(speakers // 10, 1) if speakers >= 2 else 0
    config = SyntheticConfig(
        grammar=grammar,
        speakers=max(speakers - test, 1),
        test_speakers=max(test, 1),
        utterances_per_speaker=float(utterances_per_speaker),
        test_utterances_per_speaker=utterances_per_speaker,
        activity="constant",
    )
    corpus = SyntheticCorpus(config, seed)
    wanted = speakers * utterances_per_speaker
    try:
        with replacing_folder(out) as unfinished:
            seconds = _write(corpus, wanted, unfinished)
    except OSError as error:
        raise InputError(f"cannot write here: {error.strerror or error}", where=str(out)) from None
    return {
        "utterances": wanted,
        "speakers": speakers,
        "seconds": round(seconds, 3),
        "manifest": str(out / "manifest.csv"),
    }


def _write(corpus: SyntheticCorpus, utterances: int, folder: Path) -> float:
    """Write the first ``utterances`` utterances and return their length in seconds."""
    import soundfile

    seconds = 0.0
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        numbers: dict[str, int] = {}
        for index in range(utterances):
            speaker = str(corpus.columns["speaker"][index])
            number = numbers[speaker] = numbers.get(speaker, -1) + 1
            path = f"audio/{speaker}/{number:04d}.flac"
            waveform = corpus.waveform(index)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / path, np.clip(waveform, -1, 1), SAMPLE_RATE_HZ, subtype="PCM_16")
            length = len(waveform) / SAMPLE_RATE_HZ
            seconds += length
            row = {name: corpus.columns[name][index] for name in _FROM_CORPUS}
            table.writerow({"path": path, "speaker": speaker, "duration_s": f"{length:.3f}", **row})
    return seconds
