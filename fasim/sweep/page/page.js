"use strict";
// One table, two pictures and the filters over the same rows; nothing is fetched, everything is drawn here.
const content = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
const hidden = { rule: new Set(), datapath: new Set() };
let sorted = { key: null, down: false };

function make(parent, name, attributes, text) {
  const node = parent instanceof SVGElement ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.appendChild(node);
  return node;
}

function shown() {
  return content.rows.filter((row) => !hidden.rule.has(row.rule) && !hidden.datapath.has(row.datapath));
}

function text(column, value) {
  if (value === null || value === undefined) return "-";
  return column.digits === undefined ? String(value) : Number(value).toFixed(column.digits);
}

// larger is better: the accuracy, or minus the loss
const merit = (row) => (content.lower ? -row.figure : row.figure);

function front(rows) {
  const ranked = rows.filter((row) => row.figure !== null).sort((a, b) => a.energy - b.energy || merit(b) - merit(a));
  const best = [];
  for (const row of ranked) {
    const last = best[best.length - 1];
    if (!last || merit(row) > merit(last) || (merit(row) === merit(last) && row.energy === last.energy)) best.push(row);
  }
  return best;
}

function describe(row) {
  const lines = content.columns.map((column) => `${column.label}: ${text(column, row[column.key])}`);
  if (row.deviation !== null) lines.push(`deviation over seeds: ${row.deviation.toPrecision(2)}`);
  lines.push(`energy: ${row.low.toPrecision(3)} to ${row.high.toPrecision(3)} nJ over the constants`);
  return lines.join("\n");
}

function watch(node, row) {
  node.dataset.row = row.id;
  node.addEventListener("mouseenter", (event) => mark(row, event));
  node.addEventListener("mousemove", place);
  node.addEventListener("mouseleave", () => mark(null));
}

function mark(row, event) {
  for (const node of document.querySelectorAll(".on")) node.classList.remove("on");
  const hint = byId("hint");
  hint.hidden = row === null;
  if (row === null) return;
  for (const node of document.querySelectorAll(`[data-row="${row.id}"]`)) node.classList.add("on");
  hint.textContent = describe(row);
  place(event);
}

function place(event) {
  const hint = byId("hint");
  const left = Math.min(event.clientX + 14, window.innerWidth - hint.offsetWidth - 8);
  const top = Math.min(event.clientY + 14, window.innerHeight - hint.offsetHeight - 8);
  hint.style.left = `${Math.max(0, left)}px`;
  hint.style.top = `${Math.max(0, top)}px`;
}

// a function from values to 0..1 and the values to write beside the axis
function scale(values, logarithmic) {
  const numbers = values.every((value) => typeof value === "number");
  const known = [...new Set(values)];
  if (!numbers || known.length < 2) {
    const at = (value) => (known.length < 2 ? 0.5 : known.indexOf(value) / (known.length - 1));
    return { at, ticks: known };
  }
  const low = Math.min(...values), high = Math.max(...values);
  if (low > 0 && (logarithmic || high > 10 * low)) {
    const at = (value) => Math.log(value / low) / Math.log(high / low);
    return { at, ticks: [0, 0.25, 0.5, 0.75, 1].map((share) => low * (high / low) ** share) };
  }
  return { at: (value) => (value - low) / (high - low), ticks: [0, 0.25, 0.5, 0.75, 1].map((s) => low + s * (high - low)) };
}

const brief = (value) => (typeof value === "number" ? String(Number(value.toPrecision(3))) : String(value));

