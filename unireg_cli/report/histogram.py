"""How much of the body grows or shrinks by how much: the log-Jacobian inside the fixed image's foreground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unireg_cli.registration.normalise import decide_modality, foreground, normalise
from unireg_cli.report.stacks import log_jacobian_map
from unireg_cli.spatial import Chain, DisplacementField, Image
from unireg_cli.spatial.resample import resample
from unireg_cli.types import FloatArray, Interpolation, Modality

_BINS = 61
_WIDTH, _HEIGHT, _FOOT = 640.0, 190.0, 34.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """``shares`` (bins,) of the foreground's voxels, in percent, between ``borders`` (bins + 1,); the outermost bins hold all beyond."""

    borders: FloatArray
    shares: FloatArray
    mean: float
    spread: float
    """Standard deviation of all values: SDlogJ."""

    @property
    def middles(self) -> FloatArray:
        """The middle of each bin."""
        return np.asarray((self.borders[:-1] + self.borders[1:]) / 2)


def log_jacobian_histogram(fixed: Image, field: DisplacementField, limit: float, modality: Modality = Modality.AUTO) -> Histogram:
    """Of log det d(x + u)/dx at the field's voxels inside the fixed foreground, from -limit to +limit."""
    inside = _foreground_on_field(fixed, field, modality)
    values = np.asarray(log_jacobian_map(field).voxels[inside] if inside.any() else np.zeros(1), np.float64)
    borders = np.linspace(-limit, limit, _BINS + 1)
    counts, _ = np.histogram(np.clip(values, -limit, limit), borders)
    return Histogram(borders, counts * (100 / len(values)), float(values.mean()), float(values.std()))


def _foreground_on_field(fixed: Image, field: DisplacementField, modality: Modality) -> NDArray[np.bool_]:
    kind, _ = decide_modality(fixed, modality)
    body = foreground(normalise(fixed, kind), kind).numpy()
    return np.asarray(resample(body, fixed.grid, field.grid, Chain(), Interpolation.NEAREST).astype(bool))


def histogram_svg(histogram: Histogram) -> str:
    """The histogram as a drawing that follows the page's colours."""
    limit, highest = float(histogram.borders[-1]), float(max(histogram.shares.max(), 1e-9))
    wide = _WIDTH / len(histogram.shares)
    bars = []
    for n, (share, middle) in enumerate(zip(histogram.shares, histogram.middles, strict=True)):
        tall = share / highest * (_HEIGHT - _FOOT - 8)
        place = f'x="{n * wide:.1f}" y="{_HEIGHT - _FOOT - tall:.1f}" width="{wide - 1:.1f}" height="{tall:.1f}"'
        words = f"log-Jacobian {middle:+.2f} (volume x {np.exp(middle):.2f}): {share:.2f} % of the foreground"
        bars.append(f'<rect {place} fill="{_colour(float(middle) / limit)}"><title>{words}</title></rect>')
    ticks = []
    for value in (-limit, -limit / 2, 0.0, limit / 2, limit):
        x = (value + limit) / (2 * limit) * _WIDTH
        anchor = "start" if value == -limit else "end" if value == limit else "middle"
        for y, text in ((_HEIGHT - _FOOT + 14, f"{value:+.2f}" if value else "0"), (_HEIGHT - 5, f"volume x {np.exp(value):.2f}")):
            ticks.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>')
    base = _HEIGHT - _FOOT
    ground = f'<line x1="0" x2="{_WIDTH:.0f}" y1="{base:.1f}" y2="{base:.1f}" stroke="currentColor" stroke-width="0.6"/>'
    label = f'role="img" aria-label="Histogram of the log-Jacobian, standard deviation {histogram.spread:.3f}"'
    return f'<svg class="histogram" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" {label}>{"".join(bars)}{ground}{"".join(ticks)}</svg>'


def _colour(share: float) -> str:
    """Blue where volume is lost, red where it grows, grey in between, as in the pictures."""
    near, far = np.array((150.0, 150.0, 150.0)), np.array((178.0, 24, 43) if share > 0 else (33.0, 102, 172))
    mixed = near + (far - near) * min(1.0, abs(share) * 1.6)
    return "#" + "".join(f"{round(c):02x}" for c in mixed)
