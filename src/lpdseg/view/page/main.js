// The page: which image is open, where, under which layer; and what is known there.

import { byId, counted, element, figure, get, inOrder, post, swatch, told } from "./api.js";
import { Picture, link } from "./picture.js";
import { again, areas, follow, forget, rows, underCursor } from "./tissue.js";

const SHOWN = 200;
export const state = {
  session: null, index: -1, image: null, pictures: [], layer: null, before: null, outline: false, opacities: [50, 100],
  hidden: new Set(), lit: null, found: 0, stamps: [], region: null, fields: [], order: null, without: "", box: null,
};
export const ORDINALS = ["First run", "Second run"];
const later = {};
let opening = 0;

// Of filled regions, or of outlines: these cover little, so they are drawn in full until somebody says otherwise.
const opacity = () => state.opacities[Number(state.outline)];
const setOpacity = (value) => { state.opacities[Number(state.outline)] = Math.min(Math.max(value, 0), 100); };

export function soon(name, wait, action) {
  clearTimeout(later[name]);
  later[name] = setTimeout(action, wait);
}

export function problem(error) {
  told("problem", error ? error.message || String(error) : "");
}

export const percent = (value) => figure(100 * value, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
export const share = (value) => `${percent(value)} %`;
export const run = () => state.session.runs[0];

// ---- images

const everything = () => state.session.images.map((image, index) => ({ index }));

// Those of `all` that have the words which somebody looks for.
export function matching(all = everything()) {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  return all.map((one) => ({ ...one, image: state.session.images[one.index] })).filter(({ image }) => {
    const text = `${image.name} ${image.group} ${image.patient}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

const listed = () => matching(state.order ?? everything());

const isOpen = ({ index, box }) => index === state.index && (!box || box === state.box);

// Opens an image, or a place of it: a box in its pixels.
function go({ index, box = null }) {
  const { clientWidth, clientHeight } = state.pictures[0].canvas;
  const place = box && { x: box[0] + box[2] / 2, y: box[1] + box[3] / 2, step: Math.max(box[2] / clientWidth, box[3] / clientHeight) };
  state.box = box;
  if (!box || index !== state.index) {
    open(index, place);
    return;
  }
  state.pictures.forEach((picture) => picture.goTo(place, false));
  list();
}

export function list() {
  const found = listed();
  const shown = found.slice(0, state.found || SHOWN);
  const held = byId("images").contains(document.activeElement);
  byId("images").replaceChildren(...shown.map((one) => {
    const button = element("button", { type: "button", textContent: one.image.name, onclick: () => go(one) });
    if (isOpen(one)) button.setAttribute("aria-current", "true");
    const beside = one.told ?? one.image.group;
    if (beside) button.append(element("small", { textContent: ` ${beside}` }));
    return element("li", {}, button);
  }));
  byId("more").hidden = shown.length === found.length;
  if (held) current()?.focus();
  const places = found.some(({ box }) => box);
  told("count", places ? counted(found.length, "place") : `${figure(found.length)} of ${counted(state.session.images.length, "image")}${state.without}`);
}

const current = () => document.querySelector("#images [aria-current]");

// The list with the open image in sight.
function reveal() {
  state.found = Math.max(state.found || SHOWN, listed().findIndex(isOpen) + 1);
  list();
  if (!current()) return;
  const nav = byId("images").closest("nav");
  const [own, all] = [current(), nav].map((one) => one.getBoundingClientRect());
  if (own.top < all.top || own.bottom > all.bottom) nav.scrollTop += own.top - all.top - (all.height - own.height) / 2;
}

function step(by) {
  const found = listed();
  const place = found.findIndex(isOpen);
  const next = found[place < 0 ? 0 : place + by];
  if (next) go(next);
}

export async function open(index, place = null) {
  problem(null);
  const turn = ++opening; // of images that are asked for in a row, the last one counts, whichever answers last
  try {
    const image = await get(`/api/images/${index}`);
    if (turn !== opening) return;
    state.index = index;
    state.image = image;
    state.region = null;
    forget();
    told("name", image.name);
    document.title = `${image.name} – lpdseg view`;
    told("notes", [...image.notes, ...image.runs.map((one) => one.reason).filter(Boolean)].join(" "));
    const all = everyLayer(), first = all.find((layer) => layer.read) ?? all[0];
    if (first && state.layer !== "" && !all.some((layer) => layer.name === state.layer)) state.layer = first.name;
    if (!all.some((layer) => layer.name === state.before)) state.before = first?.name ?? null;
    if (state.layer) state.before = state.layer;
    reveal();
    layers();
    document.dispatchEvent(new Event("opened"));
    await Promise.all(state.pictures.map((picture) => picture.open(index, image)));
    if (turn !== opening) return;
    if (place) state.pictures.forEach((picture) => picture.goTo(place));
    state.stamps = [];
    ask();
    areas();
    underCursor();
  } catch (error) {
    if (turn === opening) problem(error);
  }
}

// ---- layers

const everyLayer = () => state.image.runs.flatMap((one) => one.layers);

// What a run shows where a layer is chosen: in place of results that it has not written, what it computes.
function shownBy(number, name = state.layer) {
  const own = state.image.runs[number].layers, twin = name?.startsWith("written") ? name.replace(/^written-?/, "") || "mask" : name;
  return own.find((layer) => layer.name === name) ?? own.find((layer) => layer.name === twin);
}

export const hasRead = (number) => state.image.runs[number].layers.some((layer) => layer.read);

// Whether results are looked at, and not what the runs compute; without a layer it is as it was with the last one.
export const reading = () => Boolean((state.layer || state.before)?.startsWith("written"));

// Whether all that is looked at was written, so that nothing needs to be computed.
const allRead = () => reading() && state.image.runs.every((_, number) => shownBy(number, state.layer || state.before)?.read);

// Where a layer comes from, run by run.
function source() {
  if (!state.image.runs.some((_, number) => hasRead(number))) return "";
  const parts = state.image.runs.map((_, number) => {
    const shown = shownBy(number);
    return !shown ? "" : shown.read ? `read from ${shown.read}. Edits do not change it.` : "computed by the run, with the edits of the moment.";
  });
  if (parts.length > 1) return parts.map((part, number) => part && `${ORDINALS[number]}: ${part}`).filter(Boolean).join(" ");
  return parts[0].charAt(0).toUpperCase() + parts[0].slice(1);
}

function layers() {
  const known = new Map();
  for (const layer of everyLayer()) if (!known.has(layer.name)) known.set(layer.name, layer);
  const options = (kinds) => kinds.map(({ name, title }) => element("option", { value: name, textContent: title }));
  const [read, computed] = [true, false].map((is) => options([...known.values()].filter((layer) => is === Boolean(layer.read))));
  const groups = [["Read from results", read], ["Computed by the run", computed]].filter(([, some]) => some.length);
  byId("layer").replaceChildren(
    element("option", { value: "", textContent: "None" }),
    ...(read.length ? groups.map(([label, some]) => element("optgroup", { label }, ...some)) : computed),
  );
  told("source", source());
  byId("layer").value = state.layer ?? "";
  byId("opacity").value = opacity();
  told("opacity-told", `${opacity()} %`);
  byId("outline").checked = state.outline;
  byId("all").hidden = byId("stop").hidden = !state.session.images[state.index].slide || allRead();
  const lit = state.lit === null ? null : run().prototypes[state.lit];
  byId("striped").hidden = state.layer !== "errors";
  told("lit", lit ? `Only ${lit.called} is shown; press Escape to show all.` : "");
}

// Shows the layer as it is chosen, in every view.
export function draw() {
  const look = new URLSearchParams();
  if (state.outline) look.set("style", "outline");
  if (state.hidden.size) look.set("hidden", [...state.hidden].join(","));
  if (state.lit !== null) look.set("lit", state.lit);
  state.pictures.forEach((picture, number) => {
    picture.setOpacity(opacity() / 100);
    picture.show(shownBy(number)?.name ?? "", state.stamps[number] ?? "", look.toString());
  });
  remember();
}

export function choose(changes) {
  const was = reading();
  Object.assign(state, changes);
  if (state.layer) state.before = state.layer;
  layers();
  draw();
  if (was === reading()) return;
  forget();
  underCursor();
  ask();
  areas();
}

function opaque(value) {
  setOpacity(value);
  choose({});
}

// ---- what is computed

const fieldsAsked = inOrder();

export async function ask(what = "box") {
  if (!state.pictures[0]?.ground) return;
  const box = state.pictures[0].seen(), image = state.index, counts = fieldsAsked();
  try {
    const fields = await post("/api/fields", { image, box, what: allRead() && what === "box" ? "look" : what });
    if (image !== state.index || !counts()) return;
    state.fields = fields;
  } catch (error) {
    problem(error);
    return;
  }
  progress();
}

// Only what there is to do can be pressed; the focus goes to what can, where it was on the other.
function toDo() {
  const [whole, stop] = [byId("all"), byId("stop")], focused = document.activeElement;
  const open = state.fields.filter((one) => !one.reason);
  whole.disabled = open.every((one) => one.known + one.waiting >= one.fields);
  stop.disabled = !open.some((one) => one.waiting);
  if (![whole, stop].includes(focused) || !focused.disabled) return;
  ([stop, whole].find((one) => !one.disabled) ?? byId("layer")).focus();
}

function progress() {
  const { slide } = state.session.images[state.index];
  toDo();
  const parts = state.fields.filter((one) => !one.reason).map((one) => {
    const now = one.waiting ? `; ${counted(one.waiting, "field is", "fields are")} being computed` : "";
    const faults = one.faults.length ? ` Not computed: ${one.faults.join(" ")}` : "";
    if (!slide) return (one.known ? "" : "Being computed …") + faults;
    const rest = one.known + one.waiting < one.fields ? " Zoom in to see more, or segment all." : "";
    return `${figure(one.known)} of ${counted(one.fields, "field")} of this slide ${one.known === 1 ? "is" : "are"} known${now}.${rest}${faults}`;
  });
  told("progress", allRead() ? "" : [...new Set(parts)].join(" "));
  const stamps = state.fields.map((one) => one.stamp ?? "none");
  if (stamps.join() !== state.stamps.join()) {
    state.stamps = stamps;
    draw();
    areas();
    again();
  }
  if (state.fields.some((one) => one.waiting || (!allRead() && !slide && !one.reason && !one.known && !one.faults.length))) {
    soon("look", 300, () => ask("look"));
  }
}

// ---- the address

function remember() {
  if (!state.pictures[0]?.ground) return;
  const at = state.pictures[0].where();
  const parts = new URLSearchParams({ image: state.image.name, x: Math.round(at.x), y: Math.round(at.y), step: at.step.toPrecision(4), opacity: opacity() });
  if (state.layer !== null) parts.set("layer", state.layer);
  if (state.outline) parts.set("outline", "1");
  if (state.hidden.size) parts.set("hidden", [...state.hidden].join(","));
  if (state.lit !== null) parts.set("lit", state.lit);
  history.replaceState(null, "", `#${parts}`);
}

function recall() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const whole = (text) => (/^\d+$/.test(text ?? "") ? Number(text) : null);
  state.layer = parts.get("layer") ?? state.layer;
  state.outline = parts.get("outline") === "1";
  setOpacity(whole(parts.get("opacity")) ?? opacity());
  state.hidden = new Set((parts.get("hidden") ?? "").split(",").map(whole).filter((c) => c !== null));
  state.lit = whole(parts.get("lit"));
  if (state.lit !== null && state.lit >= run().prototypes.length) state.lit = null;
  const index = Math.max(state.session.images.findIndex((image) => image.name === parts.get("image")), 0);
  const [x, y, step] = ["x", "y", "step"].map((name) => Number(parts.get(name)));
  return { index, place: parts.has("image") && step > 0 && Number.isFinite(x + y + step) ? { x, y, step } : null };
}

// ---- keys

const KEYS = [
  ["n", "next image", () => step(1)],
  ["p", "image before", () => step(-1)],
  ["+", "zoom in", () => zoom(1.5)],
  ["-", "zoom out", () => zoom(1 / 1.5)],
  ["0", "the whole image", () => state.pictures[0].viewer.viewport.goHome()],
  ["l", "layer on or off", () => choose({ layer: state.layer ? "" : state.before ?? "mask" })],
  ["m", "the mask", () => choose({ layer: "mask" })],
  ["t", "the truth", () => turnTo("truth")],
  ["e", "errors", () => turnTo("errors")],
  ["o", "outlines or filled", () => choose({ outline: !state.outline })],
  ["]", "more opaque", () => opaque(opacity() + 10)],
  ["[", "less opaque", () => opaque(opacity() - 10)],
  ["1 … 9", "a class on or off", null],
  ["Shift 1 … 9", "the class to draw with", null],
  ["/", "find an image", () => byId("filter").focus()],
  ["Escape", "show all prototypes again, end drawing", () => { document.dispatchEvent(new Event("escaped")); if (state.lit !== null) choose({ lit: null }); }],
  ["?", "this list", () => byId("keys").showModal()],
];

// Shows a layer where the image has it.
function turnTo(name) {
  if (everyLayer().some((layer) => layer.name === name)) choose({ layer: name });
}

export function addKey(key, title, action) {
  KEYS.splice(-1, 0, [key, title, action]);
}

function zoom(by) {
  state.pictures[0].viewer.viewport.zoomBy(by).applyConstraints(); // no nearer than the wheel goes
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  const field = event.target.closest("input, select, textarea");
  if (field && !["checkbox", "range"].includes(field.type)) return;
  const digit = event.shiftKey && !/^\d$/.test(event.key) && /^Digit([1-9])$/.exec(event.code);
  if (digit) {
    document.dispatchEvent(new CustomEvent("draw-with", { detail: Number(digit[1]) - 1 }));
    return;
  }
  if (/^[1-9]$/.test(event.key) && Number(event.key) <= run().classes) {
    byId(`class-${Number(event.key) - 1}`).click();
    return;
  }
  const found = KEYS.find(([key]) => key === event.key);
  if (!found || !found[2]) return;
  event.preventDefault();
  found[2]();
}

// ---- beginning

// What acts on the second run, where nothing of it is changed.
function editsOf({ edits }) {
  if (!edits) return "The second run is shown as it was trained, without edits.";
  return `The second run is shown with ${counted(edits.count, "edit")} of ${edits.file}, ${edits.count === 1 ? "which stays as it is" : "which stay as they are"}.`;
}

export async function begin() {
  told("about", run().about);
  told("about-all", run().about);
  const several = state.session.runs.length > 1;
  state.pictures = state.session.runs.map((one, number) => new Picture(number, several ? `${ORDINALS[number]}: ${one.name}` : ""));
  if (several) told("whose", `Areas, prototypes and edits are of the first run. ${editsOf(state.session.runs[1])}`);
  const { asked, edited } = state.session;
  const under = edited ? ` Of these ${counted(edited, "is", "are")} asked under the edits of ${edited === 1 ? "its own folder" : "their own folders"}.` : "";
  if (asked) told("whose", `What is shown is of ${run().name}; images can be ranked by where its masks and those of ${counted(asked, "other run")} differ.${under}`);
  byId("views").append(...state.pictures.map((picture) => picture.box));
  for (const picture of state.pictures) {
    picture.start();
    picture.viewer.addHandler("animation-finish", () => { soon("ask", 150, ask); remember(); underCursor(); });
    follow(picture);
  }
  link(state.pictures);
  document.dispatchEvent(new Event("listen"));
  const { index, place } = recall();
  rows();
  byId("filter").oninput = () => { state.found = 0; list(); };
  byId("more").onclick = () => { state.found = (state.found || SHOWN) + 1000; list(); };
  byId("layer").onchange = () => choose({ layer: byId("layer").value });
  byId("opacity").oninput = () => opaque(Number(byId("opacity").value));
  byId("outline").onchange = () => choose({ outline: byId("outline").checked });
  byId("all").onclick = () => ask("all");
  byId("stop").onclick = () => ask("stop");
  byId("help").onclick = () => byId("keys").showModal();
  document.addEventListener("keydown", pressed);
  window.addEventListener("hashchange", () => { const found = recall(); rows(); open(found.index, found.place); });
  byId("shortcuts").tBodies[0].replaceChildren(...KEYS.map(([key, title]) => element("tr", {}, element("td", {}, element("kbd", { textContent: key })), element("td", { textContent: title }))));
  if (state.session.notes.length) told("notes", state.session.notes.join(" "));
  if (state.session.images.length) await open(index, place);
  else problem(new Error("there are no images to look at"));
}
