"""The harness itself: what a page must not do is found, and a test in which it happened fails and leaves evidence."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from playwright.sync_api import Browser, Page

from tests.harness.browser import Visitors
from tests.harness.browser_axe import check_axe
from tests.harness.browser_keyboard import check_keyboard
from tools.browser import SLOW_PHONE
from tools.paths import ROOT

STRICT = "default-src 'none'; script-src 'self'; connect-src 'self'; form-action 'self'"
GOOD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title></head>
<body><main><h1>A page</h1><p>Text.</p></main></body></html>"""


class Pages(BaseHTTPRequestHandler):
    """A site of which each test writes the pages: path -> (status, headers, body). `cookies`: what came, by path."""

    pages: ClassVar[dict[str, tuple[int, dict[str, str], str]]] = {}
    cookies: ClassVar[dict[str, str | None]] = {}
    languages: ClassVar[dict[str, str | None]] = {}

    def do_GET(self) -> None:
        type(self).cookies[self.path] = self.headers.get("Cookie")
        type(self).languages[self.path] = self.headers.get("Accept-Language")
        # Browsers ask for an icon by themselves.
        nothing = (204 if self.path == "/favicon.ico" else 404, {}, "")
        status, headers, body = self.pages.get(self.path, nothing)
        self.send_response(status)
        for name, value in {"Content-Type": "text/html; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test says what went wrong."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def people(browser: Browser, site: str, tmp_path: Path) -> Iterator[Visitors]:
    """Visitors of that site, whose misdeeds do not fail the test they are for."""
    Pages.pages.clear()
    together = Visitors(browser, site, tmp_path)
    yield together
    together.leave()


def serve(path: str, body: str = GOOD, status: int = 200, **headers: str) -> None:
    Pages.pages[path] = (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def body(markup: str) -> str:
    return GOOD.replace("<p>Text.</p>", markup)


def test_a_good_page_is_found_good_under_a_strict_policy(people: Visitors) -> None:
    serve("/", Content_Security_Policy=STRICT)
    page = people.new_page()
    page.goto("/")
    check_axe(page)
    people.check()


@pytest.mark.parametrize(("markup", "told"), [
    ("<script>document.title = 'x'</script>", "Content Security Policy"),
    ("<p style='color: red'>Text.</p>", "Content Security Policy"),
    ("<script src='/errs.js'></script>", "console has an error: broken"),
    ("<script src='/throws.js'></script>", "exception got through.*no such thing"),
    ("<script src='/rejects.js'></script>", "exception got through.*too late"),
    ("<script src='/missing.js'></script>", "404.*missing.js"),
])  # fmt: skip
def test_what_a_page_must_not_do_is_found(people: Visitors, markup: str, told: str) -> None:
    script = {"Content_Type": "text/javascript"}
    serve("/errs.js", "console.error('broken')", **script)
    serve("/throws.js", "throw new Error('no such thing')", **script)
    serve("/rejects.js", "Promise.reject(new Error('too late'))", **script)
    serve("/", body(markup), Content_Security_Policy=STRICT)
    people.new_page().goto("/")
    with pytest.raises(AssertionError, match=told):
        people.check()


def test_a_broken_policy_is_found_with_javascript_off(people: Visitors) -> None:
    serve("/", body("<p style='color: red'>Text.</p>"), Content_Security_Policy=STRICT)
    people.new_page(javascript=False).goto("/")
    with pytest.raises(AssertionError, match="Content Security Policy"):
        people.check()


def test_a_request_to_another_host_is_found(people: Visitors) -> None:
    serve("/", body("<img alt='' src='http://other.invalid/pixel.png'>"))
    people.new_page().goto("/")
    with pytest.raises(AssertionError, match=r"another host: http://other\.invalid/pixel\.png"):
        people.check()


def test_a_form_may_be_refused_but_never_with_a_server_error(people: Visitors) -> None:
    serve("/", body("<form method=post action=/422><button>Send</button></form>"))
    serve("/422", body("<p>Name is missing.</p><form method=post action=/500><button>Send</button></form>"), 422)
    serve("/500", body("<p>Sorry.</p>"), 500)
    page = people.new_page()
    page.goto("/")
    page.get_by_role("button").click()
    page.get_by_text("Name is missing.").wait_for()
    people.check()
    page.get_by_role("button").click()
    page.get_by_text("Sorry.").wait_for()
    with pytest.raises(AssertionError, match=r"POST .*/500 was answered with 500"):
        people.check()


def test_what_a_test_provokes_on_purpose_can_be_said(people: Visitors) -> None:
    serve("/", status=503)
    page = people.new_page(expected=["GET .*/ was answered with 503"])
    page.goto("/")
    people.check()


def test_axe_finds_what_only_the_dark_scheme_has(people: Visitors) -> None:
    style = ("<style>p { color: #111; background: #fff }"
             "@media (prefers-color-scheme: dark) { p { color: #555; background: #444 } }</style><p>Text.</p>")
    serve("/", body(style))
    page = people.new_page()
    page.goto("/")
    with pytest.raises(AssertionError, match=r"color-contrast \(serious, dark\)(.|\n)*p\n") as told:
        check_axe(page)
    assert "light" not in str(told.value)


def test_axe_finds_a_field_without_a_name(people: Visitors) -> None:
    serve("/", body("<input name=q>"))
    page = people.new_page()
    page.goto("/")
    with pytest.raises(AssertionError, match=r"label \(critical, light\)"):
        check_axe(page)


def test_the_keyboard_check_goes_through_links_fields_radios_and_what_is_folded(people: Visitors) -> None:
    serve("/", body("<a href='/'>Link</a><input type=date aria-label=Day><fieldset><legend>L</legend>"
                    "<label><input type=radio name=a>1</label><label><input type=radio name=a>2</label></fieldset>"
                    "<details><summary>More</summary><button>Folded</button></details><button disabled>Off</button>"))
    page = people.new_page()
    page.goto("/")
    check_keyboard(page)


@pytest.mark.parametrize(("markup", "told"), [
    ("<a href='/'>A</a><style>:focus { outline: none }</style>", "does not show that it has the focus: <a"),
    ("<input id=trap><script>trap.onkeydown = key => key.preventDefault()</script><a href='/'>A</a>",
     "cannot be reached with Tab: <a"),
    ("<a href='/' style='position: fixed; left: -200px'>A</a>", "has the focus outside the screen: <a"),
    ("Text only.", "nothing to do"),
])  # fmt: skip
def test_the_keyboard_check_finds_what_shuts_people_out(people: Visitors, markup: str, told: str) -> None:
    serve("/", body(markup))
    page = people.new_page()
    page.goto("/")
    with pytest.raises(AssertionError, match=told):
        check_keyboard(page)


def test_secure_cookies_are_kept_and_sent_on_the_loopback_address(people: Visitors) -> None:
    serve("/", Set_Cookie="__Host-who=me; Secure; HttpOnly; SameSite=Strict; Path=/")
    serve("/next")
    page = people.new_page()
    page.goto("/")
    page.goto("/next")
    assert Pages.cookies["/next"] == "__Host-who=me"
    people.new_page().goto("/next")
    assert Pages.cookies["/next"] is None, "each visitor has cookies of their own"


@pytest.mark.parametrize(("lang", "locale"), [("ko", "ko-KR"), ("en", "en-GB")])
def test_a_visitor_speaks_their_language(people: Visitors, lang: str, locale: str) -> None:
    serve("/")
    page = people.new_page(lang)
    page.goto("/")
    assert page.evaluate("navigator.language") == locale
    assert str(Pages.languages["/"]).startswith(locale)


def test_a_phone_is_small_and_touched_and_may_be_slow(people: Visitors) -> None:
    serve("/", GOOD.replace("<title>", '<meta name="viewport" content="width=device-width"><title>'))
    page = people.new_page(phone=True, cpu_slowdown=4, network=SLOW_PHONE)
    page.goto("/")
    assert page.evaluate("[innerWidth, innerHeight, matchMedia('(pointer: coarse)').matches]") == [390, 844, True]
    took_ms = page.evaluate("performance.getEntriesByType('navigation')[0].responseEnd")
    assert took_ms >= SLOW_PHONE.rtt_ms


OUTER = """
def test_it(page):
    page.route("**/*", lambda route: route.fulfill(content_type="text/html", body="<script>nothing.here</script>"))
    page.goto("/")
"""


def test_a_test_whose_page_misbehaved_fails_and_leaves_a_picture_and_a_trace(tmp_path: Path) -> None:
    (tmp_path / "test_outer.py").write_text("import pytest\n\n@pytest.fixture\ndef base_url():\n"
                                            "    return 'http://127.0.0.1:1'\n" + OUTER)
    command = [sys.executable, "-m", "pytest", "-p", "tests.browser.conftest", "-p", "no:cacheprovider",
               f"--confcutdir={tmp_path}", str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env={"OSS_TEST_STATE_DIR": str(tmp_path / "state"), "PATH": "/usr/bin"},
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "exception got through" in done.stdout and "1 failed" in done.stdout.splitlines()[-1]
    kept = re.findall(r"^\S+test_it/visitor-1-\S+$", done.stdout, re.MULTILINE)
    assert [Path(name).name for name in kept] == ["visitor-1-page-1.png", "visitor-1-trace.zip"]
    assert all((ROOT / name).is_file() for name in kept)


def test_whoever_runs_them_in_the_wrong_process_is_told() -> None:
    command = [sys.executable, "-c", "import eventlet; eventlet.monkey_patch(); import tests.browser.conftest"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "make test-browser" in done.stderr


def test_sign_in_and_pages_are_there_for_every_test(page: Page, sign_in: Callable[[Page, str], None]) -> None:
    sign_in(page, "dispatcher")
    assert "/signin" not in page.url
