// The technician's pages with scripts: what is entered is kept on the phone and sent when there is signal, so that every
// form works in a dead spot. Without scripts the same forms are sent as they are.

import { isBehind, refresh } from "./page.js";
import { changed, checked, echo } from "./technician-check.js";
import * as draft from "./technician-draft.js";
import { shrink } from "./technician-photo.js";
import { again, flush, reachable } from "./technician-send.js";
import { forget, pagesToKeep, start as startWorker } from "./technician-offline.js";
import * as store from "./technician-store.js";
import * as view from "./technician-view.js";

// Not waited for before the handlers below are there: a form sent meanwhile would be sent past them, and lost without signal.
const keeping = store.works();
let state = "idle";
let live = document.querySelector("[data-live-state].on") !== null; // the stream stands
let signal = navigator.onLine;
let behind = isBehind; // the page was asked for anew, and could not be had

async function show() {
  if (await keeping) view.show(await store.all(), state);
}

async function put(form, kind, fields, photo = null) {
  const job = form.closest("[data-order]");
  await store.put({
    id: crypto.randomUUID(),
    technician: document.getElementById("phone").dataset.technician,
    order: job.dataset.order,
    number: job.dataset.number,
    kind,
    fields,
    photo,
    kept_at: Date.now(),
    refused: null,
  });
}

/** What was entered is on the phone: say so, and send it. */
async function kept(form, kind) {
  if (kind === "complete") draft.drop(form);
  form.reset();
  navigator.storage?.persist?.(); // ask that the entry is not cleared away when space runs out
  view.say("kept");
  await show();
  view.goOn(kind);
  flush();
}

function rejection(form) {
  const fields = Object.fromEntries(["reason_code", "note"].map((name) => [name, form.elements[name].value]));
  const missing = fields.reason_code === "other" && !fields.note.trim();
  form.querySelector("[data-note-missing]").hidden = !missing;
  if (missing) form.elements.note.focus();
  return missing ? null : fields;
}

/** Meanwhile a second tap does nothing, and the form is not replaced. */
async function busy(form, act) {
  form.dataset.busy = "";
  try {
    await act();
  } finally {
    delete form.dataset.busy;
  }
}

async function takePhoto(form) {
  const [file] = form.elements.photo.files;
  const error = form.querySelector("[data-photo-error]");
  error.hidden = true;
  if (!file) return;
  try {
    await put(form, "photo", {}, await shrink(file));
    await kept(form, "photo");
  } catch {
    error.hidden = false;
    form.elements.photo.value = "";
  }
}

const READ = { start: () => ({}), complete: checked, reject: rejection };

async function keep(form, kind) {
  const fields = READ[kind](form);
  if (!fields) return;
  try {
    await put(form, kind, fields);
  } catch {
    form.submit(); // no room left on this phone: the plain way, as without scripts
    return;
  }
  await kept(form, kind);
}

function submitted(event) {
  const form = event.target;
  const kind = form.dataset.entry;
  if (!kind || event.defaultPrevented) return;
  event.preventDefault();
  busy(form, async () => {
    if (!(await keeping)) form.submit();
    else if (kind === "photo") await takePhoto(form);
    else await keep(form, kind);
  });
}

async function signOut(event) {
  const form = event.target;
  if (form.getAttribute("action") !== "/signout" || event.defaultPrevented) return;
  event.preventDefault();
  const waiting = (await keeping) && (await store.all()).some((entry) => !entry.refused);
  if (waiting && !window.confirm(document.getElementById("kept").dataset.signOut)) return;
  draft.dropAll();
  await forget();
  form.submit();
}

document.addEventListener("submit", submitted);
document.addEventListener("submit", signOut);
document.addEventListener("input", (event) => {
  const box = event.target.closest("[data-measured]");
  if (!box) return;
  echo(box);
  changed(box.closest("form"));
});
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-entry=complete]");
  if (form) draft.save(form);
});

function restoreDraft() {
  const form = document.querySelector("form[data-entry=complete]");
  if (!form) return;
  draft.restore(form);
  for (const box of form.querySelectorAll("[data-measured]")) if (box.querySelector("input").value) echo(box);
}

document.addEventListener("change", async (event) => {
  if (event.target.id === "photo" && (await keeping)) busy(event.target.form, () => takePhoto(event.target.form));
});
document.addEventListener("click", async (event) => {
  if (event.target.closest("[data-send-now]")) again();
  const forgotten = event.target.closest("[data-forget]")?.closest("[data-entry-id]");
  if (forgotten) {
    await store.remove(forgotten.dataset.entryId);
    await show();
  }
});
document.addEventListener("phone:send", async (event) => {
  state = event.detail.state;
  if (event.detail.sent) view.taken(event.detail.sent);
  await show();
  if (event.detail.sent) view.say("sent");
  if (event.detail.sent || event.detail.refused) refresh();
});
// What could not be had is asked for again. While the stream does not stand, its coming back asks.
setInterval(() => { if (live && behind) refresh(); }, 5000);

// The rejection form stays open when the job around it is replaced.
let rejecting = false;
document.addEventListener("toggle", (event) => {
  if (event.target.matches("#job details")) rejecting = event.target.open;
}, true);
document.addEventListener("page:updated", () => {
  if (rejecting) document.querySelector("#job details")?.setAttribute("open", "");
  restoreDraft();
  view.compareJobs();
  pagesToKeep();
  show();
});
function showStanding() {
  view.standing(!signal ? "no-signal" : behind ? "no-answer" : "good");
}

document.addEventListener("page:live", async (event) => {
  if (live && !behind) view.fresh(); // until now
  live = event.detail.on;
  signal = live || (await reachable()) || live;
  showStanding();
  if (live) again();
});
document.addEventListener("page:asked", (event) => {
  const was = behind;
  behind = !event.detail.ok;
  if (!behind) view.fresh();
  showStanding();
  if (was && !behind) again();
});
addEventListener("online", again);
addEventListener("offline", () => {
  signal = false;
  showStanding();
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") again();
});

document.dispatchEvent(new Event("technician:ready"));

restoreDraft();
view.compareJobs();
showStanding();
startWorker();
if (await keeping) {
  document.documentElement.dataset.keeps = "on";
  const photo = document.getElementById("photo");
  if (photo?.files.length) busy(photo.form, () => takePhoto(photo.form)); // taken before this ran
  await show();
  flush();
}
