// Drawing areas and strokes on an image, ticking its labels, and measuring a region.

import { byId, counted, element, figure, inTurn, post, swatch, told } from "./api.js";
import { addKey, problem, run, state } from "./main.js";
import { areas } from "./tissue.js";

const SVG = "http://www.w3.org/2000/svg";
const TOOLS = [["move", "Move", "v"], ["measure", "Measure a region", "r"], ["area", "Draw an area", "a"], ["stroke", "Draw a stroke", "s"]];
const CLOSE = 3;

let features = [];
let tool = "move";
let line = null;
let unsaved = false;
let changes = 0;
const turn = inTurn();

const imageName = () => state.image.name;
const mine = () => features.filter((one) => one.properties.image === imageName());

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.setAttribute("vector-effect", "non-scaling-stroke");
  return made;
}

const rings = (geometry) => ({
  Polygon: () => geometry.coordinates,
  MultiPolygon: () => geometry.coordinates.flat(),
  LineString: () => [geometry.coordinates],
  MultiLineString: () => geometry.coordinates,
}[geometry.type]());

function path(points, closed) {
  return `M${points.map(([x, y]) => `${x} ${y}`).join("L")}${closed ? "Z" : ""}`;
}

function colourOf(name) {
  return run().channels.find((channel) => channel.name === name)?.colour ?? "#000000";
}

function drawn(feature) {
  const { geometry, properties } = feature;
  const closed = geometry.type.endsWith("Polygon");
  const d = rings(geometry).map((ring) => path(ring, closed)).join("");
  const colour = colourOf(properties.classification.name);
  const halo = shape("path", { d, fill: "none", stroke: "#ffffff", "stroke-width": 5 });
  const inner = shape("path", { d, fill: closed ? colour : "none", "fill-opacity": 0.25, "fill-rule": "evenodd", stroke: colour, "stroke-width": 2.5 });
  if (closed) return [halo, inner];
  const body = shape("path", { d, fill: "none", stroke: colour, "stroke-opacity": 0.4, "stroke-width": properties.width ?? 8, "stroke-linecap": "round", "stroke-linejoin": "round" });
  body.removeAttribute("vector-effect");
  return [body, halo, inner];
}

function show() {
  if (!state.image) return;
  for (const picture of state.pictures) {
    const parts = mine().filter((one) => one.geometry).flatMap(drawn);
    if (state.region) parts.push(shape("path", { d: path(state.region, true), fill: "none", stroke: "#1b1820", "stroke-width": 3, "stroke-dasharray": "6 4" }), shape("path", { d: path(state.region, true), fill: "none", stroke: "#ffffff", "stroke-width": 1.5, "stroke-dasharray": "6 4" }));
    if (line) parts.push(shape("path", { d: path(line, tool !== "stroke"), fill: "none", stroke: "#ffffff", "stroke-width": 5 }), shape("path", { d: path(line, tool !== "stroke"), fill: "none", stroke: tool === "measure" ? "#000000" : colourOf(byId("drawn-class").value), "stroke-width": 2.5 }));
    picture.shapes.replaceChildren(...parts);
    picture.svg.classList.toggle("drawing", tool !== "move");
  }
}

function list() {
  byId("drawn").replaceChildren(...mine().filter((one) => one.geometry).map((one, place) => {
    const { name } = one.properties.classification;
    const kind = one.geometry.type.endsWith("Polygon") ? "area" : "stroke";
    const remove = element("button", { type: "button", textContent: "Remove", "aria-label": `Remove ${kind} ${place + 1}, ${name}` });
    remove.onclick = () => drop(one);
    return element("li", { className: "tick" }, swatch(colourOf(name)), ` ${kind} ${place + 1}: ${name} `, remove);
  }));
  const known = mine().find((one) => one.properties.labels)?.properties.labels;
  const told_ = state.session.images[state.index].labels;
  run().channels.slice(0, run().classes).forEach(({ name }, c) => {
    const tick = byId(`label-${c}`);
    tick.checked = Boolean(known ? known[name] : told_?.[c]);
  });
  byId("labels").hidden = state.session.images[state.index].slide;
  cost();
  show();
}

