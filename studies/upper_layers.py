"""A model whose lower layers are frozen: a run trains, sends, clips and adds noise to the others alone.

    model:
      name: studies.upper_layers:upper_layers
      options: {start: runs/pate_seed_home, frozen: [subsampling, encoder]}

Under privacy the noise grows with the root of the number of weights, the update does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from fedasr.config.schema import ModelConfig
from fedasr.errors import InputError
from fedasr.models.base import SpeechModel
from fedasr.models.factory import build_model
from fedasr.models.weights import load_arrays, read_weights


def upper_layers(
    mel_bins: int, vocabulary_size: int, config: ModelConfig, start: str, frozen: Sequence[str], family: str = "ctc"
) -> SpeechModel:
    """Return the model of ``start``, of which the modules in ``frozen`` have no parameters any more.

    The weights that a run of it writes are those of the other modules.

    Args:
        mel_bins: mel bands of the features.
        vocabulary_size: tokens, the blank included.
        config: section ``model``, whose sizes are those of ``start``.
        start: a run folder or a weights file; ``init_from`` stays absent.
        frozen: names of modules, as in the names of the weights.
        family: what ``model.name`` was where ``start`` was trained.

    Raises:
        InputError: there are no such weights or modules, or the weights are of another model.
    """
    model = build_model(replace(config, name=family, options={}), mel_bins, vocabulary_size)
    arrays, path = read_weights(start)
    try:
        load_arrays(model, arrays)
    except ValueError as error:
        raise InputError(f"{error}; 'model.options.start' needs weights of this model", where=str(path)) from None
    known = [name for name, _ in model.named_children()]
    for name in frozen:
        if name not in known:
            raise InputError(f"'model.options.frozen' names '{name}'; the model has: {', '.join(known)}")
        freeze(model.get_submodule(name))
    return model


def freeze(module: nn.Module) -> None:
    """Make the parameters of a module constants, which are neither trained nor sent."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            # An LSTM keeps a list of its parameters beside their names.
            parameter.requires_grad_(False)
            delattr(part, name)
            part.register_buffer(name, parameter.data, persistent=False)
