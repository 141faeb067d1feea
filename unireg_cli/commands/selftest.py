"""A small registration whose true answer is known: does all of it work, here and now?"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unireg_cli.commands.checkup import Check, State

if TYPE_CHECKING:
    from unireg_cli.phantom.pair import PhantomPair
    from unireg_cli.registration.result import Registration
    from unireg_cli.spatial import Chain

# Voxels of the demo's pair are wider by this factor: seconds instead of a minute.
_COARSEN, _STEPS, _SEED = 3.0, 20, 0
# What a sound installation keeps with room to spare: the voxels are about 8 mm wide.
_LARGEST_ERROR_MM, _LEAST_GAIN, _LARGEST_INVERSE_VOXELS, _LARGEST_ROUNDING_MM = 6.0, 0.2, 0.5, 1e-3


def self_test(device: str, weights: str | None) -> Check:
    """Register a phantom with a known motion, write the transform, read it back, and hold all of it against the truth."""
    from unireg_cli.loading import choose_weights, complete, load_network
    from unireg_cli.options import RegisterOptions
    from unireg_cli.phantom.pair import demo_grids, make_pair
    from unireg_cli.registration.pipeline import register_images

    begin = time.perf_counter()
    words = {"fixed": "phantom", "moving": "phantom", "iterations": _STEPS, "seed": _SEED, "device": device, "weights": weights}
    options = RegisterOptions.from_words(words)
    found = choose_weights([options])
    model = load_network(found)
    pair = make_pair(_SEED, grids=demo_grids(_COARSEN))
    done = register_images(pair.fixed, pair.moving, complete(options, found).settings, network=None if model is None else model.network)
    measured = _measure(pair, done) | {"seconds": round(time.perf_counter() - begin, 2)}
    faults = _faults(measured)
    text = (
        f"a phantom's true error {measured['error_before_mm']:.1f} -> {measured['error_after_mm']:.1f} mm, "
        f"folding {measured['folding_percent']:.3g} %, transform written and read back, {measured['seconds']:.1f} s"
    )
    if faults:
        return Check("self-test", State.PROBLEM, f"{'; '.join(faults)} ({text})", measured)
    return Check("self-test", State.OK, text, measured)


def _measure(pair: PhantomPair, done: Registration) -> dict[str, Any]:
    from unireg_cli.spatial import Chain

    quality = done.quality
    return {
        "error_before_mm": _error_mm(pair, Chain()),
        "error_after_mm": _error_mm(pair, done.forward),
        "similarity_before": quality.similarity_before,
        "similarity_after": quality.similarity_after,
        "folding_percent": 100.0 if quality.regularity is None else quality.regularity.folding_percent,
        "inverse_p99_voxels": float("inf") if quality.inverse_consistency is None else quality.inverse_consistency.p99_voxels,
        "file_error_mm": _file_error_mm(pair, done),
    }


def _error_mm(pair: PhantomPair, chain: Chain) -> float:
    """Mean distance of the landmarks from where they truly are."""
    import numpy as np

    return float(np.linalg.norm(chain.map(pair.landmarks_fixed_lps) - pair.landmarks_moving_lps, axis=1).mean())


def _file_error_mm(pair: PhantomPair, done: Registration) -> float:
    """How far the transform that was written takes a landmark from where the one in memory does, at most."""
    import numpy as np

    from unireg_cli.io.transforms import read_transform, write_transforms
    from unireg_cli.types import TransformFormat

    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "doctor_"
        grids = {"fixed": pair.fixed.grid, "moving": pair.moving.grid}
        written = write_transforms(prefix, TransformFormat.H5, done.forward, done.inverse, **grids)
        back = read_transform(written["forward"])
    points = pair.landmarks_fixed_lps
    return float(np.linalg.norm(back.map(points) - done.forward.map(points), axis=1).max())


def _faults(measured: dict[str, Any]) -> list[str]:
    """What is not as it must be, in words."""
    gain = measured["similarity_after"] - measured["similarity_before"]
    # Written so that a number that is none is a fault.
    rules = {
        f"the true error should be below {_LARGEST_ERROR_MM:g} mm": measured["error_after_mm"] < _LARGEST_ERROR_MM,
        f"the similarity should rise by {_LEAST_GAIN:g}, rose by {gain:.3f}": gain > _LEAST_GAIN,
        "nothing should be folded": measured["folding_percent"] == 0,
        f"the inverse is off by {measured['inverse_p99_voxels']:.2f} voxels": measured["inverse_p99_voxels"] < _LARGEST_INVERSE_VOXELS,
        f"the file is off by {measured['file_error_mm']:.3g} mm": measured["file_error_mm"] < _LARGEST_ROUNDING_MM,
    }
    return [text for text, kept in rules.items() if not kept]
