// What was entered and has not been sent yet, kept on this phone (IndexedDB) until the server has said what became of it.
//
// An entry: {id, technician, order, number, kind: "start" | "complete" | "reject" | "photo", fields: {name: text},
// photo: ArrayBuffer | null, kept_at: ms, refused: null | why}. `id` is also the photo's id at the server.

const NAME = "technician";
const STORE = "entries";
const PATIENCE_MS = 8000; // a browser may leave the question unanswered

let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

async function run(mode, act) {
  const db = await open();
  return new Promise((resolve, reject) => {
    const transaction = db.transaction(STORE, mode, { durability: "strict" });
    const request = act(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

export const put = (entry) => run("readwrite", (store) => store.put(entry));
export const remove = (id) => run("readwrite", (store) => store.delete(id));

/** Every entry, in the order in which they were made. */
export async function all() {
  const entries = await run("readonly", (store) => store.getAll());
  return entries.sort((one, other) => one.kept_at - other.kept_at);
}

/** Whether this browser can keep anything; asked once, so that the forms go the plain way where it cannot. */
export async function works() {
  const deadline = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS, false));
  return Promise.race([all().then(() => true, () => false), deadline]);
}
