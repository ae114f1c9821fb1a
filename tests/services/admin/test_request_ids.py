"""A wish sent again is the same request; another wish, or one after an answer, is not."""

from services.admin.request_ids import RequestIds


def test_the_same_wish_keeps_its_id_until_somebody_answers():
    requests = RequestIds()
    first = requests.of((500, "festival"))
    assert first
    assert requests.of((500, "festival")) == first
    other = requests.of((600, "festival"))
    assert other != first
    assert requests.of((500, "festival")) not in (first, other)
    last = requests.of(b"sent")
    requests.answered()
    assert requests.of(b"sent") != last
    assert RequestIds().of((500, "festival")) != first
