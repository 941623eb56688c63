// Dragging a visit on the day board. Whether it may go there is scheduling's to say: cells that clearly do not fit are
// only dimmed. Without a mouse the same is done by "move" and then a button in the cell.

let dragged = null;

function fits(cell, card) {
  const skills = cell.dataset.skills.split(" ");
  const areas = cell.dataset.areas.split(" ");
  return card.dataset.kinds.split(" ").every((kind) => skills.includes(kind))
    && areas.some((area) => area === "*" || card.dataset.postcode.startsWith(area));
}

function end() {
  if (!dragged) return;
  delete dragged.dataset.busy; // page.js leaves a region alone while this is there
  dragged.classList.remove("dragged");
  dragged = null;
  for (const cell of document.querySelectorAll("[data-drop]")) cell.classList.remove("fits", "unfit", "over");
}

document.addEventListener("dragstart", (event) => {
  const card = event.target.closest?.("[draggable=true][data-order]");
  if (!card) return;
  dragged = card;
  card.dataset.busy = "";
  card.classList.add("dragged");
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", card.dataset.order);
  for (const cell of document.querySelectorAll("[data-drop]")) cell.classList.add(fits(cell, card) ? "fits" : "unfit");
});

document.addEventListener("dragover", (event) => {
  const cell = dragged && event.target.closest?.("[data-drop]");
  for (const over of document.querySelectorAll("[data-drop].over")) if (over !== cell) over.classList.remove("over");
  if (!cell) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "move";
  cell.classList.add("over");
});

document.addEventListener("drop", (event) => {
  const cell = dragged && event.target.closest?.("[data-drop]");
  if (!cell) return;
  event.preventDefault();
  const { order, revision } = dragged.dataset;
  const slot = cell.dataset.drop;
  end();
  document.dispatchEvent(new CustomEvent("dispatch:drop", { detail: { order, revision, slot } }));
});

document.addEventListener("dragend", end);
