"""Peak memory and wall time of a config, summed over its processes.

python -m benchmarks.population ten_thousand_clients
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.measure import anonymous_mb, memory_mb


def main() -> None:
    """Run the config and print its peak memory, wall time and WER."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "fedasr.cli.main", "run", arguments.config, *arguments.overrides]
        started = time.perf_counter()
        process = subprocess.Popen([*command, "--out", f"{folder}/run", "--quiet"])
        peak = {"pss_mb": 0.0, "anonymous_mb": 0.0}
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.25):
                peak["pss_mb"] = max(peak["pss_mb"], memory_mb(process.pid))
                peak["anonymous_mb"] = max(peak["anonymous_mb"], anonymous_mb(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = process.wait()
        wall = time.perf_counter() - started
        done.set()
        watcher.join()
        if status:
            sys.exit(status)
        summary = json.loads((Path(folder) / "run" / "summary.json").read_text())
    facts = {key: summary[key] for key in ("name", "clients", "rounds", "updates", "wer")}
    print(json.dumps({**facts, "wall_s": round(wall, 1), **{k: round(v) for k, v in peak.items()}}))


if __name__ == "__main__":
    main()
