// The events that can be sent for an item, and its toolbar: one Tab stop, with arrow keys within it and between items.

import { make } from "./dom.js";

const MOST_BUTTONS = 10;

/** Return groups of events that the model's histories read: `[{label, events: [{label, type, values}]}]`. */
export function eventsOf(model) {
  const columns = Object.entries(model.events).filter(([, { values }]) => values.length > 0 && values.length <= MOST_BUTTONS);
  const types = columns.find(([name, column]) => name === "type" && column.kind === "text");
  const single = types === undefined ? ["view"] : types[1].values;
  const groups = [{ label: "", events: single.map((type) => ({ label: type, type, values: {} })) }];
  for (const [name, column] of columns) {
    if (column.kind === "text") continue;
    const events = column.values.map((value) => ({ label: String(value), type: name, values: { [name]: value } }));
    groups.push({ label: name, events: column.kind === "boolean" ? events.filter((event) => event.values[name]) : events });
  }
  return groups;
}

/** Make an item's toolbar; its buttons call `act(event)` and `open(kind)`. */
export function toolbar(title, groups, act, open) {
  const button = (label, spoken, pressed) => make("button", { type: "button", "aria-label": spoken, onclick: pressed }, label);
  const events = groups.map(({ label, events: groupEvents }) => {
    const buttons = groupEvents.map((event) => button(event.label, label && `${label} ${event.label}`, () => act(event)));
    return make("span", { class: "group" }, label === "" ? null : make("span", { "aria-hidden": "true" }, label), ...buttons);
  });
  const opens = { why: button("Why?", null, () => open("why")), similar: button("Similar", null, () => open("similar")) };
  const panels = make("span", { class: "group" }, opens.why, opens.similar);
  const node = make("div", { class: "actions", role: "toolbar", "aria-label": `Actions for ${title}` }, ...events, panels);
  const buttons = [...node.querySelectorAll("button")];
  buttons.slice(1).forEach((element) => (element.tabIndex = -1));
  node.addEventListener("focusin", (event) => {
    if (buttons.includes(event.target)) buttons.forEach((element) => (element.tabIndex = element === event.target ? 0 : -1));
  });
  node.addEventListener("keydown", (event) => step(event, buttons));
  return { node, buttons, opens };
}

function step(event, buttons) {
  const place = buttons.indexOf(event.target);
  const last = buttons.length - 1;
  const item = event.target.closest(".item");
  const within = { ArrowLeft: Math.max(place - 1, 0), ArrowRight: Math.min(place + 1, last), Home: 0, End: last }[event.key];
  const beside = { ArrowUp: item.previousElementSibling, ArrowDown: item.nextElementSibling }[event.key];
  if (within === undefined && beside === undefined) return;
  event.preventDefault();
  if (within !== undefined) buttons[within].focus();
  else beside?.querySelectorAll(".actions button")[place]?.focus();
}
