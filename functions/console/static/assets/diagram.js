/* The events of one order as a sequence diagram in SVG. Time runs downwards: longer pauses take more space. */

import { s } from "./dom.js";
import { duration } from "./format.js";

const LANES = ["Client", "Orders", "Customers", "History"];
const NARROW = 590; // pixels: below, the table names the events, not the diagram
const SERVICES = { "customers-and-orders.orders": "Orders", "customers-and-orders.customers": "Customers" };
const REQUESTS = { OrderCreated: "POST /orders", OrderCancelled: "POST cancel" };

export const serviceOf = (event) => SERVICES[event.source] ?? event.source;

/**
 * Group the events by request: an act is one request with all events that it led to. Each is {start, end, hops}, a hop
 * {event, number, at, effects, seen, again}. Times are milliseconds from the act's start. `seen` is null where the view was
 * rebuilt, `again` (the last redelivery) where there was none at another time.
 */
export function acts(events) {
  const byRequest = new Map();
  for (const event of events) byRequest.set(event.correlationId, [...(byRequest.get(event.correlationId) ?? []), event]);
  let number = 0;
  return [...byRequest.values()].map((group) => {
    const start = Date.parse(group[0].occurredAt);
    const hops = group.map((event) => ({
      event,
      number: ++number,
      at: Date.parse(event.occurredAt) - start,
      seen: event.deliveries ? Date.parse(event.projectedAt) - start : null,
      again: event.deliveries && event.lastDeliveredAt > event.projectedAt ? Date.parse(event.lastDeliveredAt) - start : null,
      effects: group.filter(({ causationId }) => causationId === event.eventId),
    }));
    const end = Math.max(1, ...hops.flatMap(instantsOf));
    return { start, end, hops };
  });
}

const instantsOf = ({ at, seen, again }) => [at, seen ?? at, again ?? at];

/** Draw the events, `width` pixels wide. */
export function diagram(events, width) {
  const narrow = width < NARROW;
  const x = lanes(width, narrow);
  const body = s("g");
  let y = 34;
  let previous = null;
  for (const act of acts(events)) {
    if (previous) y = pause(body, y, act.start - previous.start - previous.end, narrow);
    y = drawAct(body, act, x, y, narrow);
    previous = act;
  }
  const heads = LANES.map((lane) =>
    s("g", { class: "lane" },
      s("line", { x1: x[lane], x2: x[lane], y1: 24, y2: y }),
      s("text", { x: x[lane], y: 14, "text-anchor": "middle" }, lane)),
  );
  const label = `Sequence diagram of ${events.length} events between Orders, Customers and Order history. The table below has the same data.`;
  return s("svg", { class: narrow ? "narrow" : null, viewBox: `0 0 ${width} ${y}`, width, height: y, role: "img", "aria-label": label }, ...heads, body);
}

/** Where the lifelines are. The times stand to the left of them and the events to the right, where no arrow crosses them. */
function lanes(width, narrow) {
  const [left, right] = narrow ? [56, width - 58] : [84, width - 258];
  return Object.fromEntries(LANES.map((lane, i) => [lane, Math.round(left + ((right - left) * i) / 3)]));
}

function pause(body, y, milliseconds, narrow) {
  body.append(s("text", { class: "pause", x: 0, y: y + 12 }, `${duration(Math.max(0, milliseconds))}${narrow ? "" : " later"}`));
  return y + 22;
}

