"""A torso that can be looked at at any point: body wall, diaphragm, lungs, ribs and spine as formulas, organs as shapes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from unireg_cli.phantom.anatomy import Anatomy
from unireg_cli.phantom.canvas import Canvas, Region
from unireg_cli.phantom.organs import organs
from unireg_cli.phantom.shapes import Shape
from unireg_cli.phantom.skeleton import paint_ribs, paint_spine, paint_sternum, rib_depth
from unireg_cli.phantom.tissue import LABELS, Material
from unireg_cli.types import AnyArray

_SKIN_MM = 2.5
_WALL_BEHIND_RIBS_MM = 7.0
_DIAPHRAGM_MM = 4.0


@dataclass(frozen=True, slots=True)
class Torso:
    """The label and material of every point of one subject; the body has no end above and below, as in a scan."""

    anatomy: Anatomy = field(default_factory=Anatomy)
    _shapes: list[Shape] = field(init=False, repr=False)
    _waves: tuple[Tensor, Tensor, Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_shapes", organs(self.anatomy))
        object.__setattr__(self, "_waves", _unevenness(self.anatomy))

    def paint(self, points_lps: AnyArray) -> Canvas:
        """Labels and materials at points (D, H, W, 3) or (N, 3), LPS mm; a list of points comes back as (1, 1, N)."""
        template = self.anatomy.template_from_lps
        flat = torch.from_numpy(np.asarray(points_lps, dtype=np.float32)).reshape(-1, 3)
        position = torch.addmm(torch.from_numpy(template.matrix[:3, 3].astype(np.float32)), flat, _float(template.matrix[:3, :3].T))
        directions, phases, bumps = self._waves
        position = torch.addmm(position, torch.addmm(phases, position, directions).sin_(), bumps)
        shape = points_lps.shape[:-1] if points_lps.ndim == 4 else (1, 1, len(flat))
        x, y, z = (column.reshape(shape).contiguous() for column in position.unbind(1))
        canvas = Canvas(x, y, z)
        self._paint_all(canvas)
        return canvas

    def labels_at(self, points_lps: AnyArray) -> AnyArray:
        """Label ids (N,) of points (N, 3), LPS mm."""
        return np.asarray(self.paint(points_lps).labels.numpy()[0, 0])

    def _paint_all(self, canvas: Canvas) -> None:
        depth, angle = _paint_wall(canvas, self.anatomy.fat_mm)
        _paint_lungs(canvas)
        for shape in self._shapes:
            shape.paint(canvas)
        paint_spine(canvas)
        paint_ribs(canvas, depth, angle, self.anatomy.fat_mm)
        paint_sternum(canvas, depth, self.anatomy.fat_mm)


def _float(matrix: AnyArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float32))


def _unevenness(anatomy: Anatomy) -> tuple[Tensor, Tensor, Tensor]:
    """Plane waves that move every surface a little: wave vectors (3, n), phases (n,), directions of movement in mm (n, 3)."""
    rng = anatomy.rng("unevenness")
    lengths = np.concatenate([rng.uniform(90, 160, 5), rng.uniform(22, 40, 5)])
    heading = rng.normal(size=(10, 3))
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    bumps = rng.normal(size=(10, 3))
    bumps /= np.linalg.norm(bumps, axis=1, keepdims=True)
    # Long waves carry most of it; together they stay below the stated height.
    bumps *= anatomy.unevenness_mm * np.repeat([0.8, 0.2], 5)[:, None] / 5
    return _float((2 * np.pi / lengths[:, None] * heading).T), _float(rng.uniform(0, 2 * np.pi, 10)), _float(bumps)


def _body_depth(canvas: Canvas) -> tuple[Tensor, Tensor]:
    """Distance from the skin inwards in mm (negative outside) and the angle from the spine (0) to the front (pi)."""
    x, y, z = canvas.x, canvas.y, canvas.z
    waist = (((z + 55) / 60).square_().neg_()).exp_()
    shoulder = ((z - 150) / 90).clamp_(0, 1)
    side = 160 - 9 * waist + 10 * shoulder
    front = 108 - 4 * waist + 4 * shoulder
    a, b = x.abs() / side, (y - 4).abs_() / front
    rho = (a.square() * a.sqrt() + b.square() * b.sqrt()).pow_(0.4).clamp_min_(1e-3)
    radius = (x.square() + (y - 4).square_()).sqrt_()
    return radius * (1 / rho - 1), torch.atan2(x.abs(), y - 4)


def _diaphragm(x: Tensor, y: Tensor) -> Tensor:
    """Height of the diaphragm: two domes and the flat tendon that the heart rests on."""
    right = 74 - 92 * (((x + 72) / 88).square_() + ((y + 4) / 98).square_())
    left = 60 - 92 * (((x - 70) / 84).square_() + (y / 98).square_())
    tendon = 52 - 60 * (((x - 5) / 75).square_() + ((y + 20) / 80).square_())
    return torch.maximum(torch.maximum(right, left), tendon)


def _paint_wall(canvas: Canvas, fat_mm: float) -> tuple[Tensor, Tensor]:
    """Skin, fat, muscle wall and diaphragm; the space inside becomes chest and abdomen, filled with fat. Returns depth, angle."""
    depth, angle = _body_depth(canvas)
    belly = (canvas.z * -0.02).sigmoid_() * (0.5 - 0.5 * angle.cos())
    fat = fat_mm * (1 + 0.8 * belly)
    wall = rib_depth(angle, fat_mm, canvas.z) + _WALL_BEHIND_RIBS_MM
    above = canvas.z - _diaphragm(canvas.x, canvas.y)
    layers = (
        (depth > 0, Material.SKIN, "skin", Region.WALL),
        (depth > _SKIN_MM, Material.FAT, "subcutaneous_fat", Region.WALL),
        (depth > fat, Material.MUSCLE, "body_wall_muscle", Region.WALL),
        (depth > wall, Material.FAT, "visceral_fat", Region.CHEST),
        ((depth > wall) & (above < 0), Material.MUSCLE, "body_wall_muscle", Region.WALL),
        ((depth > wall) & (above < -_DIAPHRAGM_MM), Material.FAT, "visceral_fat", Region.ABDOMEN),
    )
    for inside, material, name, region in layers:
        canvas.materials.masked_fill_(inside, int(material))
        canvas.labels.masked_fill_(inside, LABELS[name])
        canvas.regions.masked_fill_(inside, int(region))
    return depth, angle


def _paint_lungs(canvas: Canvas) -> None:
    """Both lungs fill the chest beside the mediastinum; fissures cut them into lobes."""
    part = canvas.window(np.array([-190.0, -140.0, -80.0]), np.array([190.0, 140.0, 260.0]))
    if part is None:
        return
    x, y, z = canvas.x[part], canvas.y[part], canvas.z[part]
    middle = (x / 30).square_() + ((y - 20) / 112).square_() > 1
    apex = (x.abs() - 78).div_(70).square_() + ((y - 10) / 84).square_() + ((z - 110) / 142).clamp_(min=0).square_() < 1
    lung = (canvas.regions[part] == int(Region.CHEST)) & middle & (apex | (z < 175))
    canvas.materials[part].masked_fill_(lung, int(Material.LUNG))
    # The oblique fissure climbs from the front of the diaphragm to the back of the fourth rib.
    upper = z > 98 + 0.95 * (y - 10)
    horizontal = z > 112 + 0.1 * y
    lobes = (
        ("lung_lower_lobe_left", (x > 0) & ~upper),
        ("lung_upper_lobe_left", (x > 0) & upper),
        ("lung_lower_lobe_right", (x <= 0) & ~upper),
        ("lung_middle_lobe_right", (x <= 0) & upper & ~horizontal),
        ("lung_upper_lobe_right", (x <= 0) & upper & horizontal),
    )
    for name, inside in lobes:
        canvas.labels[part].masked_fill_(lung & inside, LABELS[name])
