"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const ranked = D.runs.filter((run) => run.rank !== null).length;
const kept = {}; // by axis: the interval drawn on it, in px
const sorting = { column: 0, down: false };

function element(parent, tag, attributes = {}, text = null) {
  const svg = parent instanceof SVGElement;
  const made = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  parent.append(made);
  return made;
}

function colour(run) {
  if (run.rank === null) return "#9aa3b2";
  const place = ranked > 1 ? (run.rank - 1) / (ranked - 1) : 0;
  return `hsl(${170 - 145 * place} ${60 + 20 * place}% 45%)`;
}

const number = (value) => typeof value === "number";
const formatted = (value) => (value === null || value === undefined ? "" : number(value) ? Number(value.toPrecision(4)).toString() : String(value));
const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function highlight(name) {
  document.querySelectorAll("[data-run]").forEach((one) => one.classList.toggle("hot", one.dataset.run === name));
  const run = D.runs.find((one) => one.name === name);
  $("selected").textContent = run
    ? [run.rank ? `${run.rank}.` : run.status, run.name,
       ...D.objectives.map((one, i) => `${one.name} ${formatted(run.values[i])}`),
       ...D.parameters.map((one, i) => `${one.name} ${formatted(run.parameters[i])}`)].join("   ")
    : "";
}

function marked(one, run) {
  one.dataset.run = run.name;
  one.addEventListener("pointerenter", () => highlight(run.name));
  one.addEventListener("pointerleave", () => highlight(null));
  return one;
}

/* the table */
const columns = [
  ["", (run) => run.rank, true],
  ["run", (run) => run.name],
  ["status", (run) => run.status],
  ...D.objectives.map((one, i) => [`${one.name} ${one.mode === "min" ? "↓" : "↑"}`, (run) => run.values[i], true]),
  ["best, epoch", (run) => run.best, true],
  ...D.parameters.map((one, i) => [one.name, (run) => run.parameters[i], true]),
  ["epochs", (run) => run.epochs, true],
  ["time", (run) => run.seconds, true, (run) => run.time],
  ["memory", (run) => run.memory, true],
  ["error", (run) => run.error],
];

function drawTable() {
  const board = $("board");
  board.replaceChildren();
  const head = element(element(board, "thead"), "tr");
  columns.forEach(([title, , right], i) => {
    const sign = i === sorting.column ? (sorting.down ? " ▾" : " ▴") : "";
    element(head, "th", { class: right ? "number" : "" }, title + sign).onclick = () => {
      sorting.down = sorting.column === i && !sorting.down;
      sorting.column = i;
      drawTable();
      drawFilter();
    };
  });
  const value = columns[sorting.column][1];
  const order = [...D.runs].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    const [noX, noY] = [x === null || x === "", y === null || y === ""];
    if (noX || noY) return noX - noY;
    const way = number(x) && number(y) ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
    return sorting.down ? -way : way;
  });
  const body = element(board, "tbody");
  for (const run of order) {
    const row = marked(element(body, "tr"), run);
    columns.forEach(([title, get, right, show], i) => {
      const cell = element(row, "td", { class: title === "error" ? "error" : right ? "number" : "" });
      if (i === 1) element(cell, "span", { class: "dot", style: `background:${colour(run)}` });
      if (title === "error") cell.onclick = () => cell.classList.toggle("whole");
      cell.append((i === 0 && run.pareto ? "◆ " : "") + (show ? show(run) : formatted(get(run))));
    });
  }
}

