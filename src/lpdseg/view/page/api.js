// Asking the server. What went wrong there is an error with a sentence for people.

async function answered(response) {
  const found = await response.json().catch(() => ({ error: `the viewer answered with ${response.status}` }));
  if (!response.ok) throw new Error(found.error);
  return found;
}

export async function get(address) {
  return answered(await fetch(address, { credentials: "same-origin" }));
}

export async function post(address, value) {
  const headers = { "Content-Type": "application/json" };
  return answered(await fetch(address, { method: "POST", credentials: "same-origin", headers, body: JSON.stringify(value) }));
}

// Runs actions one after the other, so that each starts from what the one before has left.
export function inTurn() {
  let last = Promise.resolve();
  return (action) => { last = last.then(action, action); return last; };
}

// Numbers the questions of one kind; the function it gives tells whether their answer still counts: one that comes
// after the answer to a later question is out of date.
export function inOrder() {
  let asked = 0, newest = 0;
  return () => {
    const turn = ++asked;
    return () => {
      newest = Math.max(newest, turn);
      return turn === newest;
    };
  };
}

// Elements are made of text alone: names of files, classes and prototypes never become HTML.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "scope") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

export function swatch(colour) {
  const made = element("span", { className: "swatch", "aria-hidden": "true" });
  made.style.backgroundColor = colour;
  return made;
}

// One way of writing numbers, and of counting things.
export const figure = (value, digits = {}) => value.toLocaleString("en", digits);
export const counted = (value, one, several = `${one}s`) => `${figure(value)} ${value === 1 ? one : several}`;

export const byId = (id) => document.getElementById(id);

export function told(id, text) {
  const place = byId(id);
  if (place.textContent !== text) place.textContent = text;
}
