// A text field with suggestions, after the ARIA pattern: arrows choose, Enter takes, Escape closes, any text may be taken.

import { debounced, make } from "./dom.js";

/** Wire a field and its listbox: `suggest(text)` promises values, `take(value)` is told what was chosen. */
export function combobox(input, list, suggest, take) {
  let active = -1;
  let asked = 0;

  const close = () => {
    asked += 1;
    list.hidden = true;
    activate(-1);
    input.setAttribute("aria-expanded", "false");
  };

  const activate = (place) => {
    active = place;
    [...list.children].forEach((option, own) => option.setAttribute("aria-selected", String(own === place)));
    const option = list.children[place];
    if (option === undefined) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    }
  };

  const open = async (text) => {
    asked += 1;
    const own = asked;
    const values = await suggest(text);
    if (own !== asked || document.activeElement !== input) return;
    const option = (value, place) =>
      make("li", { id: `${list.id}-${place}`, role: "option", onpointerdown: (event) => choose(event, value) }, value);
    list.replaceChildren(...values.map(option));
    list.hidden = values.length === 0;
    input.setAttribute("aria-expanded", String(!list.hidden));
    activate(-1);
  };

  const choose = (event, value) => {
    event.preventDefault();
    close();
    input.value = value;
    take(value);
  };

  const later = debounced((text) => open(text), 120);
  input.addEventListener("input", () => later(input.value));
  input.addEventListener("blur", close);
  input.addEventListener("click", () => open(""));
  input.addEventListener("keydown", (event) => {
    const count = list.hidden ? 0 : list.children.length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (count === 0) open("");
      else activate(active < 0 && step < 0 ? count - 1 : (active + step + count) % count);
    } else if (event.key === "Enter") {
      const value = count > 0 && active >= 0 ? list.children[active].textContent : input.value.trim();
      if (value !== "") choose(event, value);
    } else if (event.key === "Escape" && count > 0) {
      event.preventDefault();
      close();
    }
  });
}
