// The checklist in the technician's hand: values are read as a thumb types them, what is out of the ordinary is asked
// about, without signal too. The same rules as contracts/measurements.py, whose ranges stand in data-low and data-high;
// the server checks again.

export function readSerial(typed) {
  const plain = typed.replace(/[\s:-]/g, "").toUpperCase();
  return plain.slice(0, 4) + plain.slice(4).replace(/[OQ]/g, "0").replace(/[IL]/g, "1");
}

export function readPower(typed) {
  const plain = typed.trim().replace(/\u2212/g, "-").replace(/,/g, ".").replace(/ /g, "");
  return /^\d*\.?\d+$/.test(plain) && Number(plain) ? `-${plain}` : plain;
}

const readSpeed = (typed) => typed.trim().replace(/,/g, ".");
const isNumber = (text) => /^[+-]?\d*\.?\d+$/.test(text);
const isSpeed = (text) => isNumber(text) && Number(text) > 0 && Number(text) <= 100000;

const FIELDS = {
  ont_serial: { read: readSerial, good: (text) => /^[A-Z]{4}[0-9A-F]{8}$/.test(text) },
  rx_power_dbm: { read: readPower, good: (text) => isNumber(text) && Number(text) >= -40 && Number(text) <= 10 },
  down_mbps: { read: readSpeed, good: isSpeed },
  up_mbps: { read: readSpeed, good: (text) => text === "" || isSpeed(text) },
};

/** One field as it stands: `{name, typed, text, good, asked}`; `asked` is a question's name, or null. */
function look(box) {
  const { measured: name, low, high } = box.dataset;
  const typed = box.querySelector("input").value;
  const text = FIELDS[name].read(typed);
  const good = FIELDS[name].good(text);
  let asked = null;
  if (good && name === "ont_serial" && typed.trim() !== text) asked = `${name}.corrected`;
  if (good && text && low && Number(text) < Number(low)) asked = `${name}.too_low`;
  if (good && text && high && Number(text) > Number(high)) asked = `${name}.too_high`;
  return { box, name, typed, text, good, asked };
}

const looks = (form) => [...form.querySelectorAll("[data-measured]")].map(look);

/** Say beside the field how it is read, and take an error back once it is mended. */
export function echo(box) {
  const { name, typed, text, good, asked } = look(box);
  const says = box.querySelector("[data-read]");
  const plain = name === "ont_serial" && typed.trim() === text;
  const parts = [];
  if (good && text && !plain) parts.push(says.dataset.text.replace("{value}", text));
  if (good && text && !asked && name !== "ont_serial" && box.dataset.low) parts.push(says.dataset.fine);
  says.textContent = parts.join(" · ");
  says.classList.toggle("asked", asked !== null);
  if (good) showError(box, false);
}

function showError(box, wrong) {
  const error = box.querySelector("[data-error]");
  error.hidden = !wrong;
  error.textContent = wrong ? error.dataset.text : "";
  box.classList.toggle("wrong", wrong);
  box.querySelector("input").toggleAttribute("aria-invalid", wrong);
  if (wrong) box.querySelector("input").setAttribute("aria-invalid", "true");
}

/** Show the questions `asked`; a "yes" that was given to others counts no more. */
function ask(form, asked, serial) {
  const panel = form.querySelector("#questions");
  const names = asked.join();
  if (panel.dataset.asked !== names) form.elements.confirmed.checked = false;
  panel.dataset.asked = names;
  for (const item of panel.querySelectorAll("[data-question]")) item.hidden = !asked.includes(item.dataset.question);
  panel.querySelector("[data-serial]").textContent = serial;
  panel.hidden = asked.length === 0;
}

/** After a change of a value: what was asked about it has to be asked again. */
export function changed(form) {
  const panel = form.querySelector("#questions");
  if (!panel.hidden) ask(form, [], "");
}

/** The fields to send, or null where something is wrong or has to be confirmed first (which is then shown). */
export function checked(form) {
  const fields = looks(form);
  for (const field of fields) showError(field.box, !field.good);
  const wrong = fields.find((field) => !field.good);
  if (wrong) {
    wrong.box.querySelector("input").focus();
    return null;
  }
  const asked = fields.map((field) => field.asked).filter(Boolean);
  const values = fields.map((field) => field.text).join();
  const panel = form.querySelector("#questions");
  const confirmed = form.elements.confirmed.checked && panel.dataset.values === values;
  panel.dataset.values = values;
  ask(form, asked, fields.find((field) => field.name === "ont_serial").text);
  if (asked.length && !confirmed) {
    form.elements.confirmed.checked = false;
    panel.focus();
    return null;
  }
  return Object.fromEntries([
    ...fields.filter((field) => field.text).map((field) => [`results.${field.name}`, field.text]),
    ["note", form.elements.note.value],
  ]);
}
