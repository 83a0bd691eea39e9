element.addEventListener("click", (event) => {
  const frame = event.target.closest(".frame");
  if (frame) trigger("turn", { row: Number(frame.dataset.row) });
});
const follow = () => element.querySelector(".at")?.scrollIntoView({ block: "nearest" });
watch("value", follow);
follow();
