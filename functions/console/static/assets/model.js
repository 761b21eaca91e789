/* The page's data, and the requests that load it. Nothing here touches the document. */

import { get, post, Problem } from "./api.js";

/**
 * The states of an order, in the order in which they can follow each other.
 * `events`: the number of events of the order once its saga has ended in this state.
 * `holdsCredit`: whether its total is reserved. Without an entry a state is final, has any number of events, and is shown in grey.
 */
const STATES = {
  PENDING: { rank: 0, events: Infinity, holdsCredit: false },
  APPROVED: { rank: 1, events: 3, holdsCredit: true },
  REJECTED: { rank: 1, events: 3, holdsCredit: false },
  CANCELLED: { rank: 3, events: 5, holdsCredit: false },
};
const UNKNOWN_STATE = { rank: 2, events: 0, holdsCredit: true };
const entry = (state) => STATES[state] ?? UNKNOWN_STATE;

export const isPending = (state) => state === "PENDING";
export const holdsCredit = (state) => entry(state).holdsCredit;

/** Whether the view has all events of the order's saga. */
export function isComplete({ order, view, events }) {
  return view?.state === order.orderState && events.length >= entry(order.orderState).events;
}

const VIEW_DELAY = 700; // milliseconds until the view is first asked for something new; doubled after each 404
const LONGEST_VIEW_DELAY = 60_000; // milliseconds
const LIST_EVERY = 4000; // milliseconds between two requests for the list of customers
const PENDING_AT_ONCE = 5; // requests for the state of pending orders
const WAIT = 2; // seconds that the request for the selected order waits for its decision
const HISTORY = 50; // orders of a customer that are loaded from the view
const HITS = 10; // results of a search in one request
const TWENTY = 20;

export class Model {
  customers = new Map();
  /** By id: {orderId, customerId, total, state, reason, view: its state in the view, or null} */
  orders = new Map();
  /** Ids of the selected customer and order. */
  customer = null;
  order = null;
  /** The selected order as {order, view, events}; `view` is null until the view has it. */
  saga = null;
  /** The credit left of the selected customer in the view; undefined until the view has the customer. */
  viewCredit = undefined;
  rush = null;
  /** The last search as {text, hits, more: the token of the next page, or null}; null if there is none. */
  found = null;
  /** Token of the next page of customers; null after the last page, undefined before the first. */
  moreCustomers = undefined;
  /** By id of a customer or order that the view does not have yet: {at, delay} of the next request. */
  #viewRequests = new Map();
  #lastList = -Infinity;
  #seen = "";
  #onChange;

  /** `onChange` is called whenever something may have changed. */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** The customer's orders, newest first. */
  ordersOf(customerId) {
    const found = [...this.orders.values()].filter((order) => order.customerId === customerId);
    return found.sort((a, b) => b.orderId - a.orderId);
  }

