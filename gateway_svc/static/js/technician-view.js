// Shows what is kept on the phone, and what the job looks like once it has been sent.

const AFTER = { start: "started", complete: "completed", reject: "rejected" };

const phone = () => document.getElementById("phone");
const language = () => document.documentElement.lang;

function clock(moment) {
  const today = moment.toDateString() === new Date().toDateString();
  return moment.toLocaleString(language(), today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}

const SAID_MS = 6000;
let unsay = null;

/** Say something once, to the eye and to the ear: "kept", "sent", "new" or "gone". */
export function say(what) {
  const place = document.querySelector("[data-said]");
  place.textContent = "";
  clearTimeout(unsay);
  requestAnimationFrame(() => { place.textContent = place.dataset[what]; });
  unsay = setTimeout(() => { place.textContent = ""; }, SAID_MS);
}

/** After an entry: on to the checklist, or up to what is kept. */
export function goOn(kind) {
  const next = kind === "start" ? document.getElementById("checklist") : kind !== "photo" && document.getElementById("main");
  if (!next) return;
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "start" });
}

/** What is shown is how things stand at this moment. */
export function fresh() {
  phone().dataset.shownAt = new Date().toISOString();
}

/** Whether what is shown is how things stand: "good", or why it may not be, and since when: "no-signal", "no-answer". */
export function standing(how) {
  const notice = document.querySelector("[data-signal]");
  if (!notice) return;
  for (const line of notice.querySelectorAll("[data-when]")) line.hidden = line.dataset.when !== how;
  const shownAt = phone().dataset.shownAt;
  const asOf = notice.querySelector("[data-as-of]");
  asOf.textContent = shownAt ? asOf.dataset.text.replace("{time}", clock(new Date(shownAt))) : "";
  notice.hidden = how === "good";
}

function item(entry) {
  const row = document.getElementById("kept-entry").content.firstElementChild.cloneNode(true);
  row.dataset.entryId = entry.id;
  const what = row.querySelector("[data-what]");
  what.textContent = what.dataset[entry.kind];
  const job = row.querySelector("[data-job]");
  job.textContent = entry.number;
  job.href = `/tech/jobs/${entry.order}`;
  const at = row.querySelector("[data-at]");
  at.dateTime = new Date(entry.kept_at).toISOString();
  at.textContent = clock(new Date(entry.kept_at));
  row.querySelector("[data-refused]").hidden = !entry.refused;
  const reasons = [...row.querySelectorAll("[data-reason]")];
  const reason = reasons.find((known) => known.dataset.reason === entry.refused) ?? reasons.at(-1);
  if (entry.refused) reason.hidden = false;
  return row;
}

/** The server has taken this entry: the job is what the entry made of it, before the page has been fetched anew. */
export function taken(entry) {
  const job = document.getElementById("job");
  if (job?.dataset.order !== entry.order || !(entry.kind in AFTER)) return;
  job.dataset.state = AFTER[entry.kind];
  const badge = job.querySelector("[data-state-badge]");
  badge.textContent = badge.dataset[entry.kind];
}

/** The entries that are still on the phone, and the job as they make it. */
export function show(entries, state) {
  const box = document.getElementById("kept");
  if (!box) return;
  const me = phone().dataset.technician; // nobody on the page that stands in for all others
  const mine = entries.filter((entry) => !me || entry.technician === me);
  const waiting = mine.filter((entry) => !entry.refused);
  const shown = ["sending", "signed-out"].includes(state) ? state : "waiting";
  for (const line of box.querySelectorAll("[data-when]")) line.hidden = !waiting.length || line.dataset.when !== shown;
  box.querySelector("[data-others]").hidden = mine.length === entries.length;
  box.querySelector("[data-send-now]").hidden = !waiting.length || shown !== "waiting";
  box.querySelector("[data-entries]").replaceChildren(...mine.map(item));
  box.hidden = entries.length === 0;
  for (const badge of document.querySelectorAll("[data-kept-badge]")) showBadge(badge, waiting);
  showJob(waiting);
}

function showBadge(badge, waiting) {
  const job = badge.closest("[data-order]");
  const mine = waiting.filter((entry) => entry.order === job.dataset.order);
  const last = mine.findLast((entry) => entry.kind in AFTER) ?? mine.at(-1);
  badge.hidden = !last;
  badge.textContent = last ? badge.dataset[last.kind] : "";
  const changed = Boolean(last && last.kind in AFTER);
  for (const other of job.querySelectorAll("[data-state-badge], [data-next]")) other.hidden = changed;
}

function showJob(waiting) {
  const job = document.getElementById("job");
  if (!job) return;
  const mine = waiting.filter((entry) => entry.order === job.dataset.order && entry.kind in AFTER);
  const state = mine.length ? AFTER[mine.at(-1).kind] : job.dataset.state;
  const open = state === "assigned" || state === "started";
  for (const part of job.querySelectorAll("[data-when]")) part.hidden = !(part.dataset.when === state || (part.dataset.when === "open" && open));
}

let seen = null; // {day, orders} of the list as it was last

/** A job that came or went while the list was open is said. Another day's list is no news: at midnight today's is one. */
export function compareJobs() {
  if (!document.querySelector("#jobs .jobs")) return; // no list, or it could not be loaded
  const day = document.getElementById("day")?.dataset.day;
  const orders = new Set([...document.querySelectorAll("#jobs [data-order]")].map((job) => job.dataset.order));
  if (seen?.day === day) {
    if ([...orders].some((order) => !seen.orders.has(order))) say("new");
    else if ([...seen.orders].some((order) => !orders.has(order))) say("gone");
  }
  seen = { day, orders };
}
