/* The selected order: the diagram and table of its events, and the services' state beside the view's. */

import { acts, diagram, serviceOf } from "./diagram.js";
import { $, h } from "./dom.js";
import { duration, money } from "./format.js";
import { isComplete } from "./model.js";
import { REASONS } from "./panes.js";

let shown = "";

export function showSaga(model) {
  const { saga } = model;
  $("no-order").hidden = Boolean(model.order);
  $("saga-detail").hidden = !model.order;
  $("facts").hidden = !saga;
  const width = Math.floor($("saga-detail").clientWidth);
  // While nothing changes, elements stay: open details stay open, and the focus stays.
  const wanted = JSON.stringify([model.order, saga, model.customers.get(model.customer), model.viewCredit ?? null, width]);
  if (!model.order || wanted === shown) return;
  shown = wanted;
  const open = [...document.querySelectorAll("#facts-detail details[open]")].map(({ id }) => id);
  $("saga-detail").replaceChildren(...(saga ? sagaParts(saga, width) : [waiting("Loading")]));
  $("facts-detail").replaceChildren(...(saga ? factsParts(model, saga) : []));
  for (const id of open) $(id)?.setAttribute("open", "");
}

function sagaParts(saga, width) {
  const { order, events } = saga;
  const heading = h("p", { class: "order-id" }, "Order ", h("code", {}, String(order.orderId)), ` of ${money(order.orderTotal.amount)}`);
  const state = h("span", { class: "state", "data-state": order.orderState }, order.orderState);
  return [
    h("div", { class: "saga-head" }, heading, state),
    events.length ? h("div", { class: "diagram" }, diagram(events, width)) : waiting("Not in the view yet"),
    events.length && !isComplete(saga) ? waiting("Waiting for more events") : null,
    ...(events.length ? [table(events), deliveries(events), lag(events)] : []),
  ].filter(Boolean);
}

const waiting = (text) => h("p", { class: "waiting" }, `${text} …`);

function table(events) {
  const rows = acts(events).flatMap((act) =>
    act.hops.map(({ event, number, at, seen, effects }) => {
      const next = effects.map((effect) => duration(Date.parse(effect.occurredAt) - Date.parse(event.occurredAt)));
      return h("tr", { class: event.deliveries > 1 ? "repeated" : null },
        h("td", {}, String(number)),
        h("th", { scope: "row" }, ...breakable(event.type), h("span", { class: "by" }, ` by ${serviceOf(event)}`),
          event.deliveries > 1 ? h("span", { class: "again-text" }, ` delivered ${event.deliveries}×`) : null),
        h("td", {}, at === 0 ? "0 ms" : `+${duration(at)}`),
        h("td", {}, next.join(", ") || "–"),
        h("td", {}, seen === null ? "rebuilt" : duration(seen - at)),
      );
    }),
  );
  const heads = ["", "Event", "At", "Answered", "In view"];
  return h("table", { class: "events" },
    h("caption", { class: "sr-only" }, "The events of this order"),
    h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head || h("span", { class: "sr-only" }, "Number"))))),
    h("tbody", {}, ...rows));
}

/** Allow a line break before each word of a long name. */
const breakable = (name) => name.split(/(?=[A-Z])/).flatMap((word, i) => (i ? [document.createElement("wbr"), word] : [word]));

function deliveries(events) {
  const repeated = events.filter((event) => event.deliveries > 1).length;
  const text = repeated
    ? `${repeated} of ${events.length} events ${repeated === 1 ? "was" : "were"} redelivered. A redelivered event changes nothing.`
    : "No event was redelivered.";
  return h("p", { class: "lag" }, text);
}

function factsParts(model, { order, view, events }) {
  const customer = model.customers.get(order.customerId);
  const reason = (of) => (of.rejectionReason ? (REASONS[of.rejectionReason] ?? of.rejectionReason) : "–");
  const rows = [
    ["Orders: state", order.orderState, view?.state],
    ["Orders: why rejected", reason(order), view && reason(view)],
    ["Customers: credit left", customer ? money(customer.availableCredit.amount) : "–", customer && model.viewCredit !== undefined ? money(model.viewCredit) : undefined],
  ];
  const json = (id, title, value) => h("details", { id }, h("summary", {}, title), h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2)));
  return [
    h("table", {},
      h("thead", {}, h("tr", {}, ...["Fact", "In the service", "In the view"].map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, ...rows.map(([fact, truth, seen]) =>
        h("tr", {},
          h("th", { scope: "row" }, fact),
          h("td", {}, truth),
          h("td", { class: seen === truth ? "same" : "behind" }, seen ?? "not yet"))))),
    json("service-document", "Answer of Orders, as JSON", order),
    view ? json("view-document", "Document of the view, as JSON", view) : null,
  ].filter(Boolean);
}

function lag(events) {
  const delays = events.filter((event) => event.deliveries).map((event) => Date.parse(event.projectedAt) - Date.parse(event.occurredAt));
  if (!delays.length) return null;
  return h("p", { class: "lag" }, "Delay of the view: ", h("b", {}, duration(delays.at(-1))), " for the last event, at most ",
    h("b", {}, duration(Math.max(...delays))), ".");
}
