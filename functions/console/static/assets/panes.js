/* The customers, the orders of one of them, and what became of the twenty. */

import { $, h, keep, setText } from "./dom.js";
import { cents, clock, createdAt, money, shortId } from "./format.js";

const REASONS = { INSUFFICIENT_CREDIT: "not enough credit", UNKNOWN_CUSTOMER: "unknown customer" };

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
  $("no-customers").hidden = customers.length > 0;
  $("more-customers").hidden = !model.moreCustomers;
}

/** How much of the limit is reserved. Decoration: the same is beside it in words. */
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
  if (!customer) return;
  setText($("orders-title"), `Orders of ${customer.name}`);
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

export function showOrders(model, onSelect, onCancel) {
  const orders = model.ordersOf(model.customer);
  keep($("orders"), orders, ({ orderId }) => orderId, ({ orderId, total }) => {
    const state = h("span", { class: "state" });
    const note = h("span", { class: "note" });
    const button = h("button", { type: "button", class: "row-button", onclick: () => onSelect(orderId) },
      state, h("span", { class: "total" }, money(total)), note);
    const cancel = h("button", {
      type: "button", class: "quiet cancel", "aria-label": `Cancel order ${shortId(orderId)} of ${money(total)}`, onclick: () => onCancel(orderId),
    }, "Cancel");
    const made = `${shortId(orderId)}, ${clock(createdAt(orderId))}`;
    return {
      element: h("li", { class: "card", "data-order": orderId }, button, cancel),
      update(order) {
        setText(state, order.state);
        state.dataset.state = order.state;
        const reason = order.reason ? `: ${REASONS[order.reason]}` : "";
        const lag = order.view === order.state ? "" : order.view ? `; the view still says ${order.view}` : "; not in the view yet";
        setText(note, `${made}${reason}${lag}`);
        button.setAttribute("aria-pressed", orderId === model.order);
        cancel.hidden = order.state !== "APPROVED";
      },
    };
  });
  $("no-orders").hidden = orders.length > 0;
}

export function showRush(model) {
  const result = $("rush-result");
  result.hidden = !model.rush;
  if (!model.rush) return;
  const { total, limit, available, orderIds, isPlaced } = model.rush;
  const orders = [...orderIds].sort((a, b) => a - b).map((id) => model.orders.get(id));
  const count = (state) => orders.filter((order) => order.state === state).length;
  const undecided = (isPlaced ? 0 : 20 - orders.length) + count("PENDING");
  const approved = count("APPROVED");
  const sum = (approved * cents(total)) / 100;
  const asked = `Twenty orders of ${money(total)} ask for ${money((20 * cents(total)) / 100)} together. The limit is ${money(limit)}, of which ${money(available)} was left.`;
  const outcome = `${approved} approved for ${money(sum)}, ${orders.length - approved} not.`;
  const held = cents(sum) <= cents(limit);
  const verdict = held ? `${money(sum)} ≤ ${money(limit)}: the limit held.` : `${money(sum)} > ${money(limit)}: the limit was broken!`;
  result.replaceChildren(
    h("div", { class: "ticks", "aria-hidden": "true" }, ...orders.map(({ state }) => h("span", { "data-state": state }))),
    h("p", {}, asked),
    undecided ? h("p", {}, `${undecided} not decided yet.`) : h("p", { class: "verdict" }, `${outcome} ${verdict}`),
  );
}
