/* The page: pass the user's commands to the model, and show the model's data. */

import { Problem, signedRequest, useToken } from "./api.js";
import { $ } from "./dom.js";
import { amount, money, shortId } from "./format.js";
import { Model } from "./model.js";
import { showCustomer, showCustomers, showFound, showOrders, showRush } from "./panes.js";
import { showSaga } from "./saga.js";
import { Watch } from "./watch.js";

const LONGEST_PAUSE = { unsettled: 1500, settled: 5000 }; // milliseconds

const model = new Model(show);
const watch = new Watch(look, () => (model.isUnsettled() ? LONGEST_PAUSE.unsettled : LONGEST_PAUSE.settled));
const announced = new Map();
let filter = { customer: null, state: "" };

function show() {
  showFound(model, {
    onCustomer: (customerId) => act(() => model.openCustomer(customerId).then(() => reveal("orders-title"))),
    onOrder: (orderId) => act(() => model.openOrder(orderId).then(() => reveal("saga"))),
  });
  showCustomers(model, (customerId) => act(() => model.select(customerId)));
  showCustomer(model);
  if (filter.customer !== model.customer) filter = { customer: model.customer, state: "" };
  showOrders(model, filter.state, {
    onSelect: (orderId) => act(() => showOrder(orderId)),
    onCancel: (orderId) => act(() => model.cancel(orderId)),
    onFilter: (state) => {
      filter.state = state;
      show();
    },
  });
  showRush(model);
  showSaga(model);
  showIntro();
  showAddress();
  announce();
}

function showOrder(orderId) {
  model.selectOrder(orderId);
  reveal("saga");
}

/** On a phone, scroll to a pane that is below the list. */
function reveal(id) {
  if (matchMedia("(max-width: 760px)").matches) $(id).scrollIntoView();
}

/** Search for the text. The API names no field where the text has no words. */
async function search(text) {
  model.found = null;
  try {
    if (text) await model.search(text);
  } catch (error) {
    const isWordless = error.status === 400 && !Object.keys(error.fields).length;
    throw isWordless ? new Problem({ errors: [{ field: "q", message: error.detail }] }) : error;
  }
}

/** Open the introduction while no customer exists. After that the user opens and closes it. */
function showIntro() {
  const isWanted = model.moreCustomers !== undefined && model.customers.size === 0;
  if ($("intro").dataset.wanted === String(isWanted)) return;
  $("intro").dataset.wanted = isWanted;
  $("intro").open = isWanted;
}

/** Keep the selection in the address, so that it can be linked to and survives a reload. */
function showAddress() {
  const hash = model.order ? `#order=${model.order}` : model.customer ? `#customer=${model.customer}` : "";
  if (hash && hash !== location.hash) history.replaceState(null, "", hash);
}

/** Select the order or customer that the address names, and start to poll. */
function openAddress() {
  const [, kind, id] = /^#(order|customer)=(\d+)$/.exec(location.hash) ?? [];
  if (kind === "order") act(() => openOrder(id), $("find-form"));
  else if (kind === "customer") act(() => model.openCustomer(Number(id)));
  else watch.wake();
}

async function openOrder(text) {
  const notFound = new Problem({ errors: [{ field: "orderId", message: "No order has this id." }] });
  if (!/^[1-9]\d{0,15}$/.test(text.trim())) throw notFound;
  try {
    await model.openOrder(Number(text));
  } catch (error) {
    throw error.status === 404 ? notFound : error;
  }
}

async function look() {
  let found = false;
  try {
    found = await model.look();
    pulse("Live", true);
    if ($("problem").dataset.from === "look") dismiss();
  } catch (error) {
    pulse(error.access ? "No access" : "No answer", false);
    report(error, "look");
    if (error.access) found = null; // until the user does something
  }
  show();
  return found;
}

