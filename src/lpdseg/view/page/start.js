// Puts the parts of the page together.

import { atlas } from "./atlas.js";
import { get } from "./api.js";
import { drawing } from "./drawing.js";
import { begin, problem, state } from "./main.js";
import { ranking } from "./ranking.js";

async function start() {
  state.session = await get("/api/session");
  drawing();
  await begin();
  await atlas();
  await ranking();
  document.body.dataset.ready = "true";
}

start().catch(problem);
