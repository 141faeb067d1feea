from __future__ import annotations

import numpy as np
import pytest

from unireg_cli.registration.ascent import maximise


def test_a_long_narrow_hill_is_climbed_to_its_top():
    scales, top = np.array([1.0, 30.0, 900.0]), np.array([3.0, -2.0, 0.5])

    def hill(x):
        return float(-0.5 * scales @ (x - top) ** 2), -scales * (x - top)

    found, value = maximise(hill, np.zeros(3), 60, 0.0)
    assert found == pytest.approx(top, abs=1e-4) and value == pytest.approx(0, abs=1e-6)


def test_rosenbrock_from_its_usual_start():
    def banana(x):
        a, b = 1 - x[0], x[1] - x[0] ** 2
        return -(a**2 + 100 * b**2), np.array([2 * a + 400 * x[0] * b, -200 * b])

    found, _ = maximise(banana, np.array([-1.2, 1.0]), 200, 0.0)
    assert found == pytest.approx([1.0, 1.0], abs=1e-3)


def test_never_below_the_start_whatever_the_gradient_says():
    calls = []

    def misleading(x):
        calls.append(x)
        return float(-(x @ x)), np.ones(2)  # the gradient points away from the top at 0

    found, value = maximise(misleading, np.zeros(2), 10, 0.0)
    assert np.array_equal(found, np.zeros(2)) and value == 0 and 2 < len(calls) < 12


def test_ends_when_a_step_gains_too_little():
    steps = []

    def slope(x):
        steps.append(float(x[0]))
        return 0.01 * float(x[0]), np.array([0.01])

    maximise(slope, np.zeros(1), 50, 0.02)
    assert steps == [0.0, 1.0]
