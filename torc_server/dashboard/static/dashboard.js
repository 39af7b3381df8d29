// Keeps a page as the server would make it now: parts with data-live are fetched again and changed in place. Without
// this script every page works, and shows what was so when it was opened.
"use strict";

const page = document.body;
const shown = document.getElementById("live");
const LEAST_MS = 500; // between two refreshes
const SHARE = 20; // a page takes at most this part of the server's time: 1/20 …
let pages = 1; // … shared with the other pages that show the same workflow

function showConnection(state, text) {
  if (shown.dataset.state === state) return;
  shown.dataset.state = state;
  shown.textContent = text;
}

// Make `now` like `wanted`, touching only what differs: focus, selection, scroll and what is unfolded stay.
function morph(now, wanted) {
  const included = now.dataset?.include;
  if (now.nodeType !== wanted.nodeType || now.nodeName !== wanted.nodeName || now.id !== wanted.id || included !== wanted.dataset?.include) {
    now.replaceWith(document.importNode(wanted, true));
    return;
  }
  if (included) return; // what is in it comes from another page
  if (now.nodeType !== Node.ELEMENT_NODE) {
    if (now.nodeValue !== wanted.nodeValue) now.nodeValue = wanted.nodeValue;
    return;
  }
  for (const { name, value } of wanted.attributes) {
    if (name === "class" && now.dataset.node) continue; // what is marked or found
    if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  }
  for (const { name } of [...now.attributes]) {
    if (!wanted.hasAttribute(name) && !(name === "open" && now.nodeName === "DETAILS") && name !== "data-whole") now.removeAttribute(name);
  }
  const children = [...now.childNodes];
  const others = [...wanted.childNodes];
  others.forEach((other, i) => (i < children.length ? morph(children[i], other) : now.append(document.importNode(other, true))));
  children.slice(others.length).forEach((child) => child.remove());
}

async function fetchPage(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(String(answer.status));
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

// Parts of other pages, with the links that they have there. Each page is fetched once for all its parts.
async function includeAll() {
  const pages = new Map();
  const places = [...document.querySelectorAll("[data-include]")].filter(
    (place) => !("once" in place.dataset && document.getElementById(place.dataset.part)));
  await Promise.all(places.map(async (place) => {
    const address = new URL(place.dataset.include, location.href).href;
    if (!pages.has(address)) pages.set(address, fetchPage(address));
    include(place, (await pages.get(address)).getElementById(place.dataset.part), address);
    place.dataset.loaded = "";
  }));
}

function include(place, found, address) {
  if (!found) return;
  const part = document.importNode(found, true);
  part.removeAttribute("data-live");
  part.querySelectorAll("[href]").forEach((link) => link.setAttribute("href", new URL(link.getAttribute("href"), address)));
  if (place.firstElementChild?.id === part.id) morph(place.firstElementChild, part);
  else if (part.childNodes.length) place.replaceChildren(part);
}

let timer = null;
let fetching = false;
let missed = false;
let tookMs = 0;
let ended = -LEAST_MS; // when the last refresh did

// At once after a quiet time; then with a pause in proportion to what a refresh takes.
function refreshSoon() {
  const due = ended + Math.max(LEAST_MS, tookMs * SHARE * pages);
  if (fetching || document.hidden) missed = true;
  else timer ??= setTimeout(refresh, Math.max(0, due - performance.now()));
}

async function refresh() {
  timer = null;
  fetching = true;
  missed = false;
  const started = performance.now();
  try {
    const wanted = await fetchPage(location.href);
    await includeAll();
    if (page.dataset.version) page.dataset.version = wanted.body.dataset.version;
    tookMs = performance.now() - started;
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = wanted.getElementById(part.id);
      if (other) morph(part, other);
    }
    document.dispatchEvent(new Event("refreshed"));
    if (page.dataset.poll) showConnection("live", "live");
  } catch {
    showConnection("lost", "connection lost, trying again");
    if (!page.dataset.poll) missed = true;
  }
  fetching = false;
  ended = performance.now();
  if (missed) refreshSoon();
}

// Bars and legends show the numbers of a frame at once; the rest of the page follows when it is due.
function showCounts(counts) {
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  for (const bar of document.querySelectorAll("[data-counts] .bar")) {
    let x = 0;
    for (const part of bar.children) {
      const width = (1000 * (counts[part.dataset.status] ?? 0)) / total;
      part.setAttribute("x", x);
      part.setAttribute("width", width);
      x += width;
    }
  }
  for (const number of document.querySelectorAll("[data-counts] [data-count]")) {
    number.textContent = (counts[number.dataset.count] ?? 0).toLocaleString("en");
  }
}

// A browser has six connections to a server (HTTP/1.1), and keeps the pages that its reader has left for “back”, with their
// streams. So only a page that is seen has one.
let stream = null;
let again = null;

function follow() {
  clearTimeout(again);
  if (stream || document.hidden) return;
  stream = new EventSource(page.dataset.stream);
  stream.onopen = () => {
    showConnection("live", "live");
  };
  stream.onerror = () => {
    showConnection("lost", "connection lost, trying again");
    if (stream.readyState !== EventSource.CLOSED) return; // it tries again by itself
    stream = null;
    again = setTimeout(follow, 5000);
  };
  stream.addEventListener("changed", (event) => {
    const told = JSON.parse(event.data);
    pages = told.pages;
    if (told.version === page.dataset.version) return; // the page shows that already
    showCounts(told.counts);
    refreshSoon();
  });
}

function leave() {
  clearTimeout(again);
  stream?.close();
  stream = null;
}

includeAll().catch(() => showConnection("lost", "connection lost, trying again"));
if (page.dataset.stream) {
  follow();
  addEventListener("pagehide", leave);
  addEventListener("pageshow", follow);
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : follow()));
}
if (page.dataset.poll) {
  showConnection("live", "live");
  setInterval(refreshSoon, page.dataset.poll * 1000);
}
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && missed) refreshSoon();
});
