"""How well two label maps on one grid overlap."""

from __future__ import annotations

import numpy as np

from unireg_cli.types import AnyArray


def dice_per_label(fixed: AnyArray, warped: AnyArray) -> dict[int, float]:
    """2 |F and W| / (|F| + |W|) for every non-zero label of ``fixed``; a label missing in ``warped`` scores 0.

    Args:
        fixed: label ids (D, H, W), not negative.
        warped: label ids on the same grid.

    Raises:
        ValueError: the two shapes differ.
    """
    if fixed.shape != warped.shape:
        raise ValueError(f"label maps on one grid have one shape, found {fixed.shape} and {warped.shape}")
    # Ids may be as large as 65535, but few are used: count compact numbers instead of ids.
    ids, codes = np.unique(np.concatenate((fixed.ravel(), warped.ravel())), return_inverse=True)
    first, second = codes.reshape(2, -1)
    in_fixed = np.bincount(first, minlength=len(ids))
    in_warped = np.bincount(second, minlength=len(ids))
    in_both = np.bincount(first[first == second], minlength=len(ids))
    return {int(i): float(2 * in_both[n] / (in_fixed[n] + in_warped[n])) for n, i in enumerate(ids) if i != 0 and in_fixed[n]}
