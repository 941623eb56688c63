// MyPage says its headline aloud when it changes, and asks again for what could not be told.
import { refresh } from "./page.js";

const FIRST_MS = 4000;
const LONGEST_MS = 60000;

let said = document.getElementById("headline")?.textContent;
let wait_ms = FIRST_MS;
let asking = 0;

function announce() {
  const now = document.getElementById("headline")?.textContent;
  if (now && now !== said) document.getElementById("announce").textContent = now;
  said = now ?? said;
}

// Nobody tells us when a service is back that was away as this page was made.
function askForMissing() {
  clearTimeout(asking);
  asking = 0;
  if (!document.querySelector("[data-missing]")) {
    wait_ms = FIRST_MS;
    return;
  }
  asking = setTimeout(() => refresh().then(askForMissing), wait_ms);
  wait_ms = Math.min(wait_ms * 2, LONGEST_MS);
}

document.addEventListener("page:updated", () => {
  announce();
  if (!asking) askForMissing(); // it may have been away only as the page was fetched anew
});
askForMissing();
