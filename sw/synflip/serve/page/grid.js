// The image that the network sees: drawn with a pointer or keys, or read from a file.

const MOST_FILE = 30e6;

function inks() {
  const style = getComputedStyle(document.documentElement);
  return ["--card", "--text"].map(name => {
    const text = style.getPropertyValue(name).trim();
    return [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16));
  });
}

/** Paint values 0..1, in the order y, x, channel, on a canvas of the picture's size. */
export function paint(canvas, picture, values) {
  const {height, width, channels} = picture, [paper, ink] = inks();
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let at = 0; at < height * width; at++) {
    for (let colour = 0; colour < 3; colour++) {
      image.data[4 * at + colour] = channels === 3 ? 255 * values[3 * at + colour]
        : paper[colour] + (ink[colour] - paper[colour]) * values[at];
    }
    image.data[4 * at + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Pixels of a flat row, as the server has them, as values 0..1 in the order y, x, channel; and back. */
export function toValues(picture, pixels) {
  const {height, width, channels, channels_first: first, least, largest} = picture, area = height * width;
  return Float64Array.from({length: area * channels}, (_, at) =>
    (pixels[first ? (at % channels) * area + Math.floor(at / channels) : at] - least) / (largest - least));
}

function toPixels(picture, values) {
  const {height, width, channels, channels_first: first, least, largest, whole} = picture, area = height * width;
  return Array.from({length: area * channels}, (_, at) => {
    const pixel = least + (largest - least) * values[first ? (at % area) * channels + Math.floor(at / area) : at];
    return whole ? Math.round(pixel) : pixel;
  });
}

export class Grid {
  /** canvas: shows the picture. changed: called when a stroke has begun; drawn: when one has ended. */
  constructor(canvas, picture, changed, drawn) {
    Object.assign(this, {canvas, picture, changed, drawn});
    this.values = new Float64Array(picture.height * picture.width * picture.channels);
    this.cursor = [Math.floor(picture.height / 2), Math.floor(picture.width / 2)];
    this.last = null;
    this.fresh = false; // whether the next stroke begins a new picture
    this.given = null; // the pixels of a test image, until it is changed: features would lose their last digits
    canvas.addEventListener("pointerdown", event => this.down(event));
    canvas.addEventListener("pointermove", event => this.last && this.to(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => this.up());
    canvas.addEventListener("keydown", event => this.key(event));
    for (const name of ["focus", "blur"]) canvas.addEventListener(name, () => this.show());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.show());
    this.show();
  }

  show() {
    paint(this.canvas, this.picture, this.values);
    if (document.activeElement !== this.canvas || !this.canvas.matches(":focus-visible")) return;
    const context = this.canvas.getContext("2d");
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--minus");
    context.fillRect(this.cursor[1], this.cursor[0], 1, 1);
  }

  get empty() { return !this.given && this.values.every(value => value === 0); }

  /** The picture, as the server takes it. */
  get pixels() { return this.given ?? toPixels(this.picture, this.values); }

  /** Show the server's pixels. */
  take(pixels) {
    this.set(toValues(this.picture, pixels));
    this.given = pixels;
  }

  set(values, fresh = true) {
    this.values = values;
    this.given = null;
    this.fresh = fresh;
    this.show();
  }

  clear() { this.set(new Float64Array(this.values.length), false); }

  invert() { this.set(this.values.map(value => 1 - value), this.fresh); }

  /** Ink around a point, as a pen that is as wide as a 28th of the picture and a little more would leave. */
  ink(y, x) {
    const {height, width, channels} = this.picture, half = .4 + Math.max(height, width) / 32;
    const reach = Math.ceil(half + 1);
    for (let row = Math.max(Math.floor(y) - reach, 0); row <= Math.min(Math.floor(y) + reach, height - 1); row++) {
      for (let column = Math.max(Math.floor(x) - reach, 0); column <= Math.min(Math.floor(x) + reach, width - 1); column++) {
        const far = Math.hypot(row + .5 - y, column + .5 - x);
        const value = Math.min(Math.max(half + .5 - far, 0), 1);
        for (let channel = 0; channel < channels; channel++) {
          const at = (row * width + column) * channels + channel;
          this.values[at] = Math.max(this.values[at], value);
        }
      }
    }
  }

  begin() {
    if (this.fresh) this.clear();
    this.given = null;
    this.changed();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientY - box.top) / box.height * this.picture.height,
            (event.clientX - box.left) / box.width * this.picture.width];
  }

  down(event) {
    if (event.button) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.begin();
    this.last = this.place(event);
    this.ink(...this.last);
    this.show();
  }

  to(event) {
    const [y, x] = this.place(event), [fromY, fromX] = this.last;
    const steps = Math.ceil(4 * Math.hypot(y - fromY, x - fromX)) || 1;
    for (let step = 1; step <= steps; step++) {
      this.ink(fromY + (y - fromY) * step / steps, fromX + (x - fromX) * step / steps);
    }
    this.last = [y, x];
    this.show();
  }

  up() {
    if (!this.last) return;
    this.last = null;
    this.drawn();
  }

  key(event) {
    const moves = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
    const {height, width} = this.picture;
    if (event.key in moves) {
      const [down, right] = moves[event.key];
      this.cursor = [Math.min(Math.max(this.cursor[0] + down, 0), height - 1),
                     Math.min(Math.max(this.cursor[1] + right, 0), width - 1)];
    } else if (event.key === " ") {
      this.begin();
      this.ink(this.cursor[0] + .5, this.cursor[1] + .5);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else if (event.key === "Enter") {
      this.drawn();
    } else {
      return;
    }
    event.preventDefault();
    this.show();
  }

  /** Take the image in a file, scaled. The browser decodes it: the server never sees the file. */
  async read(file) {
    if (file.size > MOST_FILE) throw new Error(`${file.name} has ${file.size} bytes; at most ${MOST_FILE} are read.`);
    const {height, width, channels} = this.picture;
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, {resizeWidth: width, resizeHeight: height, resizeQuality: "high"});
    } catch {
      throw new Error(`${file.name} is no image that this browser can read.`);
    }
    const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
    context.fillStyle = "#fff"; // below what is transparent
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    const {data} = context.getImageData(0, 0, width, height);
    const values = new Float64Array(height * width * channels);
    for (let at = 0; at < height * width; at++) {
      const [red, green, blue] = data.slice(4 * at, 4 * at + 3);
      if (channels === 3) values.set([red / 255, green / 255, blue / 255], 3 * at);
      else values[at] = (.299 * red + .587 * green + .114 * blue) / 255;
    }
    this.set(values);
    if (this.picture.light && this.brightBorder()) this.invert(); // ink on paper: the network knows light on dark
  }

  brightBorder() {
    const {height, width} = this.picture;
    let sum = 0, count = 0;
    this.values.forEach((value, at) => {
      const row = Math.floor(at / width), column = at % width;
      if (row && column && row < height - 1 && column < width - 1) return;
      sum += value;
      count++;
    });
    return sum > count / 2;
  }
}
