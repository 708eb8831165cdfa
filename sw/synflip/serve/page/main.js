// The page: what is asked of the server, and when.

import {Grid} from "./grid.js";
import {get, run} from "./server.js";
import {showAccelerators, showTests, tabs} from "./tabs.js";
import {Votes, by, make} from "./view.js";

const PACES = [["slow", 900], ["calm", 350], ["", 140], ["fast", 40], ["at once", 0]]; // ms a sample
const SLOWEST = 24; // samples at that pace; those after them come faster
const wait = (time, signal) => new Promise(done => {
  const timer = setTimeout(done, time);
  signal.addEventListener("abort", () => { clearTimeout(timer); done(); });
});

let about, grid, votes, under = null, tested = 0, busy = 0;
const ran = {}; // by device: cycles of its last run

function say(text) {
  by("alert").textContent = text;
  by("alert").hidden = !text;
}

/** The action, with its error in the page. The page is running from its beginning to its end: files are read, items fetched. */
const attempt = action => async (...given) => {
  busy += 1;
  document.body.dataset.state = "running";
  try {
    say("");
    await action(...given);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
  } finally {
    busy -= 1;
    if (!busy) document.body.dataset.state = "idle";
  }
};

function asked() {
  const seed = Number(by("seed").value);
  if (!by("seed").value || !Number.isSafeInteger(seed) || seed < 0) throw new Error("The seed is a whole number from 0 on.");
  return {
    ...(grid ? {pixels: grid.pixels} : {row: by("row").value}),
    samples: 2 ** by("samples").value, seed, margin: Number(by("margin").value), stop: by("stop").checked,
    devices: [by("device").value, by("beside").value].filter(Boolean), coins: Number(by("layer").value),
  };
}

const flip = attempt(async () => {
  under?.abort();
  under = null;
  const wanted = asked();
  if (grid?.empty) return;
  const stop = under = new AbortController();
  by("done").textContent = "";
  votes.begin(wanted);
  for (const name of wanted.devices) ran[name] = {cycles: 0, clock: 0, samples: 0};
  await follow(wanted, stop.signal);
});

async function follow(wanted, signal) {
  for await (const [name, event] of run(wanted, signal)) {
    if (name === "start" && event.waiting[0]) by("answer").textContent = `${event.waiting[0]} others share the device`;
    if (name === "failed") say(`${wanted.devices[event.device]}: ${event.error}`);
    if (name === "sample") {
      const sum = ran[wanted.devices[event.device]];
      sum.cycles = event.cycles < 0 || sum.cycles < 0 ? -1 : sum.cycles + event.cycles;
      sum.clock += event.clock;
      sum.samples += 1;
      const [, pace] = PACES[by("pace").value];
      if (event.device === 0 && event.sample > 1) await wait(event.sample > SLOWEST ? pace / 4 : pace, signal);
      if (signal.aborted) return;
      votes.add(event);
    }
    if (name === "end") {
      const last = votes.last(0);
      if (!last) return;
      by("done").textContent = `${about.classes[last.winner]}, with ${last.votes[last.winner]} of ${last.sample} votes.`
        + (last.foreign ? " Its energy says that it is of none of the classes." : "")
        + ("different" in event ? ` ${event.different} of ${event.compared} numbers differ.` : "");
    }
  }
}

function take(item) {
  tested = item.number + 1;
  if (grid) grid.take(item.pixels);
  else by("row").value = item.row;
  return flip();
}

const example = attempt(async () => take(await get(`/api/item?number=${tested}`)));

const read = attempt(async file => {
  if (!file) return;
  if (grid) await grid.read(file);
  else if (file.size > 1e6) throw new Error(`${file.name} is too large for one row.`);
  else by("row").value = await file.text();
  await flip();
});

function inputs() {
  by("drawn").hidden = by("invert").hidden = !about.picture;
  by("typed").hidden = Boolean(about.picture);
  by("example").hidden = !about.tests;
  by("example").textContent = about.picture ? "Test image" : "Test row";
  by("verb").textContent = about.picture ? "Draw" : "Type";
  by("file").accept = about.picture ? "image/*" : ".csv,text/csv,text/plain";
  if (about.picture) grid = new Grid(by("grid"), about.picture, () => under?.abort(), flip);
  else by("columns").textContent = about.columns.length ? `In this order: ${about.columns.map(([name, ...categories]) =>
    categories.length ? `${name} (${categories.join(", ")})` : name).join(", ")}` : `${about.inputs} numbers`;
  by("clear").addEventListener("click", () => { under?.abort(); if (grid) grid.clear(); else by("row").value = ""; });
  by("invert").addEventListener("click", () => { grid.invert(); flip(); });
  by("go").addEventListener("click", () => { by("seed").value = Number(by("seed").value) + 1; flip(); });
  by("example").addEventListener("click", example);
  by("file").addEventListener("change", event => { read(event.target.files[0]); event.target.value = ""; });
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, event => {
      if (!event.dataTransfer.types.includes("Files")) return; // text goes into a field as anywhere
      event.preventDefault(); // nor does a file beside the card take the page's place
      const there = by("input").contains(event.target);
      by("input").classList.toggle("over", there && name === "dragover");
      if (there && name === "drop") read(event.dataTransfer.files[0]);
    });
  }
}

function settings() {
  const outputs = () => {
    by("samples-out").textContent = 2 ** by("samples").value;
    by("pace-out").textContent = PACES[by("pace").value][0];
    by("margin-out").textContent = `${by("margin").value} ${by("margin").value === "1" ? "vote" : "votes"}`;
    const layer = about.layers[by("layer").value];
    by("window").textContent = `${layer.shape}; shown: ${layer.outputs} outputs`
      + (layer.height > 1 ? `, each a ${layer.height}×${layer.width} picture of its coins` : `, ${layer.inputs} coins of each`);
  };
  by("samples").max = Math.log2(about.most_samples);
  by("layer").append(...about.layers.map((_, index) => make("option", `layer ${index + 1}`, {value: index})));
  by("device").append(...about.devices.map(name => make("option", name)));
  const beside = () => {
    const now = by("beside").value, others = about.devices.filter(name => name !== by("device").value);
    by("beside").replaceChildren(make("option", "nothing", {value: ""}), ...others.map(name => make("option", name)));
    by("beside").value = others.includes(now) ? now : "";
  };
  beside();
  by("beside-label").hidden = about.devices.length < 2;
  for (const id of ["samples", "pace", "margin"]) by(id).addEventListener("input", outputs);
  by("device").addEventListener("change", beside);
  for (const id of ["samples", "margin", "stop", "seed", "device", "beside", "layer"]) by(id).addEventListener("change", () => { outputs(); flip(); });
  by("controls").addEventListener("submit", event => event.preventDefault());
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) by("pace").value = 4;
  outputs();
}

await attempt(async () => {
  about = await get("/api/about");
  document.title = `${about.name}, live`;
  by("model").textContent = `${about.name}, ${about.network}${about.data ? `, ${about.data}` : ""}`;
  by("coins").textContent = about.coins.toLocaleString("en");
  votes = new Votes(about);
  inputs();
  settings();
  votes.begin({...asked(), samples: 2 ** by("samples").value});
  const open = tabs({tests: showTests(about, item => { open("try"); take(item); }),
    accelerators: showAccelerators(about, name => ran[name])});
  if (about.tests) await take(await get("/api/item?number=0"));
})();
