// What the pages do more where scripts run. Every page can be read without it.
"use strict";

// The slash leads to the search.
document.addEventListener("keydown", (event) => {
  const search = document.getElementById("search");
  const typing = event.target.closest("input, textarea, select");
  if (search && event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
  }
});

// A menu closes when something else is clicked, or with Escape.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// What a page waited for is over, so all of it is loaded again; unless somebody is typing, who finds a link instead.
document.addEventListener("over", () => {
  const typed = document.querySelectorAll("main textarea, main input:not([type=hidden], [type=checkbox])");
  if ([...typed].every((one) => one.value === one.defaultValue)) location.reload();
});