function drawScatter(rows) {
  const svg = byId("scatter");
  svg.replaceChildren();
  const drawn = rows.filter((row) => row.figure !== null);
  if (!drawn.length) return;
  const across = scale(drawn.map((row) => row.energy), true), up = scale(drawn.map((row) => row.figure));
  const x = (row) => 60 + 540 * across.at(row.energy);
  const y = (row) => 350 - 325 * up.at(row.figure);
  make(svg, "line", { class: "axis", x1: 50, y1: 360, x2: 610, y2: 360 });
  make(svg, "line", { class: "axis", x1: 50, y1: 15, x2: 50, y2: 360 });
  for (const value of across.ticks) {
    make(svg, "text", { x: 60 + 540 * across.at(value), y: 375, "text-anchor": "middle" }, brief(value));
  }
  for (const value of up.ticks) make(svg, "text", { x: 45, y: 354 - 325 * up.at(value), "text-anchor": "end" }, brief(value));
  make(svg, "text", { x: 330, y: 395, "text-anchor": "middle" }, "energy per training sample (nJ)");
  make(svg, "text", { x: 55, y: 12 }, content.figure);
  const best = front(drawn);
  const steps = best.map((row, number) => (number ? `H${x(row)}V${y(row)}` : `M${x(row)},${y(row)}`)).join("");
  make(svg, "path", { class: "front", d: steps });
  for (const row of drawn) {
    const dot = make(svg, "circle", { class: "dot", cx: x(row), cy: y(row), r: 6, fill: content.colours[row.rule] });
    watch(dot, row);
  }
}

function drawParallel(rows) {
  const svg = byId("parallel");
  svg.replaceChildren();
  const drawn = rows.filter((row) => row.figure !== null);
  const axes = content.columns.filter((column) => column.axis);
  if (!drawn.length) return;
  const scales = axes.map((column) => scale(drawn.map((row) => row[column.key])));
  const x = (number) => 30 + (520 * number) / Math.max(1, axes.length - 1);
  const y = (share) => 360 - 325 * share;
  for (const row of drawn) {
    const points = axes.map((column, number) => `${x(number)},${y(scales[number].at(row[column.key]))}`).join(" ");
    watch(make(svg, "polyline", { class: "line", points, stroke: content.colours[row.rule] }), row);
  }
  axes.forEach((column, number) => {
    make(svg, "line", { class: "axis", x1: x(number), y1: y(0), x2: x(number), y2: y(1) });
    make(svg, "text", { x: x(number), y: 380, "text-anchor": "middle" }, column.label);
    for (const value of scales[number].ticks) make(svg, "text", { x: x(number) + 4, y: y(scales[number].at(value)) + 4 }, brief(value));
  });
}

function drawTable(rows) {
  const best = new Set(front(rows).map((row) => row.id));
  const ordered = [...rows];
  if (sorted.key !== null) {
    const value = (row) => (row[sorted.key] === null ? -Infinity : row[sorted.key]);
    ordered.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (sorted.down ? -1 : 1));
  }
  const body = document.querySelector("#rows tbody");
  body.replaceChildren();
  for (const row of ordered) {
    const line = make(body, "tr", best.has(row.id) ? { class: "front" } : {});
    watch(line, row);
    for (const column of content.columns) {
      make(line, "td", column.digits === undefined ? {} : { class: "number" }, text(column, row[column.key]));
    }
  }
  byId("count").textContent = `${rows.length} of ${content.rows.length} rows shown; bold: no other shown is at least as good for less energy`;
}

function drawHead() {
  const line = make(document.querySelector("#rows thead"), "tr");
  for (const column of content.columns) {
    const cell = make(line, "th", { "data-key": column.key, title: "sort" }, column.label);
    if (column.digits !== undefined) cell.classList.add("number");
    cell.addEventListener("click", () => {
      // numbers first from the largest, texts from A
      const again = sorted.key === column.key;
      sorted = { key: column.key, down: again ? !sorted.down : column.digits !== undefined };
      for (const one of line.children) one.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      drawTable(shown());
    });
  }
}

function drawFilters() {
  for (const key of ["rule", "datapath"]) {
    const box = make(byId("filters"), "fieldset");
    make(box, "legend", {}, key);
    for (const name of new Set(content.rows.map((row) => row[key]))) {
      const label = make(box, "label");
      const tick = make(label, "input", { type: "checkbox", name: key, value: name, checked: "" });
      if (key === "rule") make(label, "span", { class: "swatch" }).style.background = content.colours[name];
      label.append(name);
      tick.addEventListener("change", () => {
        if (tick.checked) hidden[key].delete(name);
        else hidden[key].add(name);
        draw();
      });
    }
  }
}

function draw() {
  const rows = shown();
  mark(null);
  drawScatter(rows);
  drawParallel(rows);
  drawTable(rows);
}

byId("note").textContent = content.note;
drawFilters();
drawHead();
draw();
