// What is typed into a job's checklist and not entered yet. A phone may throw the page away while the camera is open;
// the tab's own memory brings the values back. It ends with the tab, and with signing out.

const PREFIX = "technician-draft-";

const keyOf = (form) => PREFIX + form.closest("[data-order]").dataset.order;
const fieldsOf = (form) => [...form.elements].filter((field) => field.name.startsWith("results.") || field.name === "note");

export function save(form) {
  sessionStorage.setItem(keyOf(form), JSON.stringify(fieldsOf(form).map((field) => [field.name, field.value])));
}

export function drop(form) {
  sessionStorage.removeItem(keyOf(form));
}

/** Put back what was typed, into fields that are empty. */
export function restore(form) {
  for (const [name, value] of JSON.parse(sessionStorage.getItem(keyOf(form)) ?? "[]")) {
    if (form.elements[name] && !form.elements[name].value) form.elements[name].value = value;
  }
}

export function dropAll() {
  for (const key of Object.keys(sessionStorage)) if (key.startsWith(PREFIX)) sessionStorage.removeItem(key);
}
