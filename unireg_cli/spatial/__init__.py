"""The geometry of images and transforms: pure numpy and torch, LPS millimetres, no paths, no printing."""

from unireg_cli.spatial.affine import Affine
from unireg_cli.spatial.chain import Chain, Transform
from unireg_cli.spatial.field import DisplacementField
from unireg_cli.spatial.grid import Grid
from unireg_cli.spatial.image import Image

__all__ = ["Affine", "Chain", "DisplacementField", "Grid", "Image", "Transform"]
