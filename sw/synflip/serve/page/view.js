// What is shown of a run: coins, votes one by one, bars, and how sure they are.

const MOST_BARS = 12; // classes with a bar each
const LEAST_MARK = .005; // posterior that is marked
const MOST_LETTERS = 40; // votes with their class written in

export const by = id => document.getElementById(id);

/** An element with text or elements in it; text from a model's file is never read as HTML. */
export function make(name, inside = [], attributes = {}) {
  const element = document.createElement(name);
  element.append(...[inside].flat());
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

const bits = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const bit = (bytes, at) => bytes[at >> 3] >> (7 - (at & 7)) & 1;

function colour(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16));
}

/** Coins of one sample: a tile of height x width for each output, beside each other; rows if height is 1. */
export function drawCoins(canvas, {outputs, height, width}, {plus, minus}) {
  const across = height === 1 ? 1 : Math.ceil(Math.sqrt(outputs)), gap = height === 1 ? 0 : 1;
  const down = Math.ceil(outputs / across);
  canvas.width = across * (width + gap) - gap;
  canvas.height = down * (height + gap) - gap;
  const image = new ImageData(canvas.width, canvas.height);
  const colours = [colour("--tails"), colour("--plus"), colour("--minus")];
  const [up, off] = [bits(plus), bits(minus)];
  for (let at = 0; at < outputs * height * width; at++) {
    const tile = Math.floor(at / (height * width)), inside = at % (height * width);
    const y = Math.floor(tile / across) * (height + gap) + Math.floor(inside / width);
    const x = tile % across * (width + gap) + inside % width;
    image.data.set([...colours[bit(up, at) + 2 * bit(off, at)], 255], 4 * (y * canvas.width + x));
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** A class's name in a small square. */
const letter = name => name.length <= 2 ? name : name.slice(0, 2);

export class Votes {
  /** about: what the server says of the model. */
  constructor(about) {
    this.about = about;
    const longest = Math.max(...about.classes.map(name => name.length));
    by("bars").style.setProperty("--names", `${Math.min(Math.max(longest * .62 + 1, 2), 9)}rem`);
  }

  /** Before the first sample. asked: what the server was asked for. */
  begin(asked) {
    this.asked = asked;
    this.events = asked.devices.map(() => []);
    by("trail").replaceChildren();
    by("trail").classList.toggle("many", asked.samples > MOST_LETTERS);
    by("answer").textContent = "";
    this.sample(null);
    this.bars();
    this.scores();
  }

  /** One more sample. */
  add(event) {
    this.events[event.device].push(event);
    if (event.device === 0) {
      if (event.coins) drawCoins(by("flips"), this.about.layers[this.asked.coins], event.coins);
      this.sample(event);
      this.trail(event);
    }
    this.bars();
    this.scores();
  }

  last(device) { return this.events[device].at(-1); }

  sample(event) {
    by("sample").replaceChildren("sample ", make("b", String(event?.sample ?? 0)), ` of ${this.asked.samples}`);
  }

  trail(event) {
    const name = this.about.classes[event.vote];
    const item = make("li", letter(name), {title: `sample ${event.sample}: ${name}`});
    item.dataset.vote = event.vote;
    if (event.left === event.sample) {
      item.classList.add("left");
      item.title += ", and the lead is enough";
    }
    by("trail").append(item);
    for (const other of by("trail").children) other.classList.toggle("with", +other.dataset.vote === event.winner);
  }

  bars() {
    const {classes} = this.about, now = this.events.map((_, device) => this.last(device)), first = now[0];
    let shown = classes.map((_, index) => index);
    if (classes.length > MOST_BARS) {
      const weight = index => (first?.votes[index] ?? 0) + (first?.posterior?.[index] ?? 0);
      shown = shown.sort((a, b) => weight(b) - weight(a)).slice(0, MOST_BARS).sort((a, b) => a - b);
    }
    by("bars").tBodies[0].replaceChildren(...shown.map(index => {
      const tracks = now.map(event => {
        const inside = [make("b")];
        if (event) inside[0].style.width = `${100 * event.votes[index] / event.sample}%`;
        if (event?.posterior?.[index] >= LEAST_MARK) {
          inside.push(make("u"));
          inside[1].style.left = `${100 * event.posterior[index]}%`;
        }
        return make("div", inside, {class: "bar"});
      });
      const row = make("tr", [make("th", classes[index], {scope: "row", title: classes[index]}), make("td", tracks),
        make("td", now.map(event => event?.votes[index] ?? 0).join(" · "))]);
      row.className = [first?.winner === index ? "first" : "", now.length > 1 ? "pair" : ""].join(" ").trim();
      return row;
    }));
    const pair = now.length > 1 ? `Above: ${this.asked.devices[0]}. Below: ${this.asked.devices[1]}. ` : "";
    by("key").replaceChildren(pair, ...(this.about.scores
      ? [make("i", [], {class: "mark"}), "posterior: the mean of the samples’ softmaxes"] : []));
    if (first) {
      by("answer").replaceChildren(make("b", classes[first.winner]),
        `${first.votes[first.winner]} of ${first.sample} ${first.sample === 1 ? "vote" : "votes"}`);
    }
  }

  scores() {
    const rows = [], event = this.last(0), {classes} = this.about;
    const put = (name, value, why = "", kind = "") => rows.push(make("dt", name),
      make("dd", [make("span", value, {class: kind}), ...(why ? [make("small", why)] : [])]));
    const none = "–", known = (name, unit, digits = 3) => event ? `${event[name].toFixed(digits)} ${unit}` : none;
    put("Second choice", event ? classes[event.runner_up] : none);
    put("Entropy of the votes", known("entropy", "bits"), "0: every sample voted alike");
    if (this.about.scores) {
      put("Mutual information", known("mutual_information", "bits"), "how much the samples contradict each other");
      const limit = this.about.energy_threshold;
      put("Energy", known("energy", "nats", 2), limit === null ? "" : `above ${limit.toFixed(2)}: none of its classes`);
      if (limit !== null) {
        put("One of its classes?", !event ? none : event.foreign ? "no, foreign" : "yes", "", !event ? "" : event.foreign ? "bad" : "good");
      }
    }
    put("Lead", event ? `${event.lead} ${event.lead === 1 ? "vote" : "votes"}` : none,
      !event ? "" : event.left === null ? `${this.asked.margin} would be enough`
        : this.asked.stop ? `stopped at sample ${event.left}: the lead was enough`
          : `would have stopped at sample ${event.left}`);
    if (event) put("Engine", event.cycles < 0 ? "cycles not known" : `${event.cycles.toLocaleString("en")} cycles`, "for this sample, on an accelerator");
    if (this.asked.devices.length > 1) this.equal(put);
    by("scores").replaceChildren(...rows);
  }

  equal(put) {
    const at = Math.max(...this.events.map(events => events.at(-1)?.both ?? 0));
    const found = this.events.flat().findLast(event => event.both === at);
    const same = found && found.equal === found.both;
    put("Equal", found ? `${found.equal} of ${found.both} samples` : "–",
      `logits of ${this.asked.devices.join(" and ")}`, !found || !found.both ? "" : same ? "good" : "bad");
  }
}
