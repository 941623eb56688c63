"""Settings of a system under test: the same code as in production with short delays."""

from __future__ import annotations

_CALLED = ("ORDER", "ACTIVATION", "SCHEDULING", "FIELDWORK", "MYPAGE")

FAST: dict[str, str] = {
    "RETRY_DELAYS_S": "[0.2, 0.5, 1]",
    "RELAY_IDLE_S": "1",
    "DB_ANSWER_TIMEOUT_S": "10",
    "RPC_RETRY_AFTER_S": "1",
    "HEARTBEAT": "10",
    "ORDER_RATE_PER_S": "1000",
    "ORDER_RATE_BURST": "5000",
    "SSE_REREAD_S": "1",
    "VISIT_RETRY_MAX_S": "1",
    "BOOKING_HORIZON_DAYS": "400",
    "PROVISION_RETRY_FIRST_S": "0.1",
    "PROVISION_RETRY_MAX_S": "1",
    # More tries than any outage in a test needs: what comes back is found again, what refuses gives up as ever.
    "PROVISION_ATTEMPTS": "60",
    "ELEMENTS_DRIVER": "real",
    "ELEMENT_ANSWER_TIMEOUT_S": "1",
    "ELEMENT_CALL_TIMEOUT_S": "3",
    "ELEMENT_BREAKER_RESET_S": "1",
    **{f"RPC_{name}_TIMEOUT_S": "2" for name in _CALLED},
    **{f"RPC_{name}_BREAKER_FAILURES": "3" for name in _CALLED},
    **{f"RPC_{name}_BREAKER_RESET_S": "1" for name in _CALLED},
}
