"""Nipype interfaces of the commands: ``Register``, ``Warp``, ``Evaluate``. Needs the extra ``nipype``."""

from __future__ import annotations

try:
    import nipype.interfaces.base  # noqa: F401  (asked for here, so that its absence is one clear sentence)
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "nipype":
        raise
    raise ImportError("unireg_cli.interfaces needs Nipype, which is not installed; pip install 'unireg[nipype]'") from None

from unireg_cli.interfaces.evaluate import Evaluate
from unireg_cli.interfaces.register import Register
from unireg_cli.interfaces.warp import Warp

__all__ = ["Evaluate", "Register", "Warp"]
