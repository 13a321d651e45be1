"""From a config to a model."""

from __future__ import annotations

from fedasr.config.schema import ModelConfig
from fedasr.errors import InputError, nearest
from fedasr.models.base import SpeechModel
from fedasr.models.ctc import CTCModel
from fedasr.models.encoders.base import Encoder
from fedasr.models.encoders.conformer import ConformerEncoder
from fedasr.models.encoders.depthwise import DepthwiseEncoder
from fedasr.models.encoders.recurrent import BLSTMEncoder, LSTMEncoder
from fedasr.models.subsampling import Subsampling

MODELS = ("ctc", "ctc-conformer")
ENCODERS = ("lstm", "blstm", "dsconv")


def build_model(config: ModelConfig, mel_bins: int, vocabulary_size: int) -> SpeechModel:
    """Return a freshly initialised model; the weights come from torch's default generator (``seeds.torch_scope``).

    Args:
        config: the section ``model`` of a checked config.
        mel_bins: mel bands of the features.
        vocabulary_size: tokens, the blank included (``Tokenizer.size``).

    Raises:
        InputError: an unknown model or encoder.
    """
    subsampling = Subsampling(mel_bins, config.channels, config.strides, config.norm)
    if config.name == "ctc":
        encoder = build_encoder(config, subsampling.width)
    elif config.name == "ctc-conformer":
        conformer = config.conformer
        encoder = ConformerEncoder(
            subsampling.width,
            config.hidden,
            config.layers,
            conformer.heads,
            conformer.feedforward,
            conformer.kernel,
            config.norm,
            config.dropout,
        )
    else:
        raise InputError(
            f"'model.name' is '{config.name}'{nearest(config.name, MODELS)}; expected one of: {', '.join(MODELS)}"
        )
    return CTCModel(subsampling, encoder, vocabulary_size)


def build_encoder(config: ModelConfig, inputs: int) -> Encoder:
    """Return the encoder of family ``ctc`` over ``inputs`` channels.

    Raises:
        InputError: an unknown encoder.
    """
    if config.encoder == "lstm":
        return LSTMEncoder(inputs, config.hidden, config.layers, config.norm, config.dropout)
    if config.encoder == "blstm":
        return BLSTMEncoder(inputs, config.hidden, config.layers, config.norm, config.dropout)
    if config.encoder == "dsconv":
        return DepthwiseEncoder(inputs, config.hidden, config.layers, config.kernel, config.norm, config.dropout)
    raise InputError(
        f"'model.encoder' is '{config.encoder}'{nearest(config.encoder, ENCODERS)};"
        f" expected one of: {', '.join(ENCODERS)}"
    )
