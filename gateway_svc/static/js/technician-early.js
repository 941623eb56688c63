// A tap before the page's scripts have run waits for them; where they do not come, the form is sent as it is.
// Not a module: those run only once the whole page has been read, and a tap may be sooner.

(() => {
  const held = new Map(); // form -> the button that sends it

  function hold(event) {
    if (!event.target.dataset.entry) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    held.set(event.target, event.submitter);
  }

  function release(send) {
    document.removeEventListener("submit", hold, true);
    for (const [form, submitter] of held) send(form, submitter);
    held.clear();
  }

  document.addEventListener("submit", hold, true);
  document.addEventListener("technician:ready", () => release((form, submitter) => form.requestSubmit(submitter)));
  addEventListener("load", () => release((form) => form.submit())); // by now modules have run, or never will
})();
