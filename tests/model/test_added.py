"""Names that weights bring along."""

from __future__ import annotations

import pytest

from unireg_cli.errors import UsageError, WeightsError
from unireg_cli.model.added import Added, added_of, extended, is_asked, require_new_name, vocabulary_of
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.condition import Condition, encode
from unireg_cli.registration.prediction import as_ask

OWN = vocabulary().size
PROSTATE = Added("my_prostate", "pelvis", True)



def region_id(name: str) -> int:
    return next(row.id for row in vocabulary().table.regions if row.name == name)


def test_sought_name_is_a_structure_behind_the_last_id() -> None:
    known = extended(vocabulary(), [PROSTATE])
    asked = known.resolve(["My-Prostate"])
    assert known.size == OWN + 1 and (asked.structures, asked.regions, asked.words) == ({OWN}, set(), ("my_prostate",))
    ask = as_ask(Condition(asked), known)
    assert ask.anatomy.nonzero()[:, 0].tolist() == [region_id("pelvis"), OWN] and ask.structures.tolist() == [OWN]
    assert known.structure_id("MyProstate") == OWN and OWN in known.members["pelvis"]


def test_name_of_a_whole_image_is_asked_for_as_regions_are() -> None:
    region = next(row.name for row in vocabulary().table.regions if row.name not in ("all", "pelvis"))
    known = extended(vocabulary(), [PROSTATE, Added("wrist_scans", region, False)])
    asked = known.resolve(["wrist_scans"])
    assert (asked.structures, asked.regions) == ({OWN + 1}, {OWN + 1})
    ask = as_ask(Condition(asked), known)
    assert ask.anatomy.nonzero()[:, 0].tolist() == [region_id(region), OWN + 1] and ask.structures.tolist() == []
    assert known.resolve(["my_prostate"]).regions == set()


def test_nothing_else_changes_its_meaning() -> None:
    known = extended(vocabulary(), [PROSTATE])
    for words in ([], ["liver"], ["kidneys", "spleen"], ["chest"]):
        old, new = (encode(Condition(names.resolve(words)), names).anatomy for names in (vocabulary(), known))
        assert new[:OWN].tolist() == old.tolist() and new[OWN] == 0
    with pytest.raises(UsageError, match="unknown name 'my_prostata'; did you mean my_prostate"):
        known.resolve(["my_prostata"])
    with pytest.raises(UsageError, match="unknown name 'my_prostate'"):
        vocabulary().resolve(["my_prostate"])


def test_names_that_the_table_has_or_regions_that_it_has_not_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"x\.json: its own anatomy 'Hepar' is a name of this unireg's table by now"):
        extended(vocabulary(), [Added("Hepar", "abdomen", True)], "x.json")
    with pytest.raises(WeightsError, match="no region 'moon'"):
        extended(vocabulary(), [Added("crater", "moon", True)])
    with pytest.raises(UsageError, match="this name is taken"):
        require_new_name("Left_Kidney", vocabulary())


def test_json_gives_them_back_or_says_what_is_wrong() -> None:
    config = {"added": [{"name": "my_prostate", "region": "pelvis", "sought": True}]}
    assert added_of(config) == (PROSTATE,) and added_of({}) == () and added_of(None) == ()
    assert vocabulary_of({}) is vocabulary() and vocabulary_of(config).has("my_prostate")
    (one,) = config["added"]
    for wrong in ("my_prostate", [{"name": "x"}], [one | {"name": "4x"}], [one | {"sought": 1}]):
        with pytest.raises(WeightsError, match='"added" must be a list of names'):
            added_of({"added": wrong})


def test_asked_is_the_word_itself_among_others() -> None:
    known = vocabulary()
    assert is_asked("kidneys", known.resolve(["spleen", "Kidneys"])) and is_asked("all", known.resolve([]))
    assert not is_asked("kidneys", known.resolve(["kidney_left"])) and not is_asked("liver", known.resolve([]))
