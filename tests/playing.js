/* Runs the code of the playable page without a browser: node playing.js CODE DATA < jobs, answers as JSON.

   A job: {set, recording, state, models, order, dropped}. Of each: the clip as base64, per model log-probabilities by
   row, weights of the cross-attention, trust. `pixel`: a state of the one pixel. */

"use strict";

const [code, data] = process.argv.slice(2);
const play = (global.play = require(`${code}/engine.js`));
const camera = require(`${code}/camera.js`);
const pixel = require(`${code}/pixel.js`);

const get = (name) => {
  require(`${data}/${name}.js`);
  return play.expect(name).promise;
};

const base64 = (images) => Buffer.concat(images.map((image) => Buffer.from(image))).toString("base64");
const models = {};

async function done(job) {
  if (job.pixel) return pixel.watch(job.pixel);
  const number = String(job.recording).padStart(2, "0");
  const recording = await camera.recordingOf(await get(`${job.set}-${number}`), play.inflate);
  const clip = camera.clipOf(recording, { ...camera.FINE, ...job.state });
  const found = { rgb: base64(clip.rgb), event: base64(clip.event), models: {} };
  for (const name of job.models ?? []) {
    const key = `${job.set}-${name}`;
    models[key] ??= play.modelOf(await get(key));
    const { logProbs, attention, trust } = play.answer(models[key], play.look(models[key], clip), job.names);
    const weights = Object.fromEntries(Object.entries(attention).map(([b, of]) => [b, Array.from(of.values)]));
    found.models[name] = { logProbs: Array.from(logProbs), attention: weights, trust };
  }
  const { rgb, event } = found.models;
  if (rgb && event) {
    found.surer = play.surer(rgb.logProbs, event.logProbs);
    found.mean = Array.from(play.meanOf(Float64Array.from(rgb.logProbs), Float64Array.from(event.logProbs)));
  }
  return found;
}

(async () => {
  const jobs = JSON.parse(require("fs").readFileSync(0));
  const answers = [];
  for (const job of jobs) answers.push(await done(job));
  process.stdout.write(JSON.stringify(answers));
})();
