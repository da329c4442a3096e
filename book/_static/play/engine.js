/* SAFE in plain JavaScript: what safe_core.py computes of one clip, step by step, with no library.

   A matrix is {rows, columns, values}: values is a Float32Array, row after row. The tokens of an image, of a branch or of
   all class names are the rows of such a matrix; a row has D = 96 columns. Names of weights are those of PyTorch.

   `play.load(name)` gives what a script file of data/ holds. It is loaded by a <script> element and hands its content to
   `play.receive`, since a page that was opened from a disk may run scripts there but not read other files. */

"use strict";

const play = (() => {
  // ------------------------------------------------------------------------------------------- files
  const waiting = {}; // by name: {promise, resolve, reject}

  function expect(name) {
    if (!waiting[name]) {
      const entry = (waiting[name] = {});
      entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    }
    return waiting[name];
  }

  /** Called by every file of data/. */
  function receive(name, content) {
    expect(name).resolve(content);
  }

  /** The content of data/NAME.js, which is asked for once; folder: where data/ lies. */
  function load(name, folder) {
    const entry = expect(name);
    if (!entry.asked) {
      entry.asked = true;
      const script = document.createElement("script");
      script.src = `${folder}/${name}.js`;
      script.onerror = () => {
        entry.reject(new Error(`${name}.js is not there`));
        delete waiting[name]; // so that it can be asked for again
      };
      document.head.append(script);
    }
    return entry.promise;
  }

  // ------------------------------------------------------------------------------------------- numbers out of text
  // 91 printable characters. Two of them hold 13 bits, since 2 ** 13 <= 91 ** 2: as a + 91 * b.
  const digits = new Int16Array(128).fill(-1);
  for (let code = 33, digit = 0; code < 127; code++) {
    if (!'"\\<'.includes(String.fromCharCode(code))) digits[code] = digit++;
  }

  /** A function that gives the next `width` bits of a text as a number >= 0, width at most 32. */
  function bitReader(text) {
    let position = 0;
    let held = 0; // bits that were read and not yet given, fewer than 32 + 13: exact in a double
    let count = 0;
    return (width) => {
      while (count < width) {
        held = held * 8192 + digits[text.charCodeAt(position)] + 91 * digits[text.charCodeAt(position + 1)];
        position += 2;
        count += 13;
      }
      count -= width;
      const rest = 2 ** count;
      const number = Math.floor(held / rest);
      held -= number * rest;
      return number;
    };
  }

  /** The bytes of {text, bytes: how many}, which hold deflated ones: a promise of a Uint8Array. */
  async function inflate({ text, bytes }) {
    const next = bitReader(text);
    const deflated = Uint8Array.from({ length: bytes }, () => next(8));
    const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  const asFloat = new DataView(new ArrayBuffer(4));
  function float(bits) {
    asFloat.setUint32(0, bits);
    return asFloat.getFloat32(0);
  }

  /** A model {config, weights: {name: {shape, values}}} from what a file of data/ says. */
  function modelOf(content) {
    const next = bitReader(content.data);
    const zero = 2 ** (content.bits - 1);
    const weights = {};
    for (const [name, shape, isRounded] of content.tensors) {
      const size = shape.reduce((product, n) => product * n, 1);
      const values = new Float32Array(size);
      const row = isRounded ? size / shape[0] : size;
      for (let start = 0; start < size; start += row) {
        const scale = isRounded ? float(next(32)) : 1;
        for (let i = start; i < start + row; i++) {
          values[i] = isRounded ? (next(content.bits) - zero) * scale : float(next(32));
        }
      }
      weights[name] = { shape, values };
    }
    return { config: content.config, weights };
  }

  // ------------------------------------------------------------------------------------------- layers
  const matrix = (rows, columns) => ({ rows, columns, values: new Float32Array(rows * columns) });

  /** A weight as a matrix; of a vector: one row. */
  function weight(model, name) {
    const found = model.weights[name];
    if (!found) throw new Error(`the model has no ${name}`);
    const columns = found.shape[found.shape.length - 1];
    return { rows: found.values.length / columns, columns, values: found.values };
  }

  /** Some rows of a matrix, from `start` until before `stop`; no copy. */
  function slice(x, start, stop) {
    const values = x.values.subarray(start * x.columns, stop * x.columns);
    return { rows: stop - start, columns: x.columns, values };
  }

  /** The rows of all matrices, one below the other. */
  function stack(...parts) {
    const all = matrix(parts.reduce((sum, part) => sum + part.rows, 0), parts[0].columns);
    let start = 0;
    for (const part of parts) {
      all.values.set(part.values, start);
      start += part.values.length;
    }
    return all;
  }

  function add(a, b) {
    const sum = matrix(a.rows, a.columns);
    for (let i = 0; i < sum.values.length; i++) sum.values[i] = a.values[i] + b.values[i];
    return sum;
  }

  /** The same vector added to every row. */
  function addToEach(x, vector) {
    const sum = matrix(x.rows, x.columns);
    for (let i = 0; i < sum.values.length; i++) sum.values[i] = x.values[i] + vector[i % x.columns];
    return sum;
  }

  /** x W^T + b: a row of W for each column of the result. */
  function linear(x, w, b) {
    const y = matrix(x.rows, w.rows);
    const n = x.columns;
    for (let row = 0; row < x.rows; row++) {
      for (let out = 0; out < w.rows; out++) {
        let sum = b ? b[out] : 0;
        for (let k = 0, i = row * n, j = out * n; k < n; k++) sum += x.values[i + k] * w.values[j + k];
        y.values[row * w.rows + out] = sum;
      }
    }
    return y;
  }

  /** A layer of PyTorch's nn.Linear, by its name. */
  const layer = (model, name, x) => linear(x, weight(model, `${name}.weight`), weight(model, `${name}.bias`).values);

  /** Every row brought to mean 0 and variance 1, then scaled and shifted column by column. */
  function layerNorm(model, name, x) {
    const scale = weight(model, `${name}.weight`).values;
    const shift = weight(model, `${name}.bias`).values;
    const y = matrix(x.rows, x.columns);
    for (let start = 0; start < x.values.length; start += x.columns) {
      let mean = 0;
      let variance = 0;
      for (let k = 0; k < x.columns; k++) mean += x.values[start + k] / x.columns;
      for (let k = 0; k < x.columns; k++) variance += (x.values[start + k] - mean) ** 2 / x.columns;
      const factor = 1 / Math.sqrt(variance + 1e-5);
      for (let k = 0; k < x.columns; k++) {
        y.values[start + k] = (x.values[start + k] - mean) * factor * scale[k] + shift[k];
      }
    }
    return y;
  }

  /** The error function, to 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26). */
  function erf(x) {
    const t = 1 / (1 + 0.3275911 * Math.abs(x));
    const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return Math.sign(x) * (1 - series * Math.exp(-x * x));
  }

  /** x times the probability that a normal number is smaller than x. */
  const gelu = (x) => x * 0.5 * (1 + erf(x * Math.SQRT1_2));

  function geluOf(x) {
    return { ...x, values: x.values.map(gelu) };
  }

  /** Attention with several heads: {out: what every query gets, weights: of each query (row) for each key (column)}.

      Of every head: softmax(Q K^T / sqrt(d)) V with its own d columns of Q, K and V. `weights` is the mean over heads. */
  function attention(model, name, queries, keys) {
    const [width, heads] = [queries.columns, model.config.heads];
    const d = width / heads;
    const w = weight(model, `${name}.in_proj_weight`); // three matrices, one below the other
    const b = weight(model, `${name}.in_proj_bias`).values;
    const project = (x, i) => linear(x, slice(w, i * width, (i + 1) * width), b.subarray(i * width, (i + 1) * width));
    const [q, k, v] = [project(queries, 0), project(keys, 1), project(keys, 2)];
    const mixed = matrix(queries.rows, width);
    const weights = matrix(queries.rows, keys.rows);
    const scores = new Float64Array(keys.rows);
    for (let head = 0; head < heads; head++) {
      for (let i = 0; i < queries.rows; i++) {
        const at = i * width + head * d;
        for (let j = 0; j < keys.rows; j++) {
          let sum = 0;
          for (let c = 0; c < d; c++) sum += q.values[at + c] * k.values[j * width + head * d + c];
          scores[j] = sum / Math.sqrt(d);
        }
        softmax(scores);
        for (let j = 0; j < keys.rows; j++) {
          weights.values[i * keys.rows + j] += scores[j] / heads;
          for (let c = 0; c < d; c++) mixed.values[at + c] += scores[j] * v.values[j * width + head * d + c];
        }
      }
    }
    return { out: layer(model, `${name}.out_proj`, mixed), weights };
  }

  /** Numbers become shares that sum to 1, in their place. */
  function softmax(scores) {
    const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
    let sum = 0;
    for (let i = 0; i < scores.length; i++) sum += scores[i] = Math.exp(scores[i] - largest);
    for (let i = 0; i < scores.length; i++) scores[i] /= sum;
    return scores;
  }

  /** LayerNorm, self-attention, residual, LayerNorm, feed-forward, residual. `names`: of the six parts. */
  function transformerBlock(model, names, x) {
    const q = layerNorm(model, names.norm1, x);
    const seen = add(x, attention(model, names.attention, q, q).out);
    const hidden = geluOf(layer(model, names.widen, layerNorm(model, names.norm2, seen)));
    return add(seen, layer(model, names.narrow, hidden));
  }

  // ------------------------------------------------------------------------------------------- vision tower
  // Mean and standard deviation of red, green and blue in CLIP's training, for pixels in 0..1.
  const MEAN = [0.48145466, 0.4578275, 0.40821073];
  const STD = [0.26862954, 0.26130258, 0.27577711];

  /** A convolution of 3 x 3 pixels, every second place, one pixel of zeros around: [C, S, S] -> [C', S/2, S/2]. */
  function convolution(input, side, w) {
    const [outputs, inputs] = w.shape;
    const half = side / 2;
    const out = new Float32Array(outputs * half * half);
    for (let o = 0; o < outputs; o++) {
      for (let y = 0; y < half; y++) {
        for (let x = 0; x < half; x++) {
          let sum = 0;
          for (let c = 0; c < inputs; c++) {
            for (let dy = 0; dy < 3; dy++) {
              const row = 2 * y + dy - 1;
              if (row < 0 || row >= side) continue;
              for (let dx = 0; dx < 3; dx++) {
                const column = 2 * x + dx - 1;
                if (column < 0 || column >= side) continue;
                sum += input[(c * side + row) * side + column] * w.values[((o * inputs + c) * 3 + dy) * 3 + dx];
              }
            }
          }
          out[(o * half + y) * half + x] = sum;
        }
      }
    }
    return out;
  }

  /** As LayerNorm, over groups of six channels and all their places. */
  function groupNorm(model, name, x, channels) {
    const scale = weight(model, `${name}.weight`).values;
    const shift = weight(model, `${name}.bias`).values;
    const places = x.length / channels;
    const size = 6 * places;
    const y = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += size) {
      let mean = 0;
      let variance = 0;
      for (let i = start; i < start + size; i++) mean += x[i] / size;
      for (let i = start; i < start + size; i++) variance += (x[i] - mean) ** 2 / size;
      const factor = 1 / Math.sqrt(variance + 1e-5);
      for (let i = start; i < start + size; i++) {
        const channel = Math.floor(i / places);
        y[i] = (x[i] - mean) * factor * scale[channel] + shift[channel];
      }
    }
    return y;
  }

  /** A convolution of 1 x 1 pixels: a linear layer for each place. */
  function pointwise(model, name, places) {
    const { shape, values } = model.weights[`${name}.weight`];
    const w = { rows: shape[0], columns: shape[1], values };
    return linear(places, w, weight(model, `${name}.bias`).values);
  }

  /** The tokens of one image (bytes [3, S, S]): a class token, then one for each of 4 x 4 patches. */
  function vision(model, image) {
    const net = "vision.net";
    let side = model.config.image_size;
    let x = Float32Array.from(image, (value, i) => {
      const colour = Math.floor(i / (side * side));
      return (value / 255 - MEAN[colour]) / STD[colour];
    });
    // 1. Four convolutions halve the side four times: from 64 x 64 pixels to 4 x 4 patches.
    let channels = 3;
    for (const number of [0, 3, 6, 9]) {
      const w = model.weights[`${net}.conv1.${number}.weight`];
      x = convolution(x, side, w);
      [side, channels] = [side / 2, w.shape[0]];
      x = groupNorm(model, `${net}.conv1.${number + 1}`, x, channels).map(gelu);
    }
    const patches = matrix(side * side, channels); // [96, 4, 4] -> a row for each patch
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < patches.rows; i++) patches.values[i * channels + c] = x[c * patches.rows + i];
    }
    const embedded = pointwise(model, `${net}.conv1.12`, patches);
    // 2. A class token in front, positions, then three Transformer blocks.
    let tokens = stack(weight(model, `${net}.class_embedding`), embedded);
    tokens = layerNorm(model, `${net}.ln_pre`, add(tokens, weight(model, `${net}.positional_embedding`)));
    for (let i = 0; model.weights[`${net}.transformer.resblocks.${i}.ln_1.weight`]; i++) {
      const block = `${net}.transformer.resblocks.${i}`;
      const names = { norm1: `${block}.ln_1`, attention: `${block}.attn`, norm2: `${block}.ln_2` };
      tokens = transformerBlock(model, { ...names, widen: `${block}.mlp.c_fc`, narrow: `${block}.mlp.c_proj` }, tokens);
    }
    return layerNorm(model, `${net}.ln_post`, tokens);
  }

  // ------------------------------------------------------------------------------------------- fusion
  const branchesOf = (model) => (model.config.modality === "both" ? ["rgb", "event"] : [model.config.modality]);

  /** What the tower says of a clip {rgb: F images, event: F images}: {branch: the tokens of each image}. */
  function look(model, clip) {
    const seen = {};
    for (const branch of branchesOf(model)) seen[branch] = clip[branch].map((image) => vision(model, image));
    return seen;
  }

  /** Queries + attention of normalised queries over the normalised context, as PreNormAttention in safe_core.py. */
  function preNormAttention(model, name, queries, context) {
    const q = layerNorm(model, `${name}.norm`, queries);
    const k = context === queries ? q : layerNorm(model, `${name}.norm`, context);
    const { out, weights } = attention(model, `${name}.attention`, q, k);
    return { out: add(queries, out), weights };
  }

  /** The fusion of the paper: {scores, attention: {branch: of each name (row) for each visual token (column)}}.

      seen: of `look`; names: a row for each class name, CLIP's features. */
  function fuse(model, seen, names) {
    const fusion = model.embedded ?? "fusion"; // where the weights lie: in a head that reads names, deeper
    const branches = branchesOf(model);
    const words = layer(model, model.wordEmbed ?? "word_embed", names);
    // 1. Every token is told its place in the image, its frame and its modality. A name is told no place: a set.
    const text = addToEach(words, weight(model, `${fusion}.kind.text`).values);
    const position = weight(model, `${fusion}.position`);
    const frame = weight(model, `${fusion}.frame`);
    let visual = {};
    const texts = {};
    for (const branch of branches) {
      const placed = seen[branch].map((tokens, f) => {
        const known = addToEach(add(tokens, position), weight(model, `${fusion}.kind.${branch}`).values);
        return addToEach(known, slice(frame, f, f + 1).values);
      });
      visual[branch] = stack(...placed);
    }
    // 2. A Transformer for each branch, over its images and the names.
    for (const branch of branches) {
      const block = `${fusion}.multimodal_transformer.${branch}.0`;
      const parts = { norm1: `${block}.norm1`, attention: `${block}.self_attn`, norm2: `${block}.norm2` };
      const both = stack(visual[branch], text);
      const mixed = transformerBlock(model, { ...parts, widen: `${block}.linear1`, narrow: `${block}.linear2` }, both);
      texts[branch] = slice(mixed, visual[branch].rows, mixed.rows);
      visual[branch] = slice(mixed, 0, visual[branch].rows);
    }
    // 3. Self-attention over the images of both.
    const images = stack(...branches.map((branch) => visual[branch]));
    const mixed = preNormAttention(model, `${fusion}.self_attention`, images, images).out;
    let start = 0;
    for (const branch of branches) {
      const stop = start + visual[branch].rows;
      visual[branch] = slice(mixed, start, stop);
      start = stop;
    }
    // 4. Cross-attention: every name asks the images of each branch.
    const looked = {};
    for (const branch of branches) {
      const asked = preNormAttention(model, `${fusion}.cross_attention.${branch}`, texts[branch], visual[branch]);
      [texts[branch], looked[branch]] = [asked.out, asked.weights];
    }
    // 5. Ten learned tokens read everything, and a linear layer reads them.
    const readout = weight(model, `${fusion}.readout`);
    const parts = [...branches.map((branch) => visual[branch]), ...branches.map((branch) => texts[branch])];
    const read = preNormAttention(model, `${fusion}.final_attention`, readout, stack(...parts, readout)).out;
    const normal = layerNorm(model, `${fusion}.classifier.0`, read);
    const flat = { rows: 1, columns: normal.values.length, values: normal.values };
    const scores = layer(model, `${fusion}.classifier.3`, flat).values;
    return { scores, attention: looked };
  }

  // ------------------------------------------------------------------------------------------- heads
  function normalised(x) {
    const y = matrix(x.rows, x.columns);
    for (let start = 0; start < x.values.length; start += x.columns) {
      let square = 0;
      for (let k = 0; k < x.columns; k++) square += x.values[start + k] ** 2;
      for (let k = 0; k < x.columns; k++) y.values[start + k] = x.values[start + k] / Math.sqrt(square);
    }
    return y;
  }

  /** CLIP's own answer of a branch: scaled cosines of what its class tokens show and what the classes are called. */
  function cosines(model, tokens, names) {
    const projection = weight(model, "fusion.cosines.projection"); // [96, 64]
    const mean = matrix(1, projection.columns);
    for (const image of tokens) {
      for (let k = 0; k < image.columns; k++) {
        for (let c = 0; c < mean.columns; c++) {
          mean.values[c] += (image.values[k] * projection.values[k * mean.columns + c]) / tokens.length;
        }
      }
    }
    const scale = Math.exp(model.weights["fusion.cosines.logit_scale"].values[0]);
    return linear(normalised(mean), normalised(names)).values.map((cosine) => scale * cosine);
  }

  /** What a model answers: {logProbs, attention, trust}.

      names: which class's name stands in which row of the text, [0, 1, 2, ...] in training. The answers of SAFE's own head
      belong to its outputs, which are as many as classes, whatever the names are. Those of the head that reads names
      belong to the rows. trust: how far that head counts each branch, from 0 to 2. */
  function answer(model, seen, names) {
    const features = weight(model, "text_features");
    const text = stack(...names.map((name) => slice(features, name, name + 1)));
    if (model.config.classifier === "tokens") {
      const { scores, attention } = fuse(model, seen, text);
      return { logProbs: logSoftmax(scores), attention };
    }
    const parts = { ...model, embedded: "fusion.fusion", wordEmbed: "fusion.word_embed" };
    const { scores, attention } = fuse(parts, seen, text); // of this head: one number for each branch
    const branches = branchesOf(model);
    const trust = branches.map((_, i) => 2 / (1 + Math.exp(-scores[i])));
    const each = branches.map((branch) => cosines(model, seen[branch], text));
    const logits = Float32Array.from(names, (_, row) => {
      return each.reduce((sum, of, i) => sum + (trust[i] * of[row]) / branches.length, 0);
    });
    return { logProbs: logSoftmax(logits), attention, trust };
  }

  function logSoftmax(logits) {
    const largest = Math.max(...logits);
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
    return Float64Array.from(logits, (logit) => logit - largest - Math.log(sum));
  }

  // ------------------------------------------------------------------------------------------- without fusion
  /** Of two models' answers the one whose first class is more probable. */
  function surer(one, other) {
    return Math.max(...one) >= Math.max(...other) ? one : other;
  }

  /** The mean of their log-probabilities; the probabilities sum to 1 again. */
  function meanOf(one, other) {
    return logSoftmax(one.map((value, i) => (value + other[i]) / 2));
  }

  return { receive, load, expect, inflate, modelOf, look, answer, surer, meanOf };
})();

if (typeof module !== "undefined") module.exports = play; // for the tests, which run it without a browser
