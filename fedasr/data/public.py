"""Public corpora as they lie on disk, in the layouts that ``torchaudio.datasets`` documents; speakers are clients."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fedasr.config.schema import DataConfig
from fedasr.data.corpus import Column
from fedasr.data.files import FileCorpus
from fedasr.data.identity import identities
from fedasr.data.splits import hold_out
from fedasr.data.text_files import NotText, decoded, lines_of
from fedasr.errors import InputError, nearest
from fedasr.paths import is_folder

COMMON_VOICE_COLUMNS = {"client_id": "speaker", "sentence": "text", "accents": "accent", "locale": "lang"}


def librispeech(config: DataConfig, seed: int) -> FileCorpus:
    """Return LibriSpeech (Panayotov et al. 2015): ``LibriSpeech/<subset>/<speaker>/<chapter>/*.flac``.

    ``config.root`` is the folder that holds ``LibriSpeech``, or that folder. ``config.subset`` names one or several
    subsets, separated by commas; without it all that are there are taken. ``train-*``, ``dev-*`` and ``test-*`` are the
    splits ``train``, ``dev`` and ``test``; a single one of them is split by speaker. Extra columns: ``gender`` (f, m),
    ``chapter``, ``subset``.

    Raises:
        InputError: the folder does not have this layout.
    """
    root = _root(config)
    if config.download:
        if config.subset is None:
            raise InputError("'data.download' needs 'data.subset', for example train-clean-100")
        for subset in _names(config.subset):
            _download("LIBRISPEECH", root, url=subset)
    folder = root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root
    there = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name.startswith(("train-", "dev-", "test-")))
    subsets = _names(config.subset) if config.subset else there
    genders = _librispeech_genders(folder / "SPEAKERS.TXT")
    rows: list[dict[str, str]] = []
    for subset in subsets:
        if subset not in there:
            raise _absent("subset", subset, there, folder)
        for transcript in sorted(visible((folder / subset).glob("*/*/*.trans.txt"))):
            relative = transcript.parent.relative_to(root)
            speaker, chapter = transcript.parent.parent.name, transcript.parent.name
            for line in _lines(transcript):
                name, _, text = line.strip().partition(" ")
                if name:
                    rows.append(
                        {
                            "path": str(relative / f"{name}.flac"),
                            "speaker": speaker,
                            "text": text,
                            "split": subset.partition("-")[0],
                            "gender": genders.get(speaker, ""),
                            "chapter": chapter,
                            "subset": subset,
                        }
                    )
    return _corpus("LibriSpeech", root, rows, config, seed, "<subset>/<speaker>/<chapter>/*.trans.txt")


def speechcommands(config: DataConfig, seed: int) -> FileCorpus:
    """Return Speech Commands (Warden 2018): ``<word>/<speaker>_nohash_<n>.wav``.

    ``config.root`` is the folder that holds ``SpeechCommands/speech_commands_v0.02`` (or ``v0.01``), or that folder
    itself. Splits are ``train``, ``validation`` and ``test`` by ``validation_list.txt`` and ``testing_list.txt``.

    Raises:
        InputError: the folder does not have this layout.
    """
    root = _root(config)
    if config.download:
        _download("SPEECHCOMMANDS", root)
    versions = ("speech_commands_v0.02", "speech_commands_v0.01")
    inside = [root / "SpeechCommands" / version for version in versions] + [root / version for version in versions]
    folder = next((candidate for candidate in inside if candidate.is_dir()), root)
    listed: dict[str, str] = {}
    for split, name in (("validation", "validation_list.txt"), ("test", "testing_list.txt")):
        if (folder / name).is_file():
            listed.update(dict.fromkeys((line.strip() for line in _lines(folder / name)), split))
    rows: list[dict[str, str]] = []
    for path in sorted(visible(folder.glob("*/*.wav"))):
        word = path.parent.name
        # The archive of the test set alone has names that end in .wav.wav, as torchaudio notes.
        speaker, mark, _ = path.name.partition("_nohash_")
        if mark and word != "_background_noise_":
            split = listed.get(f"{word}/{path.name}", "train")
            relative = str(path.relative_to(root))
            rows.append({"path": relative, "speaker": speaker, "text": word, "split": split})
    return _corpus("Speech Commands", root, rows, config, seed, "<word>/<speaker>_nohash_<n>.wav")


def commonvoice(config: DataConfig, seed: int) -> FileCorpus:
    """Return Common Voice (Ardila et al. 2020): ``train.tsv``, ``dev.tsv``, ``test.tsv`` and ``clips/``.

    ``config.root`` is the folder of one language. ``config.subset`` names one or several tables, separated by commas;
    without it ``train.tsv``, ``dev.tsv`` and ``test.tsv`` are taken where they exist. A table is a split; a single one
    is split by speaker. Speakers are the ``client_id``; ``accents`` becomes ``accent`` and ``locale`` becomes ``lang``,
    other columns keep their names. Durations come from ``clip_durations.tsv`` where it exists.

    Raises:
        InputError: the folder does not have this layout.
    """
    root = _root(config)
    there = sorted(p.name for p in visible(root.glob("*.tsv")))
    tables = _names(config.subset) if config.subset else [f"{s}.tsv" for s in ("train", "dev", "test")]
    durations = _common_voice_durations(root / "clip_durations.tsv")
    rows: list[dict[str, str]] = []
    for table in tables:
        name = table if table.endswith(".tsv") else f"{table}.tsv"
        if name not in there:
            if config.subset:
                raise _absent("table", table, there, root)
            continue
        for record in _tsv(root / name, ("client_id", "path", "sentence")):
            clip = record.pop("path")
            clip = clip if Path(clip).suffix else f"{clip}.mp3"
            row = {COMMON_VOICE_COLUMNS.get(key, key): value for key, value in record.items()}
            row |= {"path": f"clips/{clip}", "split": name.removesuffix(".tsv")}
            if clip in durations:
                row["duration_s"] = durations[clip]
            rows.append(row)
    return _corpus("Common Voice", root, rows, config, seed, "train.tsv and clips/")


