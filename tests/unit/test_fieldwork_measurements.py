"""Promises of the questioned measurements: what is asked about, and how a serial is read."""

from __future__ import annotations

import pytest

from contracts.events import JobResults
from contracts.measurements import Question, Range, normal_ranges, questions, read_power, read_serial, read_speed
from contracts.orders import OrderItem

INTERNET_500 = (OrderItem(product="internet-500", quantity=1), OrderItem(product="tv-basic", quantity=1))


def results(**changed: object) -> JobResults:
    normal = {"ont_serial": "HFRN1234ABCD", "rx_power_dbm": -19.5, "down_mbps": 487.0}
    return JobResults.model_validate(normal | changed)


def test_normal_measurements_are_not_questioned() -> None:
    assert questions(results(up_mbps=480.0), INTERNET_500, "HFRN1234ABCD") == []


@pytest.mark.parametrize(
    ("changed", "asked"),
    [
        ({"rx_power_dbm": -28.0}, []),
        ({"rx_power_dbm": -28.1}, [Question("rx_power_dbm", "too_low")]),
        ({"rx_power_dbm": -8.0}, []),
        ({"rx_power_dbm": -7.9}, [Question("rx_power_dbm", "too_high")]),
        ({"rx_power_dbm": 10.0}, [Question("rx_power_dbm", "too_high")]),
        ({"down_mbps": 400.0}, []),
        ({"down_mbps": 399.9}, [Question("down_mbps", "too_low")]),
        ({"down_mbps": 550.0}, []),
        ({"down_mbps": 4870.0}, [Question("down_mbps", "too_high")]),
        ({"up_mbps": 90.0}, [Question("up_mbps", "too_low")]),
        ({"rx_power_dbm": -35.0, "down_mbps": 4.0},
         [Question("rx_power_dbm", "too_low"), Question("down_mbps", "too_low")]),
    ],
)
def test_what_is_out_of_range_is_questioned(changed: dict[str, object], asked: list[Question]) -> None:
    assert questions(results(**changed), INTERNET_500) == asked


def test_without_an_internet_line_no_speed_is_normal_or_not() -> None:
    tv_only = (OrderItem(product="tv-basic", quantity=2),)
    assert set(normal_ranges(tv_only)) == {"rx_power_dbm"}
    assert questions(results(down_mbps=1.0), tv_only) == []


def test_with_lines_of_several_speeds_any_of_them_is_normal() -> None:
    both = (OrderItem(product="internet-100", quantity=1), OrderItem(product="internet-1000", quantity=1))
    assert normal_ranges(both)["down_mbps"] == Range(80.0, 1100.0)
    assert questions(results(down_mbps=95.0), both) == []


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("HFRN1234ABCD", "HFRN1234ABCD"),
        (" hfrn 1234-abcd ", "HFRN1234ABCD"),
        ("HFRN1234ABCO", "HFRN1234ABC0"),
        ("HFRNl23iABCD", "HFRN1231ABCD"),
        ("OLIQ12345678", "OLIQ12345678"),  # letters of the vendor stay letters
    ],
)
def test_a_serial_is_read_as_a_thumb_types_it(typed: str, read: str) -> None:
    assert read_serial(typed) == read


def test_a_serial_that_was_read_otherwise_than_typed_is_questioned() -> None:
    asked = questions(results(ont_serial=read_serial("hfrn1234abcd")), INTERNET_500, "hfrn1234abcd")
    assert asked == [Question("ont_serial", "corrected")]
    assert questions(results(), INTERNET_500, " HFRN1234ABCD ") == []


@pytest.mark.parametrize(
    ("typed", "read"),
    [("-19.5", "-19.5"), ("19.5", "-19.5"), (" 19,5 ", "-19.5"), ("\N{MINUS SIGN}7", "-7"), ("- 7", "-7"),
     ("+2", "+2"), ("0", "0"), (".5", "-.5"), ("", ""), ("x", "x"), ("1.2.3", "1.2.3")],
)
def test_a_power_without_a_sign_is_read_as_minus(typed: str, read: str) -> None:
    assert read_power(typed) == read


def test_a_decimal_comma_is_read() -> None:
    assert read_speed(" 487,5") == "487.5"
