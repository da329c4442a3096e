/* The page on which the models are played with: what is chosen, what is shown, and when is computed what.

   It fills every <div class="play">; data-size="small" leaves out what the first page has no room for. Until then, and
   without JavaScript, the <div> shows a still picture. `state` is all that the reader has chosen; whatever changes it
   calls `update`, which computes and draws everything anew. */

"use strict";

(() => {
  const FOLDER = new URL("data", document.currentScript.src).href;
  const SETS = { hardvs: "HARDVS sample: actions", pokerevent: "PokerEvent sample: cards" };
  const CAUSES = {
    none: "easy",
    dark: "dark",
    fast: "fast",
    slow: "nearly still",
    isoluminant: "little contrast",
    noisy: "noisy events",
  };
  const HEADS = { safe: "SAFE's own head", text: "the head that reads names" };
  const BRANCHES = { rgb: "RGB frames", event: "event images" };
  const { h, choice, slider } = controls;
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const pause = () => new Promise((done) => setTimeout(done)); // lets the browser draw and answer

  // ------------------------------------------------------------------------------------------- pictures
  /** An image (bytes [3, height, width]) on a canvas of its size. */
  function draw(canvas, image, [width, height]) {
    [canvas.width, canvas.height] = [width, height];
    const pixels = new Uint8ClampedArray(4 * width * height).fill(255);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) pixels[4 * i + c] = image[c * width * height + i];
    }
    canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  }

  /** The same, four times as large, with `shares` [4 x 4] laid over it: 1 is an even share, orange more, purple less. */
  function drawWithShares(canvas, image, side, shares) {
    const small = h("canvas");
    draw(small, image, [side, side]);
    const size = 4 * side;
    [canvas.width, canvas.height] = [size, size];
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.filter = "grayscale(1)";
    context.drawImage(small, 0, 0, size, size);
    context.filter = "none";
    const cells = Math.sqrt(shares.length);
    const step = size / cells;
    context.font = `600 ${Math.round(0.34 * step)}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    shares.forEach((share, i) => {
      const [x, y] = [(i % cells) * step, Math.floor(i / cells) * step];
      const strength = 0.6 * Math.min(1, Math.abs(share - 1));
      context.fillStyle = share > 1 ? `rgba(230, 97, 1, ${strength})` : `rgba(94, 60, 153, ${strength})`;
      context.fillRect(x, y, step, step);
      context.strokeStyle = "#000";
      context.lineWidth = 4;
      context.strokeText(share.toFixed(1), x + step / 2, y + step / 2);
      context.fillStyle = "#fff";
      context.fillText(share.toFixed(1), x + step / 2, y + step / 2);
    });
  }

  // ------------------------------------------------------------------------------------------- models and recordings
  const models = {}; // promises, by name: a model is unpacked once

  function modelOf(set, name) {
    const key = `${set}-${name}`;
    models[key] ??= play.load(key, FOLDER).then(play.modelOf);
    return models[key];
  }

  const recordings = {};

  function recordingOf(set, number) {
    const key = `${set}-${String(number).padStart(2, "0")}`;
    recordings[key] ??= play.load(key, FOLDER).then(async (content) => {
      return { ...(await camera.recordingOf(content, play.inflate)), interval: content.interval };
    });
    return recordings[key];
  }

  // ------------------------------------------------------------------------------------------- one place to play
  function start(root) {
    const isSmall = root.dataset.size === "small";
    const fresh = { order: null, dropped: new Set(), head: "safe", attend: false, of: "" };
    const state = { set: "hardvs", recording: null, ...camera.FINE, ...fresh };
    let about = null; // of the data set
    let recording = null;
    let latest = 0; // the number of the newest update: an older one that is still at work gives up
    const seen = { key: "" }; // what each model's tower said of the clip `key`
    const parts = Object.fromEntries(
      ["sets", "thumbs", "told", "player", "cameras", "sliders", "names", "strip", "answers", "rivals", "said"].map(
        (name) => [name, h("div", { class: `play-${name}` })],
      ),
    );
    parts.said.setAttribute("aria-live", "polite");

    // ---- what is computed
    /** The names that the text tower is told, row by row, and which output each row belongs to. */
    function names() {
      const rows = about.classes.map((_, row) => row).filter((row) => !state.dropped.has(row));
      return { rows, names: rows.map((row) => (state.order ? state.order[row] : row)) };
    }

    /** What a model answers to the clip: {p: the probability of each class, attention, trust}. */
    async function ask(name, clip, key, told) {
      const model = await modelOf(state.set, name);
      if (seen.key !== key) {
        for (const old of Object.keys(seen)) delete seen[old];
        seen.key = key;
      }
      seen[name] ??= play.look(model, clip);
      const answer = play.answer(model, seen[name], told.names);
      if (name !== "text") return answer;
      const logProbs = new Float64Array(about.classes.length).fill(-Infinity); // without a name: no answer
      told.rows.forEach((row, i) => (logProbs[row] = answer.logProbs[i]));
      return { ...answer, logProbs };
    }

    async function update() {
      const turn = ++latest;
      const isOld = () => turn !== latest;
      root.dataset.state = "busy";
      try {
        const set = state.set;
        const loaded = await play.load(set, FOLDER);
        if (isOld()) return;
        state.recording ??= loaded.recordings.findIndex((told) => told.cause === "none"); // the first easy one
        const number = state.recording;
        if (loaded !== about) {
          about = loaded;
          showSet();
        }
        const chosen = await recordingOf(set, number);
        await pause();
        if (isOld()) return;
        recording = chosen;
        const { camera: on, light, blur, lost, delay } = state;
        const clip = camera.clipOf(recording, state);
        const key = JSON.stringify([set, number, on, light, blur, lost, delay]);
        player.show();
        const own = { rows: about.classes.map((_, i) => i), names: about.classes.map((_, i) => i) };
        const told = names();
        const isChanged = state.order !== null || state.dropped.size > 0;
        const answers = {};
        for (const name of new Set([state.head, "rgb", "event"])) {
          answers[name] = await ask(name, clip, key, name === state.head ? told : own);
          if (name === state.head) {
            answers.before = isChanged ? await ask(name, clip, key, own) : answers[name];
            if (isOld()) return;
            showAnswer(answers, clip);
          }
          await pause();
          if (isOld()) return;
        }
        const [rgb, event] = [answers.rgb.logProbs, answers.event.logProbs];
        answers.surer = { logProbs: play.surer(rgb, event) };
        answers.mean = { logProbs: play.meanOf(rgb, event) };
        showRivals(answers);
        root.shown = { state: { ...state }, answers, label: label(), classes: about.classes }; // for the tests
        root.dataset.state = "ready";
      } catch (error) {
        if (isOld()) return;
        root.dataset.state = "failed";
        const lacking = typeof DecompressionStream === "undefined" ? "This browser lacks DecompressionStream." : "";
        parts.said.replaceChildren(h("p", { class: "play-trouble" }, `${lacking || error.message} Nothing to play with.`));
      }
    }

    let soon = 0;
    /** Changes the state, and updates when nothing else has changed for a moment. */
    function set(changes) {
      Object.assign(state, changes);
      clearTimeout(soon);
      soon = setTimeout(update, 80);
      root.dataset.state = "busy";
    }

    // ---- what is shown
    const label = () => about.recordings[state.recording].label;
    const firstOf = (logProbs) => logProbs.indexOf(Math.max(...logProbs));

    /** What an output is called: by its training, and here. */
    function called(output) {
      const [own, name] = [about.classes[output], state.order ? state.order[output] : output];
      if (state.dropped.has(output)) return `${own} (its name was not given)`;
      return name === output ? own : `${own} (here called “${about.classes[name]}”)`;
    }

    function showSet() {
      const thumbs = about.recordings.map((told, i) => {
        const change = () => set({ recording: i });
        const number = `Recording ${i + 1} of ${about.recordings.length}: ${CAUSES[told.cause]}`;
        const name = `play-thumbs-${root.dataset.size}`;
        const input = h("input", { type: "radio", name, value: i, checked: i === state.recording, change });
        const picture = h("img", { src: told.picture, alt: number, width: 64, height: 48 });
        return h("label", {}, input, picture, h("span", {}, CAUSES[told.cause]));
      });
      const legend = h("legend", {}, "A test recording, never seen in training");
      parts.thumbs.replaceChildren(h("fieldset", {}, legend, ...thumbs));
      if (!isSmall) showNames();
    }

    function showNames() {
      const boxes = about.classes.map((name, output) => {
        const change = (event) => {
          const dropped = new Set(state.dropped);
          if (event.target.checked) dropped.delete(output);
          else if (dropped.size < about.classes.length - 2) dropped.add(output);
          else event.target.checked = true; // two names stay
          set({ dropped });
        };
        const text = called(output).replace(" (its name was not given)", "");
        return h("label", {}, h("input", { type: "checkbox", checked: !state.dropped.has(output), change }), text);
      });
      const shuffle = () => {
        const order = about.classes.map((_, i) => i);
        for (let i = order.length - 1; i > 0; i--) {
          const j = Math.floor(Math.random() * (i + 1));
          [order[i], order[j]] = [order[j], order[i]];
        }
        set({ order });
        showNames();
      };
      const drop = () => {
        set({ dropped: new Set([...state.dropped, label()]) });
        showNames();
      };
      const restore = () => {
        set({ order: null, dropped: new Set() });
        showNames();
      };
      const isOpen = parts.names.querySelector("details")?.open ?? false;
      const focused = parts.names.contains(document.activeElement) ? document.activeElement.dataset.does : null;
      parts.names.replaceChildren(
        choice("Who answers", HEADS, state.head, (head) => set({ head })),
        h(
          "fieldset",
          { class: "play-buttons" },
          h("legend", {}, "The class names that it is told"),
          h("button", { type: "button", "data-does": "shuffle", click: shuffle }, "Shuffle the names"),
          h("button", { type: "button", "data-does": "drop", click: drop }, "Drop the true class's name"),
          h("button", { type: "button", "data-does": "restore", click: restore }, "Their own names again"),
          h("details", { open: isOpen }, h("summary", {}, "Choose which names are told"), h("div", {}, ...boxes)),
        ),
      );
      if (focused) parts.names.querySelector(`[data-does="${focused}"]`).focus();
    }

    /** The first five answers of the model that is asked, and what changing the names has changed. */
    function showAnswer(answers, clip) {
      const { logProbs, attention, trust } = answers[state.head];
      const order = [...logProbs.keys()].sort((a, b) => logProbs[b] - logProbs[a]).slice(0, 5);
      const bars = order.map((output) => {
        const p = Math.exp(logProbs[output]);
        const mark = output === label() ? h("strong", { class: "verdict-good" }, " ✓ true") : "";
        const bar = h("span", { class: "play-bar", style: `--share: ${p}` });
        return h("li", {}, h("span", { class: "play-what" }, called(output), mark), bar, h("span", {}, percent(p)));
      });
      const title = h("h3", {}, `What ${HEADS[state.head]} answers`);
      parts.answers.replaceChildren(title, h("ol", { class: "play-bars" }, ...bars));
      const lines = [];
      if (state.order || state.dropped.size) {
        const before = answers.before.logProbs;
        const change = Math.max(...before.map((value, i) => Math.abs(Math.exp(value) - Math.exp(logProbs[i]))));
        const [one, other] = [firstOf(before), firstOf(logProbs)];
        const which = one === other ? "the same output as with their own names" : "another output";
        lines.push(`Its first answer is ${which}; no probability changed by more than ${(100 * change).toFixed(2)} points.`);
      }
      if (trust) {
        lines.push(`How far it counts each camera, from 0 to 2: RGB ${trust[0].toFixed(2)}, events ${trust[1].toFixed(2)}.`);
      }
      parts.said.replaceChildren(...lines.map((line) => h("p", {}, line)));
      if (!isSmall) showStrip(clip, attention);
    }

    /** The clip as the model sees it; over it, if asked for, how a class's name looks at it. */
    function showStrip(clip, attention) {
      const told = names();
      const of = state.of === "" ? label() : Number(state.of);
      const row = told.rows.indexOf(of); // of the name in the text; -1 if it was dropped
      const rows = Object.entries(BRANCHES).map(([branch, title]) => {
        const weights = attention[branch].values;
        const columns = attention[branch].columns; // tokens of all frames: of each, a class token and its patches
        const perFrame = columns / clip[branch].length;
        const isLaid = state.attend && row >= 0;
        const shares = Array.from(weights.subarray(row * columns, (row + 1) * columns), (w) => w * columns);
        const pictures = clip[branch].map((image, f) => {
          const canvas = h("canvas", { role: "img", "aria-label": `${title} ${f + 1} of the clip` });
          const patches = shares.slice(f * perFrame + 1, (f + 1) * perFrame);
          if (isLaid) drawWithShares(canvas, image, recording.side, patches);
          else draw(canvas, image, [recording.side, recording.side]);
          return canvas;
        });
        const said = [];
        if (isLaid) {
          const even = h("canvas", { role: "img", "aria-label": "The same with an even share for every patch" });
          const ones = new Array(perFrame - 1).fill(1);
          drawWithShares(even, clip[branch][1], recording.side, ones);
          pictures.push(even);
          const entropy = -shares.reduce((sum, share) => sum + (share / columns) * Math.log(Math.max(share / columns, 1e-12)), 0);
          const evenness = (100 * entropy) / Math.log(columns);
          const largest = Math.max(...shares).toFixed(2);
          said.push(`evenness ${evenness.toFixed(1)} %, largest weight ${largest} times an even share`);
        }
        const caption = h("figcaption", {}, [title, ...said].join(": "), isLaid ? "; last: an even share" : "");
        return h("figure", { "data-branch": branch }, h("div", {}, ...pictures), caption);
      });
      const options = about.classes.map((name, i) => h("option", { value: i, selected: state.of === String(i) }, called(i)));
      const change = (event) => set({ of: event.target.value });
      const select = h("select", { change, "aria-label": "Whose name" }, h("option", { value: "" }, "the true class"), ...options);
      const box = h("input", { type: "checkbox", checked: state.attend, change: (event) => set({ attend: event.target.checked }) });
      const focused = parts.strip.contains(document.activeElement) ? document.activeElement.tagName : null;
      parts.strip.replaceChildren(
        h("h3", {}, "What the model sees, and where a name looks"),
        h("p", {}, h("label", {}, box, " lay over it the cross-attention of "), select),
        ...rows,
        row < 0 && state.attend ? h("p", {}, "This name was dropped: nothing asks for it.") : "",
      );
      if (focused) parts.strip.querySelector(focused.toLowerCase()).focus();
    }

    /** SAFE beside what needs no fusion. */
    function showRivals(answers) {
      const lines = {
        [state.head]: state.head === "safe" ? "SAFE" : "the head that reads names",
        rgb: "RGB alone",
        event: "events alone",
        surer: "surer of the two",
        mean: "late fusion (mean of log-probabilities)",
      };
      const rows = Object.entries(lines).map(([name, title]) => {
        const { logProbs } = answers[name];
        const first = firstOf(logProbs);
        const isRight = first === label();
        const verdict = h("span", { class: isRight ? "verdict-good" : "verdict-bad" }, isRight ? "✓ " : "✗ ");
        const p = Math.exp(logProbs[label()]);
        const bar = h("span", { class: "play-bar", style: `--share: ${p}` });
        const tested = about.models[name]?.tested;
        return h(
          "tr",
          { "data-model": name },
          h("th", { scope: "row" }, title, tested && !isSmall ? h("small", {}, ` right on ${tested.top1.toFixed(1)} % of all test recordings`) : ""),
          h("td", {}, verdict, about.classes[first]),
          h("td", { class: "play-true" }, bar, h("span", {}, percent(p))),
        );
      });
      const head = ["", "first answer", "probability of the true class"].map((text) => h("th", { scope: "col" }, text));
      const truth = `True class: ${about.classes[label()]}.`;
      parts.told.replaceChildren(truth);
      parts.rivals.replaceChildren(
        h("h3", {}, "SAFE beside its rivals"),
        h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)),
      );
    }

    // ---- the recording in motion
    const player = (() => {
      const canvases = {
        rgb: h("canvas", { role: "img", "aria-label": "The RGB camera's frames in motion" }),
        event: h("canvas", { role: "img", "aria-label": "The events of the same time: red ON, blue OFF" }),
      };
      let frame = 0;
      let timer = 0;
      let isPlaying = !matchMedia("(prefers-reduced-motion: reduce)").matches;
      const click = () => {
        isPlaying = !isPlaying;
        run();
      };
      const button = h("button", { type: "button", click });
      const input = () => {
        frame = time.valueAsNumber;
        isPlaying = false;
        run();
      };
      const time = h("input", { type: "range", min: 0, max: 8, value: 0, "aria-label": "Frame of the recording", input });
      const figure = (canvas, text) => h("figure", {}, canvas, h("figcaption", {}, text));
      parts.player.append(
        figure(canvases.rgb, "RGB camera"),
        figure(canvases.event, "event camera"),
        h("div", { class: "play-time" }, button, time),
      );

      function show() {
        if (!recording) return;
        const last = recording.frames.length - 1;
        const clamp = (f) => Math.min(last, Math.max(0, f));
        time.max = last;
        time.value = frame;
        // What comes late shows what was before; at the beginning, the first.
        const late = clamp(frame - Math.abs(state.delay));
        const [f, e] = state.delay > 0 ? [frame, late] : [late, frame];
        draw(canvases.rgb, camera.frameOf(recording, f, state), [recording.side, recording.side]);
        draw(canvases.event, camera.paint(camera.eventsOf(recording, e, state), recording.sensor), recording.sensor);
      }

      function run() {
        clearTimeout(timer);
        button.textContent = isPlaying ? "Pause" : "Play";
        show();
        if (!isPlaying) return;
        timer = setTimeout(() => {
          if (recording) frame = (frame + 1) % recording.frames.length;
          run();
        }, (recording?.interval ?? 110_000) / 1000);
      }

      return { show, run };
    })();

    // ---- what is there from the beginning
    const chooseSet = (name) => set({ set: name, recording: null, order: null, dropped: new Set(), of: "" });
    parts.sets.append(choice("Data", SETS, state.set, chooseSet));
    const cameras = { both: "both", rgb: "RGB only", event: "events only" };
    parts.cameras.append(choice("Cameras that are on", cameras, state.camera, (on) => set({ camera: on })));
    const stays = (v) => 10 ** (-v / 10);
    const frames = (n) => (Math.abs(n) === 1 ? "1 frame" : `${Math.abs(n)} frames`);
    const late = (n) => (n === 0 ? "neither late" : n > 0 ? `events ${frames(n)} late` : `RGB ${frames(n)} late`);
    parts.sliders.append(
      slider("Darken the frames", [0, 20, 1], 0, (v) => `${percent(stays(v))} of the light`, (v) => set({ light: stays(v) })),
    );
    if (!isSmall) {
      parts.sliders.append(
        slider("Blur the frames", [0, 20, 1], 0, (v) => `over ${v} % of the width`, (v) => set({ blur: v / 100 })),
        slider("Drop events", [0, 20, 1], 0, (v) => `${percent(1 - stays(v))} lost`, (v) => set({ lost: 1 - stays(v) })),
        slider("Delay a camera", [-4, 4, 1], 0, late, (v) => set({ delay: v })),
      );
    }
    const order = isSmall
      ? ["sets", "thumbs", "player", "cameras", "sliders", "told", "rivals", "said"]
      : ["sets", "thumbs", "player", "cameras", "sliders", "told", "rivals", "names", "answers", "said", "strip"];
    root.replaceChildren(...order.map((name) => parts[name]));
    player.run();
    update();
  }

  // ------------------------------------------------------------------------------------------- beginning
  /** Nothing is loaded before the reader comes near. */
  function watch(root) {
    const observer = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        observer.disconnect();
        start(root);
      },
      { rootMargin: "300px" },
    );
    observer.observe(root);
  }

  const begin = () => document.querySelectorAll("div.play").forEach(watch);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
