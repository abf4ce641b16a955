// Copies code, and draws each chart when it comes into view.
(() => {
  "use strict";
  const copy = async (button, code) => {
    const text = code.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page from a file may not write to the clipboard; a selection can still be copied.
      const range = document.createRange();
      range.selectNodeContents(code);
      const selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      if (!document.execCommand("copy")) {
        button.textContent = "Selected: press Ctrl+C";
        return;
      }
      selection.removeAllRanges();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button, button.parentElement.querySelector("code")));
  }

  const charts = [...document.querySelectorAll("div.chart")];
  if (!charts.length) return;
  const read = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Text and grid of a figure get the page's colours; what stands for data keeps its own.
  const themed = (figure, chart) => {
    const own = { text: read("--text"), grid: read("--line"), pointer: read("--pointer"), paper: read("--paper") };
    const colours = new Map(Object.keys(own).map((name) => [chart.dataset[name], own[name]]));
    const change = (value) => {
      if (Array.isArray(value)) return typeof value[0] === "object" ? value.map(change) : value;
      if (value && typeof value === "object") {
        return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, change(one)]));
      }
      return colours.get(value) ?? value;
    };
    const layout = change(figure.layout);
    layout.font = { ...layout.font, family: getComputedStyle(document.body).fontFamily };
    return { data: change(figure.data), layout };
  };
  const config = { responsive: true, displaylogo: false };
  const drawn = new Map();
  const draw = (chart) => {
    if (drawn.has(chart)) return;
    const figure = JSON.parse(chart.querySelector("script").textContent);
    const place = document.createElement("div");
    place.className = "plot";
    place.style.height = `${chart.dataset.height}px`;
    if (chart.dataset.narrowest) place.style.minWidth = `${chart.dataset.narrowest}px`;
    chart.querySelector(".waiting").replaceWith(place);
    drawn.set(chart, { figure, place });
    const { data, layout } = themed(figure, chart);
    Plotly.newPlot(place, data, layout, config);
    chart.dataset.drawn = "true";
  };
  const redraw = (width, share = 1) => {
    for (const [chart, { figure, place }] of drawn) {
      const { data, layout } = themed(figure, chart);
      const whole = Number(chart.dataset.height);
      const beside = layout.margin.t + layout.margin.b;
      layout.height = Math.round(share * whole);
      // The legend's place is a share of the panels' height, which the margins are no part of.
      if (layout.legend) layout.legend.y *= (whole - beside) / (layout.height - beside);
      place.style.height = `${layout.height}px`;
      Plotly.react(place, data, width ? { ...layout, width, autosize: false } : layout, config);
    }
  };
  const unpack = async () => {
    const packed = document.getElementById("plotly").textContent;
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    const whole = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(whole).text();
    document.head.append(script);
    if (!window.Plotly) throw new Error("the script of plotly did not run");
  };
  const start = () => {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          watcher.unobserve(entry.target);
          draw(entry.target);
        }
      }
    }, { rootMargin: "400px" });
    charts.forEach((chart) => watcher.observe(chart));
    // On paper all of them are drawn, in dark ink, as wide as a page of A4 or letter and so high
    // that two of them fit on it.
    addEventListener("beforeprint", () => {
      charts.forEach(draw);
      redraw(660, 0.82);
    });
    addEventListener("afterprint", () => redraw());
    document.documentElement.dataset.ready = "true";
  };
  const giveUp = (error) => {
    for (const chart of charts) {
      chart.querySelector(".waiting").textContent = `This browser can't draw the chart: ${error.message}`;
    }
  };
  for (const chart of charts) chart.querySelector(".waiting").style.height = `${chart.dataset.height}px`;
  // After the page itself has been shown.
  setTimeout(() => unpack().then(start, giveUp));
})();
