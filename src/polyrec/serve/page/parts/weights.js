// The fusion's weights: each has a slider for exploration and a number field for the exact value.

import { byId, make } from "./dom.js";
import { hue } from "./tasks.js";

const FORMULAS = {
  Add: "Score: the sum of predictions, each times its weight.",
  Multiply: "Score: the product of predictions, each to the power of its weight.",
  Rank: "Score: the mean of each task's rank within the list, by weight.",
};

const PERSONAL = "Each weight is multiplied by a personal factor of the user.";

const STEPS = 40;

/** Show the weights of a model; `change(isDone)` is called at each movement, with `isDone` true at its end. */
export function showWeights(model, change) {
  const { kind, expression } = model.fusion.of ?? model.fusion;
  const formula = expression === undefined ? (FORMULAS[kind] ?? `Score: ${kind}.`) : `Score: ${expression}`;
  byId("fusion").textContent = model.fusion.of === undefined ? formula : `${formula} ${PERSONAL}`;
  const usual = Object.entries(model.weights);
  const sliders = usual.map(([name, value]) => weight(model, name, value, () => update(false), () => update(true)));
  byId("weights").replaceChildren(...sliders.map((slider) => slider.node));
  const reset = byId("reset");
  reset.onclick = () => {
    sliders.forEach((slider) => slider.reset());
    update(true);
  };

  const moved = () => sliders.filter((slider) => slider.isMoved());
  const values = () => Object.fromEntries(moved().map((slider) => [slider.name, slider.value()]));
  const update = (isDone) => {
    reset.disabled = Object.keys(values()).length === 0 && document.activeElement !== reset;
    change(isDone);
  };
  return values;
}

function weight(model, name, usual, moved, done) {
  const low = usual < 0 ? 2 * usual : 0;
  const high = usual === 0 ? 1 : usual > 0 ? 2 * usual : -usual;
  const step = (high - low) / STEPS;
  let value = usual;
  const slider = make("input", { type: "range", min: low, max: high, step, "aria-label": `Weight of ${name}` });
  const exact = make("input", { type: "number", step: "any", "aria-label": `Weight of ${name}, as a number` });
  const show = (shown) => {
    value = shown;
    slider.value = shown;
    exact.value = Number(shown.toPrecision(6));
  };
  slider.addEventListener("input", () => {
    value = Number(Number(slider.value).toPrecision(6));
    exact.value = value;
    moved();
  });
  slider.addEventListener("change", done);
  exact.addEventListener("change", () => {
    if (exact.value === "" || !Number.isFinite(exact.valueAsNumber)) show(value);
    else {
      value = exact.valueAsNumber;
      slider.value = value;
      done();
    }
  });
  show(usual);
  const node = make("div", { class: `weight ${hue(model, name)}` }, make("span", { class: "name" }, name), slider, exact);
  return { node, name, value: () => value, isMoved: () => value !== usual, reset: () => show(usual) };
}
