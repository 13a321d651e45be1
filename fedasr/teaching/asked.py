"""What a teacher is asked of utterances, and its answers as the rows that are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedasr.data.batches import Batch
from fedasr.data.posteriors.frames import packed
from fedasr.data.posteriors.header import Header
from fedasr.data.posteriors.layout import FRAMES, HYPOTHESES, NODES
from fedasr.errors import InputError
from fedasr.models.base import SpeechModel
from fedasr.models.ctc import CTC
from fedasr.models.hybrid import HybridModel
from fedasr.models.n_best import Hypothesis, n_best
from fedasr.models.rnnt import TransducerModel
from fedasr.models.tokenizer import BLANK
from fedasr.training.distillation.nodes import steps

Rows = dict[str, npt.NDArray[Any]]
"""Table → the rows of an utterance."""


def frame_log_posteriors(model: SpeechModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-posteriors of the tokens frame by frame ``(batch, time, tokens)``, and the lengths ``(batch,)``.

    Of a hybrid model they are those of its CTC head.

    Raises:
        InputError: the family has none.
    """
    if isinstance(model, CTC):
        return model.log_probabilities(batch)
    if isinstance(model, HybridModel):
        encoded = model.encode(batch)
        return model.log_probabilities(encoded), encoded.lengths
    raise InputError(
        f"a {type(model).__name__} has no posteriors of frames; choose a CTC or hybrid teacher, or targets"
        " sequence or labels"
    )


def answers(model: SpeechModel, batch: Batch, header: Header, other: Batch | None = None) -> list[Rows]:
    """Return what is stored of each utterance of a batch; dropout is off.

    Args:
        model: the teacher's.
        batch: utterances.
        header: of the store.
        other: the same utterances in other voices; the mean of the probabilities of both is stored.

    Raises:
        InputError: the teacher's family cannot be asked for it, or an utterance has other frames in its other voice.
    """
    if header.targets == "frames":
        return of_frames(model, batch, header, other)
    if header.targets == "lattice":
        return of_lattices(model, batch, header)
    if other is not None:
        return of_both_voices(model, batch, other, header)
    most = header.asked.get("n_best", 1)
    with model.as_it_decodes():
        encoded = model.encode(batch)
    if header.targets == "sequence":
        return [{HYPOTHESES: as_rows(result, header)} for result in n_best(model, encoded, header.asked["beam"], most)]
    return [{HYPOTHESES: as_rows([result], header)} for result in likeliest(model, encoded)]


def of_frames(model: SpeechModel, batch: Batch, header: Header, other: Batch | None = None) -> list[Rows]:
    """Return the top k of each frame, or of the mean of each frame and the same one in another voice."""
    with model.as_it_decodes():
        log_posteriors, lengths = frame_log_posteriors(model, batch)
        every = log_posteriors.cpu().numpy()
        if other is not None:
            theirs, counts = frame_log_posteriors(model, other)
            if not torch.equal(lengths, counts):
                raise InputError(
                    f"in its other voice ('distillation.counterfactual' is '{header.counterfactual}') an utterance has"
                    " another number of frames than in its own, so that no mean is taken frame by frame; set"
                    " distillation.targets=sequence"
                )
            every = mean_log(every, theirs.cpu().numpy()).astype(every.dtype)
    top_k = header.asked["top_k"]
    return [{FRAMES: packed(every[row, :length], top_k)} for row, length in enumerate(lengths.tolist())]


