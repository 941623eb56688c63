"""The operations desk: where orders wait, which are at risk, what needs a person, and the search.

What one order has been through is in `operations_order.py`, the services' health in `operations_system.py`.
"""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response

from chassis import clock
from gateway_svc import parked
from gateway_svc.changes import Board
from gateway_svc.extensions import Limits
from gateway_svc.intake import Intake
from gateway_svc.operated import GATEWAY, Operated
from gateway_svc.pages import (
    live,
    operations_audit,
    operations_order,
    operations_parked,
    operations_search,
    operations_system,
)
from gateway_svc.pages.ask import Part, question, together
from gateway_svc.pages.routing import page
from gateway_svc.pages.view import View
from gateway_svc.routing import OPERATOR

SHOWN = 25
"""Of each list on the desk, and of each search."""
COALESCE_S = 1.0
"""The desk shows everybody's orders: on a busy day it is told once a second, not at each of them."""


class DeskPages(Operated):
    """The desk itself. Each part comes from the service that knows it; who does not answer in time is named."""

    settings: dict[str, Any]
    changes: Board
    limits: Limits
    intake: Intake

    @page("GET", "/ops", roles=OPERATOR)
    def show_operations(self, view: View) -> Response:
        """Counts by step and age, orders at risk, fallout cases, parked messages."""
        timeout_s = float(self.settings["PAGE_TIMEOUT_S"])
        parts = together(
            counts=question(self.mypage, "count_orders", timeout_s),
            at_risk=question(self.mypage, "list_at_risk", timeout_s, limit=SHOWN),
            fallouts=question(self.activation, "list_fallouts", timeout_s, limit=SHOWN),
            **{
                f"parked {name}": question(client, "list_parked", timeout_s, limit=SHOWN)
                for name, client in self.services.items()
            },
        )
        parts[f"parked {GATEWAY}"] = Part(parked.page(self.intake.journal, SHOWN, None))
        return view.render(
            "operations/desk.html", counts=parts["counts"], at_risk=parts["at_risk"], fallouts=parts["fallouts"],
            parked=_parked(parts), unreachable=_unreachable(parts), now=clock.utc_now(), journal=self.intake.lag(),
        )

    @page("GET", "/ops/events", roles=OPERATOR)
    def follow_operations(self, view: View) -> Response:
        """Says when orders have changed."""
        return live.stream(
            view, self.changes, self.limits, self.settings, ("orders", None), coalesce_s=COALESCE_S
        )

    @page("GET", "/ops/search", roles=OPERATOR)
    def search_orders(self, view: View) -> Response:
        """Orders by number, or its end, by phone and by ONT serial; the only one found is shown at once."""
        typed = view.request.args.get("q", "")[: operations_search.MAX_LENGTH]
        order_id = operations_search.order_id_in(typed)
        if order_id is not None:
            return view.redirect(f"/ops/orders/{order_id}")
        wanted = operations_search.filters(typed)
        timeout_s = float(self.settings["PAGE_TIMEOUT_S"])
        answers = together(**{
            str(number): question(self.mypage, "list_orders", timeout_s, limit=SHOWN, **filters)
            for number, filters in enumerate(wanted)
        })
        found = {item["order_id"]: item for part in answers.values() for item in (part.value or {}).get("items", ())}
        ends = [filters["order_end"] for filters in wanted if "order_end" in filters]
        journalled = [entry for end in ends if len(end) == 8 for entry in self.intake.journal.orders_ending(end)]
        for entry in journalled:
            found.setdefault(str(entry.stands_as or entry.order_id), {})
        if len(found) == 1:
            return view.redirect(f"/ops/orders/{next(iter(found))}")
        return view.render(
            "operations/search.html", 200 if wanted else 422, typed=typed, understood=bool(wanted),
            found=[item for item in found.values() if item],
            missing=any(part.missing for part in answers.values()),
            more=any((part.value or {}).get("next_cursor") for part in answers.values()),
        )


class OperationsPages(
    DeskPages, operations_order.OrderDeskPages, operations_parked.ParkedPages, operations_system.SystemPages,
    operations_audit.AuditPages,
):
    """All of the operations desk."""


def _parked(parts: dict[str, Part]) -> list[dict[str, Any]]:
    """The parked messages of everybody who answered, oldest first; `more` are not counted."""
    items = [
        item | {"service": name.removeprefix("parked ")}
        for name, part in parts.items() if name.startswith("parked ") and part.known for item in part.value["items"]
    ]
    return sorted(items, key=lambda item: str(item["parked_at"]))


def _unreachable(parts: dict[str, Part]) -> list[str]:
    """Who did not answer, in the order of the flow."""
    missing = {name.removeprefix("parked ") for name, part in parts.items() if part.missing}
    missing |= {"mypage"} if missing & {"counts", "at_risk"} else set()
    missing |= {"activation"} if "fallouts" in missing else set()
    return [name for name in ("order", "activation", "scheduling", "fieldwork", "mypage") if name in missing]
