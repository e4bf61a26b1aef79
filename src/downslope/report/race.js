"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const make = (name, space) =>
  space ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
const slider = byId("step");
slider.max = data.steps;
const number = (v) => (v === null ? "diverged" : v === 0 ? "0" : Math.abs(v) < 1e-3 || Math.abs(v) >= 1e4 ? v.toExponential(1) : v.toPrecision(3));

const lanes = data.lanes.map((lane, k) => {
  const colour = `var(--lane-${k % 8})`;
  const group = make("g", true), line = make("polyline", true), hit = make("polyline", true), dot = make("circle", true);
  line.style.stroke = colour;
  dot.style.fill = colour;
  dot.setAttribute("r", 6);
  hit.setAttribute("class", "hit");
  group.append(line, dot, hit);
  byId("paths").append(group);

  const row = make("tr"), head = make("th"), label = make("label"), box = make("input"), swatch = make("span");
  head.scope = "row";
  box.type = "checkbox";
  box.checked = true;
  swatch.className = "swatch";
  swatch.style.background = colour;
  label.append(box, swatch, lane.name);
  head.append(label);
  const choice = make("select");
  choice.setAttribute("aria-label", `learning rate of ${lane.name}`);
  lane.paths.forEach((path, j) => {
    const option = make("option");
    option.value = j;
    option.textContent = path.lr + (j === lane.best ? " (best)" : "");
    choice.append(option);
  });
  choice.value = lane.best;
  const rate = make("td"), value = make("td");
  rate.append(choice);
  row.append(head, rate, value);
  byId("lanes").append(row);
  const one = { lane, group, line, hit, dot, box, choice, value };
  box.addEventListener("change", draw);
  choice.addEventListener("change", draw);
  hit.addEventListener("pointermove", (event) => tell(one, event));
  return one;
});

function draw() {
  const step = Number(slider.value);
  byId("at").textContent = step;
  for (const one of lanes) {
    const path = one.lane.paths[one.choice.value];
    const last = Math.min(step, path.points.length - 1);
    const points = path.points.slice(0, last + 1);
    const text = points.map((p) => p.join(",")).join(" ");
    one.line.setAttribute("points", text);
    one.hit.setAttribute("points", text);
    one.dot.setAttribute("cx", points[last][0]);
    one.dot.setAttribute("cy", points[last][1]);
    one.group.style.display = one.box.checked ? "" : "none";
    one.value.textContent = number(step > last ? null : path.values[last]);
  }
}

function tell(one, event) {
  const field = byId("field"), box = field.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * data.width;
  const y = ((event.clientY - box.top) / box.height) * data.height;
  const path = one.lane.paths[one.choice.value];
  let near = 0, least = Infinity;
  path.points.slice(0, Number(slider.value) + 1).forEach(([px, py], k) => {
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) [near, least] = [k, distance];
  });
  byId("hover").textContent = `${one.lane.name} at lr ${path.lr}, step ${near}: value ${number(path.values[near])}`;
}

let playing = 0;
function play(on) {
  playing = on ? performance.now() : 0;
  byId("play").textContent = on ? "Pause" : "Play";
  byId("play").setAttribute("aria-pressed", String(Boolean(on)));
  if (!on) return;
  const from = Number(slider.value) >= data.steps ? 0 : Number(slider.value);
  const begin = playing;
  requestAnimationFrame(function frame(now) {
    if (playing !== begin) return;
    slider.value = Math.min(data.steps, from + Math.floor(((now - begin) / 1000) * (data.steps / 8)));
    draw();
    if (Number(slider.value) >= data.steps) play(false);
    else requestAnimationFrame(frame);
  });
}
byId("play").addEventListener("click", () => play(!playing));
slider.addEventListener("input", () => { play(false); draw(); });
slider.value = data.steps;
draw();
if (!matchMedia("(prefers-reduced-motion: reduce)").matches) { slider.value = 0; play(true); }
