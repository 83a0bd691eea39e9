// Keys press the page's own buttons; brush and eraser are the editor's.
const TOOLS = { brush: "#editor [aria-label=Brush]", eraser: "#editor [aria-label=Erase]" };
const SIZES = { smaller: 0.8, larger: 1.25 };
let tool = "brush";

// where a command is on the page
const placeOf = (command) =>
  document.querySelector(TOOLS[command] ?? (command in SIZES ? "#size input" : `button#${command}, #${command} input`));

const resize = (factor) => {
  const slider = document.querySelector("#size input[type=range]");
  slider.value = Math.round(slider.value * factor + Math.sign(factor - 1));
  slider.dispatchEvent(new Event("input", { bubbles: true }));
};

document.addEventListener("keydown", (event) => {
  if (!document.querySelector("#painter")?.offsetParent) return; // another tab is open
  if (event.altKey || event.target.matches?.("input[type=number], input[type=text], textarea")) return;
  const held = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  const command = KEYS[held + event.key] ?? KEYS[held + event.key.toLowerCase()];
  if (!command) return;
  event.preventDefault();
  event.stopPropagation();
  if (command in SIZES) resize(SIZES[command]);
  else placeOf(command)?.click();
}, true);

// The editor takes up the brush with every frame; a person who erases goes on erasing.
document.addEventListener("click", (event) => {
  for (const [name, place] of Object.entries(TOOLS)) if (event.target.closest(place)) tool = name;
  if (event.target.closest("#editor [aria-label=Pan]")) tool = null; // the hand is neither
}, true);
let settling;
new MutationObserver(() => {
  clearTimeout(settling);
  settling = setTimeout(() => {
    const chosen = tool && document.querySelector(TOOLS[tool]);
    if (chosen && !chosen.classList.contains("highlight")) chosen.click();
  }, 200);
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["class"] });
