// The dispatch desk: what is chosen changes without a new page, a claim is kept while its panel is open, and the page
// looks again when a time on it has come. Keys are in dispatch-keys.js, dragging in dispatch-board.js.
//
// a, form[data-go]    changes what is chosen: the address changes, and the regions that differ are replaced
//                     (data-focus="id" gets the focus then)
// [data-renew="/p"]   a claim that is renewed while it is shown; data-renew-until says when it would end
// [data-until]        a time on the page after which it is no longer right
// .missing            what could not be loaded is asked for again

import { csrf, fetchPage, refresh, send } from "./page.js";
import "./dispatch-board.js";
import "./dispatch-keys.js";

const LONGEST_MS = 45000;
const SOON_MS = 5000;

/** Server time, so that a wrong clock here ends no claim early. */
let ahead_ms = 0;
let clockRead = "";
function readClock() {
  const now = document.querySelector("[data-now]")?.dataset.now;
  if (!now || now === clockRead) return; // regions are replaced without it: the same reading is as old as the page
  clockRead = now;
  ahead_ms = Date.parse(now) - Date.now();
}
function msUntil(moment) {
  return Date.parse(moment) - (Date.now() + ahead_ms);
}

/** Whether something was typed into the note that is not recorded yet. */
function noteIsOpen() {
  return Boolean(document.querySelector("#call textarea")?.value.trim());
}
function mayLeave() {
  const question = document.querySelector("#call [data-unsaved]")?.dataset.unsaved;
  return !noteIsOpen() || window.confirm(question);
}

/** Go to another choice of the desk without loading it anew; `focus` is the id of what gets the focus. */
export async function go(url, focus) {
  const picked = document.querySelector(".dispatch-slots > [id^=pick-]");
  if (picked && new URL(url, location).searchParams.get("pick") !== new URL(location).searchParams.get("pick")) {
    picked.replaceChildren(); // a technician chosen for another window must not hold the place of this one's
  }
  history.pushState(null, "", url);
  shown = place();
  await refresh();
  if (focus) document.getElementById(focus)?.focus();
}

const place = () => location.pathname + location.search;
let shown = place();

addEventListener("popstate", () => {
  if (place() !== shown) location.reload(); // else to another part of what is shown
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-go]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.href, link.dataset.focus ?? link.id);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-go]")) return;
  event.preventDefault();
  const url = `${form.action}?${new URLSearchParams(new FormData(form))}`;
  form.reset(); // the region is not replaced while somebody is busy in it
  go(url);
});

// Browsers ask as well where a link only opens the telephone, though that leaves nothing.
let dialled_ms = -Infinity;
document.addEventListener("click", (event) => {
  if (event.target.closest("a[href^='tel:']")) dialled_ms = event.timeStamp;
});
addEventListener("beforeunload", (event) => {
  if (noteIsOpen() && event.timeStamp - dialled_ms > 1000) event.preventDefault();
});

// A form that leaves the customer asks as well. Capturing: before page.js sends it.
document.addEventListener("submit", (event) => {
  const form = event.target;
  const sameCustomer = form.action === document.getElementById("call")?.action.replace(/call$/, "claim");
  if (form.matches("[data-enhance]:not(#call, #move, #drop)") && !sameCustomer && !mayLeave()) {
    event.preventDefault();
    event.stopImmediatePropagation();
  }
}, true);

// Enter in a field presses the button that belongs to it, and no other.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  const button = event.target.dataset?.enter
    ? document.getElementById(event.target.dataset.enter)
    : event.target.id && document.querySelector(`[data-enter-from="${CSS.escape(event.target.id)}"]`);
  if (!button) return;
  event.preventDefault();
  button.click();
});

let renewal = { path: undefined, timer: 0 };
let looking = 0;

async function renew(path) {
  let wait_ms = SOON_MS; // not renewed: soon again, the claim stands for a while
  try {
    const signal = AbortSignal.timeout(LONGEST_MS);
    const { answer } = await fetchPage(path, { method: "POST", headers: { "X-CSRF-Token": csrf() }, signal });
    if (answer.ok) wait_ms = LONGEST_MS;
    else await refresh(); // where somebody else has the customer, or the visit is closed, the page says so
  } catch {
    // no connection
  }
  if (renewal.path === path) planRenewal(wait_ms);
}

/** Plan when the claim that is shown is renewed; `wait_ms` after a renewal. A plan stays: a busy desk changes oftener. */
function planRenewal(wait_ms) {
  const held = document.querySelector("[data-renew]");
  const path = held?.dataset.renew;
  if (path === renewal.path && wait_ms === undefined) return;
  clearTimeout(renewal.timer);
  renewal = { path, timer: 0 };
  if (!path) return;
  wait_ms ??= Math.max(1000, Math.min(LONGEST_MS, msUntil(held.dataset.renewUntil) / 3));
  renewal.timer = setTimeout(() => renew(path), wait_ms);
}

/** Plan to look again when a time on the page has come; soon, where something could not be loaded: nobody says when it can. */
function planLook() {
  clearTimeout(looking);
  const waits = [...document.querySelectorAll("[data-until]")].map((e) => msUntil(e.dataset.until)).filter((ms) => ms > 0);
  if (document.querySelector("main .missing")) waits.push(SOON_MS);
  if (waits.length) looking = setTimeout(() => refresh().then(planLook), Math.min(...waits, 3600000) + 500);
}

function updated() {
  shown = place();
  readClock();
  planRenewal();
  planLook();
}
document.addEventListener("page:updated", updated);
updated();

/** Put a visit into a cell of the board. */
document.addEventListener("dispatch:drop", (event) => {
  const { order, revision, slot } = event.detail;
  const form = document.getElementById("drop");
  form.action = `/dispatch/visits/${order}/move`;
  form.elements.slot.value = slot;
  form.elements.revision.value = revision;
  send(form);
});
