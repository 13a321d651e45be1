"""Who is compared with whom: exchangeable non-members alone, whatever the activity of their client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

pytest.importorskip("espeakng_loader", reason='needs the espeak-ng wheel: pip install "fedasr[synth]"')

from fedasr import load_run
from fedasr.audits.membership.candidates import Candidates, drawn
from fedasr.audits.membership.claims import claim_of, spent_of, steps_between
from fedasr.config import load
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.privacy.document import privacy_document, write_privacy
from fedasr.privacy.events import Event, Gaussian
from fedasr.privacy.ledger import Ledger
from fedasr.results.load import Run
from tests.e2e.tiny import tiny
from tests.fedasr.data.speech_files import write


def folder(path: Path, **changes: Any) -> tuple[Experiment, Run]:
    """Return an experiment, and its run folder as far as it is read here."""
    path.mkdir(exist_ok=True)
    tree = tiny(**{"model__alphabet": "latin", **changes})
    (path / "config.yaml").write_text(yaml.safe_dump(tree))
    return Experiment(load(tree)), load_run(path)


def test_the_synthetic_test_split_is_refused(tmp_path: Path) -> None:
    experiment, run = folder(tmp_path)
    with pytest.raises(InputError, match=r"whose voices no training speaker has.*data.public_share=0.5"):
        drawn(experiment, run, "speaker")
    with pytest.raises(InputError, match=r"'evaluate.held_out' is 0.*evaluate.held_out=0.5"):
        drawn(experiment, run, "utterance")


def test_asking_for_it_does_not_help(tmp_path: Path) -> None:
    experiment, run = folder(tmp_path, evaluate={"held_out": 0.5}, data__public_share=0.5)
    for unit in ("speaker", "utterance"):
        with pytest.raises(InputError, match=r"^--non-members: "):
            drawn(experiment, run, unit, "test")


def test_continual_speech_is_refused(tmp_path: Path) -> None:
    experiment, run = folder(tmp_path, stream={"arrival": "poisson", "periods": 2}, evaluate={"held_out": 0.5})
    with pytest.raises(InputError, match=r"stream.arrival=static"):
        drawn(experiment, run, "utterance")


def manifest(path: Path, splits: bool) -> dict[str, Any]:
    lines = ["path,speaker,text,split"]
    for number in range(12):
        write(path / f"{number}.wav", seconds=0.5, seed=number)
        split = ("test" if number > 9 else "train") if splits else ""
        lines.append(f"{number}.wav,s{number // 2},yes,{split}")
    (path / "m.csv").write_text("\n".join(lines))
    return {"corpus": "manifest", "manifest": str(path / "m.csv"), "held_out": 0.5}


def test_an_official_split_is_refused_and_a_random_one_is_not(tmp_path: Path) -> None:
    experiment, run = folder(tmp_path, data=manifest(tmp_path, splits=True))
    with pytest.raises(InputError, match="which its makers chose"):
        drawn(experiment, run, "speaker")
    experiment, run = folder(tmp_path, data=manifest(tmp_path, splits=False))
    result = drawn(experiment, run, "speaker")
    assert (result.trained.sum(), result.held.sum()) == (6, 6)
    assert not (result.trained & result.held).any()


def test_speakers_set_aside_are_exchangeable_unless_the_student_hears_them(tmp_path: Path) -> None:
    experiment, run = folder(tmp_path, data__public_share=0.5)
    candidates = Candidates(experiment, run, "speaker", 100)
    members = candidates.members(candidates.first)
    assert (members.sum(), (~members).sum()) == (6, 6)
    assert candidates.compared(candidates.first, 0).all()
    assert np.bincount(candidates.unit_of).max() <= 8
    values = np.arange(len(candidates.rows), dtype=float)
    means = [values[candidates.unit_of == unit].mean() for unit in range(12)]
    assert candidates.mean(values) == pytest.approx(means)
    assert candidates.mean(np.stack([values, values]))[1] == pytest.approx(means)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_being_a_light_user_tells_nothing(share: float, tmp_path: Path) -> None:
    changes = {"data__synthetic__activity_spread": 1.5, "data__synthetic__utterances_per_speaker": 6}
    experiment, run = folder(tmp_path, evaluate={"held_out": share}, **changes)
    candidates = Candidates(experiment, run, "utterance", 1000)
    compared = candidates.compared(candidates.first, 0)
    members = candidates.members(candidates.first)
    clients = candidates.first.clients[candidates.rows]
    assert compared.sum() >= 10
    for client in np.unique(clients):
        mine = compared & (clients == client)
        assert (mine & members).sum() == (mine & ~members).sum() > 0


def test_clients_with_one_utterance_have_nothing_to_compare(tmp_path: Path) -> None:
    one = {"data__synthetic__activity": "constant", "data__synthetic__utterances_per_speaker": 1}
    experiment, run = folder(tmp_path, evaluate={"held_out": 0.5}, **one)
    with pytest.raises(InputError, match="no client has both"):
        Candidates(experiment, run, "utterance", 100)


def test_a_limit_takes_whole_clients(tmp_path: Path) -> None:
    experiment, run = folder(tmp_path, evaluate={"held_out": 0.5}, data__synthetic__activity="constant")
    everybody = Candidates(experiment, run, "utterance", 1000)
    few = Candidates(experiment, run, "utterance", 9)
    assert 0 < len(few) <= 9 < len(everybody)
    counts = pd.Series(few.speakers).value_counts()
    assert counts.equals(pd.Series(everybody.speakers).value_counts()[counts.index])


def test_who_never_took_part_is_no_member_unless_a_ledger_counts_on_nobody_knowing(tmp_path: Path) -> None:
    experiment, run = folder(tmp_path, evaluate={"held_out": 0.5})
    first = str(experiment.partition.names[experiment.partition.counts.argmax()])
    pd.DataFrame({"round": [1, 1], "client": [first, "s00001"], "status": ["ok", "failed"]}).to_parquet(
        tmp_path / "clients.parquet"
    )
    run = load_run(tmp_path)
    speakers = experiment.corpus.columns["speaker"]
    result = drawn(experiment, run, "utterance")
    assert set(speakers[result.trained]) == set(speakers[result.held]) == {first}
    claimed(tmp_path, [Gaussian(unit="user", noise_multiplier=1.0)])
    result = drawn(experiment, load_run(tmp_path), "utterance")
    assert len(set(speakers[result.trained])) == 12


def claimed(path: Path, events: list[Event]) -> None:
    """Write a ledger of the events."""
    ledger = Ledger()
    for event in events:
        ledger.charge(event, released="global model", population=12)
    write_privacy(path, privacy_document(ledger, 1e-5))


def test_a_ledger_of_utterances_says_nothing_of_speakers(tmp_path: Path) -> None:
    experiment, _ = folder(tmp_path, data__public_share=0.5, evaluate={"held_out": 0.5})
    claimed(tmp_path, [Gaussian(unit="example", noise_multiplier=1.0)])
    run = load_run(tmp_path)
    assert claim_of(run, experiment, "speaker") == "the ledger protects one utterance, the attack looks for speakers"
    assert spent_of(run) == (pytest.approx(4.377, abs=0.01), 1e-5)
    claim = claim_of(run, experiment, "utterance")
    assert not isinstance(claim, str)
    assert claim.ceiling.steps == 1
    assert claim.ceiling.area() == pytest.approx(0.7602, abs=0.001)


def test_a_ledger_of_users_bounds_their_utterances_by_two_changes(tmp_path: Path) -> None:
    experiment, _ = folder(tmp_path, data__public_share=0.5, evaluate={"held_out": 0.5})
    claimed(tmp_path, [Gaussian(unit="user", noise_multiplier=1.0)])
    run = load_run(tmp_path)
    user, utterance = (claim_of(run, experiment, unit) for unit in ("speaker", "utterance"))
    assert not isinstance(user, str)
    assert not isinstance(utterance, str)
    assert (user.ceiling.steps, utterance.ceiling.steps) == (1, 2)
    assert utterance.ceiling.area() > user.ceiling.area()
    assert "two changes" in utterance.words
    assert steps_between("user", "replace-one", "utterance", experiment)[0] == 1


def test_speakers_spread_over_clients_have_no_ceiling(tmp_path: Path) -> None:
    changes = {"data__partition": {"name": "iid"}, "data__clients": 4, "data__public_share": 0.5}
    experiment, _ = folder(tmp_path, **changes)
    claimed(tmp_path, [Gaussian(unit="user", noise_multiplier=1.0)])
    assert "spread over several" in str(claim_of(load_run(tmp_path), experiment, "speaker"))


def test_without_a_ledger_there_is_no_ceiling(tmp_path: Path) -> None:
    experiment, run = folder(tmp_path)
    assert claim_of(run, experiment, "utterance") == "the run has no ledger"
    assert spent_of(run) == (None, None)
