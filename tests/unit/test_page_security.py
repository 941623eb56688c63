"""What keeps pages from being misused: cookies, forged forms, where a page may lead, what a template may print."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from chassis import clock
from contracts.errors import Conflict, Forbidden, NotFound, Overloaded, Unauthenticated
from contracts.ids import new_id
from gateway_svc import schemas
from gateway_svc.auth import Caller, Tokens
from gateway_svc.pages import assets, forms, routing, sessions
from gateway_svc.pages.ask import together
from gateway_svc.pages.formats import masked_phone, order_number
from gateway_svc.pages.sessions import Cookies
from gateway_svc.pages.view import View, local_path
from gateway_svc.routing import ANYONE, OPERATOR, Route

OLD, NEW = "o" * 32, "n" * 32
TOKENS = Tokens([NEW, OLD])


class Site:
    """As much of the service as a page needs."""

    def __init__(self) -> None:
        self.tokens = TOKENS
        self.settings: dict[str, Any] = {}
        self.audited: list[tuple[str, str, int]] = []

    def audit(self, caller: Caller, action: str, order_id: Any, status: int) -> None:
        self.audited.append((caller.subject, action, status))


def _caller(role: Any = "operator", **more: Any) -> Caller:
    return Caller("somebody", role, clock.utc_now() + timedelta(hours=1), **more)


def _request(method: str = "POST", path: str = "/ops", form: dict[str, str] | None = None, **headers: str) -> Request:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(EnvironBuilder(path, method=method, data=form or {}, headers=names).get_environ())


def _open(
    site: Site, request: Request, answer: Any = "fine", roles: Any = OPERATOR, session: Any = "staff", **path: str
) -> Response:
    entry = Route(request.method, "/ops", "do_it", "Do it", "pages", roles)

    def handler(_site: Any, view: View) -> Response:
        if isinstance(answer, Exception):
            raise answer
        return Response(f"{answer} {view.language}")

    return routing._answer(site, entry, session, handler, request, path)


def _signed_in(visitor: str = "v1", tokens: Tokens = TOKENS, **caller: Any) -> dict[str, str]:
    token = tokens.issue(_caller(**caller), clock.utc_now())
    return {"Cookie": f"oss_staff={token}; oss_visitor={visitor}"}


def _form(visitor: str = "v1") -> dict[str, str]:
    return {"csrf": sessions.csrf_token(TOKENS, visitor)}


def test_a_form_of_ours_is_taken_and_audited() -> None:
    site = Site()
    assert _open(site, _request(form=_form(), **_signed_in())).data == b"fine ko"
    assert site.audited == [("somebody", "do_it", 200)]


def test_a_form_signed_with_the_key_before_the_last_rotation_is_taken() -> None:
    form = {"csrf": sessions.csrf_token(Tokens([OLD]), "v1")}
    assert _open(Site(), _request(form=form, **_signed_in())).status_code == 200


def test_a_scripts_request_carries_the_signature_in_a_header() -> None:
    request = _request(X_CSRF_Token=sessions.csrf_token(TOKENS, "v1"), **_signed_in())
    assert _open(Site(), request).status_code == 200


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({}, {}),
        ({"csrf": ""}, {}),
        ({"csrf": "guess"}, {}),
        ({"csrf": "한글"}, {}),
        (_form("another-browser"), {}),
        (_form(), {"Sec_Fetch_Site": "cross-site"}),
        (_form(), {"Sec_Fetch_Site": "same-site"}),
        (_form(), {"Origin": "http://elsewhere.example"}),
        (_form(), {"Origin": "null"}),
        (_form(), {"Origin": "http://["}),
    ],
)
def test_a_forged_form_does_nothing(form: dict[str, str], headers: dict[str, str]) -> None:
    site = Site()
    response = _open(site, _request(form=form, **_signed_in(), **headers))
    assert response.status_code == 403 and b"fine" not in response.data
    assert site.audited == [("somebody", "do_it", 403)]


def test_without_a_visitor_cookie_no_form_is_good() -> None:
    assert _open(Site(), _request(form=_form("")), roles=ANYONE).status_code == 403


def test_who_has_not_signed_in_is_sent_to_and_comes_back_to_the_page() -> None:
    response = _open(Site(), _request("GET", "/ops?day=2026-11-26"))
    assert (response.status_code, response.headers["Location"]) == (303, "/signin?next=/ops%3Fday%3D2026-11-26")


def test_a_script_is_told_that_the_session_is_over() -> None:
    assert _open(Site(), _request("GET", Oss_Script="1")).status_code == 401


def test_a_role_that_may_not_gets_a_page_that_says_so() -> None:
    response = _open(Site(), _request("GET", **_signed_in(role="dispatcher")))
    assert response.status_code == 403 and response.mimetype == "text/html"


@pytest.mark.parametrize(
    "cookie",
    [
        "oss_staff=nonsense",
        f"oss_staff={Tokens(['x' * 32]).issue(_caller(), clock.utc_now())}",
        f"oss_staff={TOKENS.issue(Caller('x', 'operator', clock.utc_now() - timedelta(1)), clock.utc_now())}",
        f"oss_staff={TOKENS.issue(_caller(role='subscriber', order_id=new_id()), clock.utc_now())}",
    ],
)
def test_a_cookie_that_is_not_a_valid_staff_token_is_nobody(cookie: str) -> None:
    assert _open(Site(), _request("GET", Cookie=cookie)).status_code == 303


def test_a_bearer_opens_no_page() -> None:
    token = TOKENS.issue(_caller(), clock.utc_now())
    assert _open(Site(), _request("GET", Authorization=f"Bearer {token}")).status_code == 303


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound(), 404), (Conflict("it is closed"), 409), (Overloaded(retry_after_s=3), 503),
        (RuntimeError("secret inside"), 500),
    ],
)
def test_what_goes_wrong_becomes_a_page_in_the_readers_language(error: Exception, status: int) -> None:
    response = _open(Site(), _request("GET", Accept_Language="en", **_signed_in()), error)
    assert (response.status_code, response.headers["Content-Language"]) == (status, "en")
    assert b"secret inside" not in response.data
    assert ("Retry-After" in response.headers) == (status == 503)


@pytest.mark.parametrize(("referer", "again"), [
    ("http://localhost/dispatch?order=1", "/dispatch?order=1"), ("http://elsewhere.example/dispatch", "/"),
    ("http://localhost//elsewhere.example", "/"), ("http://[", "/"), ("", "/"),
])  # fmt: skip
def test_after_a_form_that_failed_one_tries_again_where_it_stood(referer: str, again: str) -> None:
    response = _open(Site(), _request(Referer=referer, **_signed_in()))
    assert response.status_code == 403 and f'<a class="button" href="{again}">' in response.get_data(as_text=True)


def test_a_page_that_failed_is_tried_again_as_it_was_asked_for() -> None:
    response = _open(Site(), _request("GET", "/ops?q=4d2f&x=1", **_signed_in()), Overloaded())
    assert '<a class="button" href="/ops?q=4d2f&amp;x=1">' in response.get_data(as_text=True)


def test_cookies_are_for_this_site_over_tls_and_out_of_scripts_reach() -> None:
    cookies = Cookies.of(TOKENS, {})
    order_id, response = new_id(), Response()
    cookies.sign_in(response, _caller(), clock.utc_now())
    cookies.sign_in(response, _caller(role="subscriber", order_id=order_id), clock.utc_now())
    cookies.visitor(response, "v")
    cookies.language(response, "oss_lang", "en")
    lines = response.headers.getlist("Set-Cookie")
    assert all("Secure" in line and "HttpOnly" in line and "SameSite=" in line for line in lines)
    staff = next(line for line in lines if line.startswith("oss_staff"))
    order = next(line for line in lines if line.startswith("oss_order"))
    assert "SameSite=Strict" in staff and f"Path=/my/{order_id}" in order


def test_signing_in_as_staff_makes_older_forms_worthless() -> None:
    response = Response()
    Cookies.of(TOKENS, {}).sign_in(response, _caller(), clock.utc_now())
    assert any(line.startswith("oss_visitor=") for line in response.headers.getlist("Set-Cookie"))


@pytest.mark.parametrize(
    "wanted",
    ["", None, "ops", "//elsewhere.example", "/\\elsewhere.example", "https://elsewhere.example/", "/a\\b", "/a\nb",
     "javascript:alert(1)"],
)
def test_a_page_leads_nowhere_else(wanted: str | None) -> None:
    assert local_path(wanted, "/home") == "/home"


def test_a_page_leads_back_to_where_one_came_from() -> None:
    assert local_path("/ops/orders?status=fallout", "/home") == "/ops/orders?status=fallout"


def test_what_people_typed_is_escaped_and_kept() -> None:
    form = forms.read(MultiDict({"username": '"><script>', "password": ""}), schemas.SignIn, ("username", "password"))
    assert form.value is None and set(form.errors) == {"password"} and form["username"] == '"><script>'


def test_a_nul_in_a_field_is_a_fault_of_that_field() -> None:
    form = forms.read(MultiDict({"username": "a\0", "password": "x"}), schemas.SignIn, ("username", "password"))
    assert set(form.errors) == {"username"}


def test_a_text_of_several_lines_is_taken_as_browsers_send_it_and_kept_as_it_was_typed() -> None:
    form = forms.read(MultiDict({"reason": "이사\r\n갑니다"}), schemas.Cancel, ("reason",))
    assert form.value == schemas.Cancel(reason="이사\n갑니다") and form["reason"] == "이사\n갑니다"


def test_one_service_that_fails_does_not_take_the_others_parts_away() -> None:
    def refused() -> None:
        raise Conflict("no")

    def away() -> None:
        raise Overloaded()

    parts = together(good=lambda: 1, refused=refused, away=away)
    assert parts["good"].required() == 1
    assert parts["away"].missing and not parts["refused"].missing
    with pytest.raises(Conflict):
        parts["refused"].required()


@pytest.mark.parametrize(
    ("phone", "masked"),
    [("010-1234-5678", "010-****-5678"), ("02-345-6789", "02-***-6789"), ("031-123-4567", "031-***-4567"), ("", "")],
)
def test_a_masked_phone_number_cannot_be_called(phone: str, masked: str) -> None:
    assert masked_phone(phone) == masked


def test_an_order_number_is_short_enough_to_read_out() -> None:
    assert order_number("01a214a8-b9f0-7fd2-8d18-4fa7ed888bdd") == "ED88-8BDD"


def test_a_file_of_another_version_is_served_but_not_kept() -> None:
    request = _request("GET", Accept_Encoding="gzip")
    assert "immutable" in assets.serve(request, assets.version(), "app.css").headers["Cache-Control"]
    assert assets.serve(request, "0ther", "app.css").headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("name", ["../service.py", "css/nothing.css", ""])
def test_only_the_pages_files_are_served(name: str) -> None:
    with pytest.raises(NotFound):
        assets.serve(_request("GET"), assets.version(), name)


def test_a_caller_who_is_not_there_must_sign_in() -> None:
    with pytest.raises(Unauthenticated):
        Route("GET", "/ops", "x", "X", "pages", OPERATOR).allows(None)


def test_only_the_owner_sees_an_order() -> None:
    with pytest.raises(Forbidden):
        _caller(role="subscriber", order_id=new_id()).check_owns(new_id())
