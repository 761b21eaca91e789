/* Swagger UI for the document beside this page. The API is where the page comes from. */
const root = new URL("../", import.meta.url);

window.SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: new URL("openapi.json", root).href,
  presets: [window.SwaggerUIBundle.presets.apis],
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null, // no document is sent to another host to be validated
});
