element.addEventListener("click", (event) => {
  const frame = event.target.closest(".frame");
  if (frame) trigger("turn", { row: Number(frame.dataset.row) });
});
const follow = () => {
  const frame = element.querySelector(".at"), film = frame?.parentElement;
  if (!film || (frame.offsetLeft >= film.scrollLeft && frame.offsetLeft + 72 <= film.scrollLeft + film.clientWidth)) return;
  film.scrollLeft = frame.offsetLeft - film.clientWidth / 2; // along the film alone: the page stays where it is
};
watch("value", follow);
follow();