/** Draw one act from `top` downwards. Return where it ends. */
function drawAct(body, act, x, top, narrow) {
  const places = timeScale(act, top + 24);
  const y = (milliseconds) => places.get(milliseconds);
  const at = ({ event, at: time }) => ({ x: x[serviceOf(event)] ?? x.Client, y: y(time) });
  const times = labelPlaces(14);
  for (const hop of act.hops) {
    const from = at(hop);
    body.append(s("line", { class: "tick", x1: narrow ? 46 : 60, x2: from.x, y1: from.y, y2: from.y }));
    body.append(s("text", { class: "time", x: 0, y: times(from.y + 4) }, hop.at === 0 ? "0 ms" : `+${duration(hop.at)}`));
    for (const effect of hop.effects) body.append(arrow(from, at(act.hops.find(({ event }) => event === effect)), "to-service", 9));
    if (hop.seen !== null) body.append(arrow(from, { x: x.History, y: y(hop.seen) }, "to-view", 0));
    if (hop.again !== null) body.append(arrow(from, { x: x.History, y: y(hop.again) }, "to-view repeated", 0));
    if (hop.event.causationId !== null) continue;
    body.append(arrow({ x: x.Client, y: from.y }, from, "request", 9));
    if (!narrow) body.append(s("text", { class: "hop", x: x.Client + 5, y: from.y - 11 }, REQUESTS[hop.event.type] ?? ""));
  }
  for (const hop of act.hops) {
    const { x: cx, y: cy } = at(hop);
    body.append(s("circle", { class: "event", cx, cy, r: 9 }), s("text", { class: "number", x: cx, y: cy + 4, "text-anchor": "middle" }, String(hop.number)));
  }
  const labels = labelPlaces(narrow ? 14 : 31);
  let bottom = Math.max(...places.values());
  const tips = act.hops.flatMap((hop) => [
    { hop, at: hop.seen ?? hop.at, label: narrow ? shortLabel : longLabel, isLast: hop.again === null },
    ...(hop.again === null ? [] : [{ hop, at: hop.again, label: narrow ? shortAgain : longAgain, isLast: true }]),
  ]);
  for (const { hop, at: time, label, isLast } of tips.sort((a, b) => a.at - b.at)) {
    const tip = { x: x.History, y: y(time) };
    const place = labels(tip.y + 4);
    if (isLast && hop.event.deliveries > 1) body.append(s("circle", { class: "again", cx: tip.x, cy: tip.y, r: 8 }));
    body.append(label(hop, tip.x + (narrow ? 11 : 14), place));
    bottom = Math.max(bottom, place + (narrow ? 0 : 14));
  }
  return bottom + 14;
}

/** Map each instant of the act to its y. Instants are 16 pixels apart, plus their share of the act's time. */
function timeScale({ hops, end }, top) {
  const instants = [...new Set(hops.flatMap(instantsOf))].sort((a, b) => a - b);
  const places = new Map();
  let y = top;
  instants.forEach((instant, i) => {
    if (i) y += 16 + ((instant - instants[i - 1]) / end) * hops.length * 24;
    places.set(instant, y);
  });
  return places;
}

function longLabel({ event, number, at, seen }, x, y) {
  const times = event.deliveries > 1 ? `, delivered ${event.deliveries}×` : "";
  return s("text", { x, y },
    s("tspan", { class: "name" }, `${number} ${event.type}`),
    s("tspan", { class: times ? "hop again-text" : "hop", x, dy: 14 }, seen === null ? "rebuilt" : `in the view after ${duration(seen - at)}${times}`));
}

function shortLabel({ event, at, seen }, x, y) {
  if (event.deliveries > 1) return s("text", { class: "hop again-text", x, y }, `${event.deliveries}×`);
  return s("text", { class: "hop", x, y }, seen === null ? "" : duration(seen - at));
}

const longAgain = ({ number, at, again }, x, y) => s("text", { class: "hop again-text", x, y }, `${number} again after ${duration(again - at)}`);
const shortAgain = ({ number }, x, y) => s("text", { class: "hop again-text", x, y }, `${number} again`);

/** Return a function that moves a label down where it would overlap the one before. */
function labelPlaces(height) {
  let last = -Infinity;
  return (y) => (last = Math.max(y, last + height));
}

/** Draw an arrow whose tip ends `gap` pixels before `to`. */
function arrow(from, to, kind, gap) {
  const angle = Math.atan2(to.y - from.y, to.x - from.x);
  const tip = { x: to.x - gap * Math.cos(angle), y: to.y - gap * Math.sin(angle) };
  const wing = (turn) => `${tip.x - 8 * Math.cos(angle + turn)},${tip.y - 8 * Math.sin(angle + turn)}`;
  return s("g", { class: `arrow ${kind}` },
    s("line", { x1: from.x, y1: from.y, x2: tip.x, y2: tip.y }),
    s("polygon", { points: `${tip.x},${tip.y} ${wing(0.42)} ${wing(-0.42)}` }));
}
