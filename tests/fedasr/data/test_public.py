from __future__ import annotations

from pathlib import Path

import pytest

from fedasr.config.schema import DataConfig
from fedasr.data.public import commonvoice, librispeech, speechcommands
from fedasr.errors import InputError
from tests.fedasr.data.speech_files import write


def libri_tree(root: Path) -> Path:
    folder = root / "LibriSpeech"
    for subset, speaker, chapter in (
        ("train-clean-100", "19", "198"),
        ("train-clean-100", "26", "495"),
        ("test-clean", "61", "70968"),
    ):
        chapter_folder = folder / subset / speaker / chapter
        names = [f"{speaker}-{chapter}-{n:04d}" for n in range(2)]
        for name in names:
            write(chapter_folder / f"{name}.flac", seconds=0.25)
        lines = [f"{name} HELLO WORLD {n}\n" for n, name in enumerate(names)]
        (chapter_folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines))
    (folder / "SPEAKERS.TXT").write_text(
        "; id | sex | subset | minutes | name\n"
        "19   | F | train-clean-100 | 25.19 | Kara Shallenberg\n"
        "61   | M | test-clean | 8.08 | Paul-Gabriel Wiener\n"
    )
    return root


def test_librispeech_from_either_folder(tmp_path: Path) -> None:
    libri_tree(tmp_path)
    for root in (tmp_path, tmp_path / "LibriSpeech"):
        corpus = librispeech(DataConfig(corpus="librispeech", root=str(root)), 0)
        assert corpus.columns["speaker"].tolist() == ["61", "61", "19", "19", "26", "26"]
        assert corpus.columns["split"].tolist() == ["test"] * 2 + ["train"] * 4
        assert corpus.columns["gender"].tolist() == ["m", "m", "f", "f", "", ""]
        assert corpus.columns["chapter"][0] == "70968"
        assert corpus.columns["text"][3] == "HELLO WORLD 1"
        assert corpus.columns["duration_s"].tolist() == [0.25] * 6
        assert corpus.waveform(5).shape == (4000,)
        assert corpus.where(5).endswith("LibriSpeech/train-clean-100/26/495/26-495-0001.flac")
        assert corpus.bad_audio(range(6)) == []


def test_one_subset_of_librispeech_is_split_by_speaker(tmp_path: Path) -> None:
    config = DataConfig(corpus="librispeech", root=str(libri_tree(tmp_path)), subset="train-clean-100")
    corpus = librispeech(config, 0)
    assert set(corpus.columns["subset"]) == {"train-clean-100"}
    assert sorted(corpus.columns["split"]) == ["test", "test", "train", "train"]
    both = DataConfig(corpus="librispeech", root=str(tmp_path), subset="train-clean-100, test-clean")
    assert librispeech(both, 0).columns["split"].tolist() == ["train"] * 4 + ["test"] * 2


def test_speech_commands_by_its_lists(tmp_path: Path) -> None:
    folder = tmp_path / "SpeechCommands" / "speech_commands_v0.02"
    for name in ("yes/aa_nohash_0.wav", "yes/bb_nohash_0.wav", "no/cc_nohash_1.wav", "no/dd_nohash_0.wav.wav"):
        write(folder / name)
    write(folder / "_background_noise_" / "pink_noise.wav")
    (folder / "validation_list.txt").write_text("yes/bb_nohash_0.wav\n")
    (folder / "testing_list.txt").write_text("no/cc_nohash_1.wav\n")
    for root in (tmp_path, tmp_path / "SpeechCommands", folder):
        corpus = speechcommands(DataConfig(corpus="speechcommands", root=str(root)), 0)
        table = zip(*(corpus.columns[name].tolist() for name in ("speaker", "text", "split")), strict=True)
        assert list(table) == [
            ("cc", "no", "test"),
            ("dd", "no", "train"),
            ("aa", "yes", "train"),
            ("bb", "yes", "validation"),
        ]
        assert corpus.waveform(0).shape == (16_000,)


def test_speech_commands_without_lists_holds_speakers_out(tmp_path: Path) -> None:
    for speaker in range(10):
        write(tmp_path / "yes" / f"{speaker}_nohash_0.wav", seconds=0.1)
    corpus = speechcommands(DataConfig(corpus="speechcommands", root=str(tmp_path), held_out=0.3), 1)
    assert sorted(corpus.columns["split"]) == ["test"] * 3 + ["train"] * 7


HEADER = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\n"