def mean_log(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return log ½(eᵃ + eᵇ) of two arrays of log-probabilities; of two that are alike the same numbers."""
    return np.asarray(np.logaddexp(one.astype(np.float64), other.astype(np.float64)) - np.log(2))


def of_both_voices(model: SpeechModel, batch: Batch, other: Batch, header: Header) -> list[Rows]:
    """Return the transcripts that are likeliest in both voices: those heard in either, by the mean of P in each."""
    most = header.asked.get("n_best", 1)
    with model.as_it_decodes():
        voices = [model.encode(batch), model.encode(other)]
    heard = [
        n_best(model, one, header.asked["beam"], most)
        if header.targets == "sequence"
        else [[hypothesis] for hypothesis in likeliest(model, one)]
        for one in voices
    ]
    texts = [sorted({tuple(tokens) for tokens, _ in (*one, *two)}) for one, two in zip(*heard, strict=True)]
    scores = np.full((len(texts), max(map(len, texts), default=0)), -np.inf)
    for place in range(scores.shape[1]):
        asked = [each[place] if place < len(each) else () for each in texts]
        first, second = (model.transcript_log_probability(one, asked).cpu().numpy() for one in voices)
        scores[:, place] = mean_log(first, second)
    result: list[Rows] = []
    for each, of in zip(texts, scores, strict=True):
        merged = sorted(zip(map(list, each), of.tolist(), strict=False), key=lambda one: (-one[1], one[0]))
        result.append({HYPOTHESES: as_rows(merged[:most], header)})
    return result


def of_lattices(model: SpeechModel, batch: Batch, header: Header) -> list[Rows]:
    """Return the hypothesis that is heard greedily, and what the teacher says at each node of its lattice."""
    if not isinstance(model, TransducerModel):
        raise InputError(f"a {type(model).__name__} has no lattice of nodes; choose an rnnt teacher, or other targets")
    with model.as_it_decodes():
        result = likeliest(model, model.encode(batch))
        targets, lengths = padded([tokens for tokens, _ in result], batch.features.device)
        logits, frames = model.lattice(replace(batch, targets=targets, target_lengths=lengths))
        step_posteriors = steps(logits, targets[:, : logits.shape[2] - 1])
        token, blank = step_posteriors[0].cpu().numpy(), step_posteriors[1].cpu().numpy()
    rows: list[Rows] = []
    for place, (hypothesis, time) in enumerate(zip(result, frames.tolist(), strict=True)):
        nodes = np.zeros((time, len(hypothesis[0]) + 1), header.layout[NODES])
        nodes["token"], nodes["blank"] = (each[place, :time, : nodes.shape[1]] for each in (token, blank))
        rows.append({HYPOTHESES: as_rows([hypothesis], header), NODES: nodes.reshape(-1)})
    return rows


def likeliest(model: SpeechModel, encoded: Any) -> list[Hypothesis]:
    """Return what is heard greedily in each utterance, and its log-probability."""
    with model.as_it_decodes():
        tokens = model.greedy(encoded)
        scores = model.transcript_log_probability(encoded, tokens).tolist() if tokens else []
    return list(zip(tokens, scores, strict=True))


def padded(tokens: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token lists as targets ``(batch, tokens)``, at least one wide, and their lengths ``(batch,)``."""
    targets = torch.zeros(len(tokens), max([1, *map(len, tokens)]), dtype=torch.int64)
    for row, sequence in enumerate(tokens):
        targets[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.int64)
    return targets.to(device), torch.tensor([len(sequence) for sequence in tokens], device=device)


def as_rows(hypotheses: Sequence[Hypothesis], header: Header) -> npt.NDArray[Any]:
    """Return hypotheses as rows: their tokens, then a blank, at which the log-probability stands."""
    rows = np.zeros(sum(len(tokens) + 1 for tokens, _ in hypotheses), header.layout[HYPOTHESES])
    end = -1
    for tokens, score in hypotheses:
        rows["token"][end + 1 : end + 1 + len(tokens)] = tokens
        end += len(tokens) + 1
        rows[end] = (BLANK, score)
    return rows


def hypotheses_of(rows: npt.NDArray[Any]) -> list[Hypothesis]:
    """Return the hypotheses of rows, as they were stored."""
    ends = np.flatnonzero(rows["token"] == BLANK)
    starts = np.concatenate([[0], ends[:-1] + 1])
    return [
        (rows["token"][start:end].astype(int).tolist(), float(rows["logp"][end]))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


def asked_of(targets: str, top_k: int, beam: int, most: int) -> Mapping[str, int]:
    """Return the settings that decide the answers."""
    if targets == "frames":
        return {"top_k": top_k}
    return {"beam": beam, "n_best": most} if targets == "sequence" else {}
