"""How the services are doing: who answers, breakers, queues, what waits to be sent."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response

from chassis import clock
from gateway_svc.changes import Board
from gateway_svc.intake import Intake
from gateway_svc.operated import Operated
from gateway_svc.pages.ask import Part, question, together
from gateway_svc.pages.routing import page
from gateway_svc.pages.view import View
from gateway_svc.routing import OPERATOR


class SystemPages(Operated):
    """The overview of `GET /api/ops/overview`, for people."""

    settings: dict[str, Any]
    intake: Intake
    changes: Board

    @page("GET", "/ops/system", roles=OPERATOR)
    def show_system(self, view: View) -> Response:
        """Every service: whether it answers, its outbox, its queues, its breakers; and the gateway's own journal."""
        timeout_s = float(self.settings["PAGE_TIMEOUT_S"])
        parts = together(**{
            name: question(client, "overview", timeout_s) for name, client in self.services.items()
        })
        return view.render(
            "operations/system.html", services=[_service(name, part) for name, part in parts.items()],
            breakers=_breakers(parts, {name: client.breaker_state for name, client in self.services.items()}),
            unreachable=[name for name, part in parts.items() if not part.known], journal=self.intake.lag(),
            streams=len(self.changes), now=clock.utc_now(),
        )


def _service(name: str, part: Part) -> dict[str, Any]:
    """One row: what waits where; numbers are None where the service, or its broker, does not answer."""
    if not part.known:
        return {"name": name, "known": False}
    overview = part.value
    return {
        "name": name,
        "known": True,
        "outbox": overview["outbox"],
        "parked": overview["parked"],
        "trouble": {check: said for check, said in overview["checks"].items() if said != "ok"},
        "queues": None if overview["queues"] is None else _queues(name, overview["queues"]),
    }


def _queues(service: str, queues: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Messages that wait: for the handler, for their next try, for an answer; and queues that nobody reads."""
    return {
        "events": queues.get(f"{service}.events", {}).get("messages", 0),
        "retry": sum(found["messages"] for name, found in queues.items() if ".retry." in name),
        "rpc": queues.get(f"rpc-{service}", {}).get("messages", 0),
        "unread": [name for name, found in queues.items() if not found["consumers"] and ".retry." not in name],
    }


def _breakers(parts: dict[str, Part], own: dict[str, str]) -> list[dict[str, str]]:
    """Every breaker: who leaves whom alone. `info` repeats those towards services, and adds those towards elements."""
    found = [{"of": "gateway", "target": target, "state": state} for target, state in own.items()]
    for name, part in parts.items():
        if not part.known:
            continue
        info = {key.removeprefix("breaker-"): state for key, state in part.value["info"].items()
                if key.startswith("breaker-")}  # fmt: skip
        found += [{"of": name, "target": target, "state": state}
                  for target, state in (info | part.value["breakers"]).items()]  # fmt: skip
    return found
