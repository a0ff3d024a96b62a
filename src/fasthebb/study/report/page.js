"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const every = data.amounts.length; // the choice "every amount"
  const choice = { measure: 0, setting: 0, amount: 0, pretraining: 0 };
  const shown = new Set(data.methods.keys());
  const page = document.querySelector("main");

  const colours = ["#3b7dd8", "#d9622b", "#2a9d5c", "#b455c4", "#a8871a", "#1b9aaa", "#d1486f", "#7a6ff0"];
  const greys = ["#8a939c", "#a07f62", "#6f8f86", "#8c7f9e", "#9a8f6a", "#7c8aa5"];
  const symbols = ["circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down", "hexagon"];
  const signs = ["●", "■", "◆", "▲", "✚", "★", "▼", "⬢"];
  const dashes = { solid: "", dash: "6 4", dot: "2 3" };

  /* Pre-trainings have colours, controls are greyish and dashed; shapes tell them apart without colour. */
  const looks = (() => {
    let controls = 0;
    let others = 0;
    return data.methods.map((method, index) => look(method.control ? controls++ : others++, method.control, index));
  })();
  function look(position, control, index) {
    const palette = control ? greys : colours;
    const dash = control ? "dash" : position < palette.length ? "solid" : "dot";
    return { colour: palette[position % palette.length], dash, shape: index % symbols.length };
  }

  /* Plotly reads tags in its texts; ours are plain. */
  function plain(text) {
    return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }
  function theme(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }
  function visible() {
    return [...data.methods.keys()].filter((method) => shown.has(method));
  }

  function key(style) {
    const space = "http://www.w3.org/2000/svg";
    const picture = document.createElementNS(space, "svg");
    picture.setAttribute("width", "34");
    picture.setAttribute("height", "18");
    picture.setAttribute("aria-hidden", "true");
    const line = document.createElementNS(space, "line");
    for (const [name, value] of [["x1", 0], ["x2", 34], ["y1", 9], ["y2", 9]]) line.setAttribute(name, value);
    line.setAttribute("stroke", style.colour);
    line.setAttribute("stroke-width", "2");
    line.setAttribute("stroke-dasharray", dashes[style.dash]);
    const sign = document.createElementNS(space, "text");
    sign.setAttribute("x", "17");
    sign.setAttribute("y", "14");
    sign.setAttribute("text-anchor", "middle");
    sign.setAttribute("font-size", "14");
    sign.setAttribute("fill", style.colour);
    sign.textContent = signs[style.shape];
    picture.append(line, sign);
    return picture;
  }

  function fillLegend(name, entries) {
    const list = document.getElementById("legend-" + name);
    list.replaceChildren(
      ...entries.map(([text, style]) => {
        const item = document.createElement("li");
        item.append(key(style), text);
        return item;
      }),
    );
  }

  /* Ticks for a logarithmic axis, no closer to each other than their texts need. */
  function spaced(values, width) {
    const low = Math.log10(values[0]);
    const span = Math.log10(values[values.length - 1]) - low || 1;
    let last = -Infinity;
    return values.filter((value) => {
      const place = ((Math.log10(value) - low) / span) * width;
      const keep = place - last > 9 * value.toLocaleString("en").length + 8;
      if (keep) last = place;
      return keep;
    });
  }
  function rounded(low, high) {
    const values = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const factor of [1, 2, 5]) {
        const value = factor * 10 ** power;
        if (value >= low && value <= high) values.push(Number(value.toPrecision(2)));
      }
    }
    return values;
  }
  function logAxis(title, values, ticks, width) {
    const low = Math.min(...values) / 1.25;
    const high = Math.max(...values) * 1.25;
    const inside = (ticks || rounded(low, high)).filter((value) => value >= low && value <= high);
    const kept = inside.length ? spaced(inside, width) : [];
    return {
      title: { text: title },
      type: "log",
      range: [Math.log10(low), Math.log10(high)],
      tickvals: kept,
      ticktext: kept.map((value) => value.toLocaleString("en")),
      tickangle: 0,
    };
  }

  function draw(name, traces, xaxis, yaxis) {
    const place = document.getElementById("chart-" + name);
    if (!traces.length) {
      Plotly.purge(place);
      place.classList.add("empty");
      place.textContent = "There is nothing to show.";
      return;
    }
    if (place.classList.contains("empty")) {
      place.classList.remove("empty");
      place.replaceChildren();
    }
    const line = { gridcolor: theme("--line"), linecolor: theme("--line"), zeroline: false, automargin: true };
    const touched = !matchMedia("(hover: hover) and (pointer: fine)").matches;
    const layout = {
      width: place.clientWidth,
      height: place.clientHeight,
      margin: { l: 56, r: 28, t: 12, b: 52 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 14, color: theme("--ink") },
      hoverlabel: { font: { size: 14, color: theme("--ink") }, bgcolor: theme("--panel"), bordercolor: theme("--line") },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: theme("--soft"), activecolor: theme("--ink") },
      showlegend: false,
      dragmode: touched ? false : "zoom",
      xaxis: { ...line, ...xaxis },
      yaxis: { ...line, ...yaxis },
    };
    const options = {
      displaylogo: false,
      displayModeBar: touched ? false : "hover",
      modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]], // none that sends a chart to a server
      plotlyServerURL: "",
    };
    Plotly.react(place, traces, layout, options);
  }
  function widthOf(name) {
    return Math.max(120, document.getElementById("chart-" + name).clientWidth - 96);
  }
  function trace(style, more) {
    return {
      type: "scatter",
      mode: "lines+markers",
      line: { color: style.colour, dash: style.dash, width: 2 },
      marker: { color: style.colour, size: 9, symbol: symbols[style.shape] },
      hovertemplate: "%{text}<extra></extra>",
      ...more,
    };
  }
  function legendOfMethods(name, methods) {
    fillLegend(name, methods.map((method) => [data.methods[method].label, looks[method]]));
  }

  function drawLabels() {
    const scores = data.scores[choice.setting][choice.measure];
    const methods = visible().filter((method) => scores[method].length);
    const traces = methods.map((method, order) => {
      const shift = 1.012 ** (order - (methods.length - 1) / 2); // so that intervals do not hide each other
      const points = scores[method];
      return trace(looks[method], {
        x: points.map((point) => data.amounts[point.amount].labels * shift),
        y: points.map((point) => point.mean),
        error_y: { type: "data", array: points.map((point) => point.half || 0), thickness: 1.5, width: 4 },
        text: points.map((point) => describe(method, point)),
      });
    });
    const labels = [...new Set(data.amounts.map((amount) => amount.labels))];
    const axis = logAxis("labels", labels, labels, widthOf("labels"));
    draw("labels", traces, axis, scoreAxis(methods.flatMap((method) => scores[method])));
    legendOfMethods("labels", methods);
  }
  function describe(method, point) {
    const amount = data.amounts[point.amount].heading;
    return `${plain(data.methods[method].label)}<br>${plain(amount)} labels: ${plain(point.words)}`;
  }
  /* The axis of a score ends where scores end, however wide an interval is. */
  function scoreAxis(points) {
    const low = Math.max(0, Math.min(...points.map((point) => point.mean - (point.half || 0))));
    const high = Math.min(100, Math.max(...points.map((point) => point.mean + (point.half || 0))));
    const space = Math.max(1, 0.05 * (high - low));
    return { title: { text: data.measures[choice.measure] + " (%)" }, range: [low - space, high + space] };
  }

  function drawTime() {
    const scores = data.scores[choice.setting][choice.measure];
    const wanted = (point) => choice.amount === every || point.amount === choice.amount;
    const methods = visible().filter((method) => scores[method].some(wanted));
    const times = [];
    const traces = methods.map((method) => {
      const points = scores[method].filter(wanted);
      const seconds = points.map((point) => Math.max(point.seconds, 0.01));
      times.push(...seconds);
      return trace(looks[method], {
        x: seconds,
        y: points.map((point) => point.mean),
        error_y: { type: "data", array: points.map((point) => point.half || 0), thickness: 1.5, width: 4 },
        text: points.map((point) => `${describe(method, point)}<br>${point.seconds.toLocaleString("en")} s`),
      });
    });
    const axis = times.length ? logAxis("seconds", times, null, widthOf("time")) : {};
    draw("time", traces, axis, scoreAxis(methods.flatMap((method) => scores[method].filter(wanted))));
    legendOfMethods("time", methods);
  }

  function epochs(curves) {
    const last = Math.max(1, ...curves.map((curve) => Math.max(0, ...curve.x)));
    const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
    return { title: { text: "epoch" }, tick0: 0, dtick: steps.find((step) => last / step <= 10) || last };
  }

  function drawLoss() {
    const losses = data.losses[choice.setting][choice.amount];
    const methods = visible().filter((method) => losses[method].x.length);
    const traces = methods.map((method) => lines(losses[method], data.methods[method].label, looks[method]));
    draw("loss", traces, epochs(methods.map((method) => losses[method])), { title: { text: "loss" }, rangemode: "tozero" });
    legendOfMethods("loss", methods);
  }
  function lines(points, name, style) {
    return trace(style, {
      x: points.x,
      y: points.y,
      marker: { color: style.colour, size: 6, symbol: symbols[style.shape] },
      text: points.y.map((value, index) => `${plain(name)}<br>epoch ${points.x[index]}: ${value.toPrecision(3)}`),
    });
  }

  function drawPretraining() {
    if (!data.pretrainings.length) return;
    const found = data.pretrainings[choice.pretraining];
    const styles = found.lines.map((_, index) => look(index, false, index));
    const traces = found.lines.map((line, index) => lines(line, line.name, styles[index]));
    draw("pretraining", traces, epochs(found.lines), { title: { text: found.what }, rangemode: "tozero" });
    fillLegend("pretraining", found.lines.map((line, index) => [line.name, styles[index]]));
  }

  function show() {
    for (const part of document.querySelectorAll("[data-setting]")) {
      const { setting, measure } = part.dataset;
      part.hidden = Number(setting) !== choice.setting || (measure !== undefined && Number(measure) !== choice.measure);
    }
    for (const part of document.querySelectorAll("[data-method]")) {
      part.hidden = !shown.has(Number(part.dataset.method));
    }
    drawLabels();
    drawTime();
    drawLoss();
    drawPretraining();
  }

  for (const part of document.querySelectorAll(".controls")) part.hidden = false;
  for (const place of document.querySelectorAll("[data-key]")) place.append(key(looks[Number(place.dataset.key)]));
  for (const box of document.querySelectorAll("select")) {
    box.addEventListener("change", () => {
      choice[box.name] = Number(box.value);
      show();
    });
  }
  for (const box of document.querySelectorAll("input[name=method]")) {
    box.checked = true;
    box.addEventListener("change", () => {
      if (box.checked) shown.add(Number(box.value));
      else shown.delete(Number(box.value));
      show();
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  let width = page.clientWidth;
  new ResizeObserver(() => {
    if (page.clientWidth !== width) show(); // other ticks fit the axes
    width = page.clientWidth;
  }).observe(page);
  show();
})();
