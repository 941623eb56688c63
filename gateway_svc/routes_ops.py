"""Routes of the operators: fallouts, parked messages, the overview."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from eventlet import GreenPool

from chassis.rpc_client import CallFailed, RemoteFault, RpcClient
from contracts.cursor import bad_cursor, decode_cursor, encode_cursor
from contracts.errors import Invalid, NotFound, Unavailable
from contracts.rpc import OrderStatus
from gateway_svc import answers, parked, schemas
from gateway_svc.intake import Intake
from gateway_svc.routing import OPERATOR, Answer, Call, route

OPEN_STATUSES: tuple[OrderStatus, ...] = (
    "placed", "fallout", "activated", "scheduled", "cancelling", "rejecting",
)
_UNREACHABLE = (CallFailed, RemoteFault, Unavailable)
_CONFLICT = frozenset({409})
GATEWAY = "gateway"
MAX_PAGES = 5


class OpsRoutes:
    """What needs a person, over all services. A service that does not answer is named, not waited for."""

    intake: Intake
    settings: dict[str, Any]
    order: RpcClient
    activation: RpcClient
    scheduling: RpcClient
    fieldwork: RpcClient
    mypage: RpcClient

    @property
    def services(self) -> dict[str, RpcClient]:
        """The way to each service, in the order of the flow."""
        return {
            "order": self.order, "activation": self.activation, "scheduling": self.scheduling,
            "fieldwork": self.fieldwork, "mypage": self.mypage,
        }

    @route("GET", "/api/ops/fallouts", roles=OPERATOR, tag="operations", query=schemas.ListQuery,
           answers={200: answers.FalloutList})
    def list_fallouts(self, call: Call) -> Any:
        """Orders that need a person: why, and what was tried."""
        return self.activation.call("list_fallouts", **call.query.model_dump())

    @route("POST", "/api/ops/fallouts/<order_id>/retry", roles=OPERATOR, tag="operations",
           query=schemas.RetryQuery, answers={202: answers.Thing}, problems=_CONFLICT)
    def retry_fallout(self, call: Call) -> Answer:
        """Try again to provision an order in fallout; with `another_port` on another service port."""
        result = self.activation.call(
            "retry_fallout", order_id=call.order, by=call.by.subject, another_port=call.query.another_port
        )
        return Answer(202, result or {})

    @route("POST", "/api/ops/fallouts/<order_id>/abandon", roles=OPERATOR, tag="operations", body=schemas.Abandon,
           body_optional=True, answers={202: answers.Thing}, problems=_CONFLICT)
    def abandon_fallout(self, call: Call) -> Answer:
        """Give an order in fallout up: what was provisioned is put back."""
        result = self.activation.call(
            "abandon_fallout", order_id=call.order, by=call.by.subject, reason=call.body.reason
        )
        return Answer(202, result or {})

    @route("GET", "/api/ops/parked", roles=OPERATOR, tag="operations", query=schemas.ListQuery,
           answers={200: answers.ParkedList})
    def list_parked_messages(self, call: Call) -> Any:
        """Messages whose handler gave up, service by service, oldest first."""
        limit: int = call.query.limit
        sources = self._parked_sources()
        name, inner = _start(call.query.cursor, sources)
        items: list[dict[str, Any]] = []
        unreachable: list[str] = []
        for service in list(sources)[list(sources).index(name):]:
            try:
                page = sources[service](limit - len(items), inner)
            except _UNREACHABLE:
                unreachable.append(service)
                inner = None
                continue
            items += [{**item, "service": service} for item in page["items"]]
            inner = page["next_cursor"]
            if inner is not None or len(items) >= limit:
                return {"items": items, "next_cursor": _next(service, inner, sources), "unreachable": unreachable}
        return {"items": items, "next_cursor": None, "unreachable": unreachable}

    @route("POST", "/api/ops/parked/<message_id>/replay", roles=OPERATOR, tag="operations",
           query=schemas.ServiceQuery, answers={202: answers.ParkedDone})
    def replay_parked_message(self, call: Call) -> Answer:
        """Hand a parked message to its handler again."""
        return Answer(202, self._on_parked("replay_parked", call))

    @route("DELETE", "/api/ops/parked/<message_id>", roles=OPERATOR, tag="operations", query=schemas.ServiceQuery,
           answers={200: answers.ParkedDone})
    def drop_parked_message(self, call: Call) -> Any:
        """Throw a parked message away for good."""
        return self._on_parked("drop_parked", call)

    @route("GET", "/api/ops/overview", roles=OPERATOR, tag="operations", answers={200: answers.Overview})
    def show_overview(self, call: Call) -> Any:
        """Breakers, queue depths, outbox and journal lag, the oldest open order of each step."""
        timeout_s = float(self.settings.get("OVERVIEW_TIMEOUT_S", 3.0))
        pool = GreenPool()
        overviews = {name: pool.spawn(_overview, client, timeout_s) for name, client in self.services.items()}
        oldest = [pool.spawn(_oldest, self.mypage, status, timeout_s) for status in OPEN_STATUSES]
        return {
            "services": {name: answer.wait() for name, answer in overviews.items()},
            "breakers": {name: client.breaker_state for name, client in self.services.items()},
            "journal": self.intake.lag(),
            "oldest_open": [found for answer in oldest if (found := answer.wait()) is not None],
        }

    def _parked_sources(self) -> dict[str, Callable[[int, str | None], dict[str, Any]]]:
        def of(client: RpcClient) -> Callable[[int, str | None], dict[str, Any]]:
            return lambda limit, cursor: dict(client.call("list_parked", limit=limit, cursor=cursor))

        sources = {name: of(client) for name, client in self.services.items()}
        return sources | {GATEWAY: lambda limit, cursor: parked.page(self.intake.journal, limit, cursor)}

    def _on_parked(self, action: str, call: Call) -> dict[str, Any]:
        """Ask every service (or the one named) to act on the message; those that have it parked do."""
        message_id = call.path["message_id"]
        try:
            key = UUID(message_id)
        except ValueError:
            raise NotFound("no parked message has that id; ids are UUIDs") from None
        wanted = call.query.service
        clients = {name: client for name, client in self.services.items() if wanted in (None, name)}
        found: list[str] = []
        missing: list[str] = []
        for name, outcome in zip(clients, GreenPool(5).imap(
            lambda client: _act(client, action, str(key)), clients.values()
        ), strict=True):
            if outcome is None:
                missing.append(name)
            elif outcome:
                found.append(name)
        if wanted in (None, GATEWAY) and parked.act(self.intake.journal, action, key):
            found.append(GATEWAY)
        if found:
            return {"message_id": str(key), "services": found}
        if missing:
            raise Unavailable(f"not found so far, but {', '.join(missing)} did not answer", retry_after_s=5.0)
        raise NotFound(f"no service has parked message {key}")


def _start(cursor: str | None, sources: Mapping[str, Any]) -> tuple[str, str | None]:
    """Which service the page begins with, and that service's own cursor."""
    if cursor is None:
        return next(iter(sources)), None
    name, inner = decode_cursor(cursor, 2)
    if name not in sources:
        raise bad_cursor()
    return name, inner or None


