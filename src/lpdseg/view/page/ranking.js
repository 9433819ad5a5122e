// Worst first: the order of the list of images, and tables whose cells narrow it.

import { byId, counted, element, figure, get, inOrder, post, told } from "./api.js";
import { list, matching, problem, state } from "./main.js";

const ORDERS = [
  ["error", "Error, largest first", (one) => `${percent(one.error)} wrong${one.confused ? `, ${one.confused}` : ""}`, "; those without a true mask have no error"],
  ["uncertainty", "Uncertainty, largest first", (one) => `${percent(one.unsure)} unsure`, ""],
  ["disagreement", "Disagreement, largest first", (one) => `${percent(one.disagreement)} differ`, ""],
];
const others = () => state.session.runs.length - 1 + state.session.asked;
const ofFirst = () => (others() ? " of the first run" : "");
const listAsked = inOrder();
let results = null, asked = false, running = false, words = "", by = "";

const digits = (value) => figure(value, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const at = (box) => (box ? `at x ${figure(Math.round(box[0]))}, y ${figure(Math.round(box[1]))}: ` : "");
const percent = (value) => `${digits(value)} %`;

async function ask(what, shown = true, images = null) {
  const answer = await post("/api/ranking", { what, images });
  const { done, whole, stale, faults } = answer;
  running = answer.running;
  const whose = words ? ` that “${words}” finds` : "";
  const here = document.activeElement === byId("rank-stop");
  byId("rank").hidden = running;
  byId("rank-stop").hidden = !running;
  if (here && !running) byId("rank").focus();
  if (running) {
    told("rank-told", `${figure(done)} of ${figure(whole)}${whose} are ranked …`);
    setTimeout(() => ask("look").catch(problem), 500);
    return;
  }
  const parts = [];
  if (whole) parts.push(`${done < whole ? `${figure(done)} of` : "All"} ${figure(whole)}${whose} are ranked${words ? "; orders and tables are of these alone" : ""}.`);
  if (stale) parts.push("Edits were made since: rank again to see what they change.");
  if (faults.length) parts.push(`Not ranked: ${faults.join(" ")}`);
  if (what === "rank" && !whole) parts.push("Nothing can be ranked: slides are once parts of them were looked at.");
  told("rank-told", parts.join(" "));
  if (done && shown) await show();
}

async function show() {
  results = await get("/api/ranking");
  const tables = [results.confusion && confusion(), results.patients.length && patients()];
  byId("worst").hidden = !tables.some(Boolean);
  ["confusion", "patients"].forEach((id, place) => byId(id).replaceChildren(...[tables[place]].filter(Boolean)));
  const orders = Object.keys(results.orders);
  if (asked && !orders.includes(by)) by = orders[0] ?? "";
  asked = false;
  sort();
}

// The orders that there are; while a cell narrows the list, its own is the one.
function offer(cell = false) {
  const known = ORDERS.filter(([name]) => name !== "disagreement" || others());
  byId("order").replaceChildren(
    element("option", { value: "", textContent: "As they were opened" }),
    ...known.map(([value, title]) => element("option", { value, textContent: title, disabled: !results?.orders[value] })),
    ...(cell ? [element("option", { value: "cell", textContent: "Pixels of the chosen cell, most first" })] : []),
  );
  byId("order").value = cell ? "cell" : by;
}

// The list in the chosen order; no cell narrows it any more.
function sort() {
  listAsked()(); // no cell that is still asked for comes after it
  const [, , say, without] = ORDERS.find(([name]) => name === by) ?? [];
  state.without = say && results.orders[by].length < results.ranked.length ? without : "";
  narrow(say ? results.orders[by].map((position) => results.ranked[position]).map((one) => ({ index: one.image, box: one.box, told: at(one.box) + say(one) })) : null);
}

function narrow(order, why = "", button = null) {
  for (const other of document.querySelectorAll("#confusion button")) other.setAttribute("aria-pressed", String(other === button));
  state.order = order;
  state.found = 0;
  offer(Boolean(button));
  told("narrowed", why);
  byId("widen").hidden = !why;
  list();
}

async function cell(truth, mask, button) {
  const { names } = results, counts = listAsked();
  const found = await get(`/api/ranking/${truth}/${mask}`);
  if (!counts()) return;
  const order = found.map((one) => ({ index: one.image, box: one.box, told: `${figure(one.pixels)} px` }));
  state.without = "";
  narrow(order, `Images in which ${names[truth]} is ${truth === mask ? "found" : `taken for ${names[mask]}`}, most pixels first.`, button);
}

function confusion() {
  const { names, confusion: counts } = results;
  const rows = counts.map((row, truth) => {
    const whole = row.reduce((a, b) => a + b, 0);
    const cells = row.map((count, mask) => {
      if (!count) return element("td", { textContent: "0" });
      const share = (100 * count) / whole;
      const text = digits(share);
      const title = `${text} % of ${names[truth]} is ${truth === mask ? "found" : `taken for ${names[mask]}`}: ${figure(count)} px`;
      const button = element("button", { type: "button", textContent: text, title, "aria-label": title, "aria-pressed": "false" });
      const colour = truth === mask ? "var(--strong)" : "var(--alarm)";
      button.style.setProperty("--shade", `color-mix(in srgb, ${colour} ${Math.round(share * 0.35)}%, var(--ground))`);
      button.onclick = () => {
        if (button.getAttribute("aria-pressed") === "true") sort();
        else cell(truth, mask, button).catch(problem);
      };
      return element("td", {}, button);
    });
    return element("tr", {}, element("th", { scope: "row", textContent: names[truth] }), ...cells);
  });
  const head = element("tr", {}, element("th", { scope: "col", textContent: "Truth, mask" }), ...names.map((name) => element("th", { scope: "col", textContent: name })));
  const caption = element("caption", { textContent: `What the masks${ofFirst()} make of each class, in per cent of its pixels; a cell lists the images in which that happens.` });
  return element("table", {}, caption, element("thead", {}, head), element("tbody", {}, ...rows));
}

function patients() {
  const percents = (value) => element("td", { textContent: value === null ? "" : digits(value) });
  const rows = results.patients.map((one) => {
    const button = element("button", { type: "button", textContent: one.patient, title: `Find the images of ${one.patient}` });
    button.onclick = () => {
      byId("filter").value = one.patient;
      byId("filter").dispatchEvent(new Event("input"));
    };
    const figures = [one.miou, one.error, one.unsure].map(percents);
    return element("tr", {}, element("th", { scope: "row" }, button), element("td", { textContent: figure(one.patches) }), ...figures);
  });
  const head = ["Patient", "Patches", "mIoU", "Wrong", "Unsure"].map((name) => element("th", { scope: "col", textContent: name }));
  const caption = element("caption", { textContent: `Patients, the lowest mIoU${ofFirst()} first, in per cent.` });
  return element("table", {}, caption, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}

export async function ranking() {
  offer();
  byId("order").onchange = () => { by = byId("order").value; sort(); };
  byId("widen").onclick = () => { sort(); byId("order").focus(); };
  byId("rank").onclick = () => {
    const chosen = matching();
    words = chosen.length < state.session.images.length ? byId("filter").value.trim() : "";
    asked = true;
    ask("rank", true, words ? chosen.map(({ index }) => index) : null).then(() => byId("rank-stop").focus()).catch(problem);
  };
  byId("filter").addEventListener("input", () => {
    const count = matching().length;
    told("rank", count < state.session.images.length ? `Rank ${counted(count, "image")} found` : "Rank the images");
    byId("rank").disabled = !count;
  });
  byId("rank-stop").onclick = () => { ask("stop").catch(problem); };
  document.addEventListener("edited", () => { if (!running) ask("look", false).catch(problem); });
  await ask("look").catch(problem);
}
