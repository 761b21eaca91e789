/* Swagger UI for the OpenAPI document of the API that serves this page. */

import { get, signedRequest, token } from "./api.js";

const root = new URL("../", import.meta.url);
const dark = matchMedia("(prefers-color-scheme: dark)");
const showTheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);

showTheme();
dark.addEventListener("change", showTheme);

const ui = window.SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: new URL("openapi.json", root).href,
  presets: [window.SwaggerUIBundle.presets.apis],
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null, // never send the document to a validator on another host
  onComplete: () => token() && ui.preauthorizeApiKey("bearer", token()),
});

get("customers", { limit: 1 }).catch(({ access }) => {
  if (!access) return;
  document.getElementById(`${access}-notice`).hidden = false;
  document.getElementById("signed-request").textContent = signedRequest();
});
