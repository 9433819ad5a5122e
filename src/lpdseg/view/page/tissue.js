// Areas of classes, and what is under the cursor: of the results where these are shown, else as it is computed.

import { byId, element, figure, get, inOrder, post, swatch, told } from "./api.js";
import { draw, hasRead, ORDINALS, percent, problem, reading, run, share, soon, state } from "./main.js";

export function rows() {
  const body = byId("areas").tBodies[0];
  body.replaceChildren(...run().channels.map((channel, c) => {
    const tick = element("input", { type: "checkbox", checked: !state.hidden.has(c), id: `class-${c}` });
    tick.onchange = () => {
      if (tick.checked) state.hidden.delete(c);
      else state.hidden.add(c);
      draw();
    };
    const label = element("label", { className: "tick", title: channel.title }, tick, swatch(channel.colour), channel.name);
    const first = element("td", {}, c < run().classes ? label : element("span", { className: "tick" }, channel.name));
    return element("tr", {}, first, element("td"), element("td"), element("td"), element("td"));
  }));
}

// Areas in one unit, that of the whole image, so that images of one size have the same: its name, and how many of it a pixel has.
function unitOf({ pixels, mm2, known, whole }) {
  if (mm2 === null) return ["px", 1];
  const all = known ? (pixels.reduce((a, b) => a + b, 0) * whole) / known : 0;
  return all * mm2 >= 0.1 ? ["mm²", mm2] : ["µm²", mm2 * 1e6];
}

const LEAST = 1e-4;

// Three digits that count, and no longer than the table has room for.
function inUnit(pixels, [, each]) {
  const area = pixels * each;
  if (area > 0 && area < LEAST) return `< ${figure(LEAST, { maximumSignificantDigits: 3 })}`;
  return figure(Math.round(area / LEAST) * LEAST, { maximumSignificantDigits: 3 });
}

const areasAsked = inOrder(), placesAsked = inOrder();

export async function areas() {
  const index = state.index, read = reading(), polygon = state.region, counts = areasAsked();
  try {
    if (read && state.measured?.of !== `${index} read`) told("extent", "Areas are being read …");
    const whole = (await post("/api/areas", { image: index, read }))[0];
    const region = polygon ? (await post("/api/areas", { image: index, read, polygon }))[0] : null;
    if (index !== state.index || read !== reading() || polygon !== state.region || !counts()) return;
    state.measured = { ...whole, of: `${index}${read ? " read" : ""}` };
    const unit = whole.pixels && unitOf(whole);
    for (const place of document.querySelectorAll("#areas .unit")) place.textContent = unit ? unit[0] : "";
    [...byId("areas").tBodies[0].rows].forEach((row, c) => {
      const tissue = whole.pixels ? whole.pixels.slice(0, run().classes).reduce((a, b) => a + b, 0) : 0;
      row.cells[1].textContent = unit ? inUnit(whole.pixels[c], unit) : "";
      row.cells[2].textContent = tissue && c < run().classes ? percent(whole.pixels[c] / tissue) : "";
      row.cells[3].textContent = unit && region?.pixels ? inUnit(region.pixels[c], unit) : "";
    });
    const parts = [];
    if (whole.reason) parts.push(whole.reason);
    else if (whole.read) parts.push("Areas are of the whole image, read from the results; shares are of tissue.");
    else if (whole.known < whole.whole) parts.push(`Areas are of the ${share(whole.known / whole.whole)} of the slide that is computed; shares are of tissue.`);
    else parts.push(`Areas are of the whole image${hasRead(0) ? ", as the run computes it" : ""}; shares are of tissue.`);
    if (region?.reason && region.reason !== whole.reason) parts.push(region.reason);
    if (region && !region.reason && !region.read) parts.push(`The region is computed to ${share(region.whole ? region.known / region.whole : 0)}.`);
    told("extent", parts.join(" "));
    document.dispatchEvent(new Event("measured"));
  } catch (error) {
    problem(error);
  }
}

let pointer = null, seen = null; // where the cursor is on a picture, and what it was last told of

// Follows the cursor over a picture; what it was told of stays when it leaves.
export function follow(picture) {
  picture.box.addEventListener("pointermove", (event) => { pointer = { picture, event }; soon("cursor", 60, underCursor); });
  picture.box.addEventListener("pointerleave", () => { pointer = null; });
}

// Tells of what is under the cursor now.
export function underCursor() {
  if (pointer?.picture.ground) look(pointer.picture.at(pointer.event)).catch(problem);
}

// Tells anew of the place that was told of last.
export function again() {
  if (seen) look(seen).catch(problem);
}

// What was under the cursor is of another layer, or image.
export function forget() {
  seen = null;
  placesAsked()(); // nor does an answer count that is on its way
  for (const row of byId("areas").tBodies[0].rows) row.cells[4].textContent = "";
  told("cursor", "");
}

async function look(point) {
  seen = point;
  const index = state.index, read = reading(), counts = placesAsked();
  const [found, ...others] = await get(`/api/images/${index}/place?x=${point.x}&y=${point.y}&read=${read}`);
  if (index !== state.index || read !== reading() || !counts()) return;
  [...byId("areas").tBodies[0].rows].forEach((row, c) => {
    row.cells[4].textContent = found.probabilities && c < found.probabilities.length ? percent(found.probabilities[c]) : "";
  });
  const parts = [found, ...others].map((one, number) => said(one, state.session.runs[number]));
  if (others.length) parts.forEach((part, number) => { parts[number] = part && `${ORDINALS[number]}: ${part}`; });
  const place = [found, ...others].some(isKnown) ? `x ${figure(Math.floor(point.x))}, y ${figure(Math.floor(point.y))}. ` : "";
  told("cursor", place + parts.filter(Boolean).join(". "));
}

const isKnown = (found) => Boolean(found.read || found.probabilities);

// What a run, or what it has written, says of a place.
function said(found, { channels, prototypes }) {
  if (!isKnown(found)) return found.reason ?? "";
  const kind = channels[found.channel]?.title ?? "no tissue";
  const parts = [found.read && !found.holds_mask ? "the results hold no mask" : kind];
  if (found.prototype !== null) parts.push(prototypes[found.prototype].called);
  const told_ = [`${parts.join(", ")}${found.read ? ", as written" : ""}`];
  const unsure = ["gap", "entropy"].filter((name) => found[name] !== null).map((name) => `${name} ${found[name].toFixed(2)}`);
  if (unsure.length) told_.push(unsure.join(", "));
  if (!found.probabilities) told_.push("the results hold no probabilities");
  return told_.join("; ");
}
