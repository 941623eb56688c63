"""A domain error arrives at the gateway as it left the service, with the fields it names."""

from __future__ import annotations

import pytest
from nameko.exceptions import serialize

from contracts.cursor import bad_cursor
from contracts.errors import DomainError, Invalid, Overloaded, from_rpc


@pytest.mark.parametrize("error", [bad_cursor(), Overloaded("full", retry_after_s=2.5), Invalid(), Invalid("None")])
def test_an_error_crosses_rpc_with_everything_it_says(error: DomainError) -> None:
    crossed = serialize(error)
    arrived = from_rpc(crossed["exc_type"], crossed["exc_args"], crossed["value"])

    assert arrived is not None and type(arrived) is type(error)
    assert arrived.as_dict() == error.as_dict()
