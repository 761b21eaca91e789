/* The selected order: its saga as a diagram and a table, and what the services and the view say of it. */

import { diagram, acts, serviceOf } from "./diagram.js";
import { $, h } from "./dom.js";
import { duration, money } from "./format.js";
import { isComplete } from "./model.js";

let shown = "";

export function showSaga(model) {
  const { saga } = model;
  $("no-order").hidden = Boolean(model.order);
  $("saga-detail").hidden = !model.order;
  const width = Math.floor($("saga-detail").clientWidth);
  // What is open stays open, and what has the focus keeps it, while nothing changes.
  const wanted = JSON.stringify([model.order, saga, model.customers.get(model.customer), model.viewCredit ?? null, width]);
  if (!model.order || wanted === shown) return;
  shown = wanted;
  const open = new Set([...document.querySelectorAll("#saga-detail details[open]")].map(({ id }) => id));
  $("saga-detail").replaceChildren(...(saga ? parts(model, saga, width) : [waiting("Asking the services")]));
  for (const id of open) $(id)?.setAttribute("open", "");
}

function parts(model, saga, width) {
  const { order, view, events } = saga;
  const heading = h("p", { class: "order-id" }, "Order ", h("code", {}, String(order.orderId)), ` of ${money(order.orderTotal.amount)}`);
  const state = h("span", { class: "state", "data-state": order.orderState }, order.orderState);
  return [
    h("div", { class: "saga-head" }, heading, state),
    events.length ? h("div", { class: "diagram" }, diagram(events, width)) : waiting("The view has not heard of it yet"),
    events.length && !isComplete(saga) ? waiting("More events are on their way") : null,
    events.length ? table(events) : null,
    comparison(model, saga),
    ...(view ? documents(order, view) : []),
  ].filter(Boolean);
}

const waiting = (text) => h("p", { class: "waiting" }, `${text} …`);

function table(events) {
  const rows = acts(events).flatMap((act) =>
    act.hops.map(({ event, number, at, seen, effects }) => {
      const next = effects.map((effect) => `${duration(Date.parse(effect.occurredAt) - Date.parse(event.occurredAt))}`);
      return h("tr", { class: event.deliveries > 1 ? "repeated" : null },
        h("td", {}, String(number)),
        h("th", { scope: "row" }, ...broken(event.type), h("span", { class: "by" }, ` by ${serviceOf(event)}`)),
        h("td", {}, at === 0 ? "0 ms" : `+${duration(at)}`),
        h("td", {}, next.join(", ") || "–"),
        h("td", {}, seen === null ? "rebuilt" : duration(seen - at)),
        h("td", {}, event.deliveries > 1 ? `${event.deliveries}×` : event.deliveries ? "once" : "–"),
      );
    }),
  );
  const heads = ["", "Event", "At", "Answered", "In view", "Delivered"];
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The events of this order" },
    h("table", { class: "events" },
      h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head || h("span", { class: "sr-only" }, "Number"))))),
      h("tbody", {}, ...rows)));
}

/** A long name may break before each word of it. */
const broken = (name) => name.split(/(?=[A-Z])/).flatMap((word, i) => (i ? [document.createElement("wbr"), word] : [word]));

function comparison(model, { order, view, events }) {
  const customer = model.customers.get(order.customerId);
  const rows = [
    ["Orders", "state of the order", order.orderState, view?.state],
    ["Orders", "why rejected", order.rejectionReason ?? "–", view ? (view.rejectionReason ?? "–") : undefined],
    ["Customers", "credit left", customer && money(customer.availableCredit.amount), model.viewCredit !== undefined ? money(model.viewCredit) : undefined],
  ];
  const lags = events.filter(({ deliveries }) => deliveries).map(({ projectedAt, occurredAt }) => Date.parse(projectedAt) - Date.parse(occurredAt));
  const last = lags.at(-1);
  return h("section", { class: "comparison", "aria-labelledby": "comparison-title" },
    h("h3", { id: "comparison-title" }, "The services and the view"),
    h("table", {},
      h("thead", {}, h("tr", {}, ...["Fact", "In the service", "In the view"].map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, ...rows.map(([service, fact, truth, seen]) =>
        h("tr", {},
          h("th", { scope: "row" }, `${service}: ${fact}`),
          h("td", {}, truth ?? "–"),
          h("td", { class: seen === truth ? "same" : "behind" }, seen ?? "not known yet"))))),
    last === undefined ? null
      : h("p", { class: "lag" }, "The view knew the last event ", h("b", {}, duration(last)), " after it happened; at most it was ", h("b", {}, duration(Math.max(...lags))), " behind."));
}

function documents(order, view) {
  const show = (id, title, value) => h("details", { id }, h("summary", {}, title), h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2)));
  return [
    show("service-document", "Answer of Orders, as JSON", order),
    show("view-document", "Document of the view, as JSON", view),
  ];
}
