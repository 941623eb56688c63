// Sends what is kept on the phone: in the order in which it was entered, one at a time in all tabs, again and again with
// growing pauses until the server has answered. The server does the same thing once, however often it is told.

import * as store from "./technician-store.js";

const PAUSES_MS = [1000, 2000, 4000, 8000, 15000, 30000, 60000];
const DEADLINE_MS = 20000;
const SCRIPT = { "Oss-Script": "1" };

let failures = 0;
let timer = null;
let wanted = false;

const tell = (state, more = {}) => document.dispatchEvent(new CustomEvent("phone:send", { detail: { state, ...more } }));

function later() {
  clearTimeout(timer);
  const pause_ms = PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)];
  failures += 1;
  timer = setTimeout(flush, pause_ms * (0.75 + Math.random() / 2));
}

/** Who has signed in, with the signature of their forms; null where nobody has. Throws without signal. */
async function session() {
  const answer = await fetch("/tech/session", { headers: SCRIPT, cache: "no-store", signal: AbortSignal.timeout(DEADLINE_MS) });
  if (answer.status === 401 || answer.status === 403) return null;
  if (!answer.ok) throw new Error(`session: ${answer.status}`);
  return answer.json();
}

/** Whether the server answers at all. */
export async function reachable() {
  return session().then(() => true, () => false);
}

/** What became of one entry: "done", "later", "signed-out", or why it is refused. Throws without signal. */
async function post(entry, csrf) {
  const path = `/tech/jobs/${entry.order}/${entry.kind === "photo" ? "photos" : entry.kind}`;
  const photo = entry.kind === "photo";
  const answer = await fetch(path, {
    method: "POST",
    redirect: "error",
    signal: AbortSignal.timeout(DEADLINE_MS),
    headers: { ...SCRIPT, "X-CSRF-Token": csrf, ...(photo && { "Content-Type": "image/jpeg", "Photo-Id": entry.id }) },
    body: photo ? entry.photo : new URLSearchParams(entry.fields),
  });
  if (answer.status === 401) return "signed-out";
  if (answer.status === 413) return "invalid";
  // Anything that is not an answer of the page itself: a form that is out of date, a proxy, a defect.
  if (!answer.headers.get("Content-Type")?.startsWith("application/json")) return "later";
  return (await answer.json()).outcome ?? "later";
}

/** Send the entries of whoever has signed in; returns the state to show. A job whose entry cannot be sent now holds up
 * its own later entries only. */
async function work() {
  const held = new Set();
  const waiting = async () => (await store.all()).filter((entry) => !entry.refused);
  if (!(await waiting()).length) return "idle";
  tell("sending");
  const who = await session();
  if (who === null) return "signed-out";
  for (;;) {
    const entries = await waiting();
    const entry = entries.find((known) => known.technician === who.technician_id && !held.has(known.order));
    if (!entry) return held.size ? "later" : "idle";
    const outcome = await post(entry, who.csrf);
    if (outcome === "signed-out") return outcome;
    if (outcome === "later") {
      held.add(entry.order);
      continue;
    }
    if (outcome === "done") await store.remove(entry.id);
    else await store.put({ ...entry, refused: outcome });
    failures = 0;
    tell("sending", { sent: outcome === "done" ? entry : null, refused: outcome === "done" ? null : entry });
  }
}

async function locked() {
  if (!navigator.locks) return work();
  return navigator.locks.request("technician-send", { ifAvailable: true }, (lock) => (lock ? work() : "later"));
}

let running = null;

/** Send what waits, now. Calls while it runs are one more afterwards. */
export function flush() {
  if (running) {
    wanted = true;
    return running;
  }
  clearTimeout(timer);
  running = locked()
    .catch(() => "no-signal")
    .then((state) => {
      tell(state === "later" || state === "no-signal" ? "waiting" : state);
      if (state === "later" || state === "no-signal") later();
      else failures = 0;
    })
    .finally(() => {
      running = null;
      if (wanted) {
        wanted = false;
        flush();
      }
    });
  return running;
}

/** There may be signal again: do not wait for the pause to end. */
export function again() {
  failures = 0;
  flush();
}
