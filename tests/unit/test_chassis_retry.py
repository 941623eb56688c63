"""A message whose handler gave up: what is kept and logged of the error."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from chassis import parking
from chassis.retry import Retrier
from contracts.orders import Customer


def test_the_error_of_a_parked_message_holds_nothing_of_whom_it_is_about(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept: list[str] = []
    monkeypatch.setattr(parking, "park", lambda tx, queue, delivery, error: kept.append(error))
    topology: Any = SimpleNamespace(service="order", work="order.events", delays_s=())
    link: Any = SimpleNamespace(ack=lambda session, tag: None)
    store: Any = SimpleNamespace(transaction=nullcontext)
    delivery: Any = SimpleNamespace(attempt=1, message_id="m-1", field=lambda name: None, session=None, tag=1)
    with pytest.raises(ValidationError) as raised:
        Customer.model_validate({"name": {"first": "하늘"}, "phone": "테헤란로 1"})
    with caplog.at_level(logging.WARNING):
        Retrier(topology, link, store, "on_events", lambda: False).retry_or_park(delivery, raised.value)

    for said in (*kept, caplog.messages[-1]):
        assert "ValidationError" in said and "phone" in said and "valid string" in said
        assert "하늘" not in said and "테헤란로" not in said
    assert len(kept) == 1
