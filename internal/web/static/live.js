// Keeps a page fresh: when the server says that something it shows has changed, the page is fetched again and its live parts are
// replaced. Without this script pages reload themselves, or stay as they are.
(() => {
  "use strict";
  const topics = document.body.dataset.live;
  const light = document.getElementById("live");
  if (!topics || !window.EventSource || !light) return;
  const least = 2000; // milliseconds between two refreshes
  const net = 60000; // and the most, should a piece of news be missed
  let source = null, last = Date.now(), waiting = 0, busy = false, greeted = false;

  const show = (on) => { light.textContent = on ? light.dataset.yes : light.dataset.no; light.className = on ? "live on" : "live"; };

  const inUse = (part) => {
    const a = document.activeElement;
    return a && part.contains(a) && (a.matches("input, textarea, select") || (window.getSelection && String(window.getSelection()) !== ""));
  };

  async function refresh() {
    waiting = 0;
    if (busy) { later(); return; }
    busy = true;
    last = Date.now();
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", headers: { "X-Live": "1" } });
      if (answer.redirected) { location.reload(); return; } // signed out
      if (!answer.ok) return;
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live-part]")) {
        const fresh = next.querySelector('[data-live-part="' + part.dataset.livePart + '"]');
        if (!fresh || inUse(part) || fresh.innerHTML === part.innerHTML) continue;
        const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
        const opened = new Set([...part.querySelectorAll("details[open]")].map((d) => d.id));
        part.replaceChildren(...fresh.childNodes);
        for (const d of part.querySelectorAll("details")) if (d.id && opened.has(d.id)) d.open = true;
        if (focused !== null) for (const a of part.querySelectorAll("a")) if (a.getAttribute("href") === focused) { a.focus({ preventScroll: true }); break; }
      }
      document.documentElement.dataset.refreshed = String(Number(document.documentElement.dataset.refreshed || 0) + 1);
    } catch { show(false); } finally { busy = false; }
  }

  function later() {
    if (!waiting) waiting = setTimeout(refresh, Math.max(0, least - (Date.now() - last)));
  }

  function listen() {
    if (source || document.hidden) return;
    source = new EventSource("/live?of=" + encodeURIComponent(topics) + "&path=" + encodeURIComponent(location.pathname));
    source.addEventListener("hello", () => { show(true); if (greeted) later(); greeted = true; });
    source.addEventListener("change", later);
    source.addEventListener("bye", () => location.reload());
    source.onerror = () => {
      show(false);
      if (source && source.readyState === EventSource.CLOSED) { source = null; setTimeout(listen, 15000); } // refused: too many listen
    };
  }

  // A hidden tab does not listen: browsers allow few connections to one host.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) { listen(); later(); return; }
    if (source) { source.close(); source = null; show(false); }
  });
  window.addEventListener("pagehide", () => { if (source) { source.close(); source = null; } });
  setInterval(() => { if (!document.hidden && Date.now() - last > net) later(); }, net / 4);
  listen();
})();
