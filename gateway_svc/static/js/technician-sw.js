// The service worker of the technician's pages. The server puts VERSION and ASSETS before it.
//
// Network first, with a short deadline; without an answer, the last good copy of the page. Copies are made only of pages
// that the server allows to be kept, for the technician it names, and another technician's go as soon as one comes.

const SHELL = `technician-shell-${VERSION}`;
const PAGES = "technician-pages-";
const KEPT_FOR = "Oss-Kept-For";
const OFFLINE = `/tech/offline${self.location.search}`;
const DEADLINE_MS = 2500;
const FRESH_MS = 60 * 1000;
const OLD_MS = 48 * 3600 * 1000;
const PAGES_MAX = 60;

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("message", (event) => {
  if (event.data?.keep) event.waitUntil(keepAll(event.data.keep));
});

async function install() {
  const shell = await caches.open(SHELL);
  await shell.addAll(ASSETS);
  // Without cookies: the page that stands in for any other holds nobody's name.
  const offline = await fetch(OFFLINE, { credentials: "omit", headers: { "Oss-Script": "1" } });
  if (!offline.ok) throw new Error(`offline page: ${offline.status}`);
  await shell.put(OFFLINE, offline);
  await self.skipWaiting();
}

async function activate() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith("technician-shell-") && name !== SHELL).map((name) => caches.delete(name)));
  await self.clients.claim();
}

/** A page's name among the copies: language and notices do not make another page of it. */
function key(url) {
  const plain = new URL(url);
  plain.searchParams.delete("lang");
  plain.searchParams.delete("notice");
  plain.hash = "";
  return plain.href;
}

const isPage = (url) => url.origin === self.location.origin && /^\/tech(\/jobs\/[^/]+)?$/.test(url.pathname);

async function copies() {
  const names = (await caches.keys()).filter((name) => name.startsWith(PAGES));
  return names.length ? caches.open(names.at(-1)) : null;
}

const copyOf = async (url) => (await copies())?.match(key(url));

/** Keep a copy of an answer, if the server allows it; copies of another technician's pages go first. */
async function keep(url, answer) {
  const technician = answer.headers.get(KEPT_FOR);
  if (!answer.ok || answer.redirected || !technician) return;
  const name = PAGES + technician;
  const others = (await caches.keys()).filter((known) => known.startsWith(PAGES) && known !== name);
  await Promise.all(others.map((other) => caches.delete(other)));
  const pages = await caches.open(name);
  await pages.put(key(url), answer);
  await tidy(pages);
}

async function tidy(pages) {
  const known = await pages.keys();
  const surplus = known.length - PAGES_MAX;
  await Promise.all(known.map(async (request, at) => {
    const copy = await pages.match(request);
    if (at < surplus || age_ms(copy) > OLD_MS) await pages.delete(request);
  }));
}

const age_ms = (copy) => Date.now() - Date.parse(copy?.headers.get("Date") ?? 0);

/** Fetch and keep pages that are not open, so that they are there in a dead spot. */
async function keepAll(urls) {
  for (const url of urls.filter((wanted) => isPage(new URL(wanted)))) {
    const copy = await copyOf(url);
    if (copy && age_ms(copy) < FRESH_MS) continue;
    try {
      const answer = await fetch(key(url), { headers: { "Oss-Script": "1" } });
      await keep(url, answer);
    } catch {
      return; // no signal: the copies of before stay
    }
  }
}

async function page(event) {
  const { request } = event;
  const network = fetch(request);
  // Also where the copy has been shown by then; without signal there is nothing to keep.
  event.waitUntil(network.then((answer) => keep(request.url, answer.clone()), () => {}));
  if (request.mode !== "navigate") return network;
  const deadline = new Promise((resolve) => setTimeout(resolve, DEADLINE_MS));
  const copy = () => copyOf(request.url);
  try {
    const first = await Promise.race([network, deadline]);
    return first ?? (await copy()) ?? (await network);
  } catch {
    return (await copy()) ?? (await caches.match(OFFLINE)) ?? Response.error();
  }
}

/** Styles and scripts: their names change with their content, so a copy is as good as the file. */
async function asset(request) {
  const shell = await caches.open(SHELL);
  const copy = await shell.match(request.url);
  if (copy) return copy;
  try {
    return await fetch(request);
  } catch (error) {
    // A page that was kept before the last update asks for the files of before.
    const name = new URL(request.url).pathname.replace(/^\/static\/[^/]+/, `/static/${VERSION}`);
    const newer = await shell.match(name);
    if (newer) return newer;
    throw error;
  }
}

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== self.location.origin) return;
  if (url.pathname.startsWith("/static/")) event.respondWith(asset(event.request));
  else if (isPage(url)) event.respondWith(page(event));
});
