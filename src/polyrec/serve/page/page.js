// The page of a Polyrec server: a user, the user's list, and the weights and history behind it.

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
  "unknown user": "The model has not seen this user in training: the list uses only known features and live events.",
  "erasure not known": "The store does not answer: the user may have been erased, so the training history is ignored.",
  "erased user": "This user was erased: earlier events are ignored.",
  "last known history": "The store does not answer: the list uses the last history known to the server.",
  "no history": "The store does not answer: the list is computed without a history.",
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
  else await chooseNew();
  watchMetrics();
}

function wire() {
  const suggest = async (text) => (await ask("GET", `/users?limit=10&start=${encodeURIComponent(text)}`)).users;
  combobox(byId("user"), byId("users"), (text) => reported(() => suggest(text), []), (key) => choose(key));
  byId("stranger").onclick = () => chooseNew();
  for (const id of ["k", "unseen", "where"]) byId(id).onchange = () => refresh(id === "k" ? null : keys(state.items));
  byId("where").title = `Columns: ${model.columns.join(", ")}`;
  const card = byId("card");
  byId("card-text").replaceChildren(...render(model.card));
  byId("open-card").disabled = false;
  byId("open-card").onclick = () => card.showModal();
  byId("close-card").onclick = () => card.close();
}

/** Show the list and the history of a user. */
async function choose(user, isNew = false) {
  Object.assign(state, { user, isNew, before: null });
  byId("user").value = user;
  byId("stranger").setAttribute("aria-pressed", String(isNew));
  byId("features").hidden = !isNew || Object.keys(model.features).length === 0;
  list.clear();
  await Promise.all([refresh(null), readHistory()]);
}

/** Show the list of a new user under a random key, so that events can be sent for the user, too. */
const chooseNew = () => choose(newKey(), true);

/** Refresh after a change of a weight. While a slider moves, movements are relative to the list before the first change. */
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

/** Request and show the list, with movements since `before`. The status begins with `done`; only the last answer counts. */
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
  const notices = [...fallback.map((what) => FALLBACKS[what] ?? what), ...notes];
  byId("notes").replaceChildren(...notices.map((text) => make("li", {}, text)));
  const gone = (before ?? []).filter((key) => !keys(items).includes(key));
  byId("left").textContent = gone.length === 0 ? "" : `Left the list: ${gone.map((key) => state.titles.get(key)).join(", ")}.`;
  byId("status").textContent = [done, sentence(items, before, counts)].filter((text) => text !== "").join(" ");
  byId("error").replaceChildren();
}

function sentence(items, before, counts) {
  if (items.length === 0) return "No item is left to recommend.";
  if (before === null) return `The best ${items.length} for ${state.isNew ? "someone new" : `user ${state.user}`}.`;
  const moved = Object.entries(counts).filter(([, count]) => count > 0);
  return moved.length === 0 ? "Nothing moved." : `${moved.map(([way, count]) => `${count} ${way}`).join(", ")}.`;
}

/** Send an event of the user, then refresh the list and the history. */
async function act(item, { label, type, values }) {
  const before = keys(state.items);
  const event = { id: newId(), user: state.user, item: item.item, type, time: Date.now() / 1000, values };
  await reported(async () => {
    const answer = await ask("POST", "/events", { events: [event] });
    const what = type === label ? label : `${type} ${label}`;
    const where = answer.journalled ? " (in the journal, as the store is down)" : "";
    await Promise.all([refresh(before, `Recorded: ${what}, ${titleOf(item, model.columns)}${where}.`), readHistory()]);
    list.refill();
  });
}

/** Return a UUID, or as many random digits on an insecure page, where browsers offer none. */
function newId() {
  const bytes = [...crypto.getRandomValues(new Uint8Array(16))];
  return crypto.randomUUID?.() ?? bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return the nodes of the panel beneath an item. */
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

/** Return the result of `run`; on failure, show the server's error and return `otherwise`. */
async function reported(run, otherwise) {
  try {
    return await run();
  } catch (error) {
    if (error.name !== "AbortError") byId("error").replaceChildren(make("p", { class: "error" }, error.message));
    return otherwise;
  }
}

reported(start);
