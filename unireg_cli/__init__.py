"""unireg: one conditional model for 3-D CT and MR registration, written as ITK transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unireg_cli.api import RegisterResult, register, warp

__all__ = ["RegisterResult", "register", "warp"]


def __getattr__(name: str) -> Any:
    """The documented API, read when first asked for: ``import unireg_cli`` alone stays light."""
    if name in __all__:
        from unireg_cli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
