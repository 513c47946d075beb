"""`python -m tests.compare.burner SEED`: keeps a core busy at random, until its standard input ends.

Busy and idle stretches are drawn from 1 ms to 1 s, every order of magnitude as likely: short ones as of other
programs' events, long ones as of builds and tests.
"""

from __future__ import annotations

import random
import sys
import threading
import time


def main() -> None:
    """Burn."""
    draw = random.Random(int(sys.argv[1]))
    ended = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    while not ended.is_set():
        end = time.perf_counter() + 10 ** draw.uniform(-3, 0)
        while time.perf_counter() < end:
            pass
        ended.wait(10 ** draw.uniform(-3, 0))


if __name__ == "__main__":
    main()
