/* Recordings and cameras: what becomes of a recording before a model sees it, and what can go wrong with a camera.

   An image is a Uint8Array [3, 64, 64]: all of its red, then green, then blue. A clip is {rgb: 3 images, event: 3 images}.
   As safe_companion/events.py, clips.py and corruptions.py do it; the last words of each comment name the function. */

"use strict";

const camera = (() => {
  const FRAMES = 3; // of a clip
  const ON = [220, 30, 30];
  const OFF = [30, 30, 200];

  /** A recording {side, sensor, frames, windows: the events of each frame} from a file of data/.

      Events of a window are sorted by pixel, and on a pixel by time: what an image of them shows is the same. */
  async function recordingOf(content, inflate) {
    const { side, sensor } = content;
    const size = 3 * side * side;
    const pixels = await inflate(content.frames);
    const frames = content.windows.map((_, f) => pixels.subarray(f * size, (f + 1) * size));
    for (const frame of frames) {
      // Stored are differences to the pixel above, modulo 256, as a Uint8Array counts.
      for (let i = 0; i < size; i++) if (i % (side * side) >= side) frame[i] += frame[i - side];
    }
    const bytes = await inflate(content.events);
    let at = 0;
    const windows = content.windows.map((count) => {
      // An event is twice the number of its pixel, plus 1 if it is ON. Stored are differences to the event before,
      // modulo 65,536, as a Uint16Array counts.
      const events = new Uint16Array(count);
      for (let i = 0; i < count; i++, at += 2) events[i] = (i ? events[i - 1] : 0) + bytes[at] + 256 * bytes[at + 1];
      return events;
    });
    return { side, sensor, frames, windows };
  }

  // ------------------------------------------------------------------------------------------- events to images
  /** White; red where the last event was ON, blue where it was OFF: bytes [3, height, width]. (events.event_image) */
  function paint(events, [width, height]) {
    const image = new Uint8Array(3 * width * height).fill(255);
    for (const event of events) {
      const colour = event & 1 ? ON : OFF;
      for (let c = 0; c < 3; c++) image[c * width * height + (event >> 1)] = colour[c];
    }
    return image;
  }

  /** For each new pixel which old ones count, and how much: a triangle as wide as two new pixels. */
  function filter(from, to) {
    const scale = from / to;
    const reach = Math.max(scale, 1);
    return Array.from({ length: to }, (_, i) => {
      const centre = (i + 0.5) * scale;
      const first = Math.max(0, Math.trunc(centre - reach + 0.5));
      const last = Math.min(from, Math.trunc(centre + reach + 0.5));
      const shares = Array.from({ length: last - first }, (_, k) => {
        return Math.max(0, 1 - Math.abs((first + k - centre + 0.5) / reach));
      });
      const sum = shares.reduce((a, b) => a + b, 0);
      // Whole numbers of 22 bits behind the point, since Pillow counts so: the result is the same to the last bit.
      return { first, shares: shares.map((share) => Math.trunc(0.5 + (share / sum) * 2 ** 22)) };
    });
  }

  /** Bytes [3, height, width] -> [3, side, side]; rows first, then columns. (Pillow's bilinear resize) */
  function resized(image, [width, height], side) {
    const across = filter(width, side);
    const down = filter(height, side);
    const byte = (sum) => Math.min(255, Math.floor((sum + 2 ** 21) / 2 ** 22));
    const rows = new Uint8Array(3 * height * side);
    for (let row = 0; row < 3 * height; row++) {
      across.forEach(({ first, shares }, x) => {
        let sum = 0;
        for (let k = 0; k < shares.length; k++) sum += image[row * width + first + k] * shares[k];
        rows[row * side + x] = byte(sum);
      });
    }
    const out = new Uint8Array(3 * side * side);
    for (let c = 0; c < 3; c++) {
      down.forEach(({ first, shares }, y) => {
        for (let x = 0; x < side; x++) {
          let sum = 0;
          for (let k = 0; k < shares.length; k++) sum += rows[(c * height + first + k) * side + x] * shares[k];
          out[(c * side + y) * side + x] = byte(sum);
        }
      });
    }
    return out;
  }

  const eventImage = (events, recording) => resized(paint(events, recording.sensor), recording.sensor, recording.side);

  // ------------------------------------------------------------------------------------------- what goes wrong
  /** Random numbers in 0..1 that are the same at every visit (mulberry32). */
  function random(seed) {
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  /** A normal number from two even ones (Box and Muller 1958). */
  const normal = (next) => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());

  /** An image in a share of its light, with the noise of the sample's camera: of the grains of light, and of reading
      them. The camera does not brighten it up again. (corruptions.darkened) */
  function darkened(image, light, next) {
    const [white, readNoise] = [2500, 15]; // electrons of a white pixel in full light; rms
    return image.map((value) => {
      const electrons = white * light * (value / 255) ** 2.2;
      const noise = Math.sqrt(electrons + readNoise ** 2) * normal(next);
      const seen = Math.min(1, Math.max(0, (electrons + noise) / white));
      return Math.floor(255 * seen ** (1 / 2.2) + 0.5);
    });
  }

  /** Every row smeared over a share of its width. (corruptions.blurred) */
  function blurred(image, share, side) {
    const pixels = Math.max(1, Math.round(share * side));
    const before = Math.floor((pixels - 1) / 2);
    const out = new Uint8Array(image.length);
    for (let row = 0; row < image.length; row += side) {
      for (let x = 0; x < side; x++) {
        let sum = 0;
        for (let k = 0; k < pixels; k++) sum += image[row + Math.min(side - 1, Math.max(0, x - before + k))];
        out[row + x] = Math.floor(sum / pixels + 0.5);
      }
    }
    return out;
  }

  /** Some of the events are lost, whichever. (corruptions.dropped) */
  const dropped = (events, share, next) => events.filter(() => next() >= share);

  // ------------------------------------------------------------------------------------------- clips
  /** The middle of each of FRAMES equal parts of 0, 1, ..., available - 1. (clips.spread_indices) */
  function spread(available) {
    return Array.from({ length: FRAMES }, (_, i) => {
      const low = Math.floor((i * available) / FRAMES);
      const high = Math.max(Math.floor(((i + 1) * available) / FRAMES), low + 1);
      return (low + high - 1) >> 1;
    });
  }

  const FINE = { camera: "both", light: 1, blur: 0, lost: 0, delay: 0 };

  /** A frame of a recording, as its camera gives it in a state. */
  function frameOf(recording, f, state) {
    if (state.camera === "event") return new Uint8Array(recording.frames[f].length); // off: black
    let image = recording.frames[f];
    if (state.light < 1) image = darkened(image, state.light, random(f));
    if (state.blur > 0) image = blurred(image, state.blur, recording.side);
    return image;
  }

  /** The events of a frame, as their camera gives them in a state. */
  function eventsOf(recording, f, state) {
    if (state.camera === "rgb") return new Uint16Array(0); // off: silent
    return state.lost > 0 ? dropped(recording.windows[f], state.lost, random(f)) : recording.windows[f];
  }

  /** The clip of a recording: {rgb, event, at: numbers of the frames, eventsAt: those to whose time the events belong}.

      state: as FINE, which is a recording as it is. camera: "both", "rgb" or "event", the one that is on; light and blur
      of the frames; lost: share of the events; delay: by how many frames the events come late, or, below 0, the frames.
      (corruptions.late) */
  function clipOf(recording, state = FINE) {
    const kept = spread(recording.frames.length - Math.abs(state.delay));
    const at = kept.map((i) => i + Math.max(0, state.delay));
    const eventsAt = kept.map((i) => i + Math.max(0, -state.delay));
    return {
      rgb: at.map((f) => frameOf(recording, f, state)),
      event: eventsAt.map((f) => eventImage(eventsOf(recording, f, state), recording)),
      at,
      eventsAt,
    };
  }

  return { recordingOf, clipOf, frameOf, eventsOf, paint, eventImage, FINE };
})();

if (typeof module !== "undefined") module.exports = camera;
