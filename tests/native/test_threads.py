"""One executor called from eight threads at once, a hundred thousand times each."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import nn

from tests.native.conftest import Make


@pytest.mark.stress
def test_eight_threads_agree_over_100000_calls_each(native: Make) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4))
    executor = native(network, torch.zeros(2, 8))
    # The last one is long enough to be computed without the GIL, so that calls really overlap.
    batches = [1, 1, 2, 1, 9, 1, 3, 400]
    cases = [
        np.random.default_rng(seed).standard_normal((batch, 8)).astype(np.float32)
        for seed, batch in enumerate(batches)
    ]
    wanted = [executor.run((case,))[0] for case in cases]
    wrong = []

    def call(number: int) -> None:
        inputs, out = (cases[number],), np.empty_like(wanted[number])
        calls = 100_000 if cases[number].shape[0] < 100 else 5_000
        for _ in range(calls):
            out.fill(np.nan)
            executor.run_into(inputs, (out,))
            if not np.array_equal(out, wanted[number]):
                wrong.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
