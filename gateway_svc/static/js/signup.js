// The monthly total follows what is chosen. Without scripts the server works it out.

const won = new Intl.NumberFormat(document.documentElement.lang, { style: "currency", currency: "KRW" });

function fee(form, name) {
  const chosen = form.querySelector(`input[name="${name}"]:checked`);
  return chosen ? Number(chosen.dataset.fee) * Number(form.elements[`${name}_quantity`].value) : 0;
}

function showTotal() {
  const form = document.querySelector(".signup-form");
  const total = document.getElementById("total");
  if (!form || !total) return;
  const sum = fee(form, "internet") + fee(form, "tv");
  const text = sum ? total.dataset.month.replace("#", won.format(sum)) : total.dataset.none;
  total.classList.toggle("none", !sum);
  if (total.textContent.trim() !== text) total.textContent = text;
}

document.addEventListener("change", showTotal);
document.addEventListener("page:updated", showTotal);
addEventListener("pageshow", showTotal); // the browser may have put back what was chosen
