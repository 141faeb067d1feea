from __future__ import annotations

import time

import numpy as np

from unireg_cli.registration.stopwatch import Stopwatch, peak_memory_mb


def test_peak_memory_is_in_megabytes_and_never_falls():
    before = peak_memory_mb()
    held = np.ones(1_000_000)
    assert 50 < before <= peak_memory_mb() < 50_000
    assert held.nbytes == 8_000_000


def test_stages_are_timed_in_order():
    watch = Stopwatch()
    with watch.stage("first"):
        time.sleep(0.02)
    with watch.stage("second"):
        pass
    first, second = watch.stages
    assert (first.name, second.name) == ("first", "second")
    assert first.seconds >= 0.02 > second.seconds
    assert second.peak_memory_mb >= first.peak_memory_mb > 50
