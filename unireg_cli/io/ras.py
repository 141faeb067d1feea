"""RAS and LPS: the only place that knows how NIfTI's axes lie to ITK's."""

from __future__ import annotations

from typing import Final

import numpy as np

from unireg_cli.types import AnyArray, FloatArray

# Right and anterior are NIfTI's positive directions, left and posterior DICOM's and ITK's; superior is common.
LPS_FROM_RAS: Final[FloatArray] = np.array([-1.0, -1.0, 1.0])


def lps_from_ras(ras: AnyArray) -> FloatArray:
    """Points or vectors (..., 3) from RAS to LPS, same unit."""
    # Adding zero turns -0.0, ugly in a table, into 0.0.
    return np.asarray(ras * LPS_FROM_RAS + 0.0, dtype=np.float64)


def ras_from_lps(lps: AnyArray) -> FloatArray:
    """Points or vectors (..., 3) from LPS to RAS, same unit."""
    return np.asarray(lps / LPS_FROM_RAS + 0.0, dtype=np.float64)
