// Shows the description that lies beside this page. Requests are signed, so none can be tried out or authorised here.
"use strict";

const nothing = () => () => null;

SwaggerUIBundle({
  url: "openapi.json",
  domNode: document.getElementById("description"),
  validatorUrl: null,
  supportedSubmitMethods: [],
  plugins: [
    () => ({ wrapComponents: { authorizeBtn: nothing, authorizeOperationBtn: nothing, SchemesContainer: nothing } }),
  ],
});