// Whose the patches are that what is drawn on an image becomes: itself, or those that were cut from a slide.
const partsOf = ({ slide, parts, group, patient }) => (slide ? parts ?? [] : [{ split: group, patient }]);
const isMeasured = ({ split }) => ["valid", "test"].includes(split);
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

// What training does with what is drawn or ticked here: whom it takes out of which figures.
function cost() {
  const image = state.session.images[state.index];
  const [drawn, ticked] = [mine().some((one) => one.geometry), mine().some((one) => one.properties.labels)];
  const parts = [];
  if (drawn || ["area", "stroke"].includes(tool)) {
    if (image.slide) parts.push(onSlide(image));
    for (const split of new Set(partsOf(image).filter(isMeasured).map((one) => one.split))) parts.push(...lost(image, split, drawn));
  }
  if (isMeasured({ split: image.group }) && ticked) parts.push(`Labels of patches of ${image.group} are not learnt: what is ticked here changes nothing.`);
  told("cost", parts.join(" "));
}

function onSlide({ parts }) {
  if (!parts) return "Nobody knows whose patches this slide has: the data that the run was trained on cannot be read.";
  if (!parts.length) return "The data have no patches of this slide, so training would refuse what is drawn here; cut some with lpdseg data tile.";
  const held = parts.map(({ split, patient, patches }) => `${counted(patches, "patch", "patches")} of ${split}, of patient ${patient}`);
  return `What is drawn here is learnt on the patches that were cut from this slide: ${held.join("; ")}.`;
}

function lost(image, split, drawn) {
  const sizes = new Map(Object.entries(state.session.patients[split] ?? {}));
  const names = new Set(features.filter((one) => one.geometry).map((one) => one.properties.image));
  const others = state.session.images.filter((one) => names.has(one.name)).flatMap(partsOf).filter((one) => one.split === split);
  const here = partsOf(image).filter((one) => one.split === split).map((one) => one.patient);
  const gone = new Set([...here, ...others.map((one) => one.patient)]);
  const [fewer, all] = [[...gone].map((one) => sizes.get(one) ?? 0), [...sizes.values()]].map(sum);
  const who = gone.size === 1 ? `patient ${here[0]}` : `${counted(gone.size, "patient")} that you drew on, ${here[0]} among them,`;
  const what = image.slide ? `Figures are measured on ${split}.` : `This is a patch of ${split}, which figures are measured on.`;
  const found = [`${what} Training ${drawn ? "learns what you drew here, and takes" : "would learn what is drawn here, and take"} ${who} out of the figures of ${split}: ${figure(fewer)} of its ${counted(all, "patch", "patches")}.`];
  if (fewer === all) found.push("That leaves nobody to measure on, so training will refuse; draw on patches of train.");
  return found;
}

function saved(yes) {
  unsaved = !yes;
  byId("save-drawn").disabled = yes;
  told("drawn-told", yes ? `${counted(features.length, "correction")} in ${state.session.corrections.file}` : "Not saved yet.");
}

function changed() {
  changes += 1;
  saved(false);
  list();
}

function add(geometry, more = {}) {
  const properties = { image: imageName(), classification: { name: byId("drawn-class").value }, ...more };
  features.push({ type: "Feature", geometry, properties });
  changed();
}

// Takes a drawing back, and with an area the region that was measured with it.
function drop(feature) {
  features = features.filter((one) => one !== feature);
  const { type, coordinates } = feature.geometry;
  if (state.region && type === "Polygon" && JSON.stringify(coordinates[0].slice(0, -1)) === JSON.stringify(state.region)) {
    state.region = null;
    areas();
  }
  changed();
}

function measure(points) {
  state.region = points;
  show();
  areas();
}

function finished() {
  const points = line;
  line = null;
  if (tool === "stroke" && points.length > 1) add({ type: "LineString", coordinates: points }, { width: Math.min(Math.max(Number(byId("width").value) || 8, 1), 1000) });
  else if (tool !== "stroke" && points.length > 2) {
    measure(points);
    if (tool === "area") add({ type: "Polygon", coordinates: [[...points, points[0]]] });
  } else show();
}

function ticked() {
  const labels = Object.fromEntries(run().channels.slice(0, run().classes).map(({ name }, c) => [name, Number(byId(`label-${c}`).checked)]));
  features = features.filter((one) => !(one.properties.labels && one.properties.image === imageName()));
  features.push({ type: "Feature", geometry: null, properties: { image: imageName(), labels } });
  changed();
}

