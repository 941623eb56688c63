"""Going through a page with the Tab key alone: what cannot be reached, and what does not show that it has the focus."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

# What a person can do something with, as the page stands: of a group of radio buttons one, of a roving group (tabindex)
# the one that takes part. A signature is what the eye could notice on the element or around it.
_WATCH = """() => {
  const look = element => {
    const around = [element, element.nextElementSibling];
    for (let up = element.parentElement, n = 0; up && n < 3; up = up.parentElement, n++) around.push(up);
    return around.filter(Boolean).map(one => {
      const style = getComputedStyle(one);
      return [style.outline, style.boxShadow, style.border, style.backgroundColor, style.textDecoration].join("|");
    }).join("||");
  };
  const modal = document.querySelector("dialog:modal") ?? document;
  const shown = element => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length;
  const all = [...modal.querySelectorAll("a[href],button,input,select,textarea,summary,[tabindex],[contenteditable]")]
    .filter(element => element.tabIndex >= 0 && !element.disabled && shown(element) && !element.closest("[inert]"));
  const chosen = radio => all.find(other => other.type === "radio" && other.name === radio.name
    && other.form === radio.form && other.checked);
  const first = radio => all.find(other => other.type === "radio" && other.name === radio.name
    && other.form === radio.form);
  const wanted = all.filter(element => element.type !== "radio" || (chosen(element) ?? first(element)) === element);
  document.activeElement?.blur();
  const before = new Map(wanted.map(element => [element, look(element)]));
  const reached = new Set(), unmarked = new Set(), hidden = new Set();
  document.addEventListener("focusin", ({ target }) => {
    if (!before.has(target) || reached.has(target)) return;
    reached.add(target);
    if (look(target) === before.get(target)) unmarked.add(target);
  });
  // The browser scrolls to what has the focus after it has told of it, so this is looked at before the next key.
  const place = () => {
    const now = document.activeElement, box = now.getBoundingClientRect();
    const outside = box.bottom <= 0 || box.top >= innerHeight || box.right <= 0 || box.left >= innerWidth;
    if (before.has(now) && outside) hidden.add(now);
  };
  document.addEventListener("keydown", place, { capture: true });
  window.oss_keyboard = { wanted, reached, unmarked, hidden, place };
  return wanted.length;
}"""

_IS_DONE = """() => {
  const { wanted, reached } = window.oss_keyboard;
  return wanted.every(element => reached.has(element) || !element.isConnected);
}"""

_TELL = """() => {
  const { wanted, reached, unmarked, hidden, place } = window.oss_keyboard;
  place();
  const tell = element => element.outerHTML.replace(/\\s+/g, " ").slice(0, 160);
  return {
    "cannot be reached with Tab": wanted.filter(element => element.isConnected && !reached.has(element)).map(tell),
    "does not show that it has the focus": [...unmarked].map(tell),
    "has the focus outside the screen": [...hidden].map(tell),
  };
}"""


def check_keyboard(page: Page) -> None:
    """Raises AssertionError naming each element that a person without a mouse cannot get at or lose sight of."""
    page.emulate_media(reduced_motion="reduce")
    count = int(page.evaluate(_WATCH))
    assert count, f"there is nothing to do on {page.url}"
    # A date has a stop for each of its parts, and a round may have begun in the middle.
    for pressed in range(3 * count + 20):
        page.keyboard.press("Tab")
        if pressed % 5 == 4 and page.evaluate(_IS_DONE):
            break
    told: dict[str, Any] = page.evaluate(_TELL)
    faults = [f"{fault}: {element}" for fault, elements in told.items() for element in elements]
    assert not faults, "\n".join([f"by keyboard alone on {page.url}:", *faults])
