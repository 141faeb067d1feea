"""One coarse pair for all tests of the phantom."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from unireg_cli.phantom.pair import PhantomPair, demo_grids, make_pair


@pytest.fixture(scope="session")
def pair() -> PhantomPair:
    return make_pair(3, grids=demo_grids(1.8))


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small volumes: waking more threads costs more than they do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
