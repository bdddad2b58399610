// What the page does by itself: tabs, labels for assistive technology, the address bar, and saying when the session has ended.
// Everything that is computed is computed by the kernel, through Voilà's widgets.
"use strict";

(() => {
  const MAX_UPLOAD = 10 * 2 ** 20; // bytes; lib/serving/batch.py reads no more, and the server drops the line over 12 MiB
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
  setTimeout(() => document.querySelector(".panel .form") || end("The page took too long to open."), OPEN_WITHIN);
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
    const named = byId(`tab-${location.hash.slice(1)}`);
    return named && !named.hidden ? named : document.querySelector('[role="tab"]:not([hidden])');
  }

  // An optional tab is there when its panel has something to show, which the kernel knows.
  function revealTabs() {
    for (const tab of document.querySelectorAll('[role="tab"][data-optional][hidden]')) {
      if (!byId(tab.getAttribute("aria-controls"))?.querySelector(".card, .notice")) continue;
      tab.hidden = false;
      if (!chosenByHand) choose(tabOfAddress(), false);
    }
  }

  let chosenByHand = false;

  function startTabs() {
    const all = [...document.querySelectorAll('[role="tab"]')];
    choose(tabOfAddress(), false);
    for (const tab of all) {
      tab.addEventListener("click", () => {
        chosenByHand = true;
        choose(tab, true);
        history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
      });
      tab.addEventListener("keydown", (event) => {
        const tabs = all.filter((each) => !each.hidden);
        const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -tabs.indexOf(tab), End: tabs.length - 1 - tabs.indexOf(tab) };
        if (!(event.key in steps)) return;
        event.preventDefault();
        tabs[(tabs.indexOf(tab) + steps[event.key] + tabs.length) % tabs.length].click();
      });
    }
    window.addEventListener("hashchange", () => choose(tabOfAddress(), false));
  }

  // The form --------------------------------------------------------------------------------------------------------

  const SYMBOLS = ["forecast", "symbol"]; // all other fields hold a number
  const fields = () => [...document.querySelectorAll(".field")];
  const nameOf = (field) => [...field.classList].find((each) => each.startsWith("field-")).slice("field-".length);
  const isInAddress = (field) => SYMBOLS.includes(nameOf(field)) || field.closest(".card-inputs");

  function describe() {
    for (const field of fields()) {
      const name = nameOf(field);
      const input = field.querySelector("input");
      if (!input) continue;
      if (!input.dataset.described) {
        input.dataset.described = "yes";
        input.autocomplete = "off";
        input.spellcheck = false;
        if (!SYMBOLS.includes(name)) input.inputMode = "decimal";
        const message = field.nextElementSibling;
        if (message) {
          message.id = `message-${name}`;
          input.setAttribute("aria-describedby", message.id);
        }
        if (SYMBOLS.includes(name)) input.addEventListener("focus", () => input.select());
        if (isInAddress(field)) field.addEventListener("input", keepAddress);
      }
      input.setAttribute("aria-invalid", field.classList.contains("invalid"));
    }
    // The widget counts files; here there is one at a time.
    const upload = document.querySelector(".upload")?.lastChild;
    if (upload?.nodeType === Node.TEXT_NODE) upload.data = upload.data.replace(/ \(\d+\)$/, "");
    for (const live of document.querySelectorAll(".card-result .result, .batch-result, .next-session, .position")) {
      live.setAttribute("aria-live", "polite");
    }
    for (const failure of document.querySelectorAll(".failure")) failure.setAttribute("role", "alert");
    revealTabs();
  }

  // A symbol of the table is picked as if it had been typed.
  document.addEventListener("click", (event) => {
    const symbol = event.target.closest?.("button.pick-symbol")?.dataset.symbol;
    const input = document.querySelector(".field-forecast input");
    if (!symbol || !input) return;
    input.value = symbol;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    input.focus();
  });

  // A table sorts by the column whose heading is pressed, and the other way round when it is pressed again.
  document.addEventListener("click", (event) => {
    const heading = event.target.closest?.("table.sortable button.sort")?.closest("th");
    if (!heading) return;
    const numeric = heading.matches(".numeric");
    const now = heading.getAttribute("aria-sort") ?? (numeric ? "ascending" : "descending"); // so, numbers begin with the largest
    const rising = now === "descending";
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const value = (row) => row.children[heading.cellIndex].dataset.value;
    const compare = (one, other) => (numeric ? one - other : one.localeCompare(other));
    const body = heading.closest("table").tBodies[0];
    const rows = [...body.rows].sort((one, other) => (rising ? 1 : -1) * compare(value(one), value(other)));
    body.append(...rows);
  });

  // A reload, or a colleague with the same address, finds the same inputs.
  let later;
  function keepAddress() {
    clearTimeout(later);
    later = setTimeout(() => {
      const query = new URLSearchParams();
      for (const field of fields().filter(isInAddress)) {
        const value = field.querySelector("input")?.value.split(" · ")[0];
        if (value) query.set(nameOf(field), value);
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
