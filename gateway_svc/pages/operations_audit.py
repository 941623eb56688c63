"""Who did what: the audit log, newest first."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from werkzeug.wrappers import Response

from chassis.db import StoreSession
from contracts.ids import is_uuid7
from gateway_svc import staff
from gateway_svc.pages.ask import Part, ask
from gateway_svc.pages.routing import page
from gateway_svc.pages.view import View
from gateway_svc.routing import OPERATOR

PAGE = 50


class AuditPages:
    """The records that the decorators of routes and pages write."""

    settings: dict[str, Any]
    database: StoreSession

    @page("GET", "/ops/audit", roles=OPERATOR)
    def show_audit(self, view: View) -> Response:
        """The audit log: everything, of one order, or of one user."""
        wanted = {name: _plain(view.request.args.get(name, "")) for name in ("username", "order", "before")}
        order_id, before = (UUID(wanted[name]) if is_uuid7(wanted[name]) else None for name in ("order", "before"))
        understood = not wanted["order"] or order_id is not None
        timeout_s = float(self.settings["PAGE_TIMEOUT_S"])
        records = ask(lambda: staff.read_audit(
            self.database, timeout_s, PAGE + 1, order_id=order_id, username=wanted["username"] or None, before=before
        )) if understood else Part([])
        found = records.value or []
        return view.render(
            "operations/audit.html", 200 if understood else 422, wanted=wanted, understood=understood,
            records=found[:PAGE], missing=records.missing, older=found[PAGE - 1]["id"] if len(found) > PAGE else None,
        )


def _plain(typed: str) -> str:
    """A filter as it may be looked for: PostgreSQL's text holds no NUL."""
    return "".join(char for char in typed.strip() if char.isprintable())[:64]
