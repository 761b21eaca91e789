/* What the page knows, and how it learns more. Nothing here touches the document. */

import { get, post, Problem } from "./api.js";
import { createdAt } from "./format.js";

/** So long the view is not asked about something new: it would not know it yet. Doubled each time it did not. */
const VIEW_NEEDS = 700; // milliseconds
const PENDING_AT_ONCE = 5;
const TWENTY = 20;

export class Model {
  customers = new Map();
  /** By id: {orderId, customerId, total, state, reason, view: its state in the view, or null} */
  orders = new Map();
  customer = null;
  order = null;
  /** The selected order as {order, view, events}; `view` is null until the view knows it. */
  saga = null;
  /** What the view says is left of the selected customer's credit; undefined until it knows the customer. */
  viewCredit = undefined;
  rush = null;
  moreCustomers = null;
  #bornHere = new Map();
  #unknownToView = new Map();
  #lastList = -Infinity;
  #seen = "";
  #onNews;

  /** `onNews` is called whenever something may have changed. */
  constructor(onNews) {
    this.#onNews = onNews;
  }

  ordersOf(customerId) {
    const found = [...this.orders.values()].filter((order) => order.customerId === customerId);
    return found.sort((a, b) => b.orderId - a.orderId);
  }

  isUnsettled() {
    const credit = this.customers.get(this.customer)?.availableCredit.amount;
    return (
      credit !== this.viewCredit ||
      this.ordersOf(this.customer).some((order) => order.state === "PENDING" || order.state !== order.view) ||
      (this.saga !== null && !isComplete(this.saga))
    );
  }

  select(customerId) {
    if (this.customer === customerId) return;
    this.customer = customerId;
    this.viewCredit = undefined;
    this.selectOrder(this.ordersOf(customerId)[0]?.orderId ?? null);
    this.rush = null;
  }

  selectOrder(orderId) {
    if (this.order === orderId) return;
    this.order = orderId;
    this.saga = null;
  }

  async createCustomer(name, creditLimit) {
    const { customerId } = await post("customers", { name, creditLimit: { amount: creditLimit } });
    this.#bornHere.set(customerId, performance.now());
    // As the API will say; the list of customers may take a second to have it.
    const all = { amount: creditLimit };
    this.customers.set(customerId, { customerId, name, creditLimit: all, availableCredit: all });
    this.select(customerId);
    return customerId;
  }

  async placeOrder(orderTotal) {
    const customerId = this.customer;
    const { orderId } = await post("orders", { customerId, orderTotal: { amount: orderTotal } });
    this.#bornHere.set(orderId, performance.now());
    const facts = { orderId, customerId, total: orderTotal, state: "PENDING", reason: null };
    this.orders.set(orderId, { ...facts, view: null });
    return orderId;
  }

  async cancel(orderId) {
    const { orderState } = await post(`orders/${orderId}/cancel`);
    this.orders.get(orderId).state = orderState;
    this.selectOrder(orderId);
  }

  /** Twenty orders, each for a seventh of the limit: it cannot bear more than seven. */
  async placeTwenty() {
    await this.#lookAtCustomer(this.customer);
    const { customerId, creditLimit, availableCredit } = this.customers.get(this.customer);
    const total = Math.max(0.01, Math.floor((creditLimit.amount / 7) * 100) / 100);
    const [limit, available] = [creditLimit.amount, availableCredit.amount];
    const rush = { customerId, total, limit, available, orderIds: [] };
    this.rush = rush;
    const place = () => this.placeOrder(total).then((orderId) => rush.orderIds.push(orderId));
    const placed = await Promise.allSettled(Array.from({ length: TWENTY }, place));
    rush.isPlaced = true;
    if (rush.orderIds.length) this.selectOrder(Math.max(...rush.orderIds));
    const failed = placed.find(({ status }) => status === "rejected");
    if (failed) throw failed.reason;
  }

  async showMoreCustomers() {
    await this.#listCustomers(this.moreCustomers);
  }

