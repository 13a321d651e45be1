"""Published and recomputed values of accountants and of PATE; see ``vectors.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("vectors.json")


def vectors(prefix: str) -> list[dict[str, Any]]:
    """Return the vectors whose id begins with the prefix."""
    result = [v for v in json.loads(FILE.read_text(encoding="utf-8"))["vectors"] if v["id"].startswith(prefix)]
    assert result
    return result
