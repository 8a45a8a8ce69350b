// Draws the charts again with uPlot, over the same points, so that one can point at a value.
"use strict";

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const utc = (seconds) => new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 16) + " UTC";

function seriesOf(chart, kind) {
  const strokes = [ink("--ink"), ink("--line-strong")];
  const paths = kind === "bars" ? uPlot.paths.bars({ size: [0.8, 40] }) : kind === "stairs" ? uPlot.paths.stepped({ align: 1 }) : undefined;
  return chart.series.map((one, n) => ({
    label: one.name,
    stroke: kind === "bars" ? ink("--heat-3") : strokes[n],
    fill: kind === "bars" ? ink("--heat-3") : n === 0 && chart.series.length === 1 ? ink("--sunken") : undefined,
    width: 1.5,
    points: { show: one.values.includes(null), size: 4, fill: strokes[n] },
    paths,
  }));
}

function draw(figure) {
  const svg = figure.querySelector("svg");
  const chart = JSON.parse(figure.dataset.chart);
  const caption = figure.querySelector("figcaption span");
  const said = caption.textContent;
  const box = svg.getBoundingClientRect();
  const lowest = Math.min(0, ...chart.series.flatMap((one) => one.values.filter((v) => v !== null)));
  const options = {
    width: box.width,
    height: box.height,
    padding: [0, 0, 0, 0],
    legend: { show: false },
    axes: [{ show: false }, { show: false }],
    scales: { x: { time: true }, y: { range: [Number(figure.dataset.low ?? lowest), Number(figure.dataset.high)] } },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    series: [{}, ...seriesOf(chart, figure.dataset.kind)],
    hooks: {
      setCursor: [
        (plot) => {
          const at = plot.cursor.idx;
          if (at === null || at === undefined) {
            caption.textContent = said;
            return;
          }
          const values = chart.series
            .filter((one) => one.values[at] !== null)
            .map((one) => `${one.name} ${one.values[at].toLocaleString("en", { maximumFractionDigits: 2 })}`);
          caption.textContent = `${utc(chart.times[at])}: ${values.join(", ") || "nothing"}`;
        },
      ],
    },
  };
  const place = document.createElement("div");
  place.className = "chart-over";
  place.setAttribute("aria-hidden", "true");
  svg.after(place);
  new uPlot(options, [chart.times, ...chart.series.map((one) => one.values)], place);
  figure.classList.add("chart-drawn");
}

function drawAll() {
  for (const figure of document.querySelectorAll(".chart[data-chart]")) {
    figure.querySelector(".chart-over")?.remove();
    figure.classList.remove("chart-drawn");
    draw(figure);
  }
}

drawAll();
let waiting;
window.addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(drawAll, 200);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
window.addEventListener("beforeprint", () => {
  for (const figure of document.querySelectorAll(".chart-drawn")) figure.classList.remove("chart-drawn");
});
window.addEventListener("afterprint", drawAll);
