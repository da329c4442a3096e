/* One pixel of an event camera, and an edge that moves past it. It fills every <div class="pixel">.

   As the sample's event camera (safe_companion/sample/cameras.py): the pixel watches the logarithm of its light, and fires
   whenever that is one threshold away from where it was at its last event. Light is 1 for white in a bright room. What the
   lens scatters (glare) and what the pixel sees of itself (dark current) are added to the light of the scene: so contrast
   fades in the dark. Left out, to see the rule alone: noise, leak, mismatch and refractory time. */

"use strict";

const pixel = (() => {
  const GLARE = 0.03; // share of white light that is scattered in the lens
  const DARK_LIGHT = 1e-5; // dark current, as light
  const SECONDS = 1; // that are shown
  const STEPS = 1000;

  /** Reflected light of the scene at a time: a dark ground with a bright bar, moving to and fro over the pixel. */
  function scene(t, speed) {
    const [dark, bright] = [0.1, 0.8];
    const position = 1.5 * Math.sin(2 * Math.PI * speed * t - Math.PI / 2); // of the bar's middle; its half width is 0.5
    const soft = 0.15; // an edge is not infinitely sharp
    const inside = (0.5 - Math.abs(position)) / soft;
    return dark + (bright - dark) / (1 + Math.exp(-4 * inside));
  }

  /** The logarithm of what the pixel sees, in a room with `light` of the bright one. */
  const seen = (t, { speed, light }) => Math.log(scene(t, speed) + GLARE + DARK_LIGHT / light);

  /** {t, log: what the pixel sees, reference: where it was at its last event, events: [{t, p}]}. */
  function watch(state) {
    const { threshold } = state;
    const begin = seen(0, state);
    let level = begin + threshold / 4; // pixels are anywhere between two events
    const found = { t: [0], log: [begin], reference: [level], events: [] };
    for (let step = 1; step <= STEPS; step++) {
      const [before, after] = [found.log[step - 1], seen((SECONDS * step) / STEPS, state)];
      const change = after > level ? threshold : -threshold;
      while ((after - level - change) * change >= 0) {
        level += change;
        // The logarithm is taken as straight between two steps, so that each crossing has a time of its own.
        const part = Math.min(1, Math.max(0, (level - before) / (after - before)));
        found.events.push({ t: (SECONDS * (step - 1 + part)) / STEPS, p: change > 0 ? 1 : 0 });
      }
      found.t.push((SECONDS * step) / STEPS);
      found.log.push(after);
      found.reference.push(level);
    }
    return found;
  }

  // ------------------------------------------------------------------------------------------- drawing
  const [WIDTH, HEIGHT] = [720, 280];
  const ns = "http://www.w3.org/2000/svg";

  function shape(tag, attributes) {
    const element = document.createElementNS(ns, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  /** The two curves, and an arrow for each event: up and red for ON, down and blue for OFF. */
  function drawing(found) {
    const [top, bottom] = [0.1, -2.2]; // of the logarithm
    const x = (t) => 10 + ((WIDTH - 20) * t) / SECONDS;
    const y = (log) => 6 + (180 * (top - log)) / (top - bottom);
    const points = (values) => values.map((value, i) => `${x(found.t[i]).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    const on = found.events.filter((event) => event.p).length;
    const said = `${on} ON and ${found.events.length - on} OFF events`;
    const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `The logarithm of a pixel's light over one second, and its ${said}` });
    svg.append(
      shape("polyline", { points: points(found.reference), class: "pixel-reference" }),
      shape("polyline", { points: points(found.log), class: "pixel-light" }),
      shape("line", { x1: 10, x2: WIDTH - 10, y1: 240, y2: 240, class: "pixel-axis" }),
    );
    for (const { t, p } of found.events) {
      const [tip, wing] = p ? [212, 219] : [268, 261];
      const at = x(t);
      const path = `M${at},240 V${tip} M${at - 3},${wing} L${at},${tip} L${at + 3},${wing}`;
      svg.append(shape("path", { d: path, class: p ? "pixel-on" : "pixel-off" }));
    }
    return { svg, said };
  }

  function start(root) {
    const { h, slider } = controls;
    const state = { threshold: 0.45, speed: 1, light: 1 };
    const picture = h("div");
    // Beside the drawing and not in it: on a phone the drawing shrinks, and letters must not.
    const above = h("div", { class: "pixel-words" }, "logarithm of the light; thin: its value at the last event");
    const below = h("div", { class: "pixel-words" }, "one second; events: ↑ ON, ↓ OFF");
    const said = h("p", { "aria-live": "polite" });

    function set(changes) {
      Object.assign(state, changes);
      const { svg, said: words } = drawing(watch(state));
      picture.replaceChildren(svg);
      said.textContent = `${words}.`;
    }

    const often = (v) => `${v.toFixed(1)} times to and fro a second`;
    const light = (v) => (v === 0 ? "a bright room" : `10^−${v} of a bright room`);
    const sliders = h(
      "div",
      { class: "play-sliders" },
      slider("Threshold", [0.1, 1.5, 0.05], state.threshold, (v) => v.toFixed(2), (v) => set({ threshold: v })),
      slider("Speed", [0, 4, 0.1], state.speed, often, (v) => set({ speed: v })),
      slider("Light", [0, 6, 0.5], 0, light, (v) => set({ light: 10 ** -v })),
    );
    root.replaceChildren(above, picture, below, sliders, said);
    set({});
  }

  return { watch, start };
})();

if (typeof module !== "undefined") module.exports = pixel;
else {
  const begin = () => document.querySelectorAll("div.pixel").forEach(pixel.start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
}
