"""Several passes of the network: each goes on from where the one before it ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.condition import Condition
from unireg_cli.model.network import Ask, Network
from unireg_cli.model.passes import Moved, moved, repeat
from unireg_cli.registration.prediction import as_ask
from unireg_cli.spatial.filters import gaussian
from unireg_cli.spatial.jacobian import index_determinant
from unireg_cli.spatial.velocity import compose

Make = Callable[..., Network]
KNOWN = vocabulary()


def everything() -> Ask:
    return as_ask(Condition(KNOWN.everything()), KNOWN)


def pair(size: int = 32) -> tuple[Tensor, Tensor]:
    """Two smooth random images and where they are known."""
    noise = gaussian(torch.randn(2, 1, size, size, size, generator=torch.Generator().manual_seed(0)), (3.0,) * 3)
    return (noise - noise.min()) / (noise.max() - noise.min()), torch.ones(2, 1, size // 2, size // 2, size // 2)


def test_one_pass_is_the_network(tiny_network: Make) -> None:
    network, (images, known) = tiny_network(awake=0.1), pair()
    once, plain = repeat(network, images, known, everything(), 1, inverse=True), network(images, known, everything(), inverse=True)
    assert torch.equal(once.displacement, plain.displacement)
    assert once.inverse is not None and torch.equal(once.inverse, plain.inverse)
    assert repeat(network, images, known, everything(), 2).inverse is None


def test_a_second_pass_sees_what_the_first_has_moved(tiny_network: Make) -> None:
    network, (images, known) = tiny_network(awake=0.1), pair()
    first = network(images, known, everything())
    second = network(*moved(images, known, first.displacement), everything())
    both = repeat(network, images, known, everything(), 2)
    assert torch.allclose(both.displacement, compose(first.displacement, second.displacement), rtol=0, atol=1e-5)
    assert torch.equal(both.velocities[0], second.velocities[0])


def test_a_window_holds_back_what_lies_outside_it(tiny_network: Make) -> None:
    network, (images, known) = tiny_network(awake=0.1), pair()
    half = torch.zeros(16, 16, 16)
    half[:, :, :8] = 1
    free, held, none = (
        repeat(network, images, known, everything(), 1, inverse=True, window=window).displacement
        for window in (torch.ones_like(half), half, torch.zeros_like(half))
    )
    assert torch.equal(free, network(images, known, everything()).displacement) and not none.any()
    # The coarsest lattice has two voxels along x, and what lies between their centres is read from both.
    assert not held[..., 15:].any() and held[..., :8].any() and not torch.equal(held, free)


def test_passes_stay_invertible(tiny_network: Make) -> None:
    network, (images, known) = tiny_network(awake=0.05), pair(64)
    output = repeat(network, images, known, everything(), 3, inverse=True)
    assert output.inverse is not None
    assert float(index_determinant(output.displacement).min()) > 0 and float(index_determinant(output.inverse).min()) > 0
    inner = (slice(None), *(slice(10, -10),) * 3)
    length = float(output.displacement[inner].square().sum(dim=0).sqrt().mean())
    left = float(compose(output.displacement, output.inverse)[inner].square().sum(dim=0).sqrt().mean())
    assert length > 0.5 and left < 0.05 * length


def test_moved_by_hand() -> None:
    images = torch.rand(2, 1, 4, 4, 8)
    known = torch.zeros(2, 1, 2, 2, 4)
    known[1, ..., 3] = 1
    # One voxel of the half lattice along x is two of the full one; edge values go on.
    displacement = torch.zeros(3, 2, 2, 4)
    displacement[0] = 1.0
    seen, there = moved(images, known, displacement)
    assert torch.equal(seen[0], images[0]) and torch.equal(there[0], known[0])
    assert torch.allclose(seen[1, ..., :6], images[1, ..., 2:], rtol=0, atol=1e-5)
    assert torch.allclose(seen[1, ..., 6:], images[1, ..., 7:].expand(1, 4, 4, 2), rtol=0, atol=1e-5)
    assert there[1, 0, 0, 0].tolist() == pytest.approx([0, 0, 1, 1], abs=1e-5)


def test_gradients_come_from_the_last_pass_alone(tiny_network: Make) -> None:
    network, (images, known) = tiny_network(awake=0.1).requires_grad_(True), pair()

    def slope(displacement: Tensor) -> Tensor:
        network.zero_grad()
        displacement.square().mean().backward()  # type: ignore[no-untyped-call]
        found = network.encoder.stem.weight.grad
        assert found is not None
        return found.clone()

    whole = slope(repeat(network, images, known, everything(), 2).displacement)
    with torch.no_grad():
        first = network(images, known, everything()).displacement
    by_hand = slope(compose(first, network(*moved(images, known, first), everything()).displacement))
    assert bool(whole.any()) and torch.allclose(whole, by_hand, rtol=1e-4, atol=1e-7)
    with torch.no_grad():
        assert not repeat(network, images, known, everything(), 2).displacement.requires_grad


def test_swapping_twice_changes_nothing() -> None:
    there, back = torch.rand(3, 4, 4, 4), torch.rand(3, 4, 4, 4)
    once = Moved(there, back).swapped()
    assert once.displacement is back and once.inverse is there
    with pytest.raises(ValueError, match="inverse"):
        Moved(there, None).swapped()
