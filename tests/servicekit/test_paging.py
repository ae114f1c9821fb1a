"""Pages: nothing skipped, nothing twice, and a token for one query only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.paging import decode_token, encode_token, page, page_size_of


def pages(rows: list[int], size: int) -> list[list[int]]:
    def fetch(after, limit):
        return [row for row in rows if after is None or row > after[0]][:limit]

    request = pb.ListMetersRequest(parent="municipalities/a", page_size=size)
    found = []
    while True:
        one = page(request, fetch, lambda row: (row,))
        found.append(one.items)
        if not one.next_page_token:
            return found
        request.page_token = one.next_page_token


@given(st.sets(st.integers(-1000, 1000), max_size=60), st.integers(1, 20))
def test_the_pages_together_are_the_whole(numbers, size):
    rows = sorted(numbers)
    found = pages(rows, size)
    assert [row for items in found for row in items] == rows
    assert all(len(items) <= size for items in found)
    assert len(found) == max(1, -(-len(rows) // size))


def test_a_token_belongs_to_its_query():
    request = pb.ListMetersRequest(parent="municipalities/a", page_size=10)
    token = encode_token(request, ("m1", 7, None))
    request.page_token = token
    assert decode_token(request) == ["m1", 7, None]
    request.page_size = 20
    assert decode_token(request) == ["m1", 7, None]
    for other in (
        pb.ListMetersRequest(parent="municipalities/b", page_token=token),
        pb.ListMetersRequest(parent="municipalities/a", cabinet="municipalities/a/cabinets/c", page_token=token),
    ):
        with pytest.raises(InvalidInput, match="another query"):
            decode_token(other)


@given(st.text(max_size=60))
def test_what_is_no_token_is_refused(text):
    request = pb.ListMetersRequest(parent="municipalities/a", page_token=text)
    if text:
        with pytest.raises(InvalidInput, match="page_token"):
            decode_token(request)


def test_a_changed_token_is_refused():
    request = pb.ListMetersRequest(parent="municipalities/a")
    token = encode_token(request, ("m1",))
    for index in range(len(token)):
        changed = token[:index] + ("A" if token[index] != "A" else "B") + token[index + 1 :]
        request.page_token = changed
        try:
            assert decode_token(request) == ["m1"]  # the last character holds bits that mean nothing
        except InvalidInput:
            continue


def test_the_size_of_a_page_has_a_default_and_an_end():
    assert page_size_of(pb.ListMetersRequest()) == 100
    assert page_size_of(pb.ListMetersRequest(page_size=7)) == 7
    assert page_size_of(pb.ListMetersRequest(page_size=1_000_000)) == 10_000
