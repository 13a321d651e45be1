"""The laws of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from fedasr.data.batches import Batch
from fedasr.models.base import SpeechModel
from fedasr.models.plain import PlainCTC
from fedasr.seeds import torch_scope
from fedasr.testing.law import law

MEL_BINS, TOKENS = 12, 7
LENGTHS = (37, 50, 24, 41)
LABELS = ((1, 2, 2), (3, 1, 4, 1, 5), (6,), (2, 3))
NEARLY = 1e-4


def check_model(
    make: Callable[[int, int], nn.Module],
    *,
    mel_bins: int = MEL_BINS,
    vocabulary_size: int = TOKENS,
    lengths: Sequence[int] = LENGTHS,
    labels: Sequence[Sequence[int]] = LABELS,
    paddings: Sequence[float] = (0.0,),
) -> None:
    """Check the laws of a model; a plain ``nn.Module`` is a CTC model, as in a run.

    - The same seed gives the same model; without dropout the same batch gives the same losses.
    - The loss of an utterance, in nats, is finite and the same alone as in a batch, however much padding follows it;
      so are the gradients.
    - Gradients are finite and reach every parameter.
    - Greedy decoding gives each utterance a list of tokens, none of them the blank, the same alone as in a batch.
    - ``output_frames`` gives one count an utterance, at least 1.

    Args:
        make: called with the mel bins and the number of tokens; draws weights from torch's default generator.
        mel_bins: of the features.
        vocabulary_size: tokens, the blank included; above every label.
        lengths: of the utterances in frames.
        labels: the tokens of each, short enough to be aligned.
        paddings: values that follow the shorter utterances of a batch. Runs pad with zeros.

    Raises:
        AssertionError: naming the law and the example.
    """
    model, twin = (built(make, mel_bins, vocabulary_size) for _ in range(2))
    law(
        all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True)),
        "the same seed gives the same model",
        "two models made with torch's seed 0 differ",
    )
    model.eval()
    plain = batch_of(lengths, labels, mel_bins)
    for padding in paddings:
        batch = batch_of(lengths, labels, mel_bins, padding, extra=6)
        example = f"utterances of {list(lengths)} frames, padded with 6 more frames of {padding:g}"
        check_losses(model, batch, example)
        check_decoding(model, batch, vocabulary_size, example)
    law(
        torch.equal(model.utterance_loss(plain), model.utterance_loss(plain)),
        "without dropout the same batch gives the same losses",
        f"utterances of {list(lengths)} frames",
    )
    frames = model.output_frames(plain.feature_lengths)
    law(
        tuple(frames.shape) == (len(plain),) and int(frames.min()) >= 1,
        "output_frames gives one count of at least 1 for each utterance",
        f"{list(lengths)} frames give {frames.tolist()}",
    )


def built(make: Callable[[int, int], nn.Module], mel_bins: int, vocabulary_size: int) -> SpeechModel:
    """Return a model as a run would make it."""
    with torch_scope(0, "model"):
        module = make(mel_bins, vocabulary_size)
    if isinstance(module, SpeechModel):
        return module
    law(isinstance(module, nn.Module), "a model is an nn.Module", f"it is a {type(module).__name__}")
    return PlainCTC(module, mel_bins, type(module).__name__)


def batch_of(
    lengths: Sequence[int], labels: Sequence[Sequence[int]], mel_bins: int, padding: float = 0.0, extra: int = 0
) -> Batch:
    """Return utterances of noise, each a function of its place, with ``padding`` behind them."""
    features = torch.full((len(lengths), max(lengths) + extra, mel_bins), padding)
    targets = torch.zeros(len(lengths), max(len(label) for label in labels), dtype=torch.int64)
    for row, (length, label) in enumerate(zip(lengths, labels, strict=True)):
        noise = torch.Generator().manual_seed(row)
        features[row, :length] = torch.randn(length, mel_bins, generator=noise)
        targets[row, : len(label)] = torch.tensor(label, dtype=torch.int64)
    label_lengths = torch.tensor([len(label) for label in labels])
    return Batch(features, torch.tensor(lengths), targets, label_lengths, 1.0, tuple(range(len(lengths))))


def alone(batch: Batch) -> Iterator[Batch]:
    """Yield each utterance without padding."""
    for row in range(len(batch)):
        length, label = int(batch.feature_lengths[row]), int(batch.target_lengths[row])
        yield Batch(
            batch.features[row : row + 1, :length],
            batch.feature_lengths[row : row + 1],
            batch.targets[row : row + 1, :label],
            batch.target_lengths[row : row + 1],
            1.0,
            (row,),
        )


def check_losses(model: SpeechModel, batch: Batch, example: str) -> None:
    """Check losses and gradients of a batch against those of each utterance alone."""
    parameters = dict(model.named_parameters())
    losses = model.utterance_loss(batch)
    law(
        tuple(losses.shape) == (len(batch),),
        "there is one loss for each utterance",
        f"{example}: shape {tuple(losses.shape)}",
    )
    law(bool(torch.isfinite(losses).all()), "losses are finite", f"{example}: {losses.tolist()}")
    together = gradients(losses.sum(), parameters)
    for name, gradient in together.items():
        law(gradient is not None, "gradients reach every parameter", f"{example}: '{name}' has none")
        assert gradient is not None
        law(bool(torch.isfinite(gradient).all()), "gradients are finite", f"{example}: that of '{name}' is not")
    summed = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for row, single in enumerate(alone(batch)):
        loss = model.utterance_loss(single)
        own, among = float(loss[0].detach()), float(losses[row].detach())
        law(
            torch.allclose(loss[0], losses[row], rtol=NEARLY, atol=NEARLY),
            "the loss of an utterance does not depend on the others of its batch, nor on padding",
            f"{example}: utterance {row} has {among:.6g}, and alone {own:.6g}",
        )
        for name, gradient in gradients(loss.sum(), parameters).items():
            if gradient is not None:
                summed[name] += gradient
    for name, total in summed.items():
        gradient = together[name]
        assert gradient is not None
        law(
            torch.allclose(total, gradient, rtol=1e-3, atol=1e-3 * max(1.0, float(gradient.abs().max()))),
            "the gradient of a batch is the sum of the utterances' own",
            f"{example}: that of '{name}' is not",
        )


def gradients(loss: torch.Tensor, parameters: dict[str, nn.Parameter]) -> dict[str, torch.Tensor | None]:
    """Return the gradient of each parameter, None where the loss does not depend on it."""
    computed = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return dict(zip(parameters, computed, strict=True))


def check_decoding(model: SpeechModel, batch: Batch, vocabulary_size: int, example: str) -> None:
    """Check greedy decoding."""
    with model.as_it_decodes():
        tokens = model.greedy(model.encode(batch))
        law(len(tokens) == len(batch), "greedy decoding gives one list for each utterance", f"{example}: {len(tokens)}")
        for row, single in enumerate(alone(batch)):
            legal = all(isinstance(token, int) and 0 < token < vocabulary_size for token in tokens[row])
            law(legal, "tokens are integers from 1 to vocabulary_size − 1", f"{example}: {tokens[row]}")
            own = model.greedy(model.encode(single))[0]
            law(
                own == tokens[row],
                "an utterance is decoded alone as in a batch",
                f"{example}: utterance {row} gives {tokens[row]}, and alone {own}",
            )