  isUnsettled() {
    const credit = this.customers.get(this.customer)?.availableCredit.amount;
    const recent = this.ordersOf(this.customer).slice(0, HISTORY);
    return (
      credit !== this.viewCredit ||
      recent.some(({ state, view }) => isPending(state) || state !== view) ||
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

  /** Load a customer that may not be listed, and select it. */
  async openCustomer(customerId) {
    await this.#loadCustomer(customerId);
    if (this.customers.has(customerId)) this.select(customerId);
  }

  /** Load an order and its customer, and select both. */
  async openOrder(orderId) {
    const order = await get(`orders/${orderId}`);
    const { customerId, orderTotal, orderState: state, rejectionReason: reason } = order;
    await this.#loadCustomer(customerId);
    this.orders.set(orderId, { view: null, ...this.orders.get(orderId), orderId, customerId, total: orderTotal.amount, state, reason });
    this.select(customerId);
    this.selectOrder(orderId);
  }

  async createCustomer(name, creditLimit) {
    const { customerId } = await post("customers", { name, creditLimit: { amount: creditLimit } });
    this.#expectInView(customerId);
    // The list of customers may lack it for a second.
    const all = { amount: creditLimit };
    this.customers.set(customerId, { customerId, name, creditLimit: all, availableCredit: all });
    this.select(customerId);
    return customerId;
  }

  async placeOrder(orderTotal) {
    const customerId = this.customer;
    const { orderId } = await post("orders", { customerId, orderTotal: { amount: orderTotal } });
    this.#expectInView(orderId);
    this.orders.set(orderId, { orderId, customerId, total: orderTotal, state: "PENDING", reason: null, view: null });
    return orderId;
  }

  async cancel(orderId) {
    const { orderState } = await post(`orders/${orderId}/cancel`);
    this.orders.get(orderId).state = orderState;
    this.selectOrder(orderId);
  }

  /** Place twenty orders, each for a seventh of the limit: at most seven can be approved. */
  async placeTwenty() {
    await this.#loadCustomer(this.customer);
    const { creditLimit, availableCredit } = this.customers.get(this.customer);
    const total = Math.max(0.01, Math.floor((creditLimit.amount / 7) * 100) / 100);
    const rush = { total, limit: creditLimit.amount, available: availableCredit.amount, orderIds: [] };
    this.rush = rush;
    const place = () => this.placeOrder(total).then((orderId) => rush.orderIds.push(orderId));
    const placed = await Promise.allSettled(Array.from({ length: TWENTY }, place));
    rush.isPlaced = true;
    if (rush.orderIds.length) this.selectOrder(Math.min(...rush.orderIds));
    const failed = placed.find(({ status }) => status === "rejected");
    if (failed) throw failed.reason;
  }

  /** Search the view, or load more results of the last search. */
  async search(text, nextToken = null) {
    const page = await get("orderhistory/search", { q: text, limit: HITS, nextToken });
    const before = nextToken ? this.found.hits : [];
    this.found = { text, hits: [...before, ...page.hits], more: page.nextToken };
  }

  async showMoreCustomers() {
    await this.#listCustomers(this.moreCustomers);
  }

  /** Load the current state. Return whether anything is new. */
  async look() {
    const requests = [this.#listCustomersSometimes(), this.#loadPendingOrders()];
    if (this.customers.has(this.customer)) requests.push(this.#loadCustomer(this.customer), this.#loadHistory(this.customer));
    if (this.order) requests.push(this.#loadSaga(this.order));
    const answers = await Promise.allSettled(requests.map((answer) => answer.finally(this.#onChange)));
    const failure = answers.find(({ status }) => status === "rejected");
    if (this.customer === null && this.customers.size) this.select(Math.max(...this.customers.keys()));
    const data = [[...this.customers.values()], [...this.orders.values()], this.saga, this.viewCredit, this.customer];
    const seen = JSON.stringify(data);
    const isNew = seen !== this.#seen;
    this.#seen = seen;
    if (failure) throw failure.reason;
    return isNew;
  }

  async #listCustomersSometimes() {
    if (performance.now() - this.#lastList < LIST_EVERY) return;
    await this.#listCustomers(null);
    this.#lastList = performance.now();
  }

  async #listCustomers(nextToken) {
    const page = await get("customers", { limit: 100, nextToken });
    for (const customer of page.customers) {
      if (customer.customerId !== this.customer) this.customers.set(customer.customerId, customer);
    }
    if (nextToken !== null || this.moreCustomers === undefined) this.moreCustomers = page.nextToken;
  }

  async #loadCustomer(customerId) {
    try {
      this.customers.set(customerId, await get(`customers/${customerId}`));
    } catch (error) {
      if (error.status !== 404) throw error; // an order may name a customer that does not exist
    }
  }

  async #loadPendingOrders() {
    const pending = this.ordersOf(this.customer).filter(({ orderId, state }) => isPending(state) && orderId !== this.order);
    await Promise.all(pending.slice(-PENDING_AT_ONCE).map(({ orderId }) => this.#loadOrder(orderId)));
  }

  async #loadOrder(orderId, wait = 0) {
    const order = await get(`orders/${orderId}`, {}, wait);
    this.#update(orderId, { state: order.orderState, reason: order.rejectionReason });
    return order;
  }

  async #loadHistory(customerId) {
    const history = await this.#askView(customerId, `customers/${customerId}/orderhistory`, { limit: HISTORY });
    for (const { orderId, orderTotal, state, rejectionReason: reason } of Object.values(history?.orders ?? {})) {
      if (!this.orders.has(orderId)) this.orders.set(orderId, { orderId, customerId, total: orderTotal.amount, state, reason });
      this.orders.get(orderId).view = state;
      this.#update(orderId, { state, reason });
    }
    if (this.customer !== customerId) return;
    this.viewCredit = history?.availableCredit.amount;
    if (this.order === null) this.selectOrder(this.ordersOf(customerId)[0]?.orderId ?? null);
  }

  async #loadSaga(orderId) {
    // Once it is shown as PENDING, one request that waits replaces the polls.
    const order = await this.#loadOrder(orderId, isPending(this.saga?.order.orderState) ? WAIT : 0);
    let events = [];
    const view = await this.#askView(orderId, `orderhistory/orders/${orderId}`);
    if (view) ({ events } = await get(`orderhistory/orders/${orderId}/events`));
    if (view) this.orders.get(orderId).view = view.state;
    if (this.order === orderId) this.saga = { order, view, events };
  }

  /** Update the order's state, unless the answer is older than the state that is known. */
  #update(orderId, { state, reason }) {
    const known = this.orders.get(orderId);
    if (entry(state).rank >= entry(known.state).rank) Object.assign(known, { state, reason });
  }

  #expectInView(id) {
    this.#viewRequests.set(id, { at: performance.now() + VIEW_DELAY, delay: VIEW_DELAY });
  }

  /** Return the view's answer, or null while it does not have the customer or order with the id. */
  async #askView(id, path, query) {
    const { at, delay } = this.#viewRequests.get(id) ?? { at: 0, delay: VIEW_DELAY };
    if (performance.now() < at) return null;
    try {
      return await get(path, query);
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 404) throw error;
      this.#viewRequests.set(id, { at: performance.now() + delay, delay: Math.min(2 * delay, LONGEST_VIEW_DELAY) });
      return null;
    }
  }
}
