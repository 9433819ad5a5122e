// One run's view of an image: its tiles, a layer above them, a scale bar and the shapes that are drawn.
/* global OpenSeadragon */

import { element, figure } from "./api.js";

const SVG = "http://www.w3.org/2000/svg";

// The library would add a style of its own, which hides the focus and which our policy forbids, unless it is there.
const marker = document.createElementNS("urn:lpdseg", "style");
marker.setAttribute("data-openseadragon-mobile-css", "true");
document.head.append(marker);

function source(image, address) {
  return {
    width: image.width,
    height: image.height,
    tileSize: image.tile,
    tileOverlap: 0,
    minLevel: 0,
    maxLevel: image.level,
    getTileUrl: address,
    hasTransparency: () => true,
  };
}

export class Picture {
  constructor(number, title) {
    this.number = number;
    this.box = element("div", { className: "view" });
    this.canvas = element("div", { className: "picture" });
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("aria-hidden", "true");
    this.shapes = document.createElementNS(SVG, "g");
    this.svg.append(this.shapes);
    this.bar = element("div", { className: "bar", hidden: true }, element("i"), element("span"));
    this.box.append(this.canvas, this.svg, this.bar);
    if (title) this.box.append(element("p", { className: "title", textContent: title }));
    this.layer = null;
    this.waiting = this.next = this.asked = null;
    this.opacity = 0.5;
    this.whole = false; // the image is shown as when it was opened
  }

  start() {
    this.viewer = OpenSeadragon({
      element: this.canvas,
      drawer: "canvas",
      showNavigationControl: false,
      crossOriginPolicy: false,
      animationTime: 0.3,
      blendTime: 0,
      maxZoomPixelRatio: 64,
      minZoomImageRatio: 0.5,
      visibilityRatio: 0.2,
      imageLoaderLimit: 4,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      imageSmoothingEnabled: true,
    });
    this.viewer.canvas.setAttribute("role", "application");
    this.viewer.canvas.setAttribute("aria-label", "The image; move it with the arrow keys, zoom with + and −");
    // Of the library's keys the arrows alone: others turn and mirror the image, which shapes above it do not follow.
    this.viewer.addHandler("canvas-key", (event) => { event.preventDefaultAction ||= !event.originalEvent.code.startsWith("Arrow"); });
    this.viewer.addHandler("update-viewport", () => { this.placed(); this.whole = this.atHome(); });
    this.viewer.addHandler("resize", () => this.placed());
  }

  // Shows another image; resolves when its first tiles may be drawn.
  open(index, image) {
    this.image = image;
    this.index = index;
    this.layer = this.waiting = this.next = this.asked = null;
    this.key = this.stamp = null;
    return new Promise((resolve, reject) => {
      this.viewer.addOnceHandler("open", () => {
        const { clientWidth, clientHeight } = this.canvas;
        this.whole = false;
        this.viewer.viewport.resize(new OpenSeadragon.Point(clientWidth, clientHeight), false);
        this.viewer.viewport.goHome(true);
        resolve();
      });
      this.viewer.addOnceHandler("open-failed", (event) => reject(new Error(event.message)));
      this.viewer.open(source(image, (level, x, y) => `/pictures/${index}/${level}/${x}/${y}`));
    });
  }

  // Shows a layer in place of the one before, which stays until the new one is there. Where a layer of the same kind
  // and look is on its way already, it comes first, so that a slide that is being computed is not for ever waited for.
  show(kind, stamp, look) {
    const key = `${kind}?${look}`;
    if ((this.waiting || this.asked) && key === this.key) {
      this.next = stamp;
      return;
    }
    if (key === this.key && stamp === this.stamp && this.layer) return;
    this.drop(this.waiting);
    Object.assign(this, { key, stamp, waiting: null, next: null, asked: null });
    if (!kind) {
      this.drop(this.layer);
      this.layer = null;
      return;
    }
    const address = (level, x, y) => `/layers/${this.number}/${this.index}/${kind}/${level}/${x}/${y}?${look}&stamp=${stamp}`;
    const asked = {};
    this.asked = asked;
    this.viewer.addTiledImage({
      tileSource: source(this.image, address),
      opacity: this.opacity,
      success: ({ item }) => {
        if (this.asked !== asked) {
          this.drop(item);
          return;
        }
        Object.assign(this, { waiting: item, asked: null });
        item.setOpacity(this.opacity);
        if (!this.layer || item.getFullyLoaded()) this.take(item, kind, look);
        else {
          item.addOnceHandler("fully-loaded-change", () => this.take(item, kind, look));
          setTimeout(() => this.take(item, kind, look), 3000);
        }
      },
    });
  }

