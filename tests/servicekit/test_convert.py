"""Between the contract's types and Python's."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Conflict, InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from lichtbuch.type.v1.types_pb2 import Date
from servicekit import convert

INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))


@given(INSTANTS)
def test_an_instant_survives_the_way_there_and_back(instant):
    assert convert.timestamp_from_proto(convert.timestamp_to_proto(instant)) == instant


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_milliseconds_survive_the_way_there_and_back(instant):
    whole = instant.replace(microsecond=instant.microsecond // 1000 * 1000)
    assert convert.instant_of_unix_ms(convert.unix_ms(whole)) == whole


def test_an_instant_of_anywhere_becomes_utc():
    summer = datetime(2026, 7, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert convert.timestamp_from_proto(convert.timestamp_to_proto(summer)).tzinfo is UTC


def test_a_naive_instant_is_refused():
    for function in (convert.timestamp_to_proto, convert.unix_ms):
        with pytest.raises(InvalidInput):
            function(datetime(2026, 1, 1))


@pytest.mark.parametrize("stamp", [Timestamp(seconds=10**12), Timestamp(seconds=-(10**12)), Timestamp(nanos=-1)])
def test_an_instant_beyond_the_calendar_is_refused(stamp):
    with pytest.raises(InvalidInput, match="start_time"):
        convert.timestamp_from_proto(stamp, "start_time")


def test_what_is_not_set_is_none():
    assert convert.optional_timestamp_from_proto(pb.ExchangeMeterRequest(), "exchanged_at") is None
    assert convert.optional_timestamp_to_proto(None) is None


@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)))
def test_a_date_survives_the_way_there_and_back(day):
    assert convert.date_from_proto(convert.date_to_proto(day)) == day


def test_the_thirtieth_of_february_is_refused():
    with pytest.raises(InvalidInput, match="installed_on"):
        convert.date_from_proto(Date(year=2026, month=2, day=30), "installed_on")


def test_a_mask_names_what_changes():
    settable = ["display_name", "cabinet", "rollover"]
    assert convert.mask_paths(FieldMask(), settable) == settable
    assert convert.mask_paths(FieldMask(paths=["*"]), settable) == settable
    assert convert.mask_paths(FieldMask(paths=["rollover", "name", "display_name"]), settable) == [
        "display_name",
        "rollover",
    ]
    with pytest.raises(InvalidInput) as caught:
        convert.mask_paths(FieldMask(paths=["uid", "lives", "nonsense"]), settable)
    assert [violation.field for violation in caught.value.violations] == [
        "update_mask.paths[1]",
        "update_mask.paths[2]",
    ]


def test_a_mask_copies_sets_and_clears():
    target = pb.Meter(name="n", display_name="old", rollover=5, lives=[pb.RegisterLife(uid="1")])
    source = pb.Meter(display_name="new", lives=[pb.RegisterLife(uid="2")], latest_slot=Timestamp(seconds=1))
    convert.apply_mask(target, source, ["display_name", "rollover", "lives", "latest_slot"])
    assert target == pb.Meter(
        name="n", display_name="new", lives=[pb.RegisterLife(uid="2")], latest_slot=Timestamp(seconds=1)
    )
    convert.apply_mask(target, pb.Meter(), ["latest_slot"])
    assert not target.HasField("latest_slot")


def test_an_etag_of_another_version_is_a_conflict():
    assert convert.etag_of("a", 1) != convert.etag_of("a", 2)
    convert.check_etag("", convert.etag_of("a", 1))
    convert.check_etag(convert.etag_of("a", 1), convert.etag_of("a", 1))
    with pytest.raises(Conflict):
        convert.check_etag(convert.etag_of("a", 1), convert.etag_of("a", 2))