def _next(service: str, inner: str | None, sources: Mapping[str, Any]) -> str | None:
    names = list(sources)
    if inner is not None:
        return encode_cursor(service, inner)
    following = names[names.index(service) + 1:]
    return encode_cursor(following[0], "") if following else None


def _overview(client: RpcClient, timeout_s: float) -> dict[str, Any]:
    try:
        return {"status": "ok", **client.call("overview", timeout_s=timeout_s)}
    except _UNREACHABLE as exc:
        return {"status": "unreachable", "detail": str(exc)[:500]}


def _oldest(mypage: RpcClient, status: OrderStatus, timeout_s: float) -> dict[str, Any] | None:
    """The oldest order of this status: the last one of the list, looked for on MAX_PAGES pages; None without any."""
    cursor, last = None, None
    for _ in range(MAX_PAGES):
        try:
            page = mypage.call(
                "list_orders", timeout_s=timeout_s, status=status, limit=schemas.MAX_LIMIT, cursor=cursor
            )
        except _UNREACHABLE:
            break
        last = page["items"][-1] if page["items"] else last
        cursor = page["next_cursor"]
        if cursor is None:
            break
    if last is None:
        return None
    since = last["placed_at"] or last["updated_at"]
    return {"status": status, "order_id": last["order_id"], "since": since, "exact": cursor is None}


def _act(client: RpcClient, action: str, message_id: str) -> bool | None:
    """Whether the service had the message; None where it did not answer."""
    try:
        client.call(action, message_id=message_id)
    except (NotFound, Invalid):
        return False
    except _UNREACHABLE:
        return None
    return True
