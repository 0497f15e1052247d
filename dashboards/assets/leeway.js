"use strict";
// Draws the overview's charts and keeps them fresh from the page's event stream.
(() => {
  const host = document.getElementById("charts");
  if (!host || typeof uPlot === "undefined") return;
  const dashes = [[], [8, 4], [2, 3]];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let data = JSON.parse(host.dataset.series);
  let plots = [];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const palette = () => [colour("--blue"), colour("--warn"), colour("--bad")];
  const shown = (value, unit) => (value == null ? "no data" : value.toLocaleString("en", { maximumSignificantDigits: 4 }) + unit);

  const pick = (el) => [data[0], ...el.dataset.columns.split(",").map((c) => data[+c])];

  function draw(el) {
    const labels = el.dataset.labels.split(",");
    const unit = el.dataset.unit;
    const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    const series = labels.map((label, i) => ({
      label, stroke: palette()[i], width: 2, dash: dashes[i], spanGaps: false, points: { show: false },
      value: (_, v) => shown(v, unit),
    }));
    const options = {
      width: el.clientWidth || 480, height: 200, tzDate: (ts) => uPlot.tzDate(new Date(ts * 1e3), "Etc/UTC"),
      scales: { y: el.dataset.log ? { distr: 3 } : { range: (_, min, max) => [0, max > 0 ? max * 1.1 : 1] } },
      axes: [{ ...axis, values: (_, ticks) => ticks.map((t) => new Date(t * 1e3).toISOString().slice(11, 16)) }, { ...axis, size: 70 }],
      series: [{ label: "UTC", value: (_, v) => (v == null ? "" : new Date(v * 1e3).toISOString().slice(11, 16)) }, ...series],
    };
    el.replaceChildren();
    const plot = new uPlot(options, pick(el), el);
    el.setAttribute("role", "img");
    return { el, plot };
  }

  function say(el) {
    const unit = el.dataset.unit;
    const parts = el.dataset.columns.split(",").map((c, i) => {
      const values = data[+c].filter((v) => v != null);
      return `${el.dataset.labels.split(",")[i]} ${shown(values.at(-1), unit)}, highest ${shown(values.length ? Math.max(...values) : null, unit)}`;
    });
    el.setAttribute("aria-label", `${el.previousElementSibling.textContent}: latest ${parts.join("; ")}. The data table below holds every minute.`);
  }

  function table() {
    const body = document.querySelector("#chart-table tbody");
    const rows = data[0].map((t, i) => {
      const row = document.createElement("tr");
      const cells = [new Date(t * 1e3).toISOString().slice(0, 16).replace("T", " "), shown(data[1][i], ""), shown(data[2][i], " %"), shown(data[3][i], " ms"), shown(data[4][i], " ms"), shown(data[5][i], " ms"), shown(data[6][i], " $")];
      for (const text of cells) row.insertCell().textContent = text;
      return row;
    });
    body.replaceChildren(...rows.reverse());
  }

  function redraw() {
    plots.forEach(({ plot }) => plot.destroy());
    plots = [...host.querySelectorAll(".plot")].map(draw);
    plots.forEach(({ el }) => say(el));
    table();
  }

  addEventListener("chart", (event) => {
    data = JSON.parse(event.detail.data);
    plots.forEach(({ el, plot }) => { plot.setData(pick(el)); say(el); });
    table();
  }, true);
  dark.addEventListener("change", redraw);
  let resizing;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(redraw, 150); });
  redraw();
})();
