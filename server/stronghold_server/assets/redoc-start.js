// Shows the description that lies beside this page. The search needs a worker made from a string, which the content policy
// forbids; the logo in the menu would come from the server of ReDoc's makers, and is not even asked for.
"use strict";

function setImageAttribute(name, value) {
  if (name !== "src" || value.startsWith("data:")) {
    Element.prototype.setAttribute.call(this, name, value);
  }
}

HTMLImageElement.prototype.setAttribute = setImageAttribute;
Object.defineProperty(HTMLImageElement.prototype, "src", {
  get() {
    return this.getAttribute("src") ?? "";
  },
  set(value) {
    this.setAttribute("src", value);
  },
});

Redoc.init("openapi.json", { disableSearch: true }, document.getElementById("description"));
