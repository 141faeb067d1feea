"""Affine pre-alignment: chosen pairs, affines from labels with their exact pull, and the cache."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import trainer.prealign
from trainer.datasets import NOT_ASKABLE, DataSet, Scan
from trainer.prealign import align_by_labels, choose_pairs, prealign
from unireg_cli.registration.network_grid import body_box
from unireg_cli.spatial import Affine, Grid
from unireg_cli.types import Mode

# Eight corners of a cube of 60 mm about (5, 6, 7).
MIDDLE = np.array([5.0, 6.0, 7.0])
CORNERS = MIDDLE + 30 * np.array(list(np.ndindex(2, 2, 2))) * 2 - 30
GRID = Grid.from_arrays((60, 60, 60), (2.0,) * 3, (-54.0, -53.0, -52.0), np.eye(3))


def marked(places: np.ndarray, grid: Grid = GRID, *, name: str = "scan", person: int = 0, kind: str = "", blurred: bool = False) -> Scan:
    """A scan with a ball of 5 mm about each place, labels 1, 2, ...; with values only if ``blurred``."""
    points = grid.points_lps()
    labels = torch.zeros(grid.shape, dtype=torch.uint8)
    for k, place in enumerate(places, 1):
        labels[torch.from_numpy(np.linalg.norm(points - place, axis=-1) < 5)] = k
    values = (labels > 0).half() if blurred else None
    return Scan(name, grid, values, labels, body_box(labels > 0, share=0.0), person, kind)


def dataset(scans: list[Scan], paired: tuple[tuple[int, int], ...] = ()) -> DataSet:
    return DataSet("set", Mode.INTER, tuple(scans), (NOT_ASKABLE, *range(8)), paired)


class TestByLabels:
    def test_a_shift_is_found(self) -> None:
        shift = np.array([8.0, -6.0, 4.0])
        found = align_by_labels(marked(CORNERS), marked(CORNERS + shift), 9)
        assert np.allclose(found.matrix, Affine.from_parts(np.eye(3), shift).matrix, atol=1e-6)

    def test_an_affine_is_found_but_for_the_pull(self) -> None:
        truth = Affine.from_parts(np.array([[1.2, 0.1, 0], [-0.1, 0.9, 0], [0, 0.05, 1.1]]), (4.0, 2.0, -6.0), MIDDLE)
        found = align_by_labels(marked(CORNERS), marked(truth.map(CORNERS)), 9)
        # Eight corners 30 mm from the middle along each axis: 8 * 30^2 against 40^2 for the identity.
        share = 7200 / (7200 + 1600)
        assert np.allclose(found.matrix[:3, :3], share * truth.matrix[:3, :3] + (1 - share) * np.eye(3), atol=0.01)
        assert np.allclose(found.map(MIDDLE), truth.map(MIDDLE), atol=0.3)

    def test_large_structures_lose_nothing(self) -> None:
        # Sums of indices over hundreds of thousands of voxels are beyond single precision.
        here = torch.zeros(128, 128, 128, dtype=torch.uint8)
        here[30:, 30:, 30:] = 1
        there = torch.roll(here, (-11, -17, -5), dims=(0, 1, 2))
        grid = Grid.from_arrays((128,) * 3, (1.0,) * 3, (0.0,) * 3, np.eye(3))
        scans = [Scan("big", grid, None, labels, body_box(labels > 0), 0) for labels in (here, there)]
        assert np.allclose(align_by_labels(*scans, 2).matrix[:3, 3], (-5, -17, -11), rtol=0, atol=1e-6)

    def test_one_structure_gives_a_shift_and_none_nothing(self) -> None:
        one = align_by_labels(marked(CORNERS[:1]), marked(CORNERS[:1] + np.array([6.0, 0, 0])), 9)
        assert np.allclose(one.matrix, Affine.from_parts(np.eye(3), (6.0, 0, 0)).matrix, atol=1e-6)
        assert align_by_labels(marked(CORNERS[:1]), marked(np.zeros((0, 3))), 9).is_identity

    def test_only_common_and_named_structures_count(self) -> None:
        odd = CORNERS + np.array([4.0, 0, 0])
        odd[7, 1] -= 30
        # Label 8 is beyond the count, labels 5 to 7 are in one scan only.
        moving = marked(odd)
        moving.labels[(moving.labels > 4) & (moving.labels < 8)] = 0
        found = align_by_labels(marked(CORNERS), moving, 8)
        assert np.allclose(found.matrix, Affine.from_parts(np.eye(3), (4.0, 0, 0)).matrix, atol=1e-6)

    def test_grids_may_differ(self) -> None:
        turned = Grid.from_arrays((50, 60, 70), (2.5, 2.0, 2.0), (60.0, -50.0, 70.0), np.diag([-1.0, 1.0, -1.0]))
        found = align_by_labels(marked(CORNERS), marked(CORNERS, turned), 9)
        assert np.allclose(found.map(CORNERS), CORNERS, atol=0.5)


class TestPairs:
    def test_listed_pairs_come_both_ways_and_partners_are_other_people(self) -> None:
        scans = [marked(CORNERS[:1], name=f"s{k}", person=person) for k, person in enumerate((0, 0, 1, 2, 3))]
        pairs = choose_pairs(dataset(scans, ((0, 1),)), 2, seed=3)
        assert pairs[:2] == [(0, 1), (1, 0)]
        assert [fixed for fixed, _ in pairs[2:]] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        assert all(scans[a].person != scans[b].person for a, b in pairs[2:])
        assert len(set(pairs)) == len(pairs)
        assert choose_pairs(dataset(scans), 2, seed=3) == choose_pairs(dataset(scans), 2, seed=3) != choose_pairs(dataset(scans), 2, seed=4)

    def test_label_maps_pair_within_their_kind_whatever_their_names(self) -> None:
        scans = [marked(CORNERS[:1], name=f"p{k}-seg", person=k, kind=kind) for k, kind in enumerate(("head", "", "head", ""))]
        assert sorted(choose_pairs(dataset(scans), 5, seed=0)) == [(0, 2), (1, 3), (2, 0), (3, 1)]


class TestCache:
    def test_what_is_on_disk_is_not_made_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data = dataset([marked(CORNERS + 2.0 * k, name=f"s{k}", person=k) for k in range(3)])
        first = prealign(data, [(0, 1), (1, 2)], tmp_path / "cache")
        made: list[tuple[str, str]] = []

        def counted(fixed: Scan, moving: Scan, count: int) -> Affine:
            made.append((fixed.name, moving.name))
            return align_by_labels(fixed, moving, count)

        monkeypatch.setattr(trainer.prealign, "align_by_labels", counted)
        again = prealign(data, [(0, 1), (1, 2), (2, 0)], tmp_path / "cache")
        assert made == [("s2", "s0")]
        assert all(np.array_equal(first[key].matrix, again[key].matrix) for key in first)
        assert np.allclose(again[2, 0].map(MIDDLE), MIDDLE - 4.0, atol=0.1)
        (file,) = (tmp_path / "cache").iterdir()
        assert file.name == "affines-set.json" and set(json.loads(file.read_text())) == {"s0|s1", "s1|s2", "s2|s0"}

    def test_images_are_aligned_by_the_engine(self, tmp_path: Path) -> None:
        torch.set_num_threads(1)
        grid = Grid.from_arrays((30, 30, 30), (4.0,) * 3, (-54.0, -53.0, -52.0), np.eye(3))
        places, shift = CORNERS[[0, 3, 5, 6, 7]], np.array([6.0, -4.0, 5.0])
        # Balls with a soft edge, so that there is something to climb.
        scans = []
        for k, at in enumerate((places, places + shift)):
            distance = np.linalg.norm(grid.points_lps()[..., None, :] - at, axis=-1).min(axis=-1)
            values = torch.from_numpy(np.clip(1.5 - distance / 12, 0, 1)).half()
            scans.append(Scan(f"s{k}", grid, values, (values > 0.5).to(torch.uint8), body_box(values > 0), k))
        found = prealign(dataset(scans), [(0, 1)], tmp_path)[0, 1]
        assert np.allclose(found.map(places), places + shift, atol=1.0)
