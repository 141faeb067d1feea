"""Type aliases and closed vocabularies shared by all rooms."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
AnyArray = NDArray[Any]


class Interpolation(StrEnum):
    """How an image is read between its voxels."""

    NEAREST = "nearest"
    LINEAR = "linear"
    BSPLINE = "bspline"
    LABEL = "label"


class Modality(StrEnum):
    """How intensities are normalised; ``AUTO`` decides from header and histogram and reports the choice."""

    AUTO = "auto"
    CT = "ct"
    MR = "mr"
    OTHER = "other"


class TransformKind(StrEnum):
    """The richest kind of transform a registration may produce."""

    RIGID = "rigid"
    AFFINE = "affine"
    DEFORMABLE = "deformable"


class TransformFormat(StrEnum):
    """File format of written transforms."""

    H5 = "h5"
    ANTS = "ants"
    NII = "nii"


class Start(StrEnum):
    """Where the affine search begins; ``AUTO`` tries header, centres and moments and keeps the best."""

    AUTO = "auto"
    NONE = "none"
    HEADER = "header"
    CENTERS = "centers"
    MOMENTS = "moments"


class Similarity(StrEnum):
    """What alike means: ``AUTO`` is LNCC, or MIND-SSC where the two modalities differ."""

    AUTO = "auto"
    LNCC = "lncc"
    MIND = "mind"


class Effort(StrEnum):
    """How long the refinement runs."""

    FAST = "fast"
    DEFAULT = "default"
    BEST = "best"


class Mode(StrEnum):
    """Registration type: two people, or one person twice."""

    INTER = "inter"
    INTRA = "intra"
