// A text field with suggestions, after the ARIA combobox pattern: arrows choose, Enter accepts any text, Escape closes.

import { debounced, make } from "./dom.js";

/** Wire a field and its listbox: `suggest(text)` promises values, and `take(value)` receives the choice. */
export function combobox(input, list, suggest, take) {
  let active = -1;
  let queries = 0;

  const close = () => {
    queries += 1;
    list.hidden = true;
    activate(-1);
    input.setAttribute("aria-expanded", "false");
  };

  const activate = (place) => {
    active = place;
    [...list.children].forEach((option, index) => option.setAttribute("aria-selected", String(index === place)));
    const option = list.children[place];
    if (option === undefined) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    }
  };

  const open = async (text) => {
    queries += 1;
    const query = queries;
    const values = await suggest(text);
    if (query !== queries || document.activeElement !== input) return;
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