  /** The page knows what is the case now. Whether that is anything new. */
  async look() {
    const asked = [this.#lookAtCustomers(), this.#lookAtPendingOrders()];
    if (this.customer) asked.push(this.#lookAtCustomer(this.customer), this.#lookAtHistory(this.customer));
    if (this.order) asked.push(this.#lookAtSaga(this.order));
    const answers = await Promise.allSettled(asked.map((answer) => answer.finally(this.#onNews)));
    const failure = answers.find(({ status }) => status === "rejected");
    if (this.customer === null && this.customers.size) this.select(Math.max(...this.customers.keys()));
    const known = [[...this.customers.values()], [...this.orders.values()], this.saga, this.viewCredit, this.customer];
    const seen = JSON.stringify(known);
    const isNew = seen !== this.#seen;
    this.#seen = seen;
    if (failure) throw failure.reason;
    return isNew;
  }

  async #lookAtCustomers() {
    if (performance.now() - this.#lastList < 4000) return;
    this.#lastList = performance.now();
    await this.#listCustomers(null);
  }

  async #listCustomers(nextToken) {
    const page = await get("customers", { limit: 100, nextToken });
    for (const customer of page.customers) {
      if (customer.customerId !== this.customer) this.customers.set(customer.customerId, customer);
    }
    if (nextToken !== null || this.moreCustomers === null) this.moreCustomers = page.nextToken;
  }

  async #lookAtCustomer(customerId) {
    this.customers.set(customerId, await get(`customers/${customerId}`));
  }

  async #lookAtPendingOrders() {
    const pending = this.ordersOf(this.customer).filter(({ state }) => state === "PENDING");
    await Promise.all(pending.slice(-PENDING_AT_ONCE).map(({ orderId }) => this.#lookAtOrder(orderId)));
  }

  async #lookAtOrder(orderId) {
    const order = await get(`orders/${orderId}`);
    const known = this.orders.get(orderId);
    // An answer from before a cancellation must not undo it on the page.
    if (known.state === "CANCELLED") return order;
    this.orders.set(orderId, { ...known, state: order.orderState, reason: order.rejectionReason });
    return order;
  }

  async #lookAtHistory(customerId) {
    const history = await this.#askView(customerId, `customers/${customerId}/orderhistory`, { limit: 50 });
    for (const { orderId, orderTotal, state, rejectionReason } of Object.values(history?.orders ?? {})) {
      const known = this.orders.get(orderId);
      const facts = { orderId, customerId, total: orderTotal.amount, state, reason: rejectionReason };
      this.orders.set(orderId, { ...facts, ...known, view: state });
      if (known && isLater(state, known.state)) Object.assign(this.orders.get(orderId), facts);
    }
    if (this.customer !== customerId) return;
    this.viewCredit = history?.availableCredit.amount;
    if (this.order === null) {
      this.selectOrder(this.ordersOf(customerId)[0]?.orderId ?? null);
    }
  }

  async #lookAtSaga(orderId) {
    const order = await this.#lookAtOrder(orderId);
    let events = [];
    const view = await this.#askView(orderId, `orderhistory/orders/${orderId}`);
    if (view) ({ events } = await get(`orderhistory/orders/${orderId}/events`));
    if (this.order === orderId) this.saga = { order, view, events };
  }

  /** The view's answer; null while it does not know the customer or order with the id, which is no failure. */
  async #askView(id, path, query) {
    const born = this.#bornHere.get(id);
    const age = born === undefined ? Date.now() - createdAt(id) : performance.now() - born;
    const needs = this.#unknownToView.get(id) ?? VIEW_NEEDS;
    if (age < needs) return null;
    try {
      return await get(path, query);
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 404) throw error;
      this.#unknownToView.set(id, Math.min(2 * needs, 60_000));
      return null;
    }
  }
}

/** Whether the view has all events that make an order what it is. */
export function isComplete({ order, view, events }) {
  const expected = { PENDING: Infinity, APPROVED: 3, REJECTED: 3, CANCELLED: 5 }[order.orderState];
  return view?.state === order.orderState && events.length >= expected;
}

const STATES = ["PENDING", "APPROVED", "REJECTED", "CANCELLED"];
const isLater = (state, than) => STATES.indexOf(state) > STATES.indexOf(than);
