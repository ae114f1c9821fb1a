"""Resource names, ids, and the uids behind them."""

import contextlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.names import ID_PATTERN, ResourceName, check_id, id_from_label, is_uid, new_uid

IDS = st.from_regex(ID_PATTERN, fullmatch=True)
TOWNS = st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True)


def test_a_lamp_belongs_to_its_municipality():
    name = ResourceName.parse("municipalities/bad-hersfeld/luminaires/L-0001")
    assert name.municipality == "bad-hersfeld"
    assert name.collection == "luminaires"
    assert name.ids == ("bad-hersfeld", "L-0001")
    assert name.id == "L-0001"
    assert name.parent == "municipalities/bad-hersfeld"
    assert str(name) == "municipalities/bad-hersfeld/luminaires/L-0001"


def test_an_entry_lies_in_its_measure():
    name = ResourceName.of("borken", "measures/entries", "led-2026", "0001")
    assert str(name) == "municipalities/borken/measures/led-2026/entries/0001"
    assert name.collection == "measures/entries"
    assert name.parent == "municipalities/borken/measures/led-2026"
    assert ResourceName.parse(name.parent).child("entries", "0001") == name


def test_a_municipality_is_a_resource_itself():
    name = ResourceName.of_municipality("jesberg")
    assert str(name) == "municipalities/jesberg"
    assert (name.collection, name.id, name.parent) == ("municipalities", "jesberg", "")


def test_a_union_belongs_to_no_municipality():
    name = ResourceName.parse("unions/schwalm-eder-west")
    assert (name.collection, name.municipality) == ("unions", "")


def test_a_group_has_exactly_one_plan():
    name = ResourceName.parse("municipalities/wabern/groups/g-1/plan")
    assert (name.collection, name.ids, name.id) == ("groups/plan", ("wabern", "g-1"), "g-1")
    assert name.parent == "municipalities/wabern/groups/g-1"
    assert ResourceName.of("wabern", "groups/plan", "g-1") == name == ResourceName.parse(name.parent).child("plan")
    assert str(name) == "municipalities/wabern/groups/g-1/plan"


def test_all_municipalities_are_meant_only_where_that_is_allowed():
    assert ResourceName.parse("municipalities/-", allow_wildcard=True).is_wildcard
    with pytest.raises(InvalidInput) as error:
        ResourceName.parse("municipalities/-", field="parent")
    assert error.value.violations[0].field == "parent"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "municipalities",
        "municipalities/",
        "/municipalities/a",
        "municipalities/a/",
        "municipalities/a/luminaires",
        "municipalities/a//b",
        "municipalities/A",
        "municipalities/bad hersfeld",
        "municipalities/a/luminaires/-",
        "municipalities/a/luminaires/..",
        "municipalities/a/Luminaires/x",
        "municipalities/a/luminaires/x\n",
        "municipalities/a/luminaires/Straße",
        "municipalities/a/groups/g/plan/x",
        "plan",
        "municipalities/a/luminaires/" + "x" * 64,
        "municipalities/a" + "/luminaires/x" * 40,
    ],
)
def test_a_bad_name_is_refused_and_the_field_is_named(text):
    with pytest.raises(InvalidInput) as error:
        ResourceName.parse(text, field="luminaire.name")
    assert error.value.violations[0].field == "luminaire.name"


def test_a_name_of_another_kind_is_refused():
    with pytest.raises(InvalidInput, match="groups"):
        ResourceName.parse("municipalities/a/groups/g", collection="luminaires")
    assert ResourceName.parse("municipalities/a", collection="municipalities").id == "a"


def test_the_number_of_ids_must_fit():
    with pytest.raises(InvalidInput):
        ResourceName.of("a", "measures/entries", "only-one")


@given(town=TOWNS, identifier=IDS, inner=IDS)
def test_every_name_survives_being_written_and_read(town, identifier, inner):
    name = ResourceName.of(town, "measures/entries", identifier, inner)
    assert ResourceName.parse(str(name)) == name


@given(st.text(max_size=100))
def test_any_text_is_either_a_name_or_bad_input(text):
    with contextlib.suppress(InvalidInput):
        assert str(ResourceName.parse(text)) == text


@pytest.mark.parametrize(
    ("label", "identifier"),
    [
        ("Obere Straße 12/3", "Obere-Strasse-12-3"),
        ("  Müller-Weg  ", "Mueller-Weg"),
        ("U\u0308berweg", "Ueberweg"),
        ("Rue de l'Église", "Rue-de-l-Eglise"),
        ("№ 7", "No-7"),
        ("---", ""),
        ("x" * 80, "x" * 63),
    ],
)
def test_what_people_write_on_a_pole_becomes_an_id(label, identifier):
    assert id_from_label(label) == identifier


@given(st.text(max_size=200))
def test_an_id_from_a_label_is_an_id_or_nothing(label):
    identifier = id_from_label(label)
    assert identifier == "" or check_id(identifier, "id") == identifier


def test_uids_grow_and_never_repeat_within_a_process():
    uids = [new_uid() for _ in range(5000)]
    assert uids == sorted(set(uids))
    assert all(is_uid(uid) for uid in uids)
    assert {uid[12] for uid in uids} == {"7"}
    assert {uid[16] for uid in uids} <= set("89ab")


def test_threads_share_no_uid():
    found: list[list[str]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=lambda mine=mine: mine.extend(new_uid() for _ in range(1000))) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({uid for mine in found for uid in mine}) == 4000
