"""Other looks of a real image: what another kind of scanner might have made of the same body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unireg_cli.types import FloatArray

# Bends of the curve from old to new brightness, at random ranks of what the body shows: a CT's organs lie within a tenth of its range.
_FEWEST, _MOST = 2, 7
# Values whose ranks are looked at, about.
_LOOKED_AT = 50_000
# The darkest tissue is not air.
_DARKEST = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """A curve from old to new brightness: at ``ranks`` (n,) of the body's values, 0 to 1 in order, the new ``levels`` (n,), 0 to 1.

    It rises and falls, so that tissues change their order, as between CT and MR or between two sequences. The new image has a ``share`` in
    what is seen, the old one the rest. The idea of a random curve is from Zhou et al., "Models Genesis", MedIA 2021; theirs is monotonic.
    """

    ranks: FloatArray
    levels: FloatArray
    share: float

    @classmethod
    def random(cls, generator: torch.Generator) -> Appearance:
        """Levels and ranks evenly drawn, and at least half of the new look."""
        bends = int(torch.randint(_FEWEST, _MOST + 1, (), generator=generator))
        ranks = torch.rand(bends, generator=generator).sort().values.double().numpy()
        levels = torch.rand(bends + 2, generator=generator).double().numpy()
        share = 0.5 + 0.5 * float(torch.rand((), generator=generator))
        return cls(np.concatenate(([0.0], ranks, [1.0])), levels, share)

    def of(self, image: Tensor) -> Tensor:
        """An image (D, H, W) in [0, 1] as it looks this way, float32 in [0, 1]; what is exactly 0 is taken for air and stays so."""
        values = image.float().cpu().numpy()
        body = values > 0
        inside = values[body]
        if not len(inside):
            return image.float()
        known = np.quantile(inside[:: max(1, len(inside) // _LOOKED_AT)], self.ranks)
        new = np.interp(inside, known, self.levels)
        mixed = self.share * new + (1 - self.share) * inside
        low, high = float(mixed.min()), float(mixed.max())
        seen = np.zeros_like(values)
        seen[body] = _DARKEST + (1 - _DARKEST) * (mixed - low) / max(high - low, 1e-6)
        return torch.from_numpy(seen).to(image.device)
