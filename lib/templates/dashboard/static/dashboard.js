// What the page does by itself: tabs, labels for assistive technology, the address bar, and saying when the session has ended.
// Everything that is computed is computed by the kernel, through Voilà's widgets.
"use strict";

(() => {
  const MAX_UPLOAD = 10 * 2 ** 20; // bytes; lib/batch.py reads no more, and the server drops the line over 12 MiB
  const OPEN_WITHIN = 40000; // milliseconds until the form must be there
  const CHECK_EVERY = 4000; // milliseconds between two looks at the kernel
  const base = new URL(".", document.baseURI).pathname;
  const byId = (name) => document.getElementById(name);

  // The session ---------------------------------------------------------------------------------------------------

  let ended = false;

  function end(reason) {
    if (ended) return;
    ended = true;
    byId("ended-reason").textContent = reason;
    byId("ended").hidden = false;
    byId("loading")?.remove();
    byId("rendered_cells").inert = true;
    byId("reload").focus();
  }

  async function check() {
    const config = byId("jupyter-config-data");
    if (ended || !config) return;
    try {
      const answer = await fetch(`${base}session/${JSON.parse(config.textContent).kernelId}`, { cache: "no-store" });
      if (answer.status === 404) end(await answer.text());
      if (answer.status === 403) location.reload(); // asks for the token
    } catch {
      end("The server does not answer. Your inputs are kept.");
    }
  }

  // The widgets' line is the first to know: look at once when it closes, and not at the next turn.
  const Line = window.WebSocket;
  window.WebSocket = class extends Line {
    constructor(...address) {
      super(...address);
      this.addEventListener("close", () => setTimeout(check, 300));
    }
  };
  // On a server with far too much to do the widgets can miss their answer; better to say so than to show nothing.
  setTimeout(() => document.querySelector(".form") || end("The page took too long to open."), OPEN_WITHIN);
  setInterval(() => document.visibilityState === "visible" && check(), CHECK_EVERY);
  document.addEventListener("visibilitychange", check);
  window.addEventListener("pageshow", (event) => event.persisted && check());

  // Tabs: https://www.w3.org/WAI/ARIA/apg/patterns/tabs/ ------------------------------------------------------------

  function choose(tab, focus) {
    for (const other of document.querySelectorAll('[role="tab"]')) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", chosen);
      other.tabIndex = chosen ? 0 : -1;
      const panel = byId(other.getAttribute("aria-controls"));
      if (panel) panel.hidden = !chosen;
    }
    if (focus) tab.focus();
  }

  function tabOfAddress() {
    return byId(`tab-${location.hash.slice(1)}`) ?? document.querySelector('[role="tab"]');
  }

  function startTabs() {
    const tabs = [...document.querySelectorAll('[role="tab"]')];
    choose(tabOfAddress(), false);
    for (const tab of tabs) {
      tab.addEventListener("click", () => {
        choose(tab, true);
        history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
      });
      tab.addEventListener("keydown", (event) => {
        const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -tabs.indexOf(tab), End: tabs.length - 1 - tabs.indexOf(tab) };
        if (!(event.key in steps)) return;
        event.preventDefault();
        tabs[(tabs.indexOf(tab) + steps[event.key] + tabs.length) % tabs.length].click();
      });
    }
    window.addEventListener("hashchange", () => choose(tabOfAddress(), false));
  }

  // The form --------------------------------------------------------------------------------------------------------

  const FIELDS = { symbol: "symbol", vol_moving_avg: "decimal", adj_close_rolling_med: "decimal" };

  function describe() {
    for (const [name, mode] of Object.entries(FIELDS)) {
      const field = document.querySelector(`.field-${name}`);
      const input = field?.querySelector("input");
      if (!input) continue;
      if (!input.dataset.described) {
        input.dataset.described = "yes";
        input.autocomplete = "off";
        input.spellcheck = false;
        if (mode === "decimal") input.inputMode = "decimal";
        const message = field.nextElementSibling;
        if (message) {
          message.id = `message-${name}`;
          input.setAttribute("aria-describedby", message.id);
        }
        if (name === "symbol") input.addEventListener("focus", () => input.select());
        field.addEventListener("input", keepAddress);
      }
      input.setAttribute("aria-invalid", field.classList.contains("invalid"));
    }
    // The widget counts files; here there is one at a time.
    const upload = document.querySelector(".upload")?.lastChild;
    if (upload?.nodeType === Node.TEXT_NODE) upload.data = upload.data.replace(/ \(\d+\)$/, "");
    document.querySelector(".card-result .result")?.setAttribute("aria-live", "polite");
    document.querySelector(".batch-result")?.setAttribute("aria-live", "polite");
    document.querySelector(".failure")?.setAttribute("role", "alert");
  }

  // A reload, or a colleague with the same address, finds the same inputs.
  let later;
  function keepAddress() {
    clearTimeout(later);
    later = setTimeout(() => {
      const query = new URLSearchParams();
      for (const name of Object.keys(FIELDS)) {
        const value = document.querySelector(`.field-${name} input`)?.value.split(" · ")[0];
        if (value) query.set(name, value);
      }
      history.replaceState(null, "", `?${query}${location.hash}`);
    }, 300);
  }

  // The upload button makes an input that is never in the document; its listener reads the file and sends it, and a line that is
  // sent too much closes without a word. So look first.
  const click = HTMLInputElement.prototype.click;
  HTMLInputElement.prototype.click = function () {
    if (this.type === "file" && !this.dataset.limited) {
      this.dataset.limited = "yes";
      this.addEventListener("change", (event) => {
        const file = this.files[0];
        const note = byId("too-large");
        note.hidden = !(file && file.size > MAX_UPLOAD);
        if (note.hidden) return;
        event.stopImmediatePropagation();
        note.textContent = `${file.name} has ${(file.size / 2 ** 20).toFixed(1)} MiB; at most 10 MiB are read. Split the file.`;
        this.value = "";
      }, { capture: true });
    }
    return click.call(this);
  };

  document.addEventListener("DOMContentLoaded", () => {
    startTabs();
    describe();
    new MutationObserver(describe).observe(byId("rendered_cells"), {
      childList: true, subtree: true, attributes: true, attributeFilter: ["class"],
    });
    byId("reload").addEventListener("click", () => location.reload());
  });
})();
