"""The scripts that measure are found as they find one another: by their folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

CLAIMS = Path(__file__).resolve().parents[2] / "examples" / "claims"
sys.path.insert(0, str(CLAIMS))
BENCHMARK = CLAIMS.parent / "benchmark"
sys.path += [str(BENCHMARK), str(BENCHMARK / "runners"), *(str(CLAIMS.parent / name) for name in ("finetune", "steering", "training"))]


@pytest.fixture
def claims_folder() -> Path:
    """Folder of the scripts."""
    return CLAIMS
