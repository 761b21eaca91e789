/* The page: what people do goes to the model, what the model knows goes to the page. */

import { Problem, useToken } from "./api.js";
import { $ } from "./dom.js";
import { amount, money, shortId } from "./format.js";
import { Model } from "./model.js";
import { showCustomer, showCustomers, showOrders, showRush } from "./panes.js";
import { showSaga } from "./saga.js";
import { Watch } from "./watch.js";

const PATIENCE = { unsettled: 1500, settled: 5000 }; // milliseconds

const model = new Model(show);
const watch = new Watch(look, () => (model.isUnsettled() ? PATIENCE.unsettled : PATIENCE.settled));
const told = new Map();

function show() {
  showCustomers(model, (customerId) => act(() => model.select(customerId)));
  showCustomer(model);
  showOrders(model, (orderId) => act(() => model.selectOrder(orderId)), (orderId) => act(() => model.cancel(orderId)));
  showRush(model);
  showSaga(model);
  announce();
}

async function look() {
  let isNew = false;
  try {
    isNew = await model.look();
    pulse("Live", true);
    if ($("problem").dataset.from === "look") dismiss();
  } catch (error) {
    pulse("No answer", false);
    report(error, "look");
  }
  show();
  return isNew;
}

/** What somebody asked for is done, and shown; or what the API has against it. */
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
  if (error.status === 401) return; // the form for the token says it
  const unplaced = mark(form, error.fields);
  if (Object.keys(error.fields).length && !unplaced.length) return;
  $("problem").dataset.from = from;
  $("problem-title").textContent = `${error.title}.`;
  const id = error.correlationId ? ` Correlation id ${error.correlationId}.` : "";
  $("problem-detail").textContent = [error.detail, ...unplaced].filter(Boolean).join(" ") + id;
  $("problem").hidden = false;
}

/** Each field of the form says what is wrong with it. Gives what belongs to no field. */
function mark(form, errors) {
  const rest = { ...errors };
  for (const input of form?.querySelectorAll("[data-field]") ?? []) {
    const message = rest[input.dataset.field] ?? "";
    delete rest[input.dataset.field];
    $(input.getAttribute("aria-describedby")).textContent = message;
    input.toggleAttribute("aria-invalid", Boolean(message));
    if (message) input.setAttribute("aria-invalid", "true");
  }
  form?.querySelector("[aria-invalid]")?.focus();
  return Object.entries(rest).map(([field, message]) => `${field}: ${message}.`);
}

function dismiss() {
  $("problem").hidden = true;
}

function pulse(text, isLive) {
  // What was asked before the tab was hidden may be answered after it.
  $("pulse-text").textContent = document.hidden ? "Paused" : text;
  $("pulse").dataset.live = isLive && !document.hidden;
}

/** Screen readers are told of each order that has changed, and of the twenty once all are decided. */
function announce() {
  const changes = [];
  const inRush = new Set(model.rush?.orderIds);
  for (const { orderId, state, total } of model.ordersOf(model.customer)) {
    const before = told.get(orderId);
    told.set(orderId, state);
    if (before && before !== state && !inRush.has(orderId)) {
      changes.push(`Order ${shortId(orderId)} of ${money(total)} is ${state}.`);
    }
  }
  const verdict = document.querySelector("#rush-result .verdict")?.textContent ?? "";
  if (verdict && told.get("rush") !== verdict) changes.push(verdict);
  told.set("rush", verdict);
  if (changes.length) $("announcer").textContent = changes.join(" ");
}

function onSubmit(form, command) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!form.querySelector("[aria-disabled]")) act(command, form);
  });
}

onSubmit($("customer-form"), () => model.createCustomer($("name").value, amount($("credit-limit").value)));
onSubmit($("order-form"), async () => model.selectOrder(await model.placeOrder(amount($("order-total").value))));
onSubmit($("token-form"), () => {
  useToken($("token").value.trim());
  $("token").value = "";
  $("token-form").hidden = true;
});
$("rush").addEventListener("click", () => act(() => model.placeTwenty()));
$("more-customers").addEventListener("click", () => act(() => model.showMoreCustomers()));
$("problem-close").addEventListener("click", dismiss);
addEventListener("unauthenticated", () => {
  $("token-form").hidden = false;
});
addEventListener("resize", () => showSaga(model));
document.addEventListener("visibilitychange", () => document.hidden && pulse("Paused", false));

watch.wake();
