"""Speech that arrives in the order in which it was read: a manifest of LibriSpeech with times.

    python -m studies.reading_order ../shared/data/librispeech_test_clean/manifest.csv --out runs/readers/manifest.csv

A reader's utterances are spread evenly over one day, chapter after chapter, so that the texts change as in the
books. When it was read is not in the corpus, so all readers begin and end together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from fedasr.files import write_text

DAY = pd.Timestamp("2026-01-01", tz="UTC")


def in_order(manifest: Path) -> pd.DataFrame:
    """Return the rows of a manifest with absolute paths and a ``timestamp``.

    Args:
        manifest: with ``path``, ``speaker`` and ``source_path``, whose end is reader, chapter and number.
    """
    rows = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    rows["path"] = [str((manifest.parent / path).resolve()) for path in rows["path"]]
    place = rows["source_path"].map(lambda path: tuple(map(int, Path(path).stem.split("-"))))
    rows = rows.loc[place.sort_values().index]
    of_reader = rows.groupby("speaker")["path"]
    part = (of_reader.cumcount() + 0.5) / of_reader.transform("size")
    rows["timestamp"] = [(DAY + pd.Timedelta(days=1) * share).isoformat(timespec="milliseconds") for share in part]
    return rows


def main() -> None:
    """Write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(given.out, in_order(given.manifest).to_csv(index=False))


if __name__ == "__main__":
    main()
