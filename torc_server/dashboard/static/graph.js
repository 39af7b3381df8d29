// The picture of a graph: zoom, pan, fit, find, and what lies up and down the stream of a node.
"use strict";

const canvas = document.getElementById("canvas");
const find = document.getElementById("find");
let view = null; // [x, y, width, height], once somebody has moved the picture

const picture = () => document.getElementById("picture");
const whole = () => picture().getAttribute("data-whole").split(" ").map(Number);

function show(box) {
  view = box;
  picture().setAttribute("viewBox", box.join(" "));
}

function zoom(factor, at) {
  const [x, y, width, height] = view ?? whole();
  const frame = picture().getBoundingClientRect();
  const px = at ? (at.clientX - frame.left) / frame.width : 0.5;
  const py = at ? (at.clientY - frame.top) / frame.height : 0.5;
  show([x + (width * px * (factor - 1)) / factor, y + (height * py * (factor - 1)) / factor, width / factor, height / factor]);
}

function move(dx, dy) {
  const [x, y, width, height] = view ?? whole();
  show([x + dx * width, y + dy * height, width, height]);
}

// Mark the node and all that it depends on, or that depends on it.
function highlight(node) {
  const edges = [...picture().querySelectorAll(".edges path")];
  const marked = new Set();
  for (const [from, to] of [["source", "target"], ["target", "source"]]) {
    const reached = new Set([node]);
    for (let grew = true; grew; ) {
      grew = false;
      for (const edge of edges) {
        if (!reached.has(edge.dataset[from])) continue;
        marked.add(edge);
        if (!reached.has(edge.dataset[to])) grew = !!reached.add(edge.dataset[to]);
      }
    }
    reached.forEach((place) => marked.add(document.getElementById(`n${place}`)));
  }
  picture().classList.toggle("dimmed", node !== null);
  for (const each of picture().querySelectorAll(".edges path, [data-node]")) each.classList.toggle("marked", marked.has(each));
}

function search() {
  const text = find.value.trim().toLowerCase();
  let first = null;
  for (const node of picture()?.querySelectorAll("[data-node]") ?? []) {
    const fits = text !== "" && node.dataset.label.toLowerCase().includes(text);
    node.classList.toggle("found", fits);
    first ??= fits ? node : null;
  }
  if (!first) return;
  const { x, y, width, height } = first.getBBox();
  const [, , w, h] = view ?? whole();
  show([x + width / 2 - w / 2, y + height / 2 - h / 2, w, h]);
}

if (picture()) {
  document.getElementById("zoom").hidden = false;
  const reset = () => picture().setAttribute("data-whole", picture().getAttribute("viewBox"));
  reset();
  document.getElementById("zoom").addEventListener("click", ({ target: { dataset } }) => {
    if (dataset.zoom === "fit") show(whole()), (view = null);
    else if (dataset.zoom) zoom(Number(dataset.zoom));
  });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && !view) return; // the page scrolls until the picture has been zoomed
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event);
  }, { passive: false });
  let from = null;
  canvas.addEventListener("pointerdown", (event) => (from = [event.clientX, event.clientY, false]));
  addEventListener("pointermove", (event) => {
    if (!from) return;
    const [x, y] = from;
    if (!from[2] && Math.hypot(event.clientX - x, event.clientY - y) < 4) return;
    const frame = picture().getBoundingClientRect();
    move((x - event.clientX) / frame.width, (y - event.clientY) / frame.height);
    from = [event.clientX, event.clientY, true];
  });
  let dragged = false;
  addEventListener("pointerup", () => {
    dragged = !!from?.[2];
    from = null;
  });
  canvas.addEventListener("click", (event) => dragged && event.preventDefault(), true);
  canvas.addEventListener("dragstart", (event) => event.preventDefault());
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
    if (moves[event.key]) move(...moves[event.key]);
    else if (event.key === "+") zoom(1.4);
    else if (event.key === "-") zoom(0.7);
    else return;
    event.preventDefault();
  });
  for (const type of ["pointerover", "focusin"]) {
    canvas.addEventListener(type, (event) => highlight(event.target.closest("[data-node]")?.dataset.node ?? null));
  }
  canvas.addEventListener("pointerleave", () => highlight(null));
  find.addEventListener("input", search);
  document.addEventListener("refreshed", () => {
    if (!picture()) return;
    reset();
    if (view) show(view);
  });
}
