// What lies in the repository; to change what is served takes the server's token.

import { element, fill, table, twice } from "/dashboard/element.js";
import { refusal } from "/dashboard/stream.js";

export class ModelsPanel {
  constructor(container, access) {
    this.access = access;
    this.list = element("div", {});
    this.said = element("p", { role: "status" });
    this.token = element("input", { type: "password", autocomplete: "off", id: "token" });
    this.token.addEventListener("input", () => { access.token = this.token.value; });
    const form = element("form", {}, element("label", { for: "token" }, "Token for changes "), this.token,
      element("span", { class: "muted" }, " kept in this page only, and forgotten when it is closed"));
    form.addEventListener("submit", (submitted) => submitted.preventDefault());
    container.append(this.list, form, this.said);
  }

  show(models) {
    fill(this.list, models, () => {
      if (!models.length) return [element("p", {}, "Nothing is there.")];
      return [table([["Model", "name"], ["Version", ""], ["State", ""], ["Reason", ""], ["", ""]], models.map((one) =>
        [one.name, one.version || null, one.state || "UNAVAILABLE", one.reason || null, this.buttons(one)]))];
    });
  }

  buttons(model) {
    const serving = model.state === "READY";
    const load = element("button", { type: "button" }, serving ? "Load again" : "Load");
    load.addEventListener("click", () => this.change(model.name, "load", load));
    if (!serving) return element("span", { class: "buttons" }, load);
    const unload = element("button", { type: "button" }, "Unload");
    unload.addEventListener("click", () => twice(unload, () => this.change(model.name, "unload", unload)));
    return element("span", { class: "buttons" }, load, unload);
  }

  change(name, verb, button) {
    return this.ask(name, `${verb}ed`, `/v2/repository/models/${encodeURIComponent(name)}/${verb}`, button);
  }

  // A candidate takes over from the agent that it was compared with.
  promote(shadow, button) {
    const name = `${shadow.agent}'s candidate`;
    return this.ask(name, "promoted", `/dashboard/shadows/${encodeURIComponent(shadow.agent)}/${shadow.digest}/promote`, button);
  }

  async ask(name, done, path, button) {
    button.disabled = true;
    this.say(`${name} is being ${done}…`);
    const headers = { "content-type": "application/json" };
    if (this.access.token) headers.authorization = `Bearer ${this.access.token}`;
    try {
      const answer = await fetch(path, { method: "POST", headers, body: "{}" });
      if (answer.ok) this.say(`${name} was ${done}.`);
      else this.say(`${name} was not ${done}: ${await refusal(answer)}`, "warning");
    } catch (error) {
      this.say(`${name} was not ${done}: ${error.message}`, "warning");
    }
    button.disabled = false;
  }

  say(text, kind = "") {
    this.said.textContent = text;
    this.said.className = kind;
  }
}