/* scales: value -> px, and ticks */
function scale(values, from, to, wantLog) {
  const real = values.filter((value) => value !== null);
  if (!real.every(number)) {
    const names = [...new Set(real.map(String))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const at = (value) => from + ((names.indexOf(String(value)) + 0.5) / names.length) * (to - from);
    return { at, ticks: names.map((name) => [name, at(name)]) };
  }
  let [low, high] = real.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const log = low > 0 && (wantLog ?? high / low >= 10);
  const turn = log ? Math.log10 : (value) => value;
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
  const at = (value) => from + ((turn(value) - turn(low)) / (turn(high) - turn(low))) * (to - from);
  const few = [...new Set(real)];
  const steps = [0, 1, 2, 3, 4].map((i) => {
    const place = turn(low) + (i / 4) * (turn(high) - turn(low));
    return log ? 10 ** place : place;
  });
  return { at, ticks: (few.length <= 5 ? few : steps).map((value) => [formatted(Number(value.toPrecision(3))), at(value)]) };
}

/* a drawing is as wide as its place, so that its letters are as large as those of the page */
const drawnWidth = (svg) => Math.min(1200, Math.max(480, svg.parentElement.clientWidth || 1200));

/* parallel coordinates */
const axes = [
  ...D.parameters.map((one, i) => ({ name: one.name, get: (run) => run.parameters[i] })),
  ...D.objectives.map((one, i) => ({ name: one.name, get: (run) => run.values[i] })),
];
const crossing = D.runs.filter((run) => axes.every((axis) => axis.get(run) !== null));

function drawParallel() {
  const svg = $("parallel");
  const [width, height, top, bottom, side] = [drawnWidth(svg), 320, 40, 16, 90];
  $("results").hidden = crossing.length < 2;
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  axes.forEach((axis, i) => {
    axis.x = axes.length > 1 ? side + (i * (width - 2 * side)) / (axes.length - 1) : width / 2;
    axis.scale = scale(crossing.map(axis.get), height - bottom, top);
  });
  for (const run of [...crossing].reverse()) {
    const line = axes.map((axis, i) => `${i ? "L" : "M"}${axis.x},${axis.scale.at(axis.get(run))}`).join("");
    marked(element(svg, "path", { class: "run", d: line, stroke: colour(run) }), run);
  }
  axes.forEach((axis, i) => {
    element(svg, "line", { class: "axis", x1: axis.x, x2: axis.x, y1: top, y2: height - bottom });
    element(svg, "text", { class: "title", x: axis.x, y: top - 16, "text-anchor": "middle" }, axis.name);
    const beside = i ? { x: axis.x + 6 } : { x: axis.x - 6, "text-anchor": "end" }; // away from the runs' lines
    for (const [text, y] of axis.scale.ticks) element(svg, "text", { ...beside, y: y + 4 }, text);
    const brush = element(svg, "rect", { class: "brush", x: axis.x - 9, width: 18, y: 0, height: 0 });
    const grip = element(svg, "line", { class: "catch", x1: axis.x, x2: axis.x, y1: top - 6, y2: height - bottom + 6 });
    const place = (event) => ((event.clientY - svg.getBoundingClientRect().top) * height) / svg.clientHeight;
    let start = null;
    const drawn = (interval) => {
      if (interval) kept[i] = interval;
      else delete kept[i];
      brush.setAttribute("y", interval ? interval[0] : 0);
      brush.setAttribute("height", interval ? interval[1] - interval[0] : 0);
      drawFilter();
    };
    grip.addEventListener("pointerdown", (event) => { start = place(event); grip.setPointerCapture(event.pointerId); });
    grip.addEventListener("pointermove", (event) => {
      if (start !== null) drawn([Math.min(start, place(event)), Math.max(start, place(event))]);
    });
    grip.addEventListener("pointerup", (event) => { if (Math.abs(place(event) - start) < 4) drawn(null); start = null; });
    grip.addEventListener("dblclick", () => drawn(null));
  });
}

function drawFilter() {
  const stays = (run) => Object.entries(kept).every(([i, [low, high]]) => {
    const value = axes[i].get(run);
    const at = value === null ? NaN : axes[i].scale.at(value);
    return at >= low && at <= high;
  });
  const names = new Set(D.runs.filter(stays).map((run) => run.name));
  document.querySelectorAll("[data-run]").forEach((one) => one.classList.toggle("out", !names.has(one.dataset.run)));
}

/* importance */
function drawImportance() {
  const { shares, source, why } = D.importance;
  element($("importance"), "p", { class: "soft" }, why ? `Not measured: ${why}.` : `Optuna's PED-ANOVA, from ${source}.`);
  for (const [key, share] of Object.entries(shares)) {
    const bar = element($("importance"), "div", { class: "bar" });
    element(bar, "span", {}, key);
    element(bar, "i", { style: `width:${100 * share}%` });
    element(bar, "span", {}, `${(100 * share).toFixed(0)} %`);
  }
}

/* learning curves */
function drawCurves() {
  const svg = $("curves");
  const [width, height, left, bottom, top] = [drawnWidth(svg), 340, 60, 30, 14];
  const metric = $("metric").value;
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const lines = D.runs.filter((run) => (run.curves[metric] || []).length);
  if (!lines.length) return void element(svg, "text", { x: left, y: height / 2 }, "no run logged this");
  const all = lines.flatMap((run) => run.curves[metric]);
  const x = scale(all.map((point) => point[0]), left, width - 14, false);
  const y = scale(all.map((point) => point[1]), height - bottom, top, $("log").checked);
  for (const [text, at] of y.ticks) {
    element(svg, "line", { class: "grid", x1: left, x2: width - 14, y1: at, y2: at });
    element(svg, "text", { x: left - 8, y: at + 4, "text-anchor": "end" }, text);
  }
  x.ticks.forEach(([text, at], i) => {
    const last = i === x.ticks.length - 1;
    element(svg, "text", { x: at, y: height - 10, "text-anchor": last ? "end" : "middle" }, last ? `step ${text}` : text);
  });
  for (const run of [...lines].reverse()) {
    const points = run.curves[metric].map(([a, b]) => [x.at(a), y.at(b)]);
    const path = points.length > 1 ? points : [points[0], [points[0][0] + 4, points[0][1]]];
    const line = path.map(([a, b], i) => `${i ? "L" : "M"}${a.toFixed(1)},${b.toFixed(1)}`).join("");
    marked(element(svg, "path", { class: "run", d: line, stroke: colour(run) }), run);
  }
  drawFilter();
}

/* previews */
function drawPictures() {
  const shown = D.runs.filter((run) => run.picture);
  $("shown").hidden = !shown.length;
  for (const run of shown) {
    const figure = marked(element($("pictures"), "figure"), run);
    element(figure, "img", { src: run.picture, alt: `render of ${run.name}`, loading: "lazy" }).onclick = () =>
      figure.classList.toggle("wide");
    const values = D.objectives.map((one, i) => `${one.name} ${formatted(run.values[i])}`).join(", ");
    element(figure, "figcaption", {}, `${run.rank ? `${run.rank}. ` : ""}${run.name}: ${values}`);
  }
}

/* differences */
function drawDifference() {
  const [a, b] = ["left", "right"].map((id) => D.runs.find((run) => run.name === $(id).value));
  const table = $("difference");
  table.replaceChildren();
  if (!a || !b) return;
  const head = element(table, "tr");
  for (const title of ["setting", a.name, b.name]) element(head, "th", {}, title);
  const keys = [...new Set([...Object.keys(a.settings), ...Object.keys(b.settings)])].sort();
  const differing = keys.filter((key) => asText(a.settings[key]) !== asText(b.settings[key]));
  for (const key of differing) {
    const row = element(table, "tr");
    for (const text of [key, asText(a.settings[key]) ?? "–", asText(b.settings[key]) ?? "–"]) element(row, "td", {}, text);
  }
  if (!differing.length) element(element(table, "tr"), "td", { colspan: 3 }, "nothing");
}

$("title").textContent = D.title;
const states = {};
for (const run of D.runs) states[run.status] = (states[run.status] || 0) + 1;
$("about").textContent = `${D.runs.length} runs (${Object.entries(states).map(([s, n]) => `${n} ${s}`).join(", ")}), as of ${D.made}`;
const metrics = [...new Set(D.runs.flatMap((run) => Object.keys(run.curves)))].sort();
for (const name of metrics) element($("metric"), "option", {}, name);
const first = D.objectives.map((one) => one.name).find((name) => metrics.includes(name));
if (first) $("metric").value = first;
for (const id of ["left", "right"]) {
  for (const run of D.runs.filter((one) => Object.keys(one.settings).length)) element($(id), "option", {}, run.name);
  $(id).onchange = drawDifference;
}
if ($("right").options.length > 1) $("right").selectedIndex = 1;
$("metric").onchange = $("log").onchange = drawCurves;
drawTable();
drawParallel();
drawImportance();
drawCurves();
drawPictures();
drawDifference();
