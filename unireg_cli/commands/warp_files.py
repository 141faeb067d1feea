"""Images, series and points from files through transform files to a file."""

from __future__ import annotations

import logging
from pathlib import Path

from unireg_cli.commands.chain_files import read_chain
from unireg_cli.commands.outputs import staged
from unireg_cli.errors import UsageError
from unireg_cli.io.header import HeaderChoice
from unireg_cli.io.images import check_output, is_series, read_image, read_series, write_image, write_series
from unireg_cli.io.points import PointSpace, read_points, write_points
from unireg_cli.registration.normalise import decide_modality
from unireg_cli.spatial import Grid
from unireg_cli.spatial.sampling import inside_buffer
from unireg_cli.types import Interpolation, Modality
from unireg_cli.warp_options import WarpOptions
from unireg_cli.warping import fill_value, warp_image

logger = logging.getLogger("unireg")


def warp_files(options: WarpOptions) -> None:
    """Do what the options say and write the one output, or the two of an image."""
    if options.points is not None and options.space is not None and options.output is not None:
        _warp_points(options, options.points, options.space, options.output)
    elif options.image is not None and options.reference is not None:
        _warp_image(options, options.image, options.reference)
    logger.info("wrote %s", " and ".join(str(path) for path in options.outputs))


def _warp_image(options: WarpOptions, path: Path, reference: Path) -> None:
    series = is_series(path)
    if options.output is not None:
        check_output(options.output, series=series)
    if series and options.dicom_out is not None:
        raise UsageError(f"--dicom-out writes one 3-D image, and {path} is a 4-D series; leave it out")
    chain = read_chain(options.transforms, invert=options.invert)
    grid = read_grid(reference, options.header)
    way = options.interpolation or Interpolation.LINEAR
    if series and options.output is not None:
        source = read_series(path, options.header)
        default = fill_value(source[0], Modality.AUTO, options.default_value)
        volumes = [warp_image(source[number], grid, chain, way, default).voxels for number in range(len(source))]
        write_series(options.output, source.with_volumes(volumes, grid))
        return
    image = read_image(path, options.header, allow_nonfinite=True)
    default = fill_value(image, Modality.AUTO, options.default_value)
    warped = warp_image(image, grid, chain, way, default)
    with staged(options.outputs) as places:
        if options.output is not None:
            write_image(places[options.output], warped)
        if options.dicom_out is not None:
            from unireg_cli.io.dicom_series import write_dicom
            from unireg_cli.io.dicom_source import read_source

            fixed, moving = (read_source(source) if source.is_dir() else None for source in (reference, path))
            write_dicom(places[options.dicom_out], warped, fixed, moving, decide_modality(image, Modality.AUTO)[0])


def _warp_points(options: WarpOptions, path: Path, space: PointSpace, output: Path) -> None:
    moving = None if options.moving_grid is None else read_grid(options.moving_grid, options.header)
    reference = None if options.reference is None else read_grid(options.reference, options.header)
    table = read_points(path, space, moving)
    named = "--transform with --invert" if options.invert else "--transform"
    logger.info("points go the other way than images: through the inverse of the chain of %s", named)
    mapped = read_chain(options.transforms, invert=not options.invert).map(table.points_lps)
    if reference is not None:
        matrix = reference.index_from_lps
        outside = int((~inside_buffer(mapped @ matrix[:3, :3].T + matrix[:3, 3], reference.size)).sum())
        if outside:
            logger.warning("%d of %d points land outside the field of view of %s", outside, len(mapped), options.reference)
    write_points(output, table, mapped, space, reference)


def read_grid(path: Path, header: HeaderChoice) -> Grid:
    """The grid of an image, or of the volumes of a series."""
    return read_series(path, header).grid if is_series(path) else read_image(path, header, allow_nonfinite=True).grid
