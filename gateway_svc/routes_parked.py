"""Routes of the operators for parked messages: those of all services as one list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from eventlet import GreenPool

from chassis.rpc_client import RpcClient
from contracts.cursor import bad_cursor, decode_cursor, encode_cursor
from contracts.errors import Invalid, NotFound, Unavailable
from gateway_svc import answers, parked, schemas
from gateway_svc.intake import Intake
from gateway_svc.operated import GATEWAY, UNREACHABLE, Operated
from gateway_svc.routing import OPERATOR, Answer, Call, route


class ParkedRoutes(Operated):
    """Messages whose handler gave up, and journalled requests that could not be forwarded for good."""

    intake: Intake

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
            except UNREACHABLE:
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


def _act(client: RpcClient, action: str, message_id: str) -> bool | None:
    """Whether the service had the message; None where it did not answer."""
    try:
        client.call(action, message_id=message_id)
    except (NotFound, Invalid):
        return False
    except UNREACHABLE:
        return None
    return True
