// What every page can do once scripts run. Without them every form and link still works.
//
// data-region            an element (with an id) that is replaced by its newer self when the page is fetched anew
// data-live="/path"      on an element of the page: an event stream that says when to fetch the page anew
// data-live-state        shows whether that stream stands (texts in data-on and data-off)
// form[data-enhance]     is sent by fetch, and what comes back replaces <main>, but for regions somebody is busy in
// data-busy, data-answer something that keeps its region from being replaced: somebody is in the middle of it, or it is what
//                        their last form was answered, which the next form's answer does replace
// data-confirm="text"    on a form or a button: asks before sending
//
// Events on document: "page:updated" after anything was replaced, "page:live" with detail.on, "page:asked" with detail.ok
// once a page has been asked for and answered.

const SCRIPT = { "Oss-Script": "1" };
const DEADLINE_MS = 60000;
const OUT_OF_SIGHT_MS = 10000;

export function csrf() {
  return document.querySelector('meta[name="csrf"]').content;
}

/** The last page that was asked for could not be had: for scripts that come too late for the event. */
export let isBehind = false;

/** Fetch a page of this site as a document; goes to sign in where the session is over. */
export async function fetchPage(url, options = {}) {
  const signal = options.method ? undefined : AbortSignal.timeout(DEADLINE_MS); // what is sent may be large
  const headers = { ...SCRIPT, ...options.headers };
  const answer = await fetch(url, { credentials: "same-origin", signal, ...options, headers });
  if (answer.status === 401) {
    location.reload();
    throw new Error("signed out");
  }
  const text = await answer.text();
  if (!options.method) {
    isBehind = !answer.ok;
    document.dispatchEvent(new CustomEvent("page:asked", { detail: { ok: answer.ok } }));
  }
  return { answer, page: new DOMParser().parseFromString(text, "text/html") };
}

function isChanged(field) {
  if (field.type === "hidden" || field.type === "file") return false;
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  if (field.tagName === "SELECT") return [...field.options].some((option) => option.selected !== option.defaultSelected);
  return field.value !== field.defaultValue;
}

/** What somebody is in the middle of here: an open dialog, a drag, a changed field; and what their last form was answered. */
function inUse(region) {
  const found = [...region.querySelectorAll("dialog[open], [data-busy], [data-answer], input, textarea, select")];
  return found.filter((element) => !element.matches("input, textarea, select") || isChanged(element));
}
const busy = (region) => inUse(region).length > 0;

function keepPlace(replace) {
  const active = document.activeElement;
  const id = active && active !== document.body ? active.id : "";
  replace();
  if (id && document.activeElement !== document.getElementById(id)) document.getElementById(id)?.focus({ preventScroll: true });
}

/** Replace `old` by a copy of `fresh`; of the regions within, those `kept` stay, in place of their newer selves. */
function replaceElement(old, fresh, kept = []) {
  keepPlace(() => {
    const copy = document.importNode(fresh, true);
    for (const region of kept) copy.querySelector(`#${CSS.escape(region.id)}`).replaceWith(region);
    // The very same element: a camera may be open for it, and the picture comes to no other.
    for (const input of old.querySelectorAll("input[type=file][id]")) copy.querySelector(`#${input.id}`)?.replaceWith(input);
    old.replaceWith(copy);
  });
}

const REGION = "[data-region][id]";

/** The regions that hold no other. */
function innermost(page) {
  return [...page.querySelectorAll(REGION)].filter((region) => !region.querySelector(REGION));
}

/** Replace the innermost regions that differ; all of <main> where there are others now. What is in use stays. */
function swapRegions(page) {
  let changed = false;
  const fresh = innermost(page);
  const before = innermost(document);
  const ids = (regions) => regions.map((region) => region.id);
  const main = document.getElementById("main");
  const kept = before.filter((region) => busy(region) && ids(fresh).includes(region.id));
  const allKept = inUse(main).every((element) => kept.some((region) => region.contains(element)));
  if (ids(fresh).join() !== ids(before).join() && allKept) {
    replaceElement(main, page.getElementById("main"), kept);
    changed = true;
  } else {
    for (const region of fresh) {
      const old = document.getElementById(region.id);
      if (old && old.outerHTML !== region.outerHTML && !busy(old)) {
        replaceElement(old, region);
        changed = true;
      }
    }
  }
  if (changed) document.dispatchEvent(new CustomEvent("page:updated"));
}

let refreshing = null;
let again = false;
let replaced = 0; // how often a sent form has replaced <main>

