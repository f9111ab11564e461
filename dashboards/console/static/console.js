// What makes the console nicer to use. Every page works without it.
"use strict";

const rows = [...document.querySelectorAll("tr[data-href]")];
const LIST = "auditpipe-list", ROW = "auditpipe-row";

function pad(number) { return String(number).padStart(2, "0"); }

// Times in the zone of whoever looks; UTC, exact, in the title.
function showLocalTimes() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    time.title = `${time.dateTime.replace("T", " ").replace(/Z$|\+00:00$/, "")} UTC`;
    time.textContent = `${moment.getFullYear()}-${pad(moment.getMonth() + 1)}-${pad(moment.getDate())} `
      + `${pad(moment.getHours())}:${pad(moment.getMinutes())}:${pad(moment.getSeconds())}`;
  }
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const label of document.querySelectorAll("[data-zone]")) label.textContent = zone;
}

function open(row) {
  sessionStorage.setItem(ROW, row.dataset.href);
  location.href = row.dataset.href;
}

function choose(row) {
  if (!row) return;
  for (const other of rows) other.tabIndex = other === row ? 0 : -1;
  row.focus();
}

function prepareList() {
  if (!rows.length) return;
  sessionStorage.setItem(LIST, location.pathname + location.search);
  rows.forEach((row, index) => {
    row.tabIndex = index ? -1 : 0;
    row.addEventListener("dblclick", () => open(row));
    row.addEventListener("focus", () => { for (const other of rows) other.tabIndex = other === row ? 0 : -1; });
  });
  for (const hint of document.querySelectorAll(".keys")) hint.hidden = false;
  const last = sessionStorage.getItem(ROW);
  sessionStorage.removeItem(ROW);
  choose(rows.find((row) => row.dataset.href === last));
}

// Whoever signs in next in this tab is not led to the list of whoever was here before.
function forgetAtSignIn() {
  if (!document.querySelector("form[action='/sign-in']")) return;
  sessionStorage.removeItem(LIST);
  sessionStorage.removeItem(ROW);
}

function prepareDetail() {
  const back = document.querySelector("[data-back]");
  const list = sessionStorage.getItem(LIST);
  if (back && list && list.startsWith("/") && !list.startsWith("//")) back.href = list;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "Escape") {
    if (typing) typing.blur();
    else document.querySelector("[data-back]")?.click();
    return;
  }
  if (typing) return;
  const row = event.target.closest("tr[data-href]");
  const steps = { ArrowDown: 1, ArrowUp: -1 };
  if (event.key === "/") {
    const first = document.querySelector(".filters input, form[role=search] input");
    if (!first) return;
    event.preventDefault();
    first.focus();
    first.select();
  } else if (event.key in steps && rows.length) {
    event.preventDefault();
    choose(row ? rows[rows.indexOf(row) + steps[event.key]] : rows[0]);
  } else if (event.key === "Enter" && row === event.target) {
    open(row);
  }
}

function showBusy(busy) {
  document.querySelector(".busy").hidden = !busy;
}

function prepareCopy() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const status = button.parentElement.querySelector("[role=status]");
      try {
        await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
        status.textContent = "Copied";
      } catch {
        status.textContent = "The browser did not allow it: select the text and copy it";
      }
    });
  }
}

// The link above the list leads to the form below it, which is closed.
function openExport() {
  const form = document.querySelector("details.export");
  if (!form) return;
  form.open = true;
  form.querySelector("select").focus();
}

showLocalTimes();
forgetAtSignIn();
prepareList();
prepareDetail();
prepareCopy();
document.querySelector(".to-export")?.addEventListener("click", () => setTimeout(openExport));
document.addEventListener("keydown", onKey);
for (const form of document.querySelectorAll("form[method=get]")) form.addEventListener("submit", () => showBusy(true));
for (const link of document.querySelectorAll(".pager a, .counts a:not(.to-export)")) link.addEventListener("click", () => showBusy(true));
window.addEventListener("pageshow", () => showBusy(false));
