"""Keys of section ``model``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedasr.config.schema.conditions import either, unless, when
from fedasr.config.schema.keys import key, part


@dataclass
class ConformerConfig:
    """What only `ctc-conformer` and encoder `conformer` read."""

    heads: int = key(4, "attention heads; must divide `model.hidden`", low=1)
    feedforward: int = key(4, "width of the feed-forward modules as a multiple of `model.hidden`", low=1)
    kernel: int = key(15, "kernel of the convolution module in frames; odd", low=3)


@dataclass
class SpellerConfig:
    """The attention decoder of `las` and `hybrid`."""

    hidden: int = key(128, "width of the token embedding, the LSTM and the attention", low=1)
    heads: int = key(4, "attention heads; must divide `model.speller.hidden`", low=1)
    label_smoothing: float = key(
        0.1, "share of each target that is spread over all characters in training", low=0, high=0.9
    )


@dataclass
class TransducerConfig:
    """The prediction and joint networks of `rnnt`."""

    prediction: int = key(128, "width of the token embedding and of the prediction network", low=1)
    context: int | None = key(
        None,
        "how many tokens before the prediction network sees; absent: all, through an LSTM. With one or two it cannot"
        " learn sentences by heart, which is what a device with few of them needs",
        low=1,
    )
    joint: int = key(128, "width of the joint network", low=1)


@dataclass
class ModelConfig:
    """The recogniser; see `docs/models.md`."""

    name: str = key(
        "ctc",
        "the model family: ctc; ctc-conformer; las: a pyramid of BLSTM layers that listens, and an attention speller;"
        " hybrid: CTC and a speller on one encoder; rnnt: RNN transducer",
        choices=("ctc", "ctc-conformer", "las", "hybrid", "rnnt"),
        reference=True,
    )
    options: dict[str, Any] = key(dict, "what a model of your own is called with, by parameter name")
    encoder: str = key(
        "blstm",
        "encoder of `ctc`, `hybrid` and `rnnt`: recurrent, dilated depth-wise convolutions, or Conformer",
        choices=("lstm", "blstm", "dsconv", "conformer"),
        reference=True,
        when=(unless(".name", "las", refused=True), when(".name", "ctc", "hybrid", "rnnt")),
    )
    encoder_options: dict[str, Any] = key(dict, "what an encoder of your own is called with, by parameter name")
    channels: list[int] = key(
        lambda: [64, 96], "channels of the subsampling convolutions, one per layer; each halves the frame rate"
    )
    strides: list[int] = key(lambda: [2, 2], "stride of each subsampling convolution (1 keeps the frame rate)")
    hidden: int = key(128, "width of the encoder (per direction for blstm)", low=1)
    layers: int = key(1, "encoder layers; each of `las` halves the frame rate", low=1)
    kernel: int = key(9, "kernel of the dsconv encoder in frames; odd", low=3, when=when(".encoder", "dsconv"))
    dropout: float = key(
        0.0, "dropout in the encoder and of what the decoders of las, hybrid, rnnt read", low=0, high=0.95
    )
    norm: str = key("layer", "normalisation after each block (never BatchNorm)", choices=("layer", "group", "none"))
    tokenizer: str = key(
        "characters",
        "how transcripts become tokens: the characters of `alphabet`, or a tokenizer of your own",
        choices=("characters",),
        reference=True,
    )
    tokenizer_options: dict[str, Any] = key(dict, "what a tokenizer of your own is called with, by parameter name")
    alphabet: str = key(
        "latin",
        "characters: `latin` (a-z, apostrophe), `arabic`, `auto` (collected from the training transcripts: on real"
        " devices that would reveal which characters occur), or the characters themselves after `chars:`",
    )
    lowercase: bool = key(True, "lower-case transcripts before they are encoded")
    ctc_weight: float = key(
        0.3,
        "`hybrid`: share of CTC in the loss and in joint decoding; the rest is attention's",
        low=0,
        high=1,
        when=when(".name", "hybrid"),
    )
    frozen: list[str] = key(
        list,
        "globs over the names of the weights, such as `subsampling.*`: those tensors keep the values of the initial"
        " model. They are not trained, sent, clipped or masked, and no noise is added to them",
    )
    conformer: ConformerConfig = part(
        ConformerConfig,
        "what only ctc-conformer and encoder conformer read",
        when=either(when("model.name", "ctc-conformer"), when("model.encoder", "conformer")),
    )
    speller: SpellerConfig = part(
        SpellerConfig, "the attention decoder of las and hybrid", when=when("model.name", "las", "hybrid")
    )
    transducer: TransducerConfig = part(
        TransducerConfig, "the prediction and joint networks of rnnt", when=when("model.name", "rnnt")
    )
