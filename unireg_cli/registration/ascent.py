"""A small quasi-Newton climber for a handful of parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unireg_cli.types import FloatArray

# Pairs of steps and gradient changes remembered.
_MEMORY = 8
# A step must gain this share of what its slope promises, and is halved at most this often until it does.
_SUFFICIENT, _HALVINGS = 1e-4, 6


def maximise(
    value_and_gradient: Callable[[FloatArray], tuple[float, FloatArray]], start: FloatArray, steps: int, enough: float
) -> tuple[FloatArray, float]:
    """Parameters near ``start`` with the highest value found, and that value, by limited-memory BFGS.

    The first step has length 1: scale the parameters so that this is a sensible move. Ends after ``steps`` steps, or
    when a step gains less than ``enough``. Never returns less than the value at ``start``.

    Source:
        Nocedal & Wright, "Numerical Optimization", algorithm 7.4 (two-loop recursion) with backtracking.
    """
    point = np.array(start, dtype=np.float64)
    value, gradient = value_and_gradient(point)
    moves: list[FloatArray] = []
    bends: list[FloatArray] = []
    for _ in range(steps):
        length = float(np.linalg.norm(gradient))
        if length == 0:
            break
        direction = _direction(gradient, moves, bends) if moves else gradient / length
        slope = float(direction @ gradient)
        if slope <= 0:
            # The memory is worn out: start again from steepest ascent.
            moves, bends = [], []
            direction, slope = gradient / length, length
        found = _backtrack(value_and_gradient, point, value, direction, slope)
        if found is None:
            break
        trial, new_value, new_gradient = found
        move, bend = trial - point, gradient - new_gradient
        if float(move @ bend) > 1e-12:
            moves, bends = [*moves[1 - _MEMORY :], move], [*bends[1 - _MEMORY :], bend]
        gain = new_value - value
        point, value, gradient = trial, new_value, new_gradient
        if gain < enough:
            break
    return point, value


def _direction(gradient: FloatArray, moves: list[FloatArray], bends: list[FloatArray]) -> FloatArray:
    """The two-loop recursion: the inverse of the curvature seen so far times the gradient."""
    direction = gradient.copy()
    shares = []
    for move, bend in zip(reversed(moves), reversed(bends), strict=True):
        share = float(move @ direction) / float(move @ bend)
        shares.append(share)
        direction -= share * bend
    direction *= float(moves[-1] @ bends[-1]) / float(bends[-1] @ bends[-1])
    for move, bend, share in zip(moves, bends, reversed(shares), strict=True):
        direction += (share - float(bend @ direction) / float(move @ bend)) * move
    return direction


def _backtrack(
    value_and_gradient: Callable[[FloatArray], tuple[float, FloatArray]],
    point: FloatArray,
    value: float,
    direction: FloatArray,
    slope: float,
) -> tuple[FloatArray, float, FloatArray] | None:
    """The first halving of a step that gains enough; None if none does."""
    share = 1.0
    for _ in range(_HALVINGS):
        trial = point + share * direction
        found, gradient = value_and_gradient(trial)
        if found >= value + _SUFFICIENT * share * slope:
            return trial, found, gradient
        share /= 2
    return None
