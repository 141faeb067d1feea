"""Suspicion and lights, with limits worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drawn import record, registration, stretched

from unireg_cli.report.judgement import Light, gained_share, judge, suspicion_between, total_suspicion
from unireg_cli.spatial import Affine


def _found(key: str, **changes: object) -> tuple[float, Light]:
    made = record(registration(stretched()), **changes)
    finding = next(one for one in judge(made) if one.key == key)
    return finding.suspicion, finding.light


def turn(degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def test_suspicion_grows_evenly_in_either_direction_and_ends_at_three() -> None:
    assert [suspicion_between(value, (0.5, 1.0)) for value in (0.2, 0.5, 0.75, 1.0, 1.5, 9.0)] == [0, 0, 0.5, 1, 2, 3]
    assert [suspicion_between(value, (0.3, 0.0)) for value in (0.4, 0.3, 0.15, 0.0, -0.3, -9.0)] == [0, 0, 0.5, 1, 2, 3]


@pytest.mark.parametrize(
    ("before", "affine", "after", "suspicion", "light"),
    [
        # (0.8 - 0.3) / (1 - 0.3) = 0.71 of what was missing.
        (0.3, 0.5, 0.8, 0.0, Light.GOOD),
        # 0.09 of 0.6 = 0.15: half way to nothing gained.
        (0.4, 0.4, 0.49, 0.5, Light.FAIR),
        (0.4, 0.4, 0.4, 1.0, Light.BAD),
        # 0.12 of 0.6 lost: 0.2 below nothing, of steps of 0.3.
        (0.4, 0.2, 0.28, 1 + 0.2 / 0.3, Light.BAD),
        # The affine step alone was better.
        (0.3, 0.8, 0.7, 1.0, Light.BAD),
        # Nothing was missing: a share of 0.05 is taken, so that 0.98 -> 0.981 is a fiftieth of it.
        (0.98, 0.98, 0.981, 1 - 0.02 / 0.3, Light.FAIR),
    ],
)
def test_similarity(before: float, affine: float, after: float, suspicion: float, light: Light) -> None:
    found = _found("similarity", similarity_before=before, similarity_affine=affine, similarity_after=after)
    assert found == (pytest.approx(suspicion), light)


@pytest.mark.parametrize(("percent", "suspicion", "light"), [(0.0, 0, "good"), (0.05, 0.5, "fair"), (0.1, 1, "bad"), (40.0, 3, "bad")])
def test_folding(percent: float, suspicion: float, light: str) -> None:
    numbers = {"folding_percent": percent, "sdlogj": 0.1, "minimum": 0.5, "maximum": 2.0}
    assert _found("folding", regularity=numbers) == (pytest.approx(suspicion), light)


def test_sdlogj_is_that_of_the_body() -> None:
    inside = {"folding_percent": 0.0, "sdlogj": 0.9, "minimum": 0.5, "maximum": 2.0}
    assert _found("sdlogj", regularity_foreground=inside) == (pytest.approx(0.8), Light.FAIR)
    # One person twice bends less: 0.45 is half way from 0.3 to 0.6.
    intra = record(registration(stretched()), regularity_foreground={**inside, "sdlogj": 0.45})
    intra["condition"]["mode"] = "intra"
    assert next(one.suspicion for one in judge(intra) if one.key == "sdlogj") == pytest.approx(0.5)
    # 0.1 over the whole field.
    assert _found("sdlogj", regularity_foreground=None) == (0, Light.GOOD)


@pytest.mark.parametrize(
    ("after", "spread", "suspicion"),
    # Of 0.5 missing: 0.06 is 12 %, and 0.12 / 0.8 half of 0.3. A loss is no worse than nothing; what hardly bends need not gain.
    [(0.8, 0.8, 0.0), (0.56, 0.8, 0.5), (0.5, 0.8, 1.0), (0.3, 0.8, 1.0), (0.5, 0.05, 0.0), (None, 0.8, 3.0)],
)
def test_bending_has_to_pay(after: float | None, spread: float, suspicion: float) -> None:
    numbers = {"folding_percent": 0.0, "sdlogj": spread, "minimum": 0.5, "maximum": 2.0}
    changes = {"similarity_affine": 0.5, "similarity_after": after, "regularity_foreground": numbers}
    assert _found("worth", **changes)[0] == pytest.approx(suspicion)


def test_displacement_is_judged_against_the_field_of_view() -> None:
    # 60 x 65 x 60 mm.
    extent = (60 * 65 * 60) ** (1 / 3)
    for share, suspicion, light in ((0.1, 0.0, "good"), (0.25, 0.75, "fair"), (0.5, 2.0, "bad")):
        reach = {"p50": 1.0, "p95": 2.0, "p99": share * extent, "max": 99.0}
        assert _found("displacement", displacement_percentiles_mm=reach) == (pytest.approx(suspicion, abs=1e-9), light)


def test_inverse_error_is_judged_in_voxels_and_told_in_millimetres() -> None:
    error = {"mean_mm": 0.25, "p99_mm": 2.0, "mean_voxels": 0.1, "p99_voxels": 1.25}
    finding = next(one for one in judge(record(registration(stretched()), inverse_consistency=error)) if one.key == "inverse")
    assert (finding.suspicion, finding.light, finding.value, finding.text) == (0.75, Light.FAIR, 0.25, "0.250 mm")


@pytest.mark.parametrize(
    ("linear", "suspicion", "light"),
    [
        (np.eye(3), 0.0, "good"),
        # A turn of 75 degrees is three quarters of the way from 30 to 90.
        (turn(75.0), 0.75, "fair"),
        # Five times the volume, or a fifth of it: log(5 / 1.5) of log(3 / 1.5).
        (np.eye(3) * 5 ** (1 / 3), math.log(10 / 3) / math.log(2), "bad"),
        (turn(20.0) / 5 ** (1 / 3), math.log(10 / 3) / math.log(2), "bad"),
        (np.diag([-1.0, 1.0, 1.0]), 3.0, "bad"),
        # A shear neither turns much nor changes the volume.
        ([[1, 0.2, 0], [0, 1, 0], [0, 0, 1]], 0.0, "good"),
    ],
)
def test_affine_part(linear: object, suspicion: float, light: str) -> None:
    done = registration(stretched(), Affine.from_parts(np.asarray(linear, float), np.zeros(3)))
    finding = next(one for one in judge(record(done)) if one.key == "affine")
    assert (finding.suspicion, finding.light) == (pytest.approx(suspicion, abs=1e-6), light)


def test_warnings_add_half_a_light_each_and_the_total_is_a_sum() -> None:
    made = record(registration(stretched()))
    assert len(made["warnings"]) == 1 and total_suspicion(judge(made)) == pytest.approx(0.5)
    made["warnings"] = ["a", "b", "c"]
    assert total_suspicion(judge(made)) == pytest.approx(1.5)
    # Numbers that are only told do not count.
    assert next(one for one in judge(made) if one.key == "jacobian").light is Light.NONE


def test_an_affine_run_is_judged_by_what_it_has() -> None:
    keys = [finding.key for finding in judge(record(registration(None)))]
    assert keys == ["similarity", "affine", "warnings"]


def test_not_a_number_is_as_bad_as_can_be() -> None:
    made = record(registration(stretched()), similarity_after=None)
    found = next(one for one in judge(made) if one.key == "similarity")
    assert found.suspicion == 3 and found.value is None and "not a number" in found.text
    assert math.isnan(gained_share(made["quality"]))
    nothing = {"p50": None, "p95": None, "p99": None, "max": None}
    assert _found("displacement", displacement_percentiles_mm=nothing) == (3, Light.BAD)


@pytest.mark.parametrize("lost", ["quality", "grids", "affine", "warnings"])
def test_what_is_no_result_raises(lost: str) -> None:
    made = record(registration(stretched()))
    del made[lost]
    with pytest.raises(KeyError):
        judge(made)