function choose(next) {
  tool = next;
  line = null;
  for (const [name] of TOOLS) byId(`tool-${name}`).checked = name === next;
  if (state.image) cost();
  show();
}

// Chooses the class to draw with.
function drawWith(c) {
  const { channels, classes } = run();
  if (c >= classes) return;
  byId("drawn-class").value = channels[c].name;
  told("drawn-as", `Drawn as ${channels[c].title}`);
  show();
}

function another(by) {
  const count = run().classes;
  drawWith((byId("drawn-class").selectedIndex + by + count) % count);
}

// For those who do not draw with a pointer: an area where they look.
function middle() {
  const at = state.pictures[0].where();
  const radius = 60 * at.step;
  const points = [...Array(16).keys()].map((n) => {
    const [x, y] = [Math.cos((n * Math.PI) / 8), Math.sin((n * Math.PI) / 8)];
    return [Math.min(Math.max(at.x + radius * x, 0), state.image.width), Math.min(Math.max(at.y + radius * y, 0), state.image.height)];
  });
  measure(points);
  add({ type: "Polygon", coordinates: [[...points, points[0]]] });
}

// What is drawn while the answer is on its way stays, not saved yet.
const save = () => turn(async () => {
  const before = changes;
  try {
    state.session.corrections = await post("/api/corrections", { features, since: state.session.corrections.version });
    if (changes === before) {
      features = state.session.corrections.features;
      saved(true);
      list();
    }
    problem(null);
  } catch (error) {
    problem(error);
  }
});

function listen(picture) {
  const point = (event) => {
    const at = picture.at(event);
    const bound = (value, most) => Math.round(Math.min(Math.max(value, 0), most) * 100) / 100;
    return [bound(at.x, state.image.width), bound(at.y, state.image.height)];
  };
  picture.svg.addEventListener("pointerdown", (event) => {
    if (tool === "move" || event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation();
    picture.svg.setPointerCapture(event.pointerId);
    line = [point(event)];
    show();
  });
  picture.svg.addEventListener("pointermove", (event) => {
    if (!line) return;
    const [x, y] = point(event);
    const [lastX, lastY] = line.at(-1);
    if (Math.hypot(x - lastX, y - lastY) < CLOSE * picture.where().step) return;
    line.push([x, y]);
    show();
  });
  picture.svg.addEventListener("pointerup", () => { if (line) finished(); });
  picture.svg.addEventListener("pointercancel", () => { line = null; show(); });
  picture.svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    picture.viewer.viewport.zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2).applyConstraints();
  }, { passive: false });
}

export function drawing() {
  const { channels, classes } = run();
  features = state.session.corrections.features;
  byId("drawn-class").append(...channels.map(({ name, title }) => element("option", { value: name, textContent: title })).slice(0, classes));
  for (const [name, title, key] of TOOLS) {
    const radio = element("input", { type: "radio", name: "tool", id: `tool-${name}`, checked: name === tool });
    radio.onchange = () => choose(name);
    byId("tools").append(element("label", { className: "tick" }, radio, title, element("kbd", { textContent: key })));
    addKey(key, title.toLowerCase(), () => choose(name));
  }
  channels.slice(0, classes).forEach(({ title, colour }, c) => {
    const tick = element("input", { type: "checkbox", id: `label-${c}`, onchange: ticked });
    byId("labels").append(element("label", { className: "tick" }, tick, swatch(colour), title));
  });
  addKey("c", "next class to draw with", () => another(1));
  addKey("C", "class before to draw with", () => another(-1));
  document.addEventListener("draw-with", (event) => drawWith(event.detail));
  addKey("u", "take the last drawing back", () => {
    const last = mine().findLast((one) => one.geometry);
    if (!last) return;
    drop(last);
  });
  byId("middle").onclick = middle;
  byId("save-drawn").onclick = save;
  saved(true);
  document.addEventListener("opened", () => { line = null; list(); if (!unsaved) saved(true); });
  document.addEventListener("listen", () => state.pictures.forEach(listen));
  document.addEventListener("escaped", () => { if (state.region) { state.region = null; areas(); } choose("move"); });
  window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
}
