/* What the playable parts of the book are made of: elements, switches and sliders, all of them usable by keyboard. */

"use strict";

const controls = (() => {
  /** An element: h("p", {class: "note"}, "text", another element). A function is a listener of that event. */
  function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") element.addEventListener(name, value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  let groups = 0;

  /** One choice of several: a group of radio buttons, so that arrow keys work. options: {value: label}. */
  function choice(title, options, chosen, onChoice) {
    const name = `play-${++groups}`;
    const buttons = Object.entries(options).map(([value, label]) => {
      const change = () => onChoice(value);
      const input = h("input", { type: "radio", name, value, checked: value === chosen, change });
      return h("label", {}, input, h("span", {}, label));
    });
    return h("fieldset", { class: "play-switch" }, h("legend", {}, title), ...buttons);
  }

  /** A slider. say: its value in words. */
  function slider(title, [min, max, step], value, say, onInput) {
    const output = h("output", {}, say(value));
    const input = () => {
      output.textContent = say(range.valueAsNumber);
      range.setAttribute("aria-valuetext", output.textContent);
      onInput(range.valueAsNumber);
    };
    const range = h("input", { type: "range", min, max, step, value, "aria-valuetext": say(value), input });
    return h("label", { class: "play-slider" }, h("span", {}, title), range, output);
  }

  return { h, choice, slider };
})();
