// The page of a Polyrec server: someone, the list for them, and what makes it so.

import { eventsOf } from "./parts/actions.js";
import { ask } from "./parts/api.js";
import { render } from "./parts/card.js";
import { titleOf } from "./parts/columns.js";
import { combobox } from "./parts/combobox.js";
import { explanation, likeness } from "./parts/details.js";
import { byId, debounced, make } from "./parts/dom.js";
import { createList } from "./parts/list.js";
import { watchMetrics } from "./parts/metrics.js";
import { newKey, showFeatures, showHistory, showPerson } from "./parts/people.js";
import { tasksOf } from "./parts/tasks.js";
import { showWeights } from "./parts/weights.js";

const WAIT = 90;
const MOST_COLUMNS = 32;

const FALLBACKS = {
  "unknown user": "The model has not met this user: the list rests on what is known here and on live events.",
  "erasure not known": "The store does not answer: whether this user was erased is not known, so the past is not read.",
  "erased user": "This user was erased: what they did before is not read.",
  "last known history": "The store does not answer: the list rests on the history that the server knew last.",
  "no history": "The store does not answer: the list is made without a history.",
};

const state = { user: null, isNew: false, items: [], before: null, titles: new Map(), asking: null };
const seed = crypto.getRandomValues(new Uint32Array(1))[0];
let model, list, features, weights;

async function start() {
  model = await ask("GET", "/model");
  model.columns = model.columns.slice(0, MOST_COLUMNS);
  const tasks = model.tasks.map((task) => task.name).join(", ");
  byId("model").textContent = `model ${model.model} · ${model.items.toLocaleString("en")} items · ${tasks}`;
  list = createList(byId("items"), model, eventsOf(model), { act, open });
  features = showFeatures(model, debounced(() => refresh(keys(state.items)), WAIT));
  weights = showWeights(model, move);
  wire();
  const { users } = await ask("GET", "/users?limit=1");
  if (users.length > 0) await choose(users[0]);
  else await meet();
  watchMetrics();
}

function wire() {
  const suggest = async (text) => (await ask("GET", `/users?limit=10&start=${encodeURIComponent(text)}`)).users;
  combobox(byId("user"), byId("users"), (text) => reported(() => suggest(text), []), (key) => choose(key));
  byId("stranger").onclick = () => meet();
  for (const id of ["k", "unseen", "where"]) byId(id).onchange = () => refresh(id === "k" ? null : keys(state.items));
  byId("where").title = `Columns: ${model.columns.join(", ")}`;
  const card = byId("card");
  byId("card-text").replaceChildren(...render(model.card));
  byId("open-card").disabled = false;
  byId("open-card").onclick = () => card.showModal();
  byId("close-card").onclick = () => card.close();
}

/** Make the list for a user. */
async function choose(user, isNew = false) {
  Object.assign(state, { user, isNew, before: null });
  byId("user").value = user;
  byId("stranger").setAttribute("aria-pressed", String(isNew));
  byId("features").hidden = !isNew || Object.keys(model.features).length === 0;
  list.clear();
  await Promise.all([refresh(null), readHistory()]);
}

/** Make the list for someone whom the model has not met, under a key of their own, so that they can act, too. */
const meet = () => choose(newKey(), true);

/** A weight moves: while it does, what moved in the list is told against the list from before. */
const move = (() => {
  const later = debounced(async (isDone) => {
    await refresh(state.before);
    if (isDone) state.before = null;
  }, WAIT);
  return (isDone) => {
    state.before ??= keys(state.items);
    later(isDone);
  };
})();

const keys = (items) => items.map((item) => item.item);

/** Ask for the list and show it, with what moved since the list `before`; `done` is said first. Only the last answer counts. */
async function refresh(before, done = "") {
  state.asking?.abort();
  const asking = (state.asking = new AbortController());
  const body = {
    user: state.user,
    features: state.isNew ? features() : {},
    k: Number(byId("k").value),
    where: byId("where").value.trim() || null,
    weights: weights(),
    exclude_seen: byId("unseen").checked,
    seed,
    columns: model.columns,
  };
  await reported(async () => {
    const answer = await ask("POST", "/recommend", body, { signal: asking.signal });
    if (state.asking === asking) show(answer, before, done);
  });
}

function show({ items, fallback, notes }, before, done) {
  for (const item of items) state.titles.set(item.item, titleOf(item, model.columns));
  const counts = list.show(items, before);
  state.items = items;
  showPerson(tasksOf(model, items), items, model);
  const said = [...fallback.map((what) => FALLBACKS[what] ?? what), ...notes];
  byId("notes").replaceChildren(...said.map((text) => make("li", {}, text)));
  const gone = (before ?? []).filter((key) => !keys(items).includes(key));
  byId("left").textContent = gone.length === 0 ? "" : `Left the list: ${gone.map((key) => state.titles.get(key)).join(", ")}.`;
  byId("told").textContent = [done, sentence(items, before, counts)].filter((text) => text !== "").join(" ");
  byId("error").replaceChildren();
}

function sentence(items, before, counts) {
  if (items.length === 0) return "No item is left to recommend.";
  if (before === null) return `The best ${items.length} for ${state.isNew ? "someone new" : `user ${state.user}`}.`;
  const moved = Object.entries(counts).filter(([, count]) => count > 0);
  return moved.length === 0 ? "Nothing moved." : `${moved.map(([way, count]) => `${count} ${way}`).join(", ")}.`;
}

/** Tell the server what the user did; the list that follows knows of it. */
async function act(item, { label, type, values }) {
  const before = keys(state.items);
  const event = { id: newId(), user: state.user, item: item.item, type, time: Date.now() / 1000, values };
  await reported(async () => {
    const answer = await ask("POST", "/events", { events: [event] });
    const what = type === label ? label : `${type} ${label}`;
    const where = answer.journalled ? " (kept in the journal: the store is down)" : "";
    await Promise.all([refresh(before, `Told: ${what}, ${titleOf(item, model.columns)}${where}.`), readHistory()]);
    list.refill();
  });
}

/** A UUID; where a page is not secure, and browsers make none, as many random digits. */
function newId() {
  const bytes = [...crypto.getRandomValues(new Uint8Array(16))];
  return crypto.randomUUID?.() ?? bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return the nodes of what opens beneath an item. */
async function open(item, kind) {
  if (kind === "similar") {
    return likeness(await ask("POST", "/similar", { item: item.item, k: 8, columns: model.columns }), model.columns);
  }
  const body = { user: state.user, features: state.isNew ? features() : {}, item: item.item };
  return explanation(await ask("POST", "/explain", body), model);
}

async function readHistory() {
  const { user } = state;
  await reported(async () => {
    const answer = await ask("GET", `/users/${encodeURIComponent(user)}?limit=30`);
    if (state.user === user) showHistory(answer, model);
  });
}

/** Run something; where it fails, show the server's sentence and return `otherwise`. */
async function reported(run, otherwise) {
  try {
    return await run();
  } catch (error) {
    if (error.name !== "AbortError") byId("error").replaceChildren(make("p", { class: "error" }, error.message));
    return otherwise;
  }
}

reported(start);
