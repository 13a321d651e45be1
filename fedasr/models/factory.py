"""From a config to a model."""

from __future__ import annotations

from torch import nn

from fedasr.config.schema import ModelConfig
from fedasr.errors import InputError, nearest
from fedasr.models.base import SpeechModel
from fedasr.models.ctc import CTCModel
from fedasr.models.encoders.base import Encoder
from fedasr.models.encoders.conformer import ConformerEncoder
from fedasr.models.encoders.depthwise import DepthwiseEncoder
from fedasr.models.encoders.pyramid import Pyramid
from fedasr.models.encoders.recurrent import BLSTMEncoder, LSTMEncoder
from fedasr.models.hybrid import HybridModel
from fedasr.models.las import LASModel
from fedasr.models.plain import PlainCTC, check_statistics
from fedasr.models.prediction import ContextPrediction, LSTMPrediction, Prediction
from fedasr.models.rnnt import TransducerModel
from fedasr.models.speller import Speller
from fedasr.models.subsampling import Subsampling
from fedasr.registry import is_reference, make_part

MODELS = ("ctc", "ctc-conformer", "las", "hybrid", "rnnt")
ENCODERS = ("lstm", "blstm", "dsconv", "conformer")


def build_model(config: ModelConfig, mel_bins: int, vocabulary_size: int) -> SpeechModel:
    """Return a freshly initialised model; the weights come from torch's default generator (``seeds.torch_scope``).

    Args:
        config: the section ``model`` of a checked config.
        mel_bins: mel bands of the features.
        vocabulary_size: tokens, the blank included (``Tokenizer.size``).

    Raises:
        InputError: an unknown model or encoder.
    """
    if is_reference(config.name):
        return own_model(config, mel_bins, vocabulary_size)
    if config.name not in MODELS:
        raise InputError(
            f"'model.name' is '{config.name}'{nearest(config.name, MODELS)}; expected one of: {', '.join(MODELS)},"
            " or 'package.module:attribute'"
        )
    subsampling = Subsampling(mel_bins, config.channels, config.strides, config.norm)
    if config.name == "las":
        listener = Pyramid(subsampling.width, config.hidden, config.layers, config.norm, config.dropout)
        speller = build_speller(config, listener.width, vocabulary_size)
        return LASModel(subsampling, listener, speller, config.speller.label_smoothing)
    encoder = build_encoder(config, subsampling.width)
    if config.name == "hybrid":
        speller = build_speller(config, encoder.width, vocabulary_size)
        smoothing = config.speller.label_smoothing
        return HybridModel(subsampling, encoder, speller, vocabulary_size, config.ctc_weight, smoothing)
    if config.name == "rnnt":
        prediction = build_prediction(config, vocabulary_size)
        return TransducerModel(subsampling, encoder, prediction, vocabulary_size, config.transducer.joint)
    return CTCModel(subsampling, encoder, vocabulary_size)


def own_model(config: ModelConfig, mel_bins: int, vocabulary_size: int) -> SpeechModel:
    """Return a user's own model; a plain ``nn.Module`` is wrapped as a CTC model (``PlainCTC``).

    Raises:
        InputError: the reference names no model, or the options do not fit.
    """
    known = {"mel_bins": mel_bins, "vocabulary_size": vocabulary_size, "config": config}
    model = make_part(config.name, "model.name", known, config.options, "model.options")
    if isinstance(model, SpeechModel):
        check_statistics(model, "model.name", config.name)
        return model
    if isinstance(model, nn.Module):
        return PlainCTC(model, mel_bins, config.name)
    raise InputError(f"'model.name' is '{config.name}', which makes a {type(model).__name__}; expected an nn.Module")


def build_encoder(config: ModelConfig, inputs: int) -> Encoder:
    """Return the encoder over ``inputs`` channels; that of ``ctc-conformer`` is a Conformer, whatever ``encoder`` says.

    Raises:
        InputError: an unknown encoder, or a user's own that is none.
    """
    kind = "conformer" if config.name == "ctc-conformer" else config.encoder
    if is_reference(kind):
        return own_encoder(config, inputs)
    if kind == "lstm":
        return LSTMEncoder(inputs, config.hidden, config.layers, config.norm, config.dropout)
    if kind == "blstm":
        return BLSTMEncoder(inputs, config.hidden, config.layers, config.norm, config.dropout)
    if kind == "dsconv":
        return DepthwiseEncoder(inputs, config.hidden, config.layers, config.kernel, config.norm, config.dropout)
    if kind == "conformer":
        heads, multiple, kernel = config.conformer.heads, config.conformer.feedforward, config.conformer.kernel
        return ConformerEncoder(
            inputs, config.hidden, config.layers, heads, multiple, kernel, config.norm, config.dropout
        )
    raise InputError(f"'model.encoder' is '{kind}'{nearest(kind, ENCODERS)}; expected one of: {', '.join(ENCODERS)}")


def own_encoder(config: ModelConfig, inputs: int) -> Encoder:
    """Return a user's own encoder over ``inputs`` channels.

    Raises:
        InputError: the reference names no encoder, or the options do not fit.
    """
    known = {"inputs": inputs, "config": config}
    encoder = make_part(config.encoder, "model.encoder", known, config.encoder_options, "model.encoder_options")
    if not isinstance(encoder, nn.Module) or not isinstance(getattr(encoder, "width", None), int):
        raise InputError(
            f"'model.encoder' is '{config.encoder}', which makes no encoder; expected an nn.Module with 'width', its"
            " output channels (fedasr.models.encoders.base.Encoder)"
        )
    check_statistics(encoder, "model.encoder", config.encoder)
    checked: Encoder = encoder  # type: ignore[assignment]
    return checked


def build_speller(config: ModelConfig, inputs: int, vocabulary_size: int) -> Speller:
    """Return the attention decoder over states of ``inputs`` channels."""
    return Speller(inputs, config.speller.hidden, config.speller.heads, vocabulary_size, config.dropout)


def build_prediction(config: ModelConfig, vocabulary_size: int) -> Prediction:
    """Return the prediction network of `rnnt`."""
    width, context = config.transducer.prediction, config.transducer.context
    if context is None:
        return LSTMPrediction(vocabulary_size, width, config.dropout)
    return ContextPrediction(vocabulary_size, width, context, config.dropout)
