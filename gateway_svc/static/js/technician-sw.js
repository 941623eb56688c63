// The service worker of the technician's pages. The server puts VERSION and ASSETS before it.
//
// Network first, with a short deadline; without an answer, or where the server could not give the page, the last good
// copy of it. Copies are made only of pages that the server allows to be kept, for the technician it names, and another
// technician's go as soon as one comes.

const SHELL = `technician-shell-${VERSION}`;
const PAGES = "technician-pages-";
const KEPT_FOR = "Oss-Kept-For";
const OFFLINE = `/tech/offline${self.location.search}`;
const DEADLINE_MS = 2500;
const FRESH_MS = 60 * 1000;
const PATIENCE_MS = 20 * 1000; // with a page that nobody looks at
const OLD_MS = 48 * 3600 * 1000;
const PAGES_MAX = 200; // somebody may page through weeks ahead, and today's pages are the oldest of all

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("message", (event) => {
  if (event.data?.forget) event.waitUntil(forget().then(() => event.ports[0]?.postMessage("forgotten")));
  if (event.data?.claim) event.waitUntil(self.clients.claim());
  if (event.data?.keep) event.waitUntil(keepAll(event.data.keep).then((left) => event.source?.postMessage({ left })));
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

/** Whoever's there are; of `technician` only, where it is known who has signed in. */
async function copies(technician) {
  const name = (await caches.keys()).findLast((known) => technician ? known === PAGES + technician : known.startsWith(PAGES));
  return name ? caches.open(name) : null;
}

const copyOf = async (url, technician) => (await copies(technician))?.match(key(url));

/** The server, or one behind it, could not give the page now. */
const isLater = (answer) => answer.status >= 500 || answer.status === 429;

/** The answer once all of it is here: one that breaks off is as good as none. */
async function whole(answer) {
  await answer.clone().blob();
  return answer;
}

let forgotten = 0; // how often

/** Empty the copies: whoever comes next must not see them. What is on its way by now is not kept any more. */
function forget() {
  forgotten += 1;
  return navigator.locks.request("technician-copies", async () => {
    const names = await caches.keys();
    await Promise.all(names.filter((name) => name.startsWith(PAGES)).map((name) => caches.delete(name)));
  });
}

/** Keep a copy of an answer, if the server allows it; copies of another technician's pages go first. `asked`: how often
 * the copies had been forgotten when it was asked for. */
async function keep(url, answer, asked = forgotten) {
  const technician = answer.headers.get(KEPT_FOR);
  if (!answer.ok || answer.redirected || !technician) return;
  const body = await answer.blob();
  const headers = new Headers(answer.headers);
  headers.set("Date", new Date().toUTCString()); // by this phone's clock, wrong or not: it is what ages are taken by
  // One at a time: else one tidies away what another has just put.
  await navigator.locks.request("technician-copies", async () => {
    if (asked === forgotten) await put(PAGES + technician, key(url), new Response(body, { headers }));
  });
}

async function put(name, url, copy) {
  const others = (await caches.keys()).filter((known) => known.startsWith(PAGES) && known !== name);
  await Promise.all(others.map((other) => caches.delete(other)));
  const pages = await caches.open(name);
  await pages.put(url, copy);
  await tidy(pages);
}

async function tidy(pages) {
  const known = await pages.keys();
  const surplus = known.length - PAGES_MAX;
  await Promise.all(known.map(async (request, at) => {
    if (at < surplus || age_ms(await pages.match(request)) > OLD_MS) await pages.delete(request);
  }));
}

/** NaN, which is neither old nor fresh, where there is nothing to tell it by. */
const age_ms = (copy) => Date.now() - Date.parse(copy?.headers.get("Date"));

/** Fetch and keep pages that are not open, so that they are there in a dead spot; returns those to be asked for again. */
async function keepAll(urls) {
  const wanted = urls.filter((url) => isPage(new URL(url)));
  const left = [];
  const asked = forgotten; // by the one who had signed in then
  for (const [at, url] of wanted.entries()) {
    if (age_ms(await copyOf(url)) < FRESH_MS) continue;
    const options = { headers: { "Oss-Script": "1" }, signal: AbortSignal.timeout(PATIENCE_MS) };
    const answer = await fetch(key(url), options).then(whole).catch(() => null);
    if (!answer) return [...left, ...wanted.slice(at)]; // no signal: the copies of before stay
    if (isLater(answer)) left.push(url);
    else await keep(url, answer, asked);
  }
  return left;
}

async function page(event) {
  const { request } = event;
  const asked = forgotten;
  const network = fetch(request).then(whole);
  // Also where the copy has been shown by then; without signal there is nothing to keep.
  event.waitUntil(network.then((answer) => keep(request.url, answer.clone(), asked), () => {}));
  if (request.mode !== "navigate") return network;
  const deadline = new Promise((resolve) => setTimeout(resolve, DEADLINE_MS));
  const copy = (technician) => copyOf(request.url, technician);
  try {
    const first = await Promise.race([network, deadline]);
    if (first && !isLater(first)) return first;
    return (await copy(first?.headers.get(KEPT_FOR))) ?? first ?? (await network);
  } catch {
    return (await copy()) ?? (await caches.match(OFFLINE)) ?? Response.error();
  }
}

/** Styles and scripts: their names change with their content, so a copy is as good as the file. */
async function asset(request) {
  const shell = await caches.open(SHELL);
  const copy = await shell.match(request.url);
  if (copy) return copy;
  const answer = await fetch(request).catch(() => Response.error());
  if (answer.ok) return answer;
  // A page that was kept before the last update asks for the files of before.
  const name = new URL(request.url).pathname.replace(/^\/static\/[^/]+/, `/static/${VERSION}`);
  return (await shell.match(name)) ?? answer;
}

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== self.location.origin) return;
  if (url.pathname.startsWith("/static/")) event.respondWith(asset(event.request));
  else if (isPage(url)) event.respondWith(page(event));
});
