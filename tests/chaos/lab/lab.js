/* The lab's panel: buttons that inject faults, what happened, dead letters, and the audit's verdict. */

import { $, h, keep, setText } from "../assets/dom.js";
import { clock, shortId } from "../assets/format.js";

const POLL = 1000; // milliseconds
const buttons = [...document.querySelectorAll("[data-action]")];
let followed = null; // time of the latest log entry that was seen

const send = (path) => fetch(`lab/${path}`, { method: "POST" }).then(look, look);
const orderLink = (id) => (id ? h("a", { href: `#order=${id}` }, `order ${shortId(id)}`) : null);

async function look() {
  try {
    show(await (await fetch("lab/state")).json());
  } catch {
    setText($("lab-progress"), "The lab does not answer.");
  }
}

function show({ running, orders, faults, waiting, verdict, letters, log }) {
  for (const button of buttons) {
    const { action } = button.dataset;
    button.setAttribute("aria-disabled", action !== "orders" && running.includes(action));
  }
  setText(buttons[0], running.includes("orders") ? "Stop orders" : "Keep orders coming");
  setText($("lab-progress"), `${orders} orders, ${faults} faults. ${progress(running, waiting, verdict)}`);
  setText($("lab-verdict"), verdict ? conclusion(verdict) : "");
  $("lab-verdict").classList.toggle("broken", Boolean(verdict?.findings.length));
  $("lab-findings").replaceChildren(...(verdict?.findings ?? []).slice(0, 20).map((text) => h("li", {}, text)));
  showLetters(letters);
  keep($("lab-log"), log, ({ at, text, order }) => `${at} ${order} ${text}`, ({ at, text, order }) => ({
    element: h("li", {}, h("time", {}, clock(new Date(at))), `${text} `, orderLink(order)),
    update() {},
  }));
  follow(log);
}

function progress(running, waiting, verdict) {
  if (verdict) return "All is quiet.";
  if (running.length) return "The audit follows when orders and faults have ended.";
  return waiting ? `The audit waits for ${waiting}.` : "The audit is running.";
}

function conclusion({ orders, faults, redelivered, lost, duplicated, over_limit }) {
  return `Audit of ${orders} orders after ${faults} faults and ${redelivered} redelivered events: ` +
    `lost ${lost}, duplicated ${duplicated}, over limit ${over_limit}.`;
}

function showLetters(letters) {
  $("lab-no-letters").hidden = letters.length > 0;
  keep($("lab-letters"), letters, ({ id }) => id, ({ id, queue, event_type: event, reason, order_id: order }) => {
    const act = (action, text) =>
      h("button", { type: "button", class: "quiet", onclick: () => send(`${action}/${queue}/${id}`) }, text);
    const title = h("strong", {}, `${event || "No event"} in ${queue}: `);
    const actions = h("div", {}, act("redrive", "Correct and redrive"), act("discard", "Discard"));
    const shown = h("span");
    return {
      element: h("li", {}, title, `${reason} `, orderLink(order), shown, actions),
      update: () => setText(shown, location.hash === `#order=${order}` ? ", shown below" : ""),
    };
  });
}

/** Open the order of the latest new entry, so that the diagram shows it. */
function follow(log) {
  const found = log.find(({ at, order }) => order && followed !== null && at > followed);
  if (found && $("lab-follow").checked) location.replace(`#order=${found.order}`);
  followed = log[0]?.at ?? 0;
}

async function poll() {
  if (!document.hidden) await look();
  setTimeout(poll, POLL);
}

for (const button of buttons) button.addEventListener("click", () => send(button.dataset.action));
poll();
