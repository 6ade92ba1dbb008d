// Who the list is for: what is known of them, what they did, and a form for someone new.

import { beneath, titleOf } from "./columns.js";
import { byId, make, number, plural, told } from "./dom.js";
import { classes, hue } from "./tasks.js";

/** Show what the model knows of a user, the newest first. */
export function showHistory(answer, model) {
  const { history, known, erased } = answer;
  const met = erased ? "Erased: nothing from before is read." : known ? "Known from training." : "Not met in training.";
  const done = history.length === 0 ? "Nothing done yet." : `The newest ${plural(history.length, "event")}:`;
  byId("known").textContent = `${met} ${done}`;
  byId("history").replaceChildren(...history.map((event) => entry(event, model)));
}

function entry(event, model) {
  const isLive = event.source === "live";
  const values = Object.keys(model.events).filter((name) => told(event.columns[name]) !== "");
  const said = values.map((name) => `${name} ${told(event.columns[name])}`);
  if (isLive && !values.includes(event.type)) said.unshift(event.type);
  if (isLive) said.push(new Date(1000 * event.time).toLocaleTimeString());
  const title = make("span", { title: beneath(event, model.columns) }, titleOf(event, model.columns));
  const badge = isLive ? make("b", { class: "badge" }, "live") : null;
  return make("li", {}, title, " ", make("span", { class: "muted" }, badge, ` ${said.join(" · ")}`));
}

/** Show predictions that are the same for the whole list, for they are of the person alone. */
export function showPerson(tasks, items, model) {
  const same = tasks.filter((task) => task.kind === "same");
  const line = (task) => {
    const best = classes(task, items[0]).slice(0, 4).map(([name, share]) => `${name} ${number(share)}`);
    const name = make("b", {}, task.name);
    return make("p", { class: `person ${hue(model, task.name)}` }, name, ` of this user: ${best.join(" · ")}`);
  };
  byId("person").replaceChildren(...same.map(line));
}

/** Fill the form of what may be told of someone new; return what reads it. */
export function showFeatures(model, changed) {
  const fields = Object.entries(model.features).map(([name, own]) => ({ name, own, input: field(own, changed) }));
  const labels = fields.map(({ name, input }) => make("label", {}, make("span", {}, name), input));
  byId("features").append(...labels);
  const read = ({ name, own, input }) => [name, parsed(own.kind, input.value)];
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

/** Return a key that nobody has: digits, so that it can stand where keys are numbers. */
export const newKey = () => `9${String(crypto.getRandomValues(new Uint32Array(1))[0]).padStart(10, "0")}`;
