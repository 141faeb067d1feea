"""Tensors laid over those of a base."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from unireg_cli.errors import WeightsError
from unireg_cli.model.adapter import CONDITIONAL, EMBEDDING, TABLES, as_everything, grown, laid_over, named, overlay, rows_asked
from unireg_cli.model.added import Added, extended
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.network import Network

Make = Callable[..., Network]
OWN = vocabulary().size


def test_what_differs_is_kept_and_comes_back_to_the_bit(tiny_network: Make) -> None:
    base = tiny_network(awake=0.3).state_dict()
    tuned = {name: tensor.clone() for name, tensor in grown(base, 5).items()}
    tuned["levels.1.head.controller.weight"] += 1
    tuned[EMBEDDING][[5, OWN]] += 1
    rows = {name: [5, OWN] if name == EMBEDDING else [OWN] if name == "finder.bias" else [] for name in TABLES}
    kept = overlay(grown(base, 5), tuned, rows)
    assert set(kept) == {"levels.1.head.controller.weight", f"rows:{EMBEDDING}", "rows:finder.bias"}
    whole = laid_over(base, kept, rows, OWN + 1, "x")
    for name, tensor in whole.items():
        if name in ("finder.fine", "finder.context"):
            assert torch.equal(tensor[:OWN], base[name]) and not tensor[OWN].any()
        else:
            assert torch.equal(tensor, tuned[name]), name
    assert base[EMBEDDING].shape[0] == OWN


def test_a_row_that_moved_without_leave_is_an_error(tiny_network: Make) -> None:
    base = tiny_network(awake=0.3).state_dict()
    tuned = {**base, EMBEDDING: base[EMBEDDING] + 1}
    with pytest.raises(ValueError, match="rows beside"):
        overlay(base, tuned, {name: [3] for name in TABLES})


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *(("levels.9.odd", (2,)), ("levels.0.trust", (3,)), ("rows:levels.0.trust", (1,))),
        *((f"rows:{EMBEDDING}", (2, 4)), (f"rows:{EMBEDDING}", (1, 9))),
    ],
)
def test_tensors_without_a_place_are_refused(tiny_network: Make, name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(WeightsError, match=r"mine: its tensor '.*' fits no tensor of its base"):
        laid_over(tiny_network().state_dict(), {name: torch.zeros(shape)}, {EMBEDDING: [3]}, OWN, "mine")


def test_rows_outside_of_the_table_are_refused(tiny_network: Make) -> None:
    with pytest.raises(WeightsError, match="fits no tensor"):
        laid_over(tiny_network().state_dict(), {f"rows:{EMBEDDING}": torch.zeros(1, 4)}, {EMBEDDING: [OWN]}, OWN, "mine")


def test_new_name_can_say_what_all_says(tiny_network: Make) -> None:
    network = tiny_network(awake=0.5)
    known = extended(vocabulary(), [Added("mine", "abdomen", False)])
    region, everything = next(row.id for row in known.table.regions if row.name == "abdomen"), next(iter(known.everything().regions))
    table = as_everything(grown(network.state_dict(), region), OWN, region, everything)[EMBEDDING]
    # As the encoder adds them up, for the name with its region and for all.
    torch.testing.assert_close((table[OWN] + table[region]) / 2**0.5, table[everything])
    assert rows_asked(known.resolve(["mine"]), known)[EMBEDDING] == [region, OWN]


def test_network_and_names_have_one_size(tiny_network: Make) -> None:
    network = tiny_network()
    assert named(network, vocabulary()).known is vocabulary()
    with pytest.raises(WeightsError, match=f"the network knows {OWN} anatomies, its names are {OWN + 1}"):
        named(network, extended(vocabulary(), [Added("mine", "abdomen", False)]))


def test_conditional_parts_are_where_the_condition_enters(tiny_network: Make) -> None:
    """Every module that reads the condition is adapted, and no other."""
    network = tiny_network(awake=0.5)
    names = [name for name, _ in network.named_parameters() if any(part in name for part in CONDITIONAL)]
    read = {name for name, module in network.named_modules() if type(module).__name__ in ("ConditionEncoder", "Modulation", "DynamicHead")}
    assert all(any(name.startswith(f"{part}.") for part in read) for name in names)
    assert all(any(name.startswith(f"{part}.") for name in names) for part in read)
