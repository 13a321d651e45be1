"""Weights and folders that a run cannot begin with."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from .world import TOO_LONG, Place, Refuse


@pytest.mark.slow
def test_init_from(place: Place, refuse: Refuse) -> None:
    def start(source: object, *more: str) -> list[object]:
        return ["run", place.config, f"init_from={source}", *more, "--out", place.out]

    weights, tokenizer = place.run / "model.safetensors", place.run / "tokenizer.json"
    expected = "no such weights; expected a finished run folder or a .safetensors file"
    refuse(start("/none"), f"/none: {expected}")
    refuse(start(TOO_LONG), f"{TOO_LONG}: {expected}")
    refuse(start(place.manifest.parent), f"{place.manifest.parent}/model.safetensors: {expected}")
    refuse(start(place.manifest), f"{place.manifest}: is not a readable safetensors file")
    other = "'init_from' needs weights of the same 'model' and 'data.features' settings"
    refuse(start(place.run, "model.hidden=16"), f"{weights}: 'encoder.layers.0.weight_ih_l0' is (32, 8); the", other)
    refuse(start(place.run, "model.encoder=blstm"), f"{weights}: weights do not match the model: ", other)
    refuse(start(place.run, "data.features.mel_bins=20"), f"{weights}: 'subsampling.", other)
    refuse(start(place.run, "model.alphabet=arabic"), "'model.alphabet' is 'arabic'", str(tokenizer), "alphabet=auto")
    whole = weights.read_bytes()
    for content in (whole[:100], whole[:-100], b"", b"x" * 1000):
        weights.write_bytes(content)
        refuse(start(place.run), f"{weights}: is not a readable safetensors file")
    weights.write_bytes(whole)
    for content in (np.nan, np.inf):
        arrays = load_file(weights)
        arrays["head.bias"][0] = content
        save_file(arrays, weights)
        refuse(start(place.run), f"{weights}: 'head.bias' (float32) holds something other than finite numbers")
    weights.write_bytes(whole)
    for text, said in (
        ("{", f"{tokenizer}:1: is not JSON"),
        ("[]", f"{tokenizer}: is not a tokenizer"),
        ('{"format": "x"}', f'{tokenizer}: is not a tokenizer; expected "format"'),
    ):
        tokenizer.write_text(text)
        refuse(start(place.run), said)


def test_weights_without_a_tokenizer(place: Place, refuse: Refuse) -> None:
    """What their outputs stand for would be guessed, and in a private run read off the private transcripts."""
    weights = place.root / "bare" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes((place.run / "model.safetensors").read_bytes())
    says = "'model.alphabet' is 'auto', but 'init_from' has no tokenizer.json beside its weights", str(weights)
    refuse(["run", place.config, f"init_from={weights}", "model.alphabet=auto", "--out", place.out], *says)


@pytest.mark.slow
def test_out(place: Place, refuse: Refuse) -> None:
    start = ["run", place.config, "--out"]
    refuse([*start, place.run], f"{place.run}: holds a run already; give another --out, or --resume")
    refuse([*start, place.manifest], f"{place.manifest}: is a file; expected a folder for the run")
    refuse([*start, place.manifest / "run"], f"{place.manifest}/run: the run folder cannot be made: Not a directory")
    refuse([*start, "/proc/run"], "/proc/run: the run folder cannot be made")
    refuse([*start, place.root / TOO_LONG], f"{TOO_LONG}: the run folder cannot be made: File name too long")
    refuse([*start, place.manifest / "a\nb"], "manifest.csv/a\\nb: the run folder cannot be made")


@pytest.mark.parametrize("name", ["config.yaml", "summary.json", "checkpoint"])
def test_out_with_only_a_part_of_a_run(name: str, place: Place, refuse: Refuse) -> None:
    folder = place.root / "part"
    folder.mkdir()
    (folder / name).touch()
    refuse(["run", place.config, "--out", folder], f"{folder}: holds a run already")
