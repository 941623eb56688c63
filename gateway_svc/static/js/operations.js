// The operations desk: what an operator has opened stays open when its region is replaced by a newer one.

const opened = new Set();

// "toggle" does not bubble, but it can be caught on the way down.
document.addEventListener("toggle", (event) => {
  const details = event.target;
  if (!details.id || !details.isConnected) return;
  if (details.open) opened.add(details.id);
  else opened.delete(details.id);
}, true);

document.addEventListener("page:updated", () => {
  for (const id of opened) {
    const details = document.getElementById(id);
    if (details) details.open = true;
  }
});
