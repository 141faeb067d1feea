"""``unireg warp``: an image, a series or points through transforms that are already there."""

from __future__ import annotations

from unireg_cli.commands import flags
from unireg_cli.commands.session import start_logging


def warp(
    image: flags.Input = None,
    transform: flags.Transforms = None,
    reference: flags.Reference = None,
    output: flags.Output = None,
    dicom_out: flags.WarpedSeries = None,
    invert: flags.Invert = False,
    interpolation: flags.Interpolation = None,
    default_value: flags.Fill = None,
    points: flags.Points = None,
    space: flags.Space = None,
    moving_grid: flags.MovingGrid = None,
    threads: flags.ThreadCount = None,
    header: flags.Header = "check",
    overwrite: flags.Overwrite = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
    log: flags.LogFile = None,
) -> None:
    """Warp an image, a label map, a 4-D series or points through transform files.

    The dtype is kept. Exit codes: 0 done, 2 usage, 3 bad input, 5 out of memory, 1 anything else.
    """
    words = dict(locals())
    start_logging(quiet=quiet, verbose=verbose, log=log)
    from unireg_cli.commands.outputs import check_dicom, check_inputs, check_outputs
    from unireg_cli.commands.resources import apply_threads, resolve_threads
    from unireg_cli.commands.warp_files import warp_files
    from unireg_cli.warp_options import WarpOptions

    options = WarpOptions.from_words(words)
    check_inputs(options.inputs)
    if options.dicom_out is not None:
        check_dicom(options.dicom_out, [path for path in (options.image, options.reference) if path is not None])
    check_outputs(options.outputs, options.inputs, overwrite=overwrite, series=options.dicom_out)
    apply_threads(resolve_threads(threads))
    warp_files(options)
