"""Tests against other makes need their environments: `make test-peers` makes them."""

from __future__ import annotations

import os

import pytest

pytest.register_assert_rewrite("tests.fieldbus.contract", "tests.fieldbus.contract_registers")

from tests.peers.peer import READY  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def environments() -> None:
    """In CI their absence fails the tests; elsewhere it skips them."""
    if READY.exists():
        return
    reason = "the environments of other makes' servers are not there; `make test-peers` makes them"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
