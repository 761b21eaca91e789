/* The saga of one order as a sequence diagram in SVG: time runs downwards, to scale within each act. */

import { s } from "./dom.js";
import { duration } from "./format.js";

const LANES = ["Client", "Orders", "Customers", "History"];
const NARROW = 620; // pixels: below, events are numbered and not named
const LABEL_HEIGHT = 15;
const SERVICES = { "customers-and-orders.orders": "Orders", "customers-and-orders.customers": "Customers" };
const REQUESTS = { OrderCreated: "POST /orders", OrderCancelled: "POST …/cancel" };
const ACTS = { OrderCreated: "Create", OrderCancelled: "Cancel" };

export const serviceOf = (event) => SERVICES[event.source] ?? event.source;

/**
 * What happened, in acts: an act is what one request led to. Each is {title, start, end, hops}, a hop
 * {event, number, at, effects, seen}: milliseconds from the act's start, `seen` null where the view was rebuilt.
 */
export function acts(events) {
  const byRequest = Map.groupBy
    ? Map.groupBy(events, (event) => event.correlationId)
    : events.reduce((map, e) => map.set(e.correlationId, [...(map.get(e.correlationId) ?? []), e]), new Map());
  let number = 0;
  return [...byRequest.values()].map((told) => {
    const start = Date.parse(told[0].occurredAt);
    const hops = told.map((event) => ({
      event,
      number: ++number,
      at: Date.parse(event.occurredAt) - start,
      seen: event.deliveries ? Date.parse(event.projectedAt) - start : null,
      effects: told.filter(({ causationId }) => causationId === event.eventId),
    }));
    const end = Math.max(1, ...hops.flatMap(({ at, seen }) => [at, seen ?? at]));
    return { title: ACTS[told[0].type] ?? told[0].type, start, end, hops };
  });
}

/** The diagram, as wide as told. */
export function diagram(events, width) {
  const narrow = width < NARROW;
  const x = lanes(width, narrow);
  const body = s("g");
  let y = 44;
  let previous = null;
  for (const act of acts(events)) {
    if (previous) y = pause(body, y, width, act.start - previous.start - previous.end);
    y = drawAct(body, act, x, y, width, narrow);
    previous = act;
  }
  const height = y + 8;
  const heads = LANES.map((lane) =>
    s("g", { class: `lane lane-${lane.toLowerCase()}` },
      s("line", { x1: x[lane], x2: x[lane], y1: 26, y2: height }),
      s("text", { x: x[lane], y: 16, "text-anchor": "middle" }, lane)),
  );
  return s("svg", { class: narrow ? "narrow" : null, viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": describe(events) }, ...heads, body);
}

function lanes(width, narrow) {
  const places = narrow ? [0.12, 0.36, 0.63, 0.9] : [0.1, 0.28, 0.54, 0.86];
  return Object.fromEntries(LANES.map((lane, i) => [lane, Math.round(width * places[i])]));
}

function describe(events) {
  return `Sequence diagram of ${events.length} events between Orders, Customers and Order history. The table below says the same.`;
}

function pause(body, y, width, milliseconds) {
  body.append(s("text", { class: "pause", x: width / 2, y: y + 22, "text-anchor": "middle" },
    `${duration(Math.max(0, milliseconds))} later`));
  return y + 40;
}

function drawAct(body, act, x, top, width, narrow) {
  const height = 56 + act.hops.length * 58;
  const y = (milliseconds) => top + 26 + (milliseconds / act.end) * (height - 60);
  scale(body, act.end, y, width);
  const labels = new Labels();
  for (const hop of act.hops) {
    const lane = serviceOf(hop.event);
    const from = { x: x[lane], y: y(hop.at) };
    for (const effect of hop.effects) {
      const to = { x: x[serviceOf(effect)], y: y(Date.parse(effect.occurredAt) - act.start) };
      body.append(arrow(from, to, "to-service"));
      const gap = duration(Date.parse(effect.occurredAt) - Date.parse(hop.event.occurredAt));
      body.append(text((from.x + to.x) / 2, (from.y + to.y) / 2 + 4, gap, "hop", "middle"));
    }
    if (hop.seen !== null) {
      const to = { x: x.History, y: y(hop.seen) };
      body.append(arrow(from, to, "to-view"));
      const times = hop.event.deliveries > 1 ? ` ×${hop.event.deliveries}` : "";
      if (times) body.append(s("circle", { class: "again", cx: to.x, cy: to.y, r: 8 }));
      const note = narrow ? times.trim() : `${duration(hop.seen - hop.at)}${times}`;
      body.append(text(to.x + 12, labels.place("History", to.y + 4), note, times ? "hop again-text" : "hop"));
    }
  }
  for (const hop of act.hops) {
    const lane = serviceOf(hop.event);
    const at = { x: x[lane], y: y(hop.at) };
    if (hop.event.causationId === null) {
      body.append(arrow({ x: x.Client, y: at.y }, at, "request"));
      if (!narrow) body.append(text(x.Client + 8, at.y - 7, REQUESTS[hop.event.type] ?? "", "hop"));
    }
    body.append(s("circle", { class: "event", cx: at.x, cy: at.y, r: 9 }));
    body.append(text(at.x, at.y + 4, String(hop.number), "number", "middle"));
    if (narrow) continue;
    // Orders' names stand on the left, where no arrow goes; Customers' on the right, above their own arrows.
    if (lane === "Orders") {
      body.append(text(at.x - 14, labels.place(lane, at.y + 16), hop.event.type, "name", "end"));
    } else {
      body.append(text(at.x + 14, labels.place(lane, at.y - 8), hop.event.type, "name"));
    }
  }
  return top + height;
}

/** Keeps labels of one lane apart. */
class Labels {
  #last = {};
  place(lane, y) {
    const placed = Math.max(y, (this.#last[lane] ?? -Infinity) + LABEL_HEIGHT);
    this.#last[lane] = placed;
    return placed;
  }
}

function scale(body, end, y, width) {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000].find((n) => end / n <= 5) ?? end;
  for (let at = 0; at <= end; at += step) {
    body.append(s("line", { class: "tick", x1: 0, x2: width, y1: y(at), y2: y(at) }));
    body.append(s("text", { class: "tick-text", x: 0, y: y(at) - 3 }, at === 0 ? "0" : `+${duration(at)}`));
  }
}

function arrow(from, to, kind) {
  const angle = Math.atan2(to.y - from.y, to.x - from.x);
  const tip = { x: to.x - 9 * Math.cos(angle) * (kind === "to-view" ? 0 : 1), y: to.y - 9 * Math.sin(angle) * (kind === "to-view" ? 0 : 1) };
  const wing = (turn) => `${tip.x - 8 * Math.cos(angle + turn)},${tip.y - 8 * Math.sin(angle + turn)}`;
  return s("g", { class: `arrow ${kind}` },
    s("line", { x1: from.x, y1: from.y, x2: tip.x, y2: tip.y }),
    s("polygon", { points: `${tip.x},${tip.y} ${wing(0.42)} ${wing(-0.42)}` }));
}

function text(x, y, content, kind, anchor = "start") {
  return s("text", { class: kind, x, y, "text-anchor": anchor }, content);
}
