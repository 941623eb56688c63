"""Logs and metrics: what every line promises."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import eventlet
import pytest
from pydantic import BaseModel, ValidationError

from chassis import logging as chassis_logging
from chassis import metrics

TRACE_A = "0af7651916cd43dd8448eb211c80319c"
PARENT_A = f"00-{TRACE_A}-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def root_logger_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_everybodys_records_become_one_json_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    chassis_logging.configure("order")
    with chassis_logging.bind(order_id="o-1", message_id="m-1", trace_id=None):
        logging.getLogger("nameko.containers").warning("two\nlines %s", "한글")
        chassis_logging.get_logger("order").info("placed", items=2)
    nameko_line, own_line = lines(capsys)
    assert nameko_line["event"] == "two\nlines 한글"
    assert (nameko_line["logger"], nameko_line["level"]) == ("nameko.containers", "warning")
    assert (own_line["event"], own_line["items"]) == ("placed", 2)
    for line in (nameko_line, own_line):
        assert (line["service"], line["order_id"], line["message_id"]) == ("order", "o-1", "m-1")
        assert "trace_id" not in line
        assert line["timestamp"].endswith("Z")


def test_configuring_replaces_plain_console_handlers_and_mutes_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    existing = logging.getLogger("some.library.made.before")
    logging.getLogger().addHandler(logging.StreamHandler())
    kept = logging.NullHandler()
    logging.getLogger().addHandler(kept)
    chassis_logging.configure("order")
    chassis_logging.configure("order", "debug")
    existing.debug("still heard")
    assert [line["event"] for line in lines(capsys)] == ["still heard"]
    assert kept in logging.getLogger().handlers
    assert not existing.disabled


def test_exception_stays_on_one_line_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    chassis_logging.configure("order")
    try:
        raise ValueError("call 010-1234-5678")
    except ValueError:
        logging.getLogger("x").exception("failed")
        chassis_logging.get_logger("x").exception("failed")
    for line in lines(capsys):
        assert "ValueError: call [phone]" in line["exception"]
        assert "test_exception_stays_on_one_line" in line["exception"]


class Told(BaseModel):
    name: int
    address: dict[str, int]


def test_a_value_that_pydantic_refuses_is_in_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    chassis_logging.configure("order")
    log = logging.getLogger("x")
    told_us = {"name": "김'하\"늘\n", "address": {"line1": "3층, input_type=1203호"}}
    try:
        Told.model_validate(told_us)
    except ValidationError as error:
        log.exception("error handling worker %s: %s", "w", error)
        log.warning("a batch of %d failed, handling its messages one by one: %r", 2, error)
    told = lines(capsys)
    text = json.dumps(told, ensure_ascii=False)
    assert not [part for part in ("하", "늘", "3층", "1203호") if part in text]
    assert all("address.line1" in line["event"] and "valid integer" in line["event"] for line in told)


def test_nameko_says_nothing_about_errors_that_are_answers(capsys: pytest.CaptureFixture[str]) -> None:
    chassis_logging.configure("order")
    nameko = logging.getLogger("nameko.containers")
    nameko.warning("(expected) error handling worker %s: %s", "w", "not found")
    nameko.error("error handling worker %s: %s", "w", "defect")
    assert [line["event"] for line in lines(capsys)] == ["error handling worker w: defect"]


@pytest.mark.parametrize(
    "private",
    ["010-1234-5678", "01012345678", "010 1234 5678", "011-123-4567", "02-123-4567", "031-1234-5678", "(02)123-4567",
     "+82 10-1234-5678", "+821012345678", "070-1234-5678", "sky@example.com", "a.b+c@mail.example.co.kr",
     "하늘@example.com", "하늘@예시.한국"],
)  # fmt: skip
def test_phone_numbers_and_addresses_are_masked(private: str) -> None:
    masked = chassis_logging.mask(f'{{"customer": "{private}", "to":"{private}."}}')
    assert private not in masked
    assert not any(len(digits) > 3 for digits in "".join(c if c.isdigit() else " " for c in masked).split())


@pytest.mark.parametrize(
    "public",
    ["019abc12-0101-7234-8123-010123456789", "2026-11-25T21:13:45.994287Z", "2026-11-25 21:13:45+09:00", TRACE_A,
     PARENT_A, "rx_power_dbm=-21.5", "127.0.0.1:55432", "0190a1b2-0102-7345-8010-0123456789ab", "1764105225.123456",
     "order_svc@host", "2026-11-25T09:00:00+0900", "06236"],
)  # fmt: skip
def test_ids_times_and_numbers_are_left_alone(public: str) -> None:
    assert chassis_logging.mask(public) == public


def test_credentials_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    chassis_logging.configure("order")
    log = chassis_logging.get_logger("x")
    log.info("login", password="hunter2", access_token="abc", authorization="Basic xyz")
    log.info("connecting to amqp://guest:hunter2@broker:5672// with Bearer abc.def-xyz")  # not a secret
    text = json.dumps(lines(capsys))
    assert not [word for word in ("hunter2", "abc", "xyz") if word in text]
    assert "amqp://guest:[secret]@broker:5672//" in text


def test_values_of_any_type_are_told_and_arguments_filled_in(capsys: pytest.CaptureFixture[str]) -> None:
    chassis_logging.configure("order")
    order_id = UUID("019abc12-0101-7234-8123-010123456789")
    chassis_logging.get_logger("order").warning("took %d s", 3, order_id=order_id, at={1: order_id}, level="mine")
    (line,) = lines(capsys)
    assert (line["event"], line["order_id"], line["at"]) == ("took 3 s", str(order_id), {"1": str(order_id)})
    assert (line["level"], line["logger"]) == ("warning", "order")


def test_context_of_a_block_ends_with_it_and_what_a_call_says_itself_wins(capsys: pytest.CaptureFixture[str]) -> None:
    chassis_logging.configure("order")
    log = chassis_logging.get_logger("order")
    with chassis_logging.bind(service="gateway", order_id="outer"):
        with pytest.raises(ValueError), chassis_logging.bind(order_id="inner", message_id="m"):
            log.info("inside", order_id="own")
            raise ValueError
        log.info("after")
    log.info("outside")
    told = [(line["service"], line.get("order_id"), line.get("message_id")) for line in lines(capsys)]
    assert told == [("gateway", "own", "m"), ("gateway", "outer", None), ("order", None, None)]


def test_what_is_below_the_level_is_not_even_composed(capsys: pytest.CaptureFixture[str]) -> None:
    class Unspeakable:
        def __str__(self) -> str:
            raise AssertionError("composed")

    chassis_logging.configure("order", "warning")
    chassis_logging.get_logger("order").info("quiet %s", Unspeakable(), value=Unspeakable())
    assert lines(capsys) == []


def test_log_context_stays_in_its_green_thread() -> None:
    seen: dict[str, str | None] = {}

    def work(order_id: str) -> None:
        with chassis_logging.bind(order_id=order_id):
            eventlet.sleep(0)
            seen[order_id] = chassis_logging.bound("order_id")

    for thread in [eventlet.spawn(work, str(number)) for number in range(5)]:
        thread.wait()
    assert seen == {str(number): str(number) for number in range(5)}
    assert chassis_logging.bound("order_id") is None


def test_metrics_are_exposed_in_prometheus_text() -> None:
    metrics.BATCH_SIZE.labels("demo", "on_events").observe(7)
    metrics.set_breaker_state("demo", "scheduling", "open")
    with metrics.timed(metrics.BATCH_DURATION.labels("demo", "relay")):
        pass
    text, content_type = metrics.exposition()
    assert content_type.startswith("text/plain")
    assert b'oss_batch_size_sum{handler="on_events",service="demo"} 7.0' in text
    assert b'oss_breaker_state{service="demo",target="scheduling"} 2.0' in text
    assert b'oss_batch_duration_seconds_count{handler="relay",service="demo"} 1.0' in text
    with pytest.raises(KeyError):
        metrics.set_breaker_state("demo", "scheduling", "ajar")