/** Fetch this page anew and replace what has changed. Calls while one runs are one more afterwards, waited for as well. */
export function refresh() {
  if (refreshing) {
    again = true;
    return refreshing;
  }
  const url = new URL(location.href);
  const before = { href: location.href, replaced };
  url.searchParams.delete("notice");
  refreshing = fetchPage(url)
    .then(({ answer, page }) => {
      if (location.href !== before.href || replaced !== before.replaced) again = true; // of an address that was left
      else if (answer.ok) swapRegions(page);
    })
    .catch(() => {}) // no signal: the stream reconnects and asks again
    .finally(() => {
      refreshing = null;
      if (again) {
        again = false;
        return refresh();
      }
    });
  return refreshing;
}

function showLive(on) {
  for (const state of document.querySelectorAll("[data-live-state]")) {
    const text = on ? state.dataset.on : state.dataset.off;
    if (state.textContent !== text) state.textContent = text;
    state.classList.toggle("on", on);
  }
  document.dispatchEvent(new CustomEvent("page:live", { detail: { on } }));
}

let stream = null;
let wait_ms = 1000;

function connect(path) {
  const opened = new EventSource(path);
  stream = opened;
  opened.addEventListener("open", () => {
    wait_ms = 1000;
    showLive(true);
    refresh(); // what happened before the stream stood
  });
  for (const name of ["change", "order"]) opened.addEventListener(name, () => refresh());
  opened.addEventListener("error", () => {
    showLive(false);
    if (opened.readyState !== EventSource.CLOSED) return; // the browser connects again by itself
    refresh(); // refused, not cut off: where the session is over, this leads to sign in
    setTimeout(() => { if (stream === opened) connect(path); }, wait_ms * (0.5 + Math.random()));
    wait_ms = Math.min(wait_ms * 2, 30000);
  });
}

/** Hold the stream while the page is in sight. Over HTTP/1.1 a browser makes six connections to a site, for all its tabs:
 * the seventh tab would not even load. */
function follow(path) {
  let leaving = 0;
  const look = () => {
    clearTimeout(leaving);
    if (document.visibilityState === "visible") {
      if (!stream) connect(path);
    } else if (stream) {
      leaving = setTimeout(() => {
        stream.close();
        stream = null;
        showLive(false);
      }, OUT_OF_SIGHT_MS);
    }
  };
  document.addEventListener("visibilitychange", look);
  look();
}

/** The regions that have a place on this page too, in which somebody is busy with something other than this form. */
function busyBeside(form, page) {
  const own = new Set([form, ...form.elements].map((element) => element.closest(REGION)));
  const beside = innermost(document).filter((region) => !own.has(region) && page.getElementById(region.id));
  return beside.filter((region) => busy(region) && !region.querySelector("[data-answer]"));
}

/** Say that a form has to be sent again: no answer came, or not one of this site's pages (of a proxy, of a full server). */
function sayNotSent() {
  document.getElementById("not-sent")?.remove();
  const main = document.getElementById("main");
  main.prepend(document.importNode(document.getElementById("not-sent-text").content, true));
  document.getElementById("not-sent").focus();
}

/** What a sent form was answered replaces <main>. */
function show(form, answer, page) {
  const there = new URL(answer.url);
  const main = page.getElementById("main");
  if (answer.redirected && (!main || there.pathname !== location.pathname)) {
    location.assign(answer.url);
    return;
  }
  if (!main) {
    sayNotSent();
    return;
  }
  if (answer.redirected) {
    there.searchParams.delete("notice");
    history.replaceState(null, "", there);
  } else if (answer.headers.has("Content-Location")) {
    history.replaceState(null, "", answer.headers.get("Content-Location")); // of another page than the form was on
    document.title = page.title;
  }
  replaced += 1;
  replaceElement(document.getElementById("main"), main, busyBeside(form, page));
  (document.getElementById("errors") ?? document.querySelector("#main [autofocus]") ?? document.getElementById("main")).focus();
  document.dispatchEvent(new CustomEvent("page:updated"));
}

export async function send(form, submitter) {
  const data = new FormData(form, submitter);
  const multipart = form.enctype === "multipart/form-data";
  form.dataset.busy = "";
  submitter?.setAttribute("aria-disabled", "true");
  try {
    const body = multipart ? data : new URLSearchParams(data);
    const came = await fetchPage(form.action, { method: "POST", body }).catch((error) => {
      if (!(error instanceof TypeError)) throw error; // TypeError: no connection
    });
    if (came) show(form, came.answer, came.page);
    else sayNotSent();
  } finally {
    delete form.dataset.busy;
    submitter?.removeAttribute("aria-disabled");
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
  if (question && !window.confirm(question)) {
    event.preventDefault();
    return;
  }
  if (form.dataset.busy !== undefined) {
    event.preventDefault(); // sent already
    return;
  }
  if ("enhance" in form.dataset) {
    event.preventDefault();
    send(form, event.submitter);
  }
});

const live = document.querySelector("[data-live]");
if (live) follow(live.dataset.live);
addEventListener("pageshow", (event) => { if (event.persisted) refresh(); }); // came back from the browser's history
document.documentElement.dataset.scripts = "on";