/** Run a command of the user. Show its result, or the problem. */
async function act(command, form = null) {
  mark(form, {});
  if ($("problem").dataset.from === "act") dismiss();
  const buttons = form ? [...form.querySelectorAll("button")] : [];
  for (const button of buttons) button.setAttribute("aria-disabled", "true");
  try {
    const done = command();
    show();
    await done;
  } catch (error) {
    report(error, "act", form);
  } finally {
    for (const button of buttons) button.removeAttribute("aria-disabled");
  }
  show();
  watch.wake();
}

function report(error, from, form = null) {
  if (!(error instanceof Problem)) throw error;
  if (error.access) {
    $("signed-request").textContent = signedRequest();
    $(error.access).hidden = false;
    $(error.access).scrollIntoView({ block: "nearest" });
    return;
  }
  const unplaced = mark(form, error.fields);
  if (Object.keys(error.fields).length && !unplaced.length) return;
  $("problem").dataset.from = from;
  $("problem-title").textContent = `${error.title}.`;
  const id = error.correlationId ? ` Correlation id ${error.correlationId}.` : "";
  $("problem-detail").textContent = [error.detail, ...unplaced].filter(Boolean).join(" ") + id;
  $("problem").hidden = false;
}

/** Show each error at its field. Return the errors that belong to no field of the form. */
function mark(form, errors) {
  const rest = { ...errors };
  for (const input of form?.querySelectorAll("[data-field]") ?? []) {
    markField(input, rest[input.dataset.field] ?? "");
    delete rest[input.dataset.field];
  }
  form?.querySelector("[aria-invalid]")?.focus();
  return Object.entries(rest).map(([field, message]) => `${field}: ${message}.`);
}

function markField(input, message) {
  $(input.getAttribute("aria-describedby")).textContent = message;
  if (message) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
}

function endSearch() {
  model.found = null;
  $("search").value = "";
  $("search").focus();
  show();
}

function dismiss() {
  $("problem").hidden = true;
}

function pulse(text, isLive) {
  // The answer may arrive after the tab was hidden.
  $("pulse-text").textContent = document.hidden ? "Paused" : text;
  $("pulse").dataset.live = isLive && !document.hidden;
}

/** Tell screen readers which orders have changed, and the result of twenty orders at once. */
function announce() {
  const changes = [];
  const inRush = new Set(model.rush?.orderIds);
  for (const { orderId, state, total } of model.ordersOf(model.customer)) {
    const before = announced.get(orderId);
    announced.set(orderId, state);
    if (before && before !== state && !inRush.has(orderId)) {
      changes.push(`Order ${shortId(orderId)} of ${money(total)} is ${state}.`);
    }
  }
  const verdict = document.querySelector("#rush-result .verdict")?.textContent ?? "";
  if (verdict && announced.get("rush") !== verdict) changes.push(verdict);
  announced.set("rush", verdict);
  if (changes.length) $("announcer").textContent = changes.join(" ");
}

function onSubmit(form, command) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!form.querySelector("[aria-disabled]")) act(command, form);
  });
  form.addEventListener("input", ({ target }) => target.dataset.field && markField(target, ""));
}

onSubmit($("customer-form"), () => model.createCustomer($("name").value, amount($("credit-limit").value)));
onSubmit($("order-form"), async () => model.selectOrder(await model.placeOrder(amount($("order-total").value))));
onSubmit($("find-form"), () => openOrder($("find").value));
onSubmit($("search-form"), () => search($("search").value.trim()));
$("search-section").addEventListener("keydown", ({ key }) => key === "Escape" && endSearch());
$("search").addEventListener("input", ({ target }) => target.value || endSearch());
$("more-hits").addEventListener("click", () => act(() => model.search(model.found.text, model.found.more)));
onSubmit($("token"), () => {
  useToken($("token-value").value.trim());
  $("token-value").value = "";
  $("token").hidden = true;
});
$("rush").addEventListener("click", () => act(() => model.placeTwenty()));
$("more-customers").addEventListener("click", () => act(() => model.showMoreCustomers()));
$("problem-close").addEventListener("click", dismiss);
addEventListener("hashchange", openAddress);
addEventListener("resize", () => showSaga(model));
document.addEventListener("visibilitychange", () => document.hidden && pulse("Paused", false));

openAddress();
