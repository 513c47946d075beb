"""A program in the place of the one that serves: it ends, or does not, as the artifact's name says."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    how = Path(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["artifact"]).name
    match how:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raises":
            raise RuntimeError("a mistake")
        case "sleeps":
            time.sleep(60)
