"""One label map from those of several atlases that lie on one grid.

python fuse.py majority|staple OUT LABELS...
"""

from __future__ import annotations

import sys

import SimpleITK as sitk

# Where the atlases do not agree enough for either method to decide.
_UNDECIDED = 0


def fuse(method: str, paths: list[str]) -> sitk.Image:
    """Vote by ``majority``, or by ``staple``: weighted by how reliable each atlas proves to be for each label.

    Raises:
        ValueError: another method.
    """
    images = [sitk.Cast(sitk.ReadImage(path), sitk.sitkUInt16) for path in paths]
    if method == "majority":
        return sitk.LabelVoting(images, _UNDECIDED)
    if method == "staple":
        staple = sitk.MultiLabelSTAPLEImageFilter()
        staple.SetLabelForUndecidedPixels(_UNDECIDED)
        return staple.Execute(images)
    raise ValueError(f"fusion is majority or staple, found {method}")


if __name__ == "__main__":
    sitk.WriteImage(fuse(sys.argv[1], sys.argv[3:]), sys.argv[2], useCompression=True)
