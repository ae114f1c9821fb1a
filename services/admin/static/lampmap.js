// The map of a town: lamps as sprites on one canvas, cabinets as squares, street lines from the lamps' own positions.
// No tiles, no request of its own. The server sends columns: all lamps once (load), then only rows that changed (change).
import { leaflet as L } from "nicegui-leaflet";
import { loadResource } from "../../static/utils/resources.js";

const LOOK = { LIT: 0, DIMMED: 1, OFF: 2, FAULT: 3, UNKNOWN: 4, UNPOWERED: 5 };
const NEVER_SEEN = { look: LOOK.UNKNOWN, actual: -1, due: -1, source: 0, faults: 0 };
const DENSITY = Math.max(1, Math.min(3, window.devicePixelRatio || 1));

// From ember to warm white: what a lamp's light looks like from afar.
function lightColour(permille) {
  const share = Math.max(0, Math.min(1, permille / 1000));
  const mix = (from, to) => Math.round(from + (to - from) * share);
  return [mix(214, 255), mix(122, 226), mix(30, 150)];
}

class Sprites {
  // Drawn once per look, level step and size; then only copied.
  constructor() {
    this.made = new Map();
  }

  get(look, actual, radius) {
    const lit = look === LOOK.LIT || look === LOOK.DIMMED;
    const step = lit ? Math.max(1, Math.round(actual / 50)) : 0;
    const key = `${look}:${step}:${radius}`;
    let sprite = this.made.get(key);
    if (!sprite) this.made.set(key, (sprite = this.draw(look, step * 50, radius)));
    return sprite;
  }

  draw(look, level, radius) {
    const lit = look === LOOK.LIT || look === LOOK.DIMMED;
    const reach = Math.ceil(lit ? radius * 2.5 : Math.max(radius, 2.2) + 2.5);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = reach * 2 * DENSITY;
    const pen = canvas.getContext("2d");
    pen.scale(DENSITY, DENSITY);
    pen.translate(reach, reach);
    const circle = (size) => {
      pen.beginPath();
      pen.arc(0, 0, size, 0, 2 * Math.PI);
    };
    if (lit) {
      const [r, g, b] = lightColour(level);
      const glow = pen.createRadialGradient(0, 0, radius * 0.4, 0, 0, reach);
      glow.addColorStop(0, `rgba(${r},${g},${b},${0.25 + (0.35 * level) / 1000})`);
      glow.addColorStop(1, `rgba(${r},${g},${b},0)`);
      pen.fillStyle = glow;
      circle(reach);
      pen.fill();
      pen.fillStyle = `rgb(${r},${g},${b})`;
      circle(radius * (0.72 + (0.28 * level) / 1000));
      pen.fill();
    } else if (look === LOOK.FAULT) {
      pen.fillStyle = "#ff4b4b";
      pen.strokeStyle = "#ffffff";
      pen.lineWidth = 1.5;
      circle(Math.max(radius, 2.2) + 0.5);
      pen.fill();
      pen.stroke();
    } else if (look === LOOK.OFF) {
      pen.fillStyle = "#6d7f9e";
      circle(radius * 0.8);
      pen.fill();
    } else {
      pen.strokeStyle = look === LOOK.UNKNOWN ? "#c58bf2" : "#6d7f9e";
      pen.lineWidth = look === LOOK.UNKNOWN ? 1.6 : 1.1;
      circle(radius * 0.85);
      pen.stroke();
    }
    return { canvas, reach };
  }
}

const Lamp = L.CircleMarker.extend({
  _updateBounds() {
    const reach = this.sprite.reach + 1;
    this._pxBounds = new L.Bounds(this._point.subtract([reach, reach]), this._point.add([reach, reach]));
  },
  _updatePath() {
    if (!this._renderer._drawing || this._empty()) return;
    const { canvas, reach } = this.sprite;
    this._renderer._ctx.drawImage(canvas, this._point.x - reach, this._point.y - reach, reach * 2, reach * 2);
  },
});

const Square = L.CircleMarker.extend({
  _updatePath() {
    if (!this._renderer._drawing || this._empty()) return;
    const pen = this._renderer._ctx;
    const size = this._radius;
    pen.beginPath();
    pen.rect(this._point.x - size, this._point.y - size, size * 2, size * 2);
    this._renderer._fillStroke(pen, this);
  },
});

