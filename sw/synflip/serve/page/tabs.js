// The tabs, and the two that only say what the server has counted.

import {paint, toValues} from "./grid.js";
import {get} from "./server.js";
import {by, make} from "./view.js";

/** opened: functions by the name of a tab, called when it is first shown. */
export function tabs(opened) {
  const all = [...document.querySelectorAll("[role=tab]")];
  const panel = tab => by(tab.getAttribute("aria-controls"));
  const choose = chosen => {
    for (const tab of all) {
      tab.setAttribute("aria-selected", String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      panel(tab).hidden = tab !== chosen;
    }
    opened[panel(chosen).id]?.();
  };
  all.forEach((tab, index) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", event => {
      const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      if (!step) return;
      const next = all[(index + step + all.length) % all.length];
      next.focus();
      choose(next);
    });
  });
  return name => choose(all.find(tab => panel(tab).id === name));
}

/** Once: a failure is said at `where`, and the next call tries again. */
function once(where, show) {
  let under = null;
  return () => under ??= show().catch(error => {
    by(where).textContent = error.message;
    under = null;
  });
}

/** The most and the least certain test images; `take` is given the one that is chosen. */
export const showTests = (about, take) => once("tests-text", async () => {
  const found = await get("/api/tests");
  by("tests-text").textContent = `Of the first ${found.images} test images, with ${found.samples} samples each; `
    + `${found.right} of the votes are right. Choose one to see it.`;
  for (const kind of ["most", "least"]) {
    by(kind).replaceChildren(...found[kind].map(item => {
      const [vote, label] = [about.classes[item.winner], about.classes[item.label]];
      const right = item.winner === item.label;
      const button = make("button", [
        make("span", vote), `, ${item.votes[item.winner]} of ${found.samples}`, make("br"),
        make("span", right ? "right" : `wrong: it is ${label}`, {class: right ? "good" : "bad"}),
      ]);
      if (about.picture) {
        const canvas = document.createElement("canvas");
        paint(canvas, about.picture, toValues(about.picture, item.pixels));
        button.prepend(canvas);
      }
      button.addEventListener("click", () => take(item));
      return button;
    }));
  }
});

const number = value => value === null ? "not predicted" : value.toLocaleString("en");

function table(title, heads, rows) {
  const head = make("thead", make("tr", heads.map(text => make("th", text, {scope: "col"}))));
  const body = make("tbody", rows.map(([first, ...cells]) =>
    make("tr", [make("th", first, {scope: "row"}), ...cells.map(text => make("td", text))])));
  return make("div", make("table", [make("caption", title), head, body]), {class: "wide"});
}

/** The accelerators. Of the last run on each, `ran` gives the cycles of engine and clock. */
export function showAccelerators(about, ran) {
  let devices = [];
  const load = once("accelerators-text", async () => {
    devices = (await get("/api/accelerators")).devices;
    by("accelerators-text").textContent = `Cycles are those that the golden model predicts for ${about.network}; `
      + "a pass is one image through one sample.";
    fill();
  });
  function fill() {
    by("machines").replaceChildren(...devices.map(device => {
      const rows = device.cycles.map(({images, samples, cycles}) => [`${images} × ${samples}`, number(cycles),
        cycles === null ? "–" : (cycles / images / samples).toFixed(1)]);
      const last = ran(device.name), parts = [make("h2", device.name), make("p",
        `${device.geometry}: decides up to ${device.coins_a_cycle} coins in a clock cycle. Holds the network ${device.fits}.`)];
      if (last?.cycles > 0) {
        parts.push(make("p", `Your last run: ${number(last.cycles)} cycles of the engine for ${last.samples} samples, one run each`
          + (last.clock ? `. It was busy ${(100 * last.cycles / last.clock).toFixed(1)} % of ${number(last.clock)} clock cycles; `
            + "the rest moved image and results." : ".")));
      }
      parts.push(table("Cycles", ["images × samples", "cycles", "a pass"], rows));
      parts.push(make("details", [make("summary", "Its sizes"),
        table("Geometry", ["what", "size"], device.sizes.map(([words, size]) => [words, number(size)]))]));
      return make("section", parts, {class: "card"});
    }));
  }
  return async () => { await load(); fill(); };
}
