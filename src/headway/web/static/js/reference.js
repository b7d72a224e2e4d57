// The HTTP API's reference page. Requests tried from it carry the session's CSRF token, as every form of ours does.
window.addEventListener("DOMContentLoaded", () => {
  const csrf = document.querySelector('meta[name="csrf"]').content;
  window.SwaggerUIBundle({
    url: "/api/openapi.json",
    dom_id: "#reference",
    docExpansion: "none",
    defaultModelsExpandDepth: -1,
    displayRequestDuration: true,
    validatorUrl: null,
    requestInterceptor: (request) => {
      request.headers["X-CSRF-Token"] = csrf;
      return request;
    },
  });
});
