"""Spine, ribs and sternum as formulas of the template position."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unireg_cli.phantom.canvas import Canvas
from unireg_cli.phantom.tissue import LABELS, LUMBAR_5, Material

# Heights of the discs from below L5 upwards to above T3, mm.
_DISCS = (-155.0, -121.0, -89.0, -57.5, -27.0, 2.0, 28.0, 52.0, 76.0, 100.0, 124.0, 148.0, 172.0, 196.0, 220.0, 244.0)
_DISC_HALF_MM = 3.2
_RIB_PITCH = 24.0
_RIB_12_HEIGHT = 20.0
# How far round the body (angle from the spine) bone and then cartilage of each rib reach; rib 1 first.
_BONE_UNTIL = (2.5, 2.5, 2.5, 2.5, 2.45, 2.4, 2.35, 2.3, 2.25, 2.2, 1.75, 1.35)
_CARTILAGE_UNTIL = (2.98, 2.98, 2.98, 2.98, 2.98, 2.95, 2.9, 2.75, 2.6, 2.5, 1.8, 1.4)
# Ribs descend on their way to the front, the middle ones most.
_DROP = (25.0, 35.0, 42.0, 48.0, 52.0, 56.0, 58.0, 58.0, 56.0, 52.0, 46.0, 36.0)
_RIB_FROM = 0.42


def rib_depth(angle: Tensor, fat_mm: float, z: Tensor) -> Tensor:
    """Depth of the middle of the ribs under the skin, mm: deeper at the back, where the long muscles lie behind them."""
    behind = ((0.85 - angle) / 0.6).clamp_(0, 1)
    belly = (z * -0.04).sigmoid_()
    return fat_mm + 7.5 + 24 * behind.square_() + (0.5 - 0.5 * angle.cos()) * belly * fat_mm * 0.8


def paint_ribs(canvas: Canvas, depth: Tensor, angle: Tensor, fat_mm: float) -> None:
    """Twelve pairs of ribs in the body wall, each with its cartilage towards the front."""
    part = canvas.window(np.array([-190.0, -130.0, -70.0]), np.array([190.0, 130.0, 320.0]))
    if part is None:
        return
    z = canvas.z[part]
    radial = ((depth[part] - rib_depth(angle[part], fat_mm, z)) / 4.2).numpy()
    # Only the thin shell of the wall is worked on further: a few per cent of the voxels.
    shell = np.nonzero((np.abs(radial) < 1) & (angle[part].numpy() > _RIB_FROM))
    radial, z_shell, round_the_body = radial[shell], z.numpy()[shell], angle[part].numpy()[shell]
    left = canvas.x[part].numpy()[shell] > 0
    front = 0.5 - 0.5 * np.cos(round_the_body)
    labels, materials = canvas.labels[part].numpy(), canvas.materials[part].numpy()
    label, material = labels[shell], materials[shell]
    for rib in range(1, 13):
        height = _RIB_12_HEIGHT + _RIB_PITCH * (12 - rib) - _DROP[rib - 1] * front
        ring = radial**2 + ((z_shell - height) / 5.5) ** 2
        here, bone = ring < 1, round_the_body < _BONE_UNTIL[rib - 1]
        cartilage = here & ~bone & (round_the_body < _CARTILAGE_UNTIL[rib - 1])
        material[cartilage], label[cartilage] = int(Material.CARTILAGE), LABELS["costal_cartilages"]
        here &= bone
        material[here], label[here] = int(Material.BONE), LABELS[f"rib_right_{rib}"]
        material[here & (ring < 0.35)] = int(Material.MARROW)
        label[here & left] = LABELS[f"rib_left_{rib}"]
    labels[shell], materials[shell] = label, material


def paint_sternum(canvas: Canvas, depth: Tensor, fat_mm: float) -> None:
    """A flat bone in the front of the wall."""
    part = canvas.window(np.array([-30.0, -140.0, 60.0]), np.array([30.0, -60.0, 220.0]))
    if part is None:
        return
    x, y, z, depth = canvas.x[part], canvas.y[part], canvas.z[part], depth[part]
    across = x / (13 + 0.08 * (z - 60).clamp_(0, 140))
    shape = across.square().square_() + ((depth - fat_mm - 6) / 5.5).square_() + ((z - 140) / 72).pow_(8)
    inside = (shape < 1) & (y < 0)
    canvas.materials[part].masked_fill_(inside, int(Material.BONE))
    canvas.materials[part].masked_fill_(inside & (shape < 0.45), int(Material.MARROW))
    canvas.labels[part].masked_fill_(inside, LABELS["sternum"])


def _spine_y(z: Tensor) -> Tensor:
    """Where the middle of the vertebral bodies lies: backwards in the chest, forwards in the loins, mm."""
    return 36 + 22 * torch.sin((z + 75) / 95).clamp_(min=-0.4)


def paint_spine(canvas: Canvas) -> None:
    """Vertebrae with arch and processes, discs, spinal cord and the long muscles of the back."""
    part = canvas.window(np.array([-70.0, -10.0, -400.0]), np.array([70.0, 115.0, 400.0]))
    if part is None:
        return
    x, z = canvas.x[part], canvas.z[part]
    y = canvas.y[part] - _spine_y(z)
    label, material = canvas.labels[part], canvas.materials[part]

    def fill(inside: Tensor, what: Material, ids: Tensor | int) -> None:
        material.masked_fill_(inside, int(what))
        label.copy_(torch.where(inside, ids, label)) if isinstance(ids, Tensor) else label.masked_fill_(inside, ids)

    wall = (canvas.regions[part] > 0) & (canvas.y[part] < 96)
    for side, sign in (("left", 1), ("right", -1)):
        muscle = ((x * sign - 30) / 25).square_() + ((y - 40) / 19).square_() < 1
        fill(muscle & wall, Material.MUSCLE, LABELS[f"autochthon_{side}"])
    discs = torch.tensor(_DISCS)
    level = torch.bucketize(z.contiguous(), discs).sub_(1).clamp_(0, len(_DISCS) - 2)
    ids = (LUMBAR_5 + level).to(torch.uint8)
    # Where in its own vertebra a point lies: -1 at the disc below, 1 at the disc above.
    below, above = discs[level], discs[level + 1]
    up = (2 * z - below - above) / (above - below)
    edge = (1 - up.abs()) * (above - below) / 2
    canal = x.square() + (y - 24).square_()
    arch = ((canal < 15**2) & (up.abs() < 0.75)) | _processes(x, y, up)
    fill(arch, Material.BONE, ids)
    fill(canal < 9.5**2, Material.FAT, LABELS["visceral_fat"])
    fill(canal < 7.5**2, Material.CORD, LABELS["spinal_cord"])
    width = 20 - 0.028 * z.clamp(-150, 200)
    waist = 1 + 0.08 * up.abs()
    body = (x / (width * waist)).square_() + (y / (0.78 * width * waist)).square_()
    solid = edge > _DISC_HALF_MM
    fill((body < 1) & ~solid, Material.CARTILAGE, LABELS["body_wall_muscle"])
    fill((body < 1) & solid, Material.BONE, ids)
    fill((body < 0.82) & (edge > _DISC_HALF_MM + 1.6), Material.MARROW, ids)


def _processes(x: Tensor, y: Tensor, up: Tensor) -> Tensor:
    """Spinous process backwards and transverse processes sideways."""
    spinous = (x.abs() < 3.6) & (y > 34) & (y < 58) & (up > -0.75) & (up < 0.15)
    transverse = (x.abs() < 36) & ((y - 24 - 0.2 * x.abs()).abs() < 4.5) & ((up - 0.1).abs() < 0.32) & (x.abs() > 10)
    return spinous | transverse
