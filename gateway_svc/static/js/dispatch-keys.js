// The desk's keys. Single letters only while nobody is typing, and they can be switched off (WCAG 2.2, 2.1.4). By the
// place of the key (event.code), so that they work while the Korean input method is on. None of them sends anything but
// "next customer" and "call": results are pressed.

const STORE = "dispatch-keys";
const dialog = document.getElementById("keys");
const checkbox = document.getElementById("keys-on");

function stored() {
  try {
    return localStorage.getItem(STORE);
  } catch {
    return null; // no storage here: on, for as long as the page stands
  }
}
checkbox.checked = stored() !== "off";
checkbox.addEventListener("change", () => {
  try {
    localStorage.setItem(STORE, checkbox.checked ? "on" : "off");
  } catch {
    return; // holds for this page only
  }
});

function help() {
  if (!dialog.open) dialog.showModal();
}

/** Focus what the first selector that finds something finds. */
function focusOn(...selectors) {
  const found = selectors.map((selector) => document.querySelector(selector)).find(Boolean);
  found?.focus();
  found?.scrollIntoView({ block: "nearest" });
}

/** The name in the queue `step` further than the one with the focus, or than the chosen one. */
function inQueue(step) {
  const names = [...document.querySelectorAll(".dispatch-name")];
  const item = document.activeElement?.closest(".dispatch-item")?.querySelector(".dispatch-name");
  const at = names.indexOf(item ?? document.querySelector(".dispatch-name[aria-current]"));
  names[at < 0 ? (step > 0 ? 0 : names.length - 1) : Math.max(0, Math.min(names.length - 1, at + step))]?.focus();
}

function call() {
  const item = document.activeElement?.closest(".dispatch-item");
  (item ? item.querySelector("button") : document.getElementById("claim"))?.click();
}

const KEYS = {
  KeyN: () => document.getElementById("next")?.click(),
  KeyC: call,
  KeyJ: () => inQueue(1),
  KeyK: () => inQueue(-1),
  KeyW: () => focusOn(".dispatch-slot[aria-current]", ".dispatch-slot", "#windows-title"),
  KeyM: () => focusOn("#note"),
  KeyX: () => focusOn("#no-answer"),
  KeyB: () => focusOn("#call_back_at"),
  KeyD: () => focusOn(".dispatch-here", ".dispatch-card-name", "#board-title"),
};

function typing(element) {
  return element.isContentEditable || element.matches("textarea, select, input:not([type=checkbox], [type=radio], [type=button])");
}

/** Move the focus within a table to the nearest cell in that direction in which there is something to do. */
function arrow(event) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  const cell = event.target.closest?.("[data-grid] td");
  if (!step || !cell) return false;
  const row = cell.parentElement;
  const rows = [...row.parentElement.rows];
  const columns = row.cells.length;
  let [y, x] = [rows.indexOf(row), cell.cellIndex];
  for (;;) {
    [y, x] = [y + step[0], x + step[1]];
    if (x < 0 || x >= columns || !rows[y]) break;
    const there = rows[y].cells[x].querySelector("a, button");
    if (there) {
      there.focus();
      break;
    }
  }
  event.preventDefault();
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
  if (event.key === "Escape") {
    if (typing(event.target)) event.target.blur();
    else document.getElementById("move-cancel")?.click();
    return;
  }
  if (typing(event.target) || arrow(event) || !checkbox.checked) return;
  if (event.key === "?") {
    event.preventDefault();
    help();
    return;
  }
  const action = !event.shiftKey && KEYS[event.code];
  if (!action) return;
  event.preventDefault();
  action();
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-open=keys]")) help();
});