  take(item, kind, look) {
    if (this.waiting !== item) return;
    this.drop(this.layer);
    this.layer = item;
    this.waiting = null;
    if (this.next !== null && this.next !== this.stamp) this.show(kind, this.next, look);
  }

  drop(item) {
    if (item && this.viewer.world.getIndexOfItem(item) >= 0) this.viewer.world.removeItem(item);
  }

  setOpacity(value) {
    this.opacity = value;
    for (const item of [this.layer, this.waiting]) if (item) item.setOpacity(value);
  }

  // The picture itself, below any layer: it knows where its pixels are.
  get ground() {
    return this.viewer.world.getItemAt(0);
  }

  atHome() {
    const viewport = this.viewer.viewport, home = viewport.getHomeBounds();
    const off = home.getCenter().minus(viewport.getCenter(true));
    const apart = Math.max(Math.abs(off.x), Math.abs(off.y)) / home.width;
    return Math.abs(viewport.getZoom(true) / viewport.getHomeZoom() - 1) < 0.01 && apart < 0.01;
  }

  // Pixels of the image per pixel of the screen, and the middle of the view.
  where() {
    const viewport = this.viewer.viewport;
    const middle = this.ground.viewportToImageCoordinates(viewport.getCenter(true));
    return { x: middle.x, y: middle.y, step: 1 / this.ground.viewportToImageZoom(viewport.getZoom(true)) };
  }

  goTo({ x, y, step }, now = true) {
    const viewport = this.viewer.viewport;
    viewport.zoomTo(this.ground.imageToViewportZoom(1 / step), null, now);
    viewport.panTo(this.ground.imageToViewportCoordinates(x, y), now);
  }

  // The part of the image that is seen.
  seen() {
    const bounds = this.ground.viewportToImageRectangle(this.viewer.viewport.getBounds());
    const x = Math.max(bounds.x, 0), y = Math.max(bounds.y, 0);
    const right = Math.min(bounds.x + bounds.width, this.image.width);
    const below = Math.min(bounds.y + bounds.height, this.image.height);
    return [x, y, Math.max(right - x, 0), Math.max(below - y, 0)];
  }

  // Where on the image a pointer is.
  at(event) {
    const frame = this.canvas.getBoundingClientRect();
    const point = new OpenSeadragon.Point(event.clientX - frame.left, event.clientY - frame.top);
    return this.ground.viewportToImageCoordinates(this.viewer.viewport.pointFromPixel(point, true));
  }

  placed() {
    if (!this.image || !this.ground) return;
    const corner = this.viewer.viewport.pixelFromPoint(this.ground.imageToViewportCoordinates(0, 0), true);
    const scale = 1 / this.where().step;
    this.shapes.setAttribute("transform", `translate(${corner.x} ${corner.y}) scale(${scale})`);
    this.bar.hidden = !this.image.mpp;
    if (!this.image.mpp) return;
    const perPixel = this.image.mpp / scale;
    const most = 160 * perPixel;
    const power = 10 ** Math.floor(Math.log10(most));
    const length = power * [5, 2, 1].find((digit) => digit * power <= most);
    this.bar.firstChild.style.width = `${length / perPixel}px`;
    this.bar.lastChild.textContent = length >= 1000 ? `${figure(length / 1000)} mm` : `${figure(length, { maximumSignificantDigits: 1 })} µm`;
  }
}

const same = (one, other) => ["x", "y", "step"].every((key) => Math.abs(one[key] - other[key]) < 1e-3 * other.step);

// Pictures move as one. What a window shows whole it shows whole in another size: the library keeps the diagonal.
export function link(pictures) {
  let following = false, fits = false, later = 0;
  const told = new Map(); // where each was last sent; it tells of that a frame later, and must not lead then
  const lead = (picture) => {
    if (following || pictures.length < 2 || pictures.some((one) => !one.ground)) return;
    following = true;
    for (const other of pictures) {
      if (other === picture) continue;
      other.goTo(picture.where());
      told.set(other, other.where());
    }
    told.delete(picture);
    following = false;
  };
  for (const picture of pictures) {
    for (const begun of ["zoom", "pan"]) picture.viewer.addHandler(begun, () => lead(picture)); // ends others' motion
    picture.viewer.addHandler("viewport-change", () => {
      if (!told.has(picture) || !same(told.get(picture), picture.where())) lead(picture);
    });
    picture.viewer.addHandler("resize", () => {
      fits ||= picture.whole;
      if (!fits) return;
      clearTimeout(later);
      later = setTimeout(() => {
        fits = false;
        for (const one of pictures) one.viewer.viewport.goHome(true);
      }, 50);
    });
  }
}
