// The token is in a cookie by now; it need not stay in the address.
const here = new URL(location);
if (here.searchParams.delete("token") || location.search.includes("token=")) history.replaceState(null, "", here);

// The server's pulse: a word that changes when there is something new, and an end when the server is gone.
let last = "", beat = Date.now(), pending = false, refreshed = 0;
const gone = (text) => {
  const bar = document.querySelector("#gone");
  if (!bar) return;
  bar.hidden = !text;
  bar.innerHTML = text;
};
const press = (id) => document.querySelector(`#refresh-${id}`)?.click();
const refresh = () => {
  if (document.hidden || Date.now() - refreshed < 2000) return (pending = true);
  pending = false;
  refreshed = Date.now();
  press("queue");
  const tab = document.querySelector("#tabs [role=tab][aria-selected=true]")?.textContent.trim().toLowerCase();
  if (tab) press(tab);
};
const listen = () => {
  const pulse = new EventSource("/studio/pulse");
  pulse.onmessage = (event) => {
    beat = Date.now();
    gone("");
    if (event.data !== last) {
      if (last) refresh();
      last = event.data;
    } else if (pending) refresh();
  };
  pulse.onerror = () => {
    if (pulse.readyState !== EventSource.CLOSED) return;
    setTimeout(listen, 2000); // refused: another start of the server has another token
  };
};
listen();
setInterval(() => {
  if (!document.hidden && Date.now() - beat > 2500)
    gone("The server is gone. Jobs go on. Start <code>facesmith studio</code> again and open the address that it prints.");
}, 500);
document.addEventListener("visibilitychange", () => {
  beat = Date.now();
  if (!document.hidden) refresh();
});
// a tab that is opened shows what is there now
document.addEventListener("click", (event) => {
  if (event.target.closest("#tabs [role=tab]")) setTimeout(() => { refreshed = 0; refresh(); }, 50);
});
// called once the page is mounted, which takes long on a busy computer
window.studioReady = () => {
  if (!document.querySelector("#refresh-queue")) return setTimeout(window.studioReady, 100);
  refreshed = 0;
  refresh();
};

// A label that holds a copy button names the button; the box beside it is named here, for screen readers.
const nameBoxes = (root) => {
  for (const box of root.querySelectorAll?.("label textarea") ?? [])
    if (!box.labels.length && !box.ariaLabel)
      box.ariaLabel = box.closest("label").querySelector("[data-testid=block-info]")?.textContent.trim() ?? null;
  for (const frame of root.querySelectorAll?.("#cut_out button > .image-frame") ?? [])
    frame.parentElement.ariaLabel = "the face that the mask leaves";
};
window.addEventListener("load", () => nameBoxes(document));

// What is folded out stays so when its part of the page is drawn anew.
const opened = new Map();
const keyOf = (details) => details.id || details.querySelector("summary")?.textContent;
document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("details")) opened.set(keyOf(event.target), event.target.open);
}, true);
new MutationObserver((changes) => {
  for (const change of changes)
    for (const node of change.addedNodes) {
      nameBoxes(node);
      for (const details of node.querySelectorAll?.("details") ?? [])
        if (opened.has(keyOf(details)) && details.open !== opened.get(keyOf(details))) details.open = opened.get(keyOf(details));
    }
}).observe(document, { subtree: true, childList: true });
