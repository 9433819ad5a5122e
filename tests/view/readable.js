// What a program can tell of WCAG 2.2, level AA: names, targets, words for pictures, contrast. Gives faults.
() => {
const faults = [];
const shown = (one) => one.checkVisibility();
for (const one of document.querySelectorAll("button, input, select, a, summary")) {
  if (!shown(one)) continue;
  const name = one.ariaLabel || one.textContent.trim() || [...one.labels ?? []].map((x) => x.textContent.trim()).join("");
  if (!name) faults.push(`no name: ${one.outerHTML.slice(0, 80)}`);
  if (one.tabIndex < 0) faults.push(`not reached: ${one.outerHTML.slice(0, 80)}`);
  const box = one.getBoundingClientRect();
  if (!["checkbox", "radio"].includes(one.type) && Math.min(box.width, box.height) < 24) faults.push(`small: ${one.id || one.textContent}`);
}
for (const one of document.querySelectorAll("img")) if (!one.alt) faults.push("a picture without words");
const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
if (new Set(ids).size !== ids.length) faults.push("an id is there twice");
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const rgb = (text) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const holder = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !shown(holder) || holder.closest(":disabled, option")) continue;
  let ground = holder;
  while (ground && rgb(getComputedStyle(ground).backgroundColor)[3] === 0) ground = ground.parentElement;
  const [one, other] = [light(rgb(getComputedStyle(holder).color)), light(rgb(getComputedStyle(ground ?? document.body).backgroundColor))].sort((a, b) => b - a);
  if ((one + 0.05) / (other + 0.05) < 4.5) faults.push(`hard to read: ${walker.currentNode.textContent.slice(0, 40)}`);
}
return faults;
}