def voice_tree(root: Path) -> Path:
    (root / "train.tsv").write_text(
        HEADER + "c1\tx_1.mp3\tHello there.\t2\t0\ttwenties\tfemale\tScottish\ten\nc2\tx_2\tYes\t2\t0\t\t\t\ten\n"
    )
    (root / "test.tsv").write_text(HEADER + "c3\tx_3.mp3\tمرحبا\t2\t0\t\tmale\t\tar\n")
    for n in (1, 2, 3):
        write(root / "clips" / f"x_{n}.mp3", seconds=1, rate_hz=48_000)
    return root


def test_common_voice_has_its_clients_and_their_columns(tmp_path: Path) -> None:
    corpus = commonvoice(DataConfig(corpus="commonvoice", root=str(voice_tree(tmp_path))), 0)
    assert corpus.columns["speaker"].tolist() == ["c1", "c2", "c3"]
    assert corpus.columns["text"].tolist() == ["Hello there.", "Yes", "مرحبا"]
    assert corpus.columns["split"].tolist() == ["train", "train", "test"]
    assert corpus.columns["accent"].tolist() == ["Scottish", "", ""]
    assert corpus.columns["gender"].tolist() == ["female", "", "male"]
    assert corpus.columns["lang"].tolist() == ["en", "en", "ar"]
    assert all(abs(s - 1) < 0.1 for s in corpus.columns["duration_s"])
    assert abs(len(corpus.waveform(1)) - 16_000) < 1600
    assert corpus.bad_audio(range(3)) == []


def test_common_voice_takes_durations_from_its_table(tmp_path: Path) -> None:
    voice_tree(tmp_path)
    (tmp_path / "clip_durations.tsv").write_text("clip\tduration[ms]\nx_1.mp3\t1250\nx_3.mp3\t980\n")
    corpus = commonvoice(DataConfig(corpus="commonvoice", root=str(tmp_path)), 0)
    assert corpus.columns["duration_s"][[0, 2]].tolist() == pytest.approx([1.25, 0.98])
    (tmp_path / "clip_durations.tsv").write_text("clip\tduration[ms]\nx_1.mp3\tlong\n")
    with pytest.raises(InputError, match=r"clip_durations\.tsv:2: the duration is 'long'"):
        commonvoice(DataConfig(corpus="commonvoice", root=str(tmp_path)), 0)


def test_one_table_of_common_voice_is_split_by_speaker(tmp_path: Path) -> None:
    config = DataConfig(corpus="commonvoice", root=str(voice_tree(tmp_path)), subset="train.tsv")
    assert sorted(commonvoice(config, 0).columns["split"]) == ["test", "train"]


def test_common_voice_rows_must_fit_the_header(tmp_path: Path) -> None:
    voice_tree(tmp_path)
    with (tmp_path / "test.tsv").open("a") as file:
        file.write("c4\tx_4.mp3\n")
    with pytest.raises(InputError, match=r"test\.tsv:3: the row has 2 fields; expected 9"):
        commonvoice(DataConfig(corpus="commonvoice", root=str(tmp_path)), 0)


@pytest.mark.parametrize("make", [librispeech, speechcommands, commonvoice])
def test_another_folder_is_refused_in_one_line(tmp_path: Path, make) -> None:
    with pytest.raises(InputError, match=r"no such folder \(key 'data.root'\)"):
        make(DataConfig(root=str(tmp_path / "absent")), 0)
    with pytest.raises(InputError, match=r"(?s)holds no .*key 'data.root'"):
        make(DataConfig(root=str(tmp_path)), 0)
    with pytest.raises(InputError, match=r"'data.root' is not set"):
        make(DataConfig(), 0)


@pytest.mark.parametrize(("make", "tree"), [(librispeech, libri_tree), (commonvoice, voice_tree)])
def test_an_unknown_subset_names_those_that_are_there(tmp_path: Path, make, tree) -> None:
    tree(tmp_path)
    with pytest.raises(InputError, match=r"'train-claen-100'.*key 'data.subset'.*it has: t"):
        make(DataConfig(root=str(tmp_path), subset="train-claen-100"), 0)


def test_a_download_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    config = DataConfig(root=str(tmp_path / "new"), subset="dev-clean", download=True)
    with pytest.raises(InputError, match="LIBRISPEECH cannot be downloaded"):
        librispeech(config, 0)
    with pytest.raises(InputError, match="LIBRISPEECH cannot be downloaded: Invalid url"):
        librispeech(DataConfig(root=str(tmp_path), subset="nonsense", download=True), 0)
    with pytest.raises(InputError, match=r"needs 'data.subset'"):
        librispeech(DataConfig(root=str(tmp_path), download=True), 0)
    with pytest.raises(InputError, match="SPEECHCOMMANDS cannot be downloaded"):
        speechcommands(DataConfig(root=str(tmp_path), download=True), 0)
