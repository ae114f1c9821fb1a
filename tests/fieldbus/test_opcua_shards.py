"""How monitored items are shared out among sessions with one server."""

from __future__ import annotations

from fieldbus.opcua.shards import Shards


def test_sessions_are_filled_one_after_the_other_and_room_is_given_back() -> None:
    made = iter("bcdefgh")
    shards: Shards[str] = Shards("a", lambda: next(made))
    first = shards.claim(6000)
    assert [(share.link, share.count) for share in first] == [("a", 5000), ("b", 1000)]
    second = shards.claim(500, full={"b"})
    assert [(share.link, share.count) for share in second] == [("c", 500)]
    for share in first:
        shards.release(share)
    assert [(share.link, share.count) for share in shards.claim(1)] == [("a", 1)]


def test_too_many_items_are_spread_evenly_rather_than_refused() -> None:
    made = iter("bcdefgh")
    shards: Shards[str] = Shards("a", lambda: next(made))
    shares = shards.claim(48_000)
    carried = {link: sum(share.count for share in shares if share.link == link) for link in "abcdefgh"}
    assert set(carried.values()) == {6000}
    assert shards.claim(1, full=set("abcdefgh")) == []
