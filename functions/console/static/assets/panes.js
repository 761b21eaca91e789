/* The customers, the orders of one customer, and the result of twenty orders at once. */

import { $, h, keep, setText } from "./dom.js";
import { cents, clock, createdAt, money, shortId } from "./format.js";
import { holdsCredit, isPending } from "./model.js";

export const REASONS = { INSUFFICIENT_CREDIT: "not enough credit", UNKNOWN_CUSTOMER: "unknown customer", CUSTOMER_ERASED: "customer erased" };

export function showCustomers(model, onSelect) {
  const customers = [...model.customers.values()].sort((a, b) => b.customerId - a.customerId);
  keep($("customers"), customers, ({ customerId }) => customerId, ({ customerId }) => {
    const name = h("span", { class: "name" });
    const left = h("span", { class: "left" });
    const bar = creditBar();
    const button = h("button", { type: "button", class: "row-button", onclick: () => onSelect(customerId) }, name, left, bar.element);
    return {
      element: h("li", {}, button),
      update(customer) {
        setText(name, customer.name);
        setText(left, `${money(customer.availableCredit.amount)} of ${money(customer.creditLimit.amount)} left`);
        button.setAttribute("aria-pressed", customerId === model.customer);
        bar.update(customer);
      },
    };
  });
  $("no-customers").hidden = customers.length > 0 || model.moreCustomers === undefined;
  $("more-customers").hidden = !model.moreCustomers;
}

export function showFound(model, { onCustomer, onOrder }) {
  const { text, hits, more } = model.found ?? { hits: [], more: null };
  keep($("hits"), hits, ({ kind, orderId, customerId }) => `${kind} ${orderId ?? customerId}`, (hit) => {
    const { orderId, customerId } = hit;
    const isOrder = hit.kind === "order";
    const note = isOrder
      ? `${shortId(orderId)} of ${hit.customerName ?? "an unknown customer"}`
      : `${shortId(customerId)}, ${money(hit.availableCredit.amount)} of ${money(hit.creditLimit.amount)} left`;
    const button = h("button", { type: "button", class: "row-button", onclick: () => (isOrder ? onOrder(orderId) : onCustomer(customerId)) },
      isOrder ? h("span", { class: "state", "data-state": hit.state }, hit.state) : h("span", {}, "Customer"),
      h("span", { class: "total" }, isOrder ? money(hit.orderTotal.amount) : hit.name), h("span", { class: "note" }, note));
    const update = () => button.setAttribute("aria-pressed", isOrder ? orderId === model.order : customerId === model.customer);
    return { element: h("li", { class: "hit" }, button), update };
  });
  const count = hits.length === 1 ? "1 result" : `${hits.length || "No"} results`;
  setText($("search-note"), model.found ? `${count} for “${text}”${more ? " so far" : ""}.` : "");
  $("hits").hidden = !hits.length;
  $("more-hits").hidden = !more;
}

/** A bar of the reserved share of the limit. It is hidden from screen readers: the text beside it says the same. */
function creditBar() {
  const used = h("span", { class: "used" });
  return {
    element: h("span", { class: "bar", "aria-hidden": "true" }, used),
    update({ creditLimit, availableCredit }) {
      const share = creditLimit.amount ? 1 - availableCredit.amount / creditLimit.amount : 1;
      used.style.inlineSize = `${share * 100}%`;
    },
  };
}

export function showCustomer(model) {
  const customer = model.customers.get(model.customer);
  $("no-customer").hidden = Boolean(customer);
  $("customer-detail").hidden = !customer;
  setText($("orders-title"), customer ? `Orders of ${customer.name}` : "Orders");
  if (!customer) return;
  const credit = $("credit");
  if (!credit.bar) {
    credit.bar = creditBar();
    credit.words = h("p");
    credit.append(credit.bar.element, credit.words);
  }
  credit.bar.update(customer);
  const { availableCredit, creditLimit } = customer;
  const reserved = (cents(creditLimit.amount) - cents(availableCredit.amount)) / 100;
  setText(credit.words, `${money(reserved)} reserved, ${money(availableCredit.amount)} left of ${money(creditLimit.amount)}`);
}

/** `filter` is the state of the orders to show, or "" for all. */
export function showOrders(model, filter, { onSelect, onCancel, onFilter }) {
  const all = model.ordersOf(model.customer);
  const states = [...new Set(all.map(({ state }) => state))].sort();
  const shown = states.includes(filter) ? filter : "";
  const inState = (state) => (state ? all.filter((order) => order.state === state) : all);
  const choices = ["", ...states].map((state) => ({ state, count: inState(state).length, isShown: state === shown }));
  $("filter").hidden = states.length < 2;
  keep($("filter"), choices, ({ state }) => state, ({ state }) => {
    const button = h("button", { type: "button", class: "quiet", onclick: () => onFilter(state) });
    return {
      element: button,
      update({ count, isShown }) {
        setText(button, `${state || "All"} ${count}`);
        button.setAttribute("aria-pressed", isShown);
      },
    };
  });
  keep($("orders"), inState(shown), ({ orderId }) => orderId, ({ orderId, total }) => {
    const state = h("span", { class: "state" });
    const note = h("span", { class: "note" });
    const button = h("button", { type: "button", class: "row-button", onclick: () => onSelect(orderId) },
      state, h("span", { class: "total" }, money(total)), note);
    const cancel = h("button", {
      type: "button", class: "quiet cancel", "aria-label": `Cancel order ${shortId(orderId)} of ${money(total)}`, onclick: () => onCancel(orderId),
    }, "Cancel");
    return {
      element: h("li", { class: "card", "data-order": orderId }, button, cancel),
      update(order) {
        setText(state, order.state);
        state.dataset.state = order.state;
        const reason = order.reason ? `: ${REASONS[order.reason] ?? order.reason}` : "";
        const lag = order.view === order.state ? "" : order.view ? `; the view still has ${order.view}` : "; not in the view yet";
        setText(note, `${shortId(orderId)}, ${clock(createdAt(orderId))}${reason}${lag}`);
        button.setAttribute("aria-pressed", orderId === model.order);
        cancel.hidden = order.state !== "APPROVED";
      },
    };
  });
  $("no-orders").hidden = all.length > 0;
}

export function showRush(model) {
  const result = $("rush-result");
  result.hidden = !model.rush;
  if (!model.rush) return;
  const { total, limit, available, orderIds, isPlaced } = model.rush;
  const states = [...orderIds].sort((a, b) => a - b).map((id) => model.orders.get(id).state);
  const undecided = (isPlaced ? 0 : 20 - states.length) + states.filter(isPending).length;
  const request = `Twenty orders of ${money(total)} ask for ${money((20 * cents(total)) / 100)}. Of the limit of ${money(limit)}, ${money(available)} was left.`;
  result.replaceChildren(
    h("div", { class: "ticks", "aria-hidden": "true" }, ...states.map((state) => h("span", { "data-state": state }))),
    h("p", {}, request),
    undecided ? h("p", {}, `${undecided} not decided yet.`) : h("p", { class: "verdict" }, verdict(states, total, available)),
  );
}

/** Compare the orders' reserved total with the credit that was left before them. */
function verdict(states, total, available) {
  const approved = states.filter(holdsCredit).length;
  const sum = (approved * cents(total)) / 100;
  const outcome = `${approved} approved for ${money(sum)}, ${states.length - approved} not.`;
  return cents(sum) <= cents(available)
    ? `${outcome} ${money(sum)} ≤ ${money(available)}: the limit held.`
    : `${outcome} ${money(sum)} > ${money(available)}: the limit was broken!`;
}
