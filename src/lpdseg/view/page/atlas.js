// The prototypes of the first run: what they look like, and what an expert says of them.

import { byId, counted, element, get, inTurn, post, swatch, told } from "./api.js";
import { ask, choose, problem, run, share, state } from "./main.js";
import { areas } from "./tissue.js";

let entries = {};
let cards = [];
const turn = inTurn();

function kinds(k) {
  const { prototypes, channels, classes } = run();
  const own = prototypes[k];
  const choices = [["", "counts as trained"], ["hide", "hidden"]];
  for (const other of prototypes) {
    if (other !== own && !other.retired) choices.push([`merge:${other.key}`, `merged into ${other.called}`]);
  }
  channels.forEach(({ name }, c) => {
    if (c !== own.class) choices.push([`move:${c < classes ? name : "background"}`, `moved to ${name}`]);
  });
  return choices;
}

function said(k) {
  const entry = entries[run().prototypes[k].key] ?? {};
  if (entry.hide) return "hide";
  return entry.merge ? `merge:${entry.merge}` : entry.move ? `move:${entry.move}` : "";
}

// `next` tells the edits that are to act from those that do by then.
const change = (next, save = false) => turn(async () => {
  try {
    take(await post("/api/edits", { entries: next(), save, since: run().version }));
    problem(null);
    document.dispatchEvent(new Event("edited"));
  } catch (error) {
    problem(error);
    show();
    return;
  }
  ask();
});

function take(found) {
  entries = found.entries;
  if (found.run) state.session.runs[0] = found.run;
  const count = Object.keys(entries).length;
  const acting = count ? `${counted(count, "edit acts", "edits act")} here alone.` : `the edits in ${found.file} do not act here.`;
  told("edits-told", found.changed ? `Not saved yet: ${acting}` : count ? `${counted(count, "edit")}, saved in ${found.file}.` : "No edits.");
  byId("save-edits").disabled = !found.changed;
  byId("reset-edits").disabled = !count;
  show();
}

function changed(k, action, name) {
  const [verb, ...rest] = action.split(":");
  const entry = {};
  if (name && verb !== "merge") entry.name = name;
  if (verb === "hide") entry.hide = true;
  else if (verb) entry[verb] = rest.join(":");
  change(() => {
    const next = structuredClone(entries);
    if (Object.keys(entry).length) next[run().prototypes[k].key] = entry;
    else delete next[run().prototypes[k].key];
    return next;
  });
}

function card(about, k) {
  const { key } = run().prototypes[k];
  const title = element("h4", {});
  const facts = element("p", {});
  const light = element("button", { type: "button", textContent: "Light up", "aria-pressed": "false" });
  light.onclick = () => {
    const lit = state.lit === k ? null : k;
    choose({ lit, layer: lit === null ? state.layer : "prototypes" });
    show();
  };
  const heat = element("button", { type: "button", textContent: "Heat map" });
  heat.onclick = () => choose({ layer: `prototype-${k}`, lit: null });
  const name = element("input", { type: "text", maxLength: 64, id: `name-${k}` });
  const action = element("select", { id: `action-${k}` });
  name.onchange = () => changed(k, action.value, name.value.trim());
  action.onchange = () => changed(k, action.value, name.value.trim());
  const regions = about.regions.map((region) => element("img", {
    src: `/regions/${k}/${region.number}`, alt: `${key} in ${region.title}`, title: `${region.title}, patient ${region.patient}`, loading: "lazy",
  }));
  const body = element("section", { className: "card" },
    title, element("div", { className: "regions" }, ...regions), facts,
    element("p", { className: "buttons" }, light, heat),
    element("label", { htmlFor: name.id, textContent: `Name of ${key}` }), name,
    element("label", { htmlFor: action.id, textContent: `What ${key} counts for` }), action);
  return { body, title, facts, light, name, action, about };
}

function show() {
  const { prototypes, channels } = run();
  const counts = state.measured?.prototypes ?? [];
  cards.forEach((one, k) => {
    if (!one) return;
    const own = prototypes[k];
    one.title.replaceChildren(swatch(own.colour), ` ${own.called}`);
    const siblings = prototypes.map((other, j) => (other.target === own.target ? counts[j] ?? 0 : 0));
    const total = siblings.reduce((a, b) => a + b, 0);
    const parts = [];
    if (own.hidden) parts.push("Hidden.");
    else if (total) parts.push(`${share((counts[k] ?? 0) / total)} of ${channels[own.target]?.name ?? "background"} here.`);
    if (one.about.trained !== null) parts.push(`${share(one.about.trained)} of its training patches.`);
    const nearest = one.about.siblings[0];
    if (nearest) parts.push(`Most alike: ${prototypes[nearest.prototype].called} (cosine ${nearest.cosine.toFixed(2)}).`);
    one.facts.textContent = parts.join(" ");
    one.light.setAttribute("aria-pressed", String(state.lit === k));
    if (document.activeElement !== one.name) one.name.value = entries[own.key]?.name ?? "";
    one.action.replaceChildren(...kinds(k).map(([value, textContent]) => element("option", { value, textContent })));
    one.action.value = said(k);
  });
}

export async function atlas() {
  const found = await get("/api/atlas");
  byId("atlas").hidden = !found.prototypes.length;
  if (found.note) told("edits-told", found.note);
  if (!found.prototypes.length) return;
  const { prototypes, channels } = run();
  cards = prototypes.map((own, k) => (own.retired ? null : card(found.prototypes[k], k)));
  channels.slice(0, run().classes).forEach((channel, c) => {
    const own = cards.filter((one, k) => one && prototypes[k].class === c);
    const retired = prototypes.filter((one) => one.class === c && one.retired).length;
    const list = element("details", {}, element("summary", {}, swatch(channel.colour), ` ${channel.title}: ${counted(own.length, "prototype")}`), ...own.map((one) => one.body));
    if (retired) list.append(element("p", { textContent: `${counted(retired, "prototype is", "prototypes are")} retired: training found no use for ${retired === 1 ? "it" : "them"}.` }));
    byId("prototypes").append(list);
  });
  byId("save-edits").onclick = () => change(() => null, true);
  byId("reset-edits").onclick = () => change(() => ({}));
  take(state.session.edits);
  document.addEventListener("measured", show);
  document.addEventListener("escaped", () => setTimeout(show));
  window.addEventListener("beforeunload", (event) => { if (!byId("save-edits").disabled) event.preventDefault(); });
  areas();
}
