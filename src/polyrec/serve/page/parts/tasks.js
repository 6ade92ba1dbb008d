// The predictions of a list by task: a number per item, the most likely class per item, or equal values for the entire list.

const HUES = 6;

/** Return the CSS class of a task's colour, the same wherever the task is shown. */
export function hue(model, name) {
  const place = model.tasks.findIndex((task) => task.name === name);
  return place < 0 ? "plain" : `hue-${place % HUES}`;
}

/** Return the tasks of a list in order: `[{name, kind: "number" | "classes" | "same", keys}]`. */
export function tasksOf(model, items) {
  if (items.length === 0) return [];
  return model.tasks.flatMap((task) => {
    if (task.ranked) return [{ name: task.name, kind: "number", keys: [task.name] }];
    const keys = Object.keys(items[0].tasks).filter((key) => key.startsWith(`${task.name}.`));
    if (keys.length === 0) return [];
    const isSame = items.length > 1 && keys.every((key) => items.every((item) => item.tasks[key] === items[0].tasks[key]));
    return [{ name: task.name, kind: isSame ? "same" : "classes", keys }];
  });
}

/** Return the classes of a task for an item, the most likely first: `[[class, probability]]`. */
export function classes(task, item) {
  const pairs = task.keys.map((key) => [key.slice(task.name.length + 1), item.tasks[key]]);
  return pairs.sort((first, second) => second[1] - first[1]);
}

/** Return an item's value of a task as a label and a number. */
export function value(task, item) {
  if (task.kind === "number") return [task.name, item.tasks[task.name]];
  const [likeliest, probability] = classes(task, item)[0];
  return [`${task.name}: ${likeliest}`, probability];
}

/** Return a bar's share: a value scaled between the lowest and the highest one, never quite 0. */
export function scaled(value, values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return high > low ? 0.06 + (0.94 * (value - low)) / (high - low) : 1;
}