PUBLIC: dict[str, Callable[[DataConfig, int], FileCorpus]] = {
    "librispeech": librispeech,
    "speechcommands": speechcommands,
    "commonvoice": commonvoice,
}


def _corpus(
    title: str, root: Path, rows: list[dict[str, str]], config: DataConfig, seed: int, layout: str
) -> FileCorpus:
    if not rows:
        raise InputError(f"holds no {title}; expected {layout} (key 'data.root')", where=str(root))
    names = list(dict.fromkeys(name for row in rows for name in row if name not in ("path", "duration_s")))
    columns: dict[str, Column] = {n: identities([row.get(n, "") for row in rows]) for n in names if n != "text"}
    texts = [unicodedata.normalize("NFC", row["text"].strip()) for row in rows]
    columns["text"] = np.array(texts, dtype=object)
    seconds = [float(row.get("duration_s", "nan")) for row in rows]
    columns["duration_s"] = np.array(seconds, np.float32)
    if len(set(columns["split"])) == 1:
        speakers = columns["speaker"]
        columns["split"] = hold_out(speakers, config.held_out, seed, config.train_split, config.test_split)
    return FileCorpus(str(root), root, [row["path"] for row in rows], columns)


def _root(config: DataConfig) -> Path:
    if config.root is None:
        raise InputError(f"'data.corpus' is '{config.corpus}' but 'data.root' is not set; give the corpus's folder")
    root = Path(config.root)
    if config.download:
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot be made (key 'data.root'): {error.strerror}", where=str(root)) from None
    if not is_folder(root):
        raise InputError("there is no such folder (key 'data.root')", where=str(root))
    return root


def visible(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the paths that are not hidden: beside every file of an archive macOS may have put one called ``._…``."""
    return (path for path in paths if not path.name.startswith("."))


def _names(subset: str) -> list[str]:
    return [name.strip() for name in subset.split(",") if name.strip()]


def _absent(what: str, name: str, there: Iterable[str], folder: Path) -> InputError:
    known = ", ".join(there) or "none"
    guess = nearest(name, there)
    return InputError(f"has no {what} '{name}'{guess} (key 'data.subset'); it has: {known}", where=str(folder))


def _download(dataset: str, root: Path, **options: Any) -> None:
    """Let torchaudio download and unpack a corpus where it is not there yet."""
    import torchaudio.datasets

    try:
        getattr(torchaudio.datasets, dataset)(str(root), download=True, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{dataset} cannot be downloaded: {error}", where=str(root)) from None


def _lines(path: Path) -> list[str]:
    try:
        return lines_of(decoded(path.read_bytes()))
    except NotText as error:
        raise InputError(str(error), where=f"{path}:{error.line}" if error.line else str(path)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=str(path)) from None


def _tsv(path: Path, required: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the records of a table of Common Voice, which quotes nothing: a quotation mark is one of the sentence."""
    table = [(line, content.split("\t")) for line, content in enumerate(_lines(path), 1) if content.strip()]
    header = table[0][1] if table else []
    for name in required:
        if name not in header:
            raise InputError(
                f"misses the column '{name}'{nearest(name, header)}; it has: {', '.join(header) or 'none'}",
                where=f"{path}:1",
            )
    records = []
    for line, fields in table[1:]:
        if len(fields) != len(header):
            raise InputError(f"the row has {len(fields)} fields; expected {len(header)}", where=f"{path}:{line}")
        records.append(dict(zip(header, fields, strict=True)))
    return records


def _librispeech_genders(path: Path) -> dict[str, str]:
    """Return speaker to f or m: lines ``14 | F | train-clean-360 | 25.03 | Kristin LeMoine``."""
    if not path.is_file():
        return {}
    fields = [line.split("|") for line in _lines(path) if not line.startswith(";")]
    return {f[0].strip(): f[1].strip().lower() for f in fields if len(f) > 2}


def _common_voice_durations(path: Path) -> dict[str, str]:
    """Return clip to seconds; the table has milliseconds."""
    if not path.is_file():
        return {}
    durations = {}
    for line, record in enumerate(_tsv(path, ("clip",)), 2):
        clip, milliseconds = [*record.values(), ""][:2]
        if not (milliseconds.isascii() and milliseconds.isdigit()):
            raise InputError(f"the duration is '{milliseconds}'; expected milliseconds", where=f"{path}:{line}")
        durations[Path(clip).name] = str(int(milliseconds) / 1000)
    return durations
