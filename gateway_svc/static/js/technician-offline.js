// The phone's copies of pages for a dead spot: the service worker makes and keeps them, this tells it which.

const CACHES = "technician-pages-";
const PATIENCE_MS = 2000;
const PAUSE_MS = 10000;
const PAUSE_MAX_MS = 60000;

/** Register the service worker, and let it keep this page and the jobs it leads to. */
export async function start() {
  if (!navigator.serviceWorker) return;
  navigator.serviceWorker.addEventListener("message", (event) => askAgain(event.data.left));
  const { lang } = document.getElementById("phone").dataset;
  try {
    await navigator.serviceWorker.register(`/tech/sw.js?lang=${lang}`, { scope: "/tech" });
    const { active } = await navigator.serviceWorker.ready;
    // A page that was loading just when the worker took over all pages, or was loaded past it, has been left out.
    if (!navigator.serviceWorker.controller) active.postMessage({ claim: true });
    pagesToKeep();
  } catch {
    // No copies then, as in a private window: entries are kept all the same.
  }
}

/** This page, the list that it goes back to, and every job that the list names. */
export function pagesToKeep() {
  const links = [...document.querySelectorAll("a.back, #jobs [data-order] a")].map((link) => link.href);
  return keep([location.href, ...links]);
}

async function keep(urls) {
  const registration = await navigator.serviceWorker?.getRegistration("/tech");
  registration?.active?.postMessage({ keep: urls });
}

let asking = null;
let pause_ms = PAUSE_MS;

/** What could not be had, for want of signal or because the server was busy: with growing pauses, until all is there. */
function askAgain(left) {
  clearTimeout(asking);
  if (left.length) asking = setTimeout(() => keep(left), pause_ms * (0.75 + Math.random() / 2));
  pause_ms = left.length ? Math.min(2 * pause_ms, PAUSE_MAX_MS) : PAUSE_MS;
}

/** Empty the copies: whoever comes next must not see them. The service worker drops what is on its way; where it says
 * nothing, what is there now goes all the same. */
export async function forget() {
  if (!window.caches) return;
  const registration = await navigator.serviceWorker?.getRegistration("/tech");
  const { port1, port2 } = new MessageChannel();
  const forgotten = new Promise((resolve) => {
    port1.onmessage = resolve;
    setTimeout(resolve, registration?.active ? PATIENCE_MS : 0);
  });
  registration?.active?.postMessage({ forget: true }, [port2]);
  await forgotten;
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(CACHES)).map((name) => caches.delete(name)));
}
