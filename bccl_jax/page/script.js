"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
const places = document.querySelectorAll(".plot");
// A finger that scrolls the page zooms no chart, and has nothing to hover with.
const hovers = matchMedia("(hover: hover)").matches;
const options = {
  responsive: true,
  displaylogo: false,
  displayModeBar: hovers ? "hover" : false,
  modeBarButtons: [["toImage", "resetScale2d"]],
};

function draw(place) {
  if (place.dataset.drawn) return;
  place.dataset.drawn = "yes";
  const { data, layout } = figures[place.dataset.figure];
  if (!hovers) layout.dragmode = false;
  Plotly.newPlot(place, data, layout, options);
}

const watcher = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
    watcher.unobserve(entry.target);
    draw(entry.target);
  }),
  { rootMargin: "800px" },
);
places.forEach((place) => watcher.observe(place));

addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((each) => { each.open = true; });
  places.forEach((place) => {
    draw(place);
    Plotly.relayout(place, { width: 660 });
  });
});
addEventListener("afterprint", () => {
  places.forEach((place) => Plotly.relayout(place, { width: null, autosize: true }));
});
