// The phone's copies of pages for a dead spot: the service worker makes and keeps them, this tells it which.

const CACHES = "technician-pages-";

/** Register the service worker, and let it keep this page and the jobs it leads to. */
export async function start() {
  if (!navigator.serviceWorker) return;
  const { lang } = document.getElementById("phone").dataset;
  try {
    await navigator.serviceWorker.register(`/tech/sw.js?lang=${lang}`, { scope: "/tech" });
    await navigator.serviceWorker.ready;
    pagesToKeep();
  } catch {
    // No copies then, as in a private window: entries are kept all the same.
  }
}

/** This page, and every job that the list names. */
export async function pagesToKeep() {
  const registration = await navigator.serviceWorker?.getRegistration("/tech");
  const links = [...document.querySelectorAll("#jobs [data-order] a")].map((link) => link.href);
  registration?.active?.postMessage({ keep: [location.href, ...links] });
}

/** Empty the copies: whoever comes next must not see them. */
export async function forget() {
  if (!window.caches) return;
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(CACHES)).map((name) => caches.delete(name)));
}
