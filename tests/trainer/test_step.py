"""The loss of one example: what is asked for, what it weighs, and that descending it helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from people import IDS, STRUCTURES, person

from trainer.augmentation import Augmentation, Views
from trainer.config import Asking, Losses, Passes, Source
from trainer.lattices import Lattices
from trainer.losses import finding, overlap, roughness
from trainer.sampling import Example, Gallery, make_example
from trainer.step import Request, begin_at, draw_request, measure_loss
from unireg_cli.model.anatomy import AnatomyRequest, vocabulary
from unireg_cli.model.condition import Condition
from unireg_cli.model.network import Network
from unireg_cli.model.passes import repeat
from unireg_cli.model.settings import NetworkSettings
from unireg_cli.registration.prediction import as_ask, displacement_on
from unireg_cli.types import Mode

Make = Callable[..., Network]
KNOWN = vocabulary()
SOURCE = Source(path="x")
ONE = Asking(all=0, region=0, most=1)
NEVER, AGAIN = Passes(second=0), Passes(second=1)
PLAIN, TWICE = Lattices(12_000), Lattices(12_000, (4_000,))


def example(
    *,
    known_motion: bool = False,
    structures: tuple[int, ...] = STRUCTURES,
    mode: Mode = Mode.INTER,
    divisor: int = 16,
    lattices: Lattices = PLAIN,
) -> Example:
    scans = person(0), person(0 if known_motion else 1)
    return make_example(
        *scans,
        structures,
        np.eye(4),
        mode,
        Views(Augmentation(intensity_probability=0, bend_probability=1), known_motion=known_motion),
        Gallery(),
        lattices=lattices,
        divisor=divisor,
        most_structures=9,
        each=40,
        generator=torch.Generator().manual_seed(0),
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def request(made: Example, anatomy: AnatomyRequest, favoured: list[bool], smoothness: float = 0.5, passes: int = 1) -> Request:
    ask = as_ask(Condition(anatomy, made.mode, smoothness), KNOWN)
    return Request(ask, torch.tensor(favoured), smoothness, passes)


def everything(made: Example, smoothness: float = 0.5, passes: int = 1) -> Request:
    return request(made, KNOWN.everything(), [True] * len(made.fixed.structures), smoothness, passes)


class TestRequests:
    def test_single_structures(self) -> None:
        made, seen = example(), set()
        for seed in range(40):
            drawn = draw_request(made, ONE, NEVER, KNOWN, generator(seed))
            assert int(drawn.favoured.sum()) == 1
            id = STRUCTURES[int(made.fixed.structures[drawn.favoured][0])]
            assert id in drawn.ask.structures and float(drawn.ask.anatomy[id]) == 1
            assert float(drawn.ask.anatomy[KNOWN.region_of(id)]) == 1 and int(drawn.ask.anatomy.sum()) == 1 + len(drawn.ask.structures)
            assert float(drawn.ask.smoothness) == pytest.approx(drawn.smoothness) and drawn.passes == 1
            seen.add(id)
        assert seen == set(IDS)

    def test_up_to_so_many_at_once(self) -> None:
        made = example()
        counts = {int(draw_request(made, replace(ONE, most=3), NEVER, KNOWN, generator(seed)).favoured.sum()) for seed in range(40)}
        assert counts == {1, 2, 3}

    def test_all(self) -> None:
        drawn = draw_request(example(), Asking(all=1, region=0), AGAIN, KNOWN, generator())
        assert bool(drawn.favoured.all()) and not len(drawn.ask.structures) and int(drawn.ask.anatomy.sum()) == 1

    def test_only_what_has_a_start_is_passed_twice(self) -> None:
        for lattices, again, passes in ((PLAIN, AGAIN, 1), (TWICE, AGAIN, 2), (TWICE, NEVER, 1)):
            assert draw_request(example(lattices=lattices), ONE, again, KNOWN, generator()).passes == passes

    def test_a_region(self) -> None:
        made = example()
        drawn = draw_request(made, Asking(all=0, region=1), NEVER, KNOWN, generator())
        region = KNOWN.region_of(IDS[0])
        assert {KNOWN.region_of(id) for id in IDS} == {region} and bool(drawn.favoured.all())
        # The region and all that is in it is told, but nothing is looked for.
        assert {region, *IDS} < set(drawn.ask.anatomy.nonzero()[:, 0].tolist()) and not len(drawn.ask.structures)

    def test_what_has_no_name_or_no_points_is_never_asked_for(self) -> None:
        made = example(structures=(-1, -1, *IDS[1:]))
        liver, spleen = (made.fixed.structures.tolist().index(k) for k in (1, 2))
        made.moving.valid[spleen] = False
        for seed in range(40):
            favoured = draw_request(made, replace(ONE, most=3), NEVER, KNOWN, generator(seed)).favoured
            assert bool(favoured.any()) and not bool(favoured[liver]) and not bool(favoured[spleen])

    def test_all_where_nothing_can_be_asked_for(self) -> None:
        made = example(structures=(-1,) * 6)
        drawn = draw_request(made, ONE, NEVER, KNOWN, generator())
        assert bool(drawn.favoured.all()) and not len(drawn.ask.structures)

    def test_the_type_is_told_and_half_of_all_have_the_usual_smoothness(self) -> None:
        made = example(mode=Mode.INTRA)
        drawn = [draw_request(made, ONE, NEVER, KNOWN, generator(seed)) for seed in range(100)]
        assert all(one.ask.mode.tolist() == [0, 1] for one in drawn)
        numbers = [one.smoothness for one in drawn]
        assert 30 < numbers.count(0.5) < 75 and min(numbers) < 0.15 and max(numbers) > 0.85


class TestParts:
    def test_asked_structures_weigh_more(self, tiny_network: Make) -> None:
        made, network = example(), tiny_network(still=True)
        half = [n // 2 for n in made.shown.images.shape[2:]]
        there, _ = overlap(made.fixed, made.moving, torch.zeros(3, *half), (1, 1, 1))
        back, _ = overlap(made.moving, made.fixed, torch.zeros(3, *half), (1, 1, 1))
        missed = 1 - 0.5 * (there + back)
        assert float(missed.std()) > 0.03
        # The generator whose first draw takes cells of one voxel.
        plain = next(seed for seed in range(100) if float(torch.rand((), generator=generator(seed))) < 1 / 3)
        losses = Losses(lncc=0, roughness=0, folding=0, motion=0, finding=0, rest=0.25)
        for k in range(5):
            chosen = [j == k for j in range(5)]
            asked = request(made, KNOWN.request([STRUCTURES[int(made.fixed.structures[k])]]), chosen)
            total, parts = measure_loss(network, made, asked, losses, SOURCE, ONE, generator(plain))
            others = missed[~torch.tensor(chosen)].mean()
            assert float(parts["asked"]) == pytest.approx(float(missed[k]), abs=1e-5)
            assert float(total) == float(parts["loss"]) == pytest.approx(float(missed[k] + 0.25 * others), abs=1e-5)
        total, parts = measure_loss(network, made, everything(made), losses, SOURCE, ONE, generator(plain))
        assert float(total) == float(parts["asked"]) == pytest.approx(float(missed.mean()), abs=1e-5)

    def test_structures_that_only_one_side_shows_do_not_count(self, tiny_network: Make) -> None:
        made, network = example(), tiny_network(still=True)
        losses = Losses(lncc=0, roughness=0, folding=0, motion=0, finding=0)
        whole = measure_loss(network, made, everything(made), losses, SOURCE, ONE, generator())[0]
        made.moving.valid[2] = False
        part = measure_loss(network, made, everything(made), losses, SOURCE, ONE, generator())[0]
        alone = request(made, KNOWN.everything(), [k == 2 for k in range(5)])
        assert float(part) != float(whole)
        assert float(measure_loss(network, made, alone, replace(losses, rest=0), SOURCE, ONE, generator())[0]) == 0

    def test_smoothness_and_type_set_the_price_of_roughness(self, tiny_network: Make) -> None:
        network, losses = tiny_network(awake=0.1), Losses(lncc=0, overlap=0, folding=0, motion=0, finding=0, roughness=0.5, volume=2)
        for mode, smoothness, factor in ((Mode.INTER, 0.5, 1), (Mode.INTER, 1.0, 10), (Mode.INTER, 0.0, 0.1), (Mode.INTRA, 0.5, 3)):
            made = example(mode=mode)
            total, parts = measure_loss(network, made, everything(made, smoothness), losses, SOURCE, ONE, generator())
            assert float(parts["roughness"]) > 0
            price = 0.5 * float(parts["roughness"]) + 2 * float(parts["volume"])
            assert float(total) == pytest.approx(factor * price, rel=1e-4)

    def test_regularity_counts_less_outside_the_labels_and_where_structures_were_asked_for(self, tiny_network: Make) -> None:
        made, network = example(), tiny_network(awake=0.1)
        only = Losses(lncc=0, overlap=0, folding=0, motion=0, finding=0)

        def price(asked: Request, **changes: float) -> float:
            return float(measure_loss(network, made, asked, replace(only, **changes), SOURCE, ONE, generator())[1]["volume"])

        inside, half = price(everything(made), elsewhere=0), price(everything(made), elsewhere=0.5)
        assert price(everything(made), elsewhere=1) - half == pytest.approx(half - inside, rel=1e-3) and half > inside > 0
        assert price(everything(made), asked_roughness=0) == price(everything(made), asked_roughness=1)
        # Nothing is found by random weights; a finder that believes in everything frees the whole field.
        alone = request(made, KNOWN.request([IDS[0]]), [True] + [False] * (len(made.fixed.structures) - 1))
        network.finder.bias.fill_(50)
        bound = price(alone, asked_roughness=1)
        assert bound > 0 and price(alone, asked_roughness=0.25) == pytest.approx(0.25 * bound, rel=1e-4)

    def test_passes_on_coarser_lattices_set_the_scene(self, tiny_network: Make) -> None:
        made, network = example(lattices=TWICE), tiny_network(awake=0.1)
        asked = everything(made)
        start = begin_at(network, (*made.before, made.shown), asked.ask)
        (coarse,) = made.before
        found = network(coarse.images, coarse.known, asked.ask, inverse=True)
        assert start is not None and torch.equal(start.displacement, displacement_on(found.displacement, coarse.half, made.shown.half))
        assert begin_at(network, (made.shown,), asked.ask) is None
        _, parts = measure_loss(network, made, asked, Losses(), SOURCE, ONE, generator())
        whole = repeat(network, made.shown.images, made.shown.known, asked.ask, 1, inverse=True, start=start)
        everywhere = torch.ones_like(whole.displacement[0])
        every = measure_loss(network, made, asked, Losses(elsewhere=1), SOURCE, ONE, generator())[1]
        assert float(every["roughness"]) == pytest.approx(float(roughness(whole.displacement, everywhere)), rel=1e-5)
        # The finder is asked about the fixed image alone.
        alone = measure_loss(network, replace(made, before=()), asked, Losses(), SOURCE, ONE, generator())[1]
        assert 0.3 < float(parts["finding"] / alone["finding"]) < 0.7

    def test_each_part_has_its_weight(self, tiny_network: Make) -> None:
        made, network = example(known_motion=True), tiny_network(awake=0.1)
        losses, source = Losses(), replace(SOURCE, lncc=0.5, overlap=2, roughness=3)
        total, parts = measure_loss(network, made, everything(made), losses, source, ONE, generator())
        weights = {"roughness": 0.12 * 3, "volume": 0.35 * 3, "folding": 5, "lncc": 0.3 * 0.5, "overlap": 2, "motion": 0.2, "finding": 0.2}
        assert set(parts) == {*weights, "asked", "loss"}
        assert float(total) == pytest.approx(sum(weight * float(parts[name]) for name, weight in weights.items()), rel=1e-5)

    def test_a_still_network_is_off_by_the_whole_motion(self, tiny_network: Make) -> None:
        made = example(known_motion=True)
        assert made.motion is not None
        _, parts = measure_loss(tiny_network(still=True), made, everything(made), Losses(), SOURCE, ONE, generator())
        assert float(parts["motion"]) == pytest.approx(float(made.motion[1].norm(dim=-1).mean()), abs=0.01)
        assert float(parts["roughness"]) == float(parts["folding"]) == 0

    def test_images_of_two_contrasts_are_not_compared(self, tiny_network: Make) -> None:
        made = replace(example(), alike=False)
        _, parts = measure_loss(tiny_network(), made, everything(made), Losses(), SOURCE, ONE, generator())
        assert "lncc" not in parts and "motion" not in parts

    def test_structures_without_names_are_not_looked_for(self, tiny_network: Make) -> None:
        made = example(structures=(-1,) * 6)
        _, parts = measure_loss(tiny_network(), made, everything(made), Losses(), SOURCE, ONE, generator())
        assert float(parts["finding"]) == 0 and float(parts["overlap"]) > 0

    def test_structures_are_looked_for_where_they_are(self, tiny_network: Make) -> None:
        made, network = example(), tiny_network(seed=1)
        network.finder.fine *= 100
        _, parts = measure_loss(network, made, everything(made), Losses(), SOURCE, replace(ONE, finder_structures=2), generator())
        features = network(made.shown.images, made.shown.known, everything(made).ask).features
        expected = 0.0
        for image, side in enumerate((made.fixed, made.moving)):
            present = torch.zeros(2, *made.shown.known.shape[2:])
            # A voxel of the half lattice is the middle of eight voxels of the full one.
            for z, y, x in np.ndindex(*made.shown.known.shape[2:]):
                label = int(side.at(torch.tensor([2 * x + 0.5, 2 * y + 0.5, 2 * z + 0.5])))
                present[:, z, y, x] = (side.structures[:2] == label).float()
            logits = network.finder(features.of(image), torch.tensor([STRUCTURES[int(k)] for k in side.structures[:2]]))[0]
            expected += 0.5 * float(finding(logits, present))
        assert float(parts["finding"]) == pytest.approx(expected, rel=1e-4)

    def test_scans_without_common_structures_leave_the_images(self, tiny_network: Make) -> None:
        fixed, moving = person(0), person(1)
        moving.labels.zero_()
        views = Views(Augmentation(bend_probability=1))
        keys = {"lattices": PLAIN, "divisor": 16, "most_structures": 9, "each": 40}
        made = make_example(fixed, moving, STRUCTURES, np.eye(4), Mode.INTER, views, Gallery(), generator=generator(), **keys)
        asked = draw_request(made, ONE, NEVER, KNOWN, generator())
        total, parts = measure_loss(tiny_network(), made, asked, Losses(), SOURCE, ONE, generator())
        assert float(parts["overlap"]) == 0 and float(parts["lncc"]) > 0 and bool(torch.isfinite(total))

    def test_a_second_pass_starts_where_the_first_one_ended(self, tiny_network: Make) -> None:
        made, network = example(), tiny_network(awake=0.1)
        one, two = (measure_loss(network, made, everything(made, passes=n), Losses(), SOURCE, ONE, generator())[1] for n in (1, 2))
        assert float(two["roughness"]) > float(one["roughness"])
        # The finder is asked about the fixed image alone.
        assert 0.3 < float(two["finding"] / one["finding"]) < 0.7


@pytest.mark.parametrize("passes", [1, 2])
def test_a_few_steps_lower_the_loss(passes: int) -> None:
    settings = NetworkSettings(
        KNOWN.size, encoder=(8, 8), match=(4, 4), decoder=(8, 8), reach=(1, 2), neighbours=(7, 27), condition=8, embedding=4, hidden=4
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Network(settings)
    made = example(known_motion=True, divisor=settings.divisor)
    asked, optimiser, values = everything(made, passes=passes), torch.optim.Adam(network.parameters(), 3e-3), []
    for _ in range(12):
        total, parts = measure_loss(network, made, asked, Losses(), SOURCE, ONE, generator())
        optimiser.zero_grad()
        total.backward()
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
        optimiser.step()
        values.append({name: float(part.detach()) for name, part in parts.items()})
    first, last = values[0], values[-1]
    assert last["loss"] < 0.97 * first["loss"]
    assert last["finding"] < first["finding"] and last["lncc"] + last["overlap"] < first["lncc"] + first["overlap"]
