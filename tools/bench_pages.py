"""`make bench-pages`: how soon pages answer, and how soon MyPage can be used on a slow phone.

Pages are asked one after another, as one person would, of a system with a day's work in it. MyPage is opened in
Chromium by somebody who was never here, on a processor slowed down 4 times and a line of 150 ms and 1.6 Mbit/s.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence

import requests
from playwright.sync_api import Browser

from tools.browser import CHROMIUM, FONTS, SLOW_PHONE, SLOW_PROCESSOR, chromium, person, slow_line, slow_processor
from tools.client import Client
from tools.packages import PackagesMissing, ensure
from tools.page_data import Work, system_with_data
from tools.paths import ROOT
from tools.screenshots import SHOWN, Shown, cookie_of, say, sign_in
from tools.waiting import NotInTime

ANSWER_TARGET_MS = 100.0
INTERACTIVE_TARGET_MS = 1000.0
WARM_UP = 5

# A page can be used when it is painted, its scripts have run, and none of them holds the processor any more
# (long tasks: W3C, 50 ms and longer).
_STEPS_MS = """() => new Promise(resolve => {
  const tasks = [];
  new PerformanceObserver(list => tasks.push(...list.getEntries())).observe({ type: "longtask", buffered: true });
  setTimeout(() => {
    const page = performance.getEntriesByType("navigation")[0];
    const painted = performance.getEntriesByName("first-contentful-paint")[0].startTime;
    const idle = tasks.map(task => task.startTime + task.duration);
    const usable = Math.max(page.domContentLoadedEventEnd, painted, ...idle);
    resolve({ answered: page.responseEnd, painted, "scripts run": page.domContentLoadedEventEnd, usable });
  }, 1000);
})"""

Steps = dict[str, float]
"""When a page was answered, painted, had run its scripts, and could be used: ms after the click."""


def answer_times_ms(client: Client, work: Work, shown: Shown, times: int) -> list[float]:
    """How long the page took to answer, each time."""
    cookie, path = cookie_of(client, work, shown.who), work.path(shown.path)
    headers = {"Accept-Language": "ko"} | ({"Cookie": f"{cookie.name}={cookie.value}"} if cookie else {})
    taken = []
    with requests.Session() as http:
        for _ in range(WARM_UP + times):
            begun = time.perf_counter()
            answer = http.get(client.url + path, headers=headers, allow_redirects=False, timeout=30)
            taken.append((time.perf_counter() - begun) * 1000)
            if answer.status_code >= 400:
                raise NotInTime(f"{path} was answered with {answer.status_code}")
    return taken[WARM_UP:]


def steps_ms(browser: Browser, client: Client, work: Work, path: str, who: str) -> Steps:
    """How a page comes up for somebody with a slow phone and an empty cache."""
    with person(browser, client.url, "ko", phone=True) as context:
        sign_in(context, client, work, who)
        page = context.new_page()
        slow_processor(page, SLOW_PROCESSOR)
        slow_line(page, SLOW_PHONE)
        page.goto(work.path(path), wait_until="load")
        return dict(page.evaluate(_STEPS_MS))


def table(answered: Mapping[str, Sequence[float]], opened: Sequence[Steps]) -> str:
    """The result for a person to read."""
    slowest = max(answered, key=lambda name: statistics.median(answered[name]))
    lines = [f"{'answers, ms':<30}{'median':>10}{'95 %':>10}"]
    for name, times in answered.items():
        lines.append(f"{name:<30}{statistics.median(times):>10.1f}{statistics.quantiles(times, n=20)[-1]:>10.1f}")
    lines += ["", f"{'MyPage on a slow phone, ms':<30}{'median':>10}"]
    medians = {step: statistics.median(steps[step] for steps in opened) for step in opened[0]}
    lines += [f"{step:<30}{median:>10.0f}" for step, median in medians.items()]
    return "\n".join([
        *lines,
        "",
        _verdict(f"median of {slowest}, the slowest", statistics.median(answered[slowest]), ANSWER_TARGET_MS),
        _verdict("MyPage on a slow phone, median until it can be used", medians["usable"], INTERACTIVE_TARGET_MS),
    ])


def _verdict(what: str, found_ms: float, target_ms: float) -> str:
    return f"{what}: {found_ms:.0f} ms, target below {target_ms:g} ms: {'met' if found_ms < target_ms else 'missed'}"


def main() -> int:
    """Measure and print; errors a person can act on are said without a traceback."""
    parser = argparse.ArgumentParser(prog="tools.bench_pages", description=__doc__)
    parser.add_argument("--times", type=int, default=100, help="how often each page is asked for")
    parser.add_argument("--visits", type=int, default=11, help="how often MyPage is opened on the slow phone")
    args = parser.parse_args()
    folder = ROOT / ".local" / "bench-pages"
    shutil.rmtree(folder, ignore_errors=True)
    # Pages that others in the table differ from by what is done on them only.
    pages = {shown.path: shown for shown in reversed(SHOWN) if shown.status == 200}
    try:
        ensure(CHROMIUM, FONTS)
        with system_with_data(folder, say) as (_, client, work), chromium() as browser:
            say(f"asking {len(pages)} pages {args.times} times each")
            answered = {shown.name: answer_times_ms(client, work, shown, args.times)
                        for shown in reversed(pages.values())}
            say(f"opening MyPage {args.visits} times on a slow phone")
            opened = [steps_ms(browser, client, work, "/my/{scheduled}", "scheduled") for _ in range(args.visits)]
    except (PackagesMissing, NotInTime) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n" + table(answered, opened))
    return 0


if __name__ == "__main__":
    sys.exit(main())
