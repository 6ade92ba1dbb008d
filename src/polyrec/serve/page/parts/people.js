// The user of the list: predictions, history, and a form for a new user.

import { beneath, titleOf } from "./columns.js";
import { byId, make, number, plural, textOf } from "./dom.js";
import { classes, hue } from "./tasks.js";

/** Show the history of a user, the newest first. */
export function showHistory(answer, model) {
  const { history, known, erased } = answer;
  const status = erased ? "Erased: earlier events are ignored." : known ? "Known from training." : "Not seen in training.";
  const done = history.length === 0 ? "No events yet." : `The newest ${plural(history.length, "event")}:`;
  byId("known").textContent = `${status} ${done}`;
  byId("history").replaceChildren(...history.map((event) => entry(event, model)));
}

function entry(event, model) {
  const isLive = event.source === "live";
  const values = Object.keys(model.events).filter((name) => textOf(event.columns[name]) !== "");
  const details = values.map((name) => `${name} ${textOf(event.columns[name])}`);
  if (isLive && !values.includes(event.type)) details.unshift(event.type);
  if (isLive) details.push(new Date(1000 * event.time).toLocaleTimeString());
  const title = make("span", { title: beneath(event, model.columns) }, titleOf(event, model.columns));
  const badge = isLive ? make("b", { class: "badge" }, "live") : null;
  return make("li", {}, title, " ", make("span", { class: "muted" }, badge, ` ${details.join(" · ")}`));
}

/** Show predictions that are equal for all items of the list, as they depend on the user only. */
export function showPerson(tasks, items, model) {
  const same = tasks.filter((task) => task.kind === "same");
  const line = (task) => {
    const best = classes(task, items[0]).slice(0, 4).map(([name, share]) => `${name} ${number(share)}`);
    const name = make("b", {}, task.name);
    return make("p", { class: `person ${hue(model, task.name)}` }, name, ` of this user: ${best.join(" · ")}`);
  };
  byId("person").replaceChildren(...same.map(line));
}

/** Fill the form of a new user's features; return a function that reads it. */
export function showFeatures(model, changed) {
  const fields = Object.entries(model.features).map(([name, column]) => ({ name, column, input: field(column, changed) }));
  const labels = fields.map(({ name, input }) => make("label", {}, make("span", {}, name), input));
  byId("features").append(...labels);
  const read = ({ name, column, input }) => [name, parsed(column.kind, input.value)];
  return () => Object.fromEntries(fields.filter(({ input }) => input.value !== "").map(read));
}

function field({ kind, values }, changed) {
  const choices = kind === "boolean" ? [true, false] : kind === "text" ? values : [];
  if (choices.length === 0) {
    const type = kind === "number" ? "number" : "text";
    return make("input", { type, step: "any", maxlength: 4096, placeholder: "not known", oninput: changed });
  }
  const options = choices.map((value) => make("option", { value: String(value) }, String(value)));
  return make("select", { onchange: changed }, make("option", { value: "" }, "not known"), ...options);
}

const parsed = (kind, text) => (kind === "number" ? Number(text) : kind === "boolean" ? text === "true" : text);

/** Return an unused key, made of digits so that it is valid if keys are numbers. */
export const newKey = () => `9${String(crypto.getRandomValues(new Uint32Array(1))[0]).padStart(10, "0")}`;
