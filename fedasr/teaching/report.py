"""What a store holds, in numbers and in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedasr.data.posteriors import PosteriorStore
from fedasr.data.posteriors.layout import FRAMES, HYPOTHESES, NODES


def facts(store: PosteriorStore) -> dict[str, Any]:
    """Return what a store holds: utterances, rows, bytes, and of frames what dense storage would take.

    ``captured_mass`` is the posterior mass of the classes that are kept, the mean over the frames. Bytes of an hour
    follow from the rate of the output frames.
    """
    header, sizes = store.header, store.bytes()
    table = {"frames": FRAMES, "lattice": NODES}.get(header.targets, HYPOTHESES)
    rows = int(store.counts(table).sum())
    result: dict[str, Any] = {
        "targets": header.targets,
        "utterances": len(store),
        "without_rows": int((store.counts(table) == 0).sum()),
        "classes": header.classes,
        "counterfactual": header.counterfactual,
        **header.asked,
        "rows": rows,
        "row": {FRAMES: "frame", NODES: "node", HYPOTHESES: "token"}[table],
        "bytes": sum(sizes.values()),
        "bytes_a_row": header.layout[table].itemsize,
        "index_bytes_an_utterance": sizes["index"] / len(store) if len(store) else float("nan"),
        "teacher": header.teacher,
    }
    if header.targets == "frames":
        result |= {"dense_bytes_a_row": 2 * header.classes, "captured_mass": store.captured_mass()}
    return result


def described(store: PosteriorStore) -> str:
    """Return a line on a store."""
    result = facts(store)
    line = (
        f"{result['utterances']:,} utterances: {result['rows']:,} {result['row']}s,"
        f" {result['bytes_a_row']} bytes a {result['row']}, {np.round(result['bytes'] / 1e6, 2):g} MB"
    )
    if "captured_mass" in result:
        line += (
            f"; the {result['top_k']} likeliest of {result['classes']} tokens have {result['captured_mass']:.4f} of the"
            f" mass ({result['dense_bytes_a_row']} bytes a frame for all)"
        )
    if result["counterfactual"] != "none":
        line += f"; the mean of each voice and one with another {result['counterfactual']}"
    return line