export default {
  template: '<div class="lamp-map"></div>',
  props: { resourcePath: String, texts: Object, label: String },
  async mounted() {
    await this.$nextTick();
    await loadResource(`${window.path_prefix}${this.resourcePath}/leaflet/leaflet.css`);
    this.sprites = new Sprites();
    this.lamps = [];
    this.town = null;
    this.map = L.map(this.$el, { preferCanvas: true, zoomControl: false, attributionControl: false, zoomSnap: 0.25 });
    this.$el.setAttribute("role", "application");
    this.$el.setAttribute("aria-label", this.label);
    const t = this.texts;
    L.control.zoom({ position: "topright", zoomInTitle: t.zoom_in, zoomOutTitle: t.zoom_out }).addTo(this.map);
    this.addHome();
    L.control.scale({ imperial: false, position: "bottomright" }).addTo(this.map);
    this.map.createPane("streets").style.zIndex = 350;
    this.ground = L.canvas({ pane: "streets", padding: 0.3 });
    this.canvas = L.canvas({ padding: 0.3, tolerance: 4 });
    this.lampLayer = L.featureGroup().addTo(this.map);
    this.cabinetLayer = L.featureGroup().addTo(this.map);
    this.tip = L.tooltip({ className: "lamp-tip", offset: [10, 0], opacity: 1 });
    this.lampLayer.on("mouseover", (event) => this.showTip(event.layer));
    this.lampLayer.on("mouseout", () => this.map.closeTooltip(this.tip));
    this.lampLayer.on("click", (event) => {
      L.DomEvent.stopPropagation(event);
      this.mark(event.layer.row);
      this.$emit("choose", { row: event.layer.row, load: this.town.load });
    });
    this.map.on("zoomend", () => this.resize());
    this.observer = new ResizeObserver(() => this.map.invalidateSize({ pan: false }));
    this.observer.observe(this.$el);
    this.map.setView([51, 10], 6);
    this.$el.dataset.lamps = "0";
    this.$emit("ready");
  },
  unmounted() {
    this.observer?.disconnect();
    this.map?.remove();
  },
  methods: {
    addHome() {
      const Home = L.Control.extend({
        onAdd: () => {
          const bar = L.DomUtil.create("div", "leaflet-bar");
          const home = L.DomUtil.create("a", "lamp-map-home", bar);
          home.href = "#";
          home.title = this.texts.whole_town;
          home.setAttribute("role", "button");
          home.setAttribute("aria-label", this.texts.whole_town);
          home.textContent = "⌂";
          L.DomEvent.disableClickPropagation(bar);
          L.DomEvent.on(home, "click", (event) => {
            L.DomEvent.preventDefault(event);
            this.showAll();
          });
          return bar;
        },
      });
      new Home({ position: "topright" }).addTo(this.map);
    },
    radius() {
      return Math.round(Math.max(1.2, Math.min(8, 1.3 + (this.map.getZoom() - 12) * 0.8)) * 4) / 4;
    },
    // All lamps: ids, positions, streets, edges between rows, cabinets. Replaces what was there.
    load(town) {
      if (!this.map) {
        setTimeout(() => this.load(town), 20);
        return;
      }
      const first = this.town === null;
      this.town = town;
      this.lampLayer.clearLayers();
      this.cabinetLayer.clearLayers();
      this.streets?.remove();
      const places = town.lat.map((lat, row) => L.latLng(lat, town.lon[row]));
      const lines = [];
      for (let i = 0; i < town.edges.length; i += 2) lines.push([places[town.edges[i]], places[town.edges[i + 1]]]);
      this.streets = L.polyline(lines, {
        renderer: this.ground,
        interactive: false,
        color: "#2a3a5c",
        weight: 3,
        lineCap: "round",
        smoothFactor: 0,
      }).addTo(this.map);
      const radius = this.radius();
      this.lamps = places.map((place, row) => {
        const lamp = new Lamp(place, { renderer: this.canvas, radius, bubblingMouseEvents: false });
        lamp.row = row;
        lamp.now = NEVER_SEEN;
        lamp.sprite = this.sprites.get(lamp.now.look, lamp.now.actual, radius);
        return lamp;
      });
      for (const lamp of this.lamps) if (lamp.getLatLng().lat || lamp.getLatLng().lng) this.lampLayer.addLayer(lamp);
      for (const [id, name, lat, lon] of town.cabinets) {
        const square = new Square([lat, lon], {
          renderer: this.canvas,
          radius: Math.max(3, radius),
          color: "#8fb4ff",
          weight: 1.5,
          fillColor: "#16233f",
          fillOpacity: 0.9,
        });
        square.bindTooltip(`${this.texts.cabinet} ${id}<br>${escapeText(name)}`, { className: "lamp-tip" });
        this.cabinetLayer.addLayer(square);
      }
      if (first) this.showAll();
      this.$el.dataset.lamps = String(this.lamps.length);
    },
    showAll() {
      const bounds = this.lampLayer.getBounds();
      if (bounds.isValid()) this.map.fitBounds(bounds, { paddingTopLeft: [16, 16], paddingBottomRight: [16, 48] });
    },
    // Parallel columns of rows that changed; those of an older inventory are dropped.
    change(update) {
      if (!this.town || update.load !== this.town.load) {
        if (!this.map) setTimeout(() => this.change(update), 20);
        return;
      }
      const radius = this.radius();
      const { rows, look, actual, due, source, faults } = update;
      const urgent = [];
      for (let i = 0; i < rows.length; i++) {
        const lamp = this.lamps[rows[i]];
        if (!lamp) continue;
        lamp.now = { look: look[i], actual: actual[i], due: due[i], source: source[i], faults: faults[i] };
        this.dress(lamp, radius);
        if (look[i] === LOOK.FAULT) urgent.push(lamp);
      }
      for (const lamp of urgent) lamp.bringToFront();
      if (this.tipped && this.map.hasLayer(this.tip)) this.showTip(this.tipped);
      this.$el.dataset.changes = String(Number(this.$el.dataset.changes || 0) + rows.length);
    },
    dress(lamp, radius) {
      lamp.sprite = this.sprites.get(lamp.now.look, lamp.now.actual, radius);
      lamp._radius = lamp.options.radius = radius;
      if (lamp._map && lamp._point) {
        // Both the old and the new extent have to be painted; the canvas does all of them in one frame.
        lamp._renderer._requestRedraw(lamp);
        lamp._updateBounds();
        lamp._renderer._requestRedraw(lamp);
      }
    },
    resize() {
      const radius = this.radius();
      for (const lamp of this.lamps) {
        if (lamp.options.radius !== radius) this.dress(lamp, radius);
      }
      this.cabinetLayer.eachLayer((square) => square.setRadius(Math.max(3, radius)));
      if (this.ring) this.ring.setRadius(radius + 6);
    },
    // Puts a ring around a lamp, and the lamp into view where it is not.
    mark(row, move) {
      this.ring?.remove();
      this.ring = null;
      const lamp = this.lamps[row];
      if (!lamp) return;
      this.ring = L.circleMarker(lamp.getLatLng(), {
        renderer: this.canvas,
        interactive: false,
        radius: this.radius() + 6,
        color: "#ffffff",
        weight: 2,
        fill: false,
      }).addTo(this.map);
      if (move) this.map.setView(lamp.getLatLng(), Math.max(16, this.map.getZoom()));
    },
    stale(isStale) {
      this.$el.classList.toggle("is-stale", isStale);
    },
    showTip(lamp) {
      const { town, texts: t } = this;
      const now = lamp.now;
      const level = (permille) => (permille < 0 ? "–" : `${(permille / 10).toLocaleString(t.language)} %`);
      const lines = [
        `<strong>${escapeText(town.ids[lamp.row])}</strong> ${escapeText(town.streets[town.street[lamp.row]])}`,
        `${t.looks[now.look]}`,
        `${t.actual} ${level(now.actual)} · ${t.due} ${level(now.due)} (${t.sources[now.source] ?? "–"})`,
      ];
      const faults = Object.keys(t.faults).filter((bit) => now.faults & Number(bit));
      if (faults.length) lines.push(`<em>${faults.map((bit) => t.faults[bit]).join(", ")}</em>`);
      this.tipped = lamp;
      this.tip.setLatLng(lamp.getLatLng()).setContent(lines.join("<br>"));
      this.tip.addTo(this.map);
    },
    // For tests and for whoever debugs: what a lamp is shown as.
    shown(id) {
      const lamp = this.lamps[this.town?.ids.indexOf(id) ?? -1];
      return lamp ? { ...lamp.now } : null;
    },
  },
};

function escapeText(text) {
  const holder = document.createElement("span");
  holder.textContent = text ?? "";
  return holder.innerHTML;
}
