"""What weights were trained on, and what is a gap."""

from __future__ import annotations

import pytest

from unireg_cli.errors import UsageError, WeightsError
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.training import Source, Training

KNOWN = vocabulary()


def training(*real: str, synthetic: tuple[str, ...] = ()) -> Training:
    return Training.from_names({"real": real, "synthetic": synthetic}, KNOWN, "w.json")


def id_of(name: str) -> int:
    found = KNOWN.structure_id(name)
    assert found is not None
    return found


def test_real_labels_go_before_synthetic_and_the_rest_is_known_by_region() -> None:
    known = training("liver", "Left-Hippocampus", synthetic=("spleen", "liver"))
    assert known.source(id_of("liver")) is Source.REAL and known.source(id_of("spleen")) is Source.SYNTHETIC
    assert known.source(id_of("hippocampus_left")) is Source.REAL and known.source(id_of("hippocampus_right")) is Source.REGION
    assert known.trained == {id_of(name) for name in ("liver", "spleen", "hippocampus_left")}


def test_names_that_are_no_structures_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"w.json: trained on structures .*: abdomen, nonsense; update"):
        training("liver", "abdomen", synthetic=("nonsense",))


@pytest.mark.parametrize(
    ("word", "gaps"),
    [
        ("liver", []),
        ("pancreas", ["pancreas"]),
        ("kidneys", ["kidney_right"]),
        ("kidney_left", []),
        ("ribs", []),
        ("abdomen", []),
        ("all", []),
        ("brain", ["brain"]),
        ("pelvis", ["pelvis"]),
    ],
)
def test_gaps(word: str, gaps: list[str]) -> None:
    """Ribs: all of them, one by one, and so the group; brain and pelvis: regions in which nothing was trained."""
    ribs = [KNOWN.name_of(id) for id in KNOWN.parts["ribs"]]
    assert training("liver", "kidney_left", synthetic=tuple(ribs)).gaps(word, KNOWN) == gaps


def test_a_structure_whose_parts_were_trained_is_no_gap() -> None:
    """The lung is the whole of its lobes; the other lung has none that was trained."""
    known = training("lung_upper_lobe_left")
    assert known.gaps("lung_upper_lobe_left", KNOWN) == []
    assert known.gaps("lung_left", KNOWN) == []
    assert known.gaps("lung_right", KNOWN) == ["lung_right"]
    assert known.gaps("lung_lower_lobe_left", KNOWN) == ["lung_lower_lobe_left"]


def test_an_unknown_word_is_an_error() -> None:
    with pytest.raises(UsageError, match="unknown name"):
        training("liver").gaps("nonsense", KNOWN)
