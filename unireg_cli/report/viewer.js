"use strict";
window.addEventListener("load", () => {
  const ids = ["viewer", "stop", "mix", "mixing", "saying"];
  const [viewer, stopSlider, mixSlider, mixing, saying] = ids.map((id) => document.getElementById(id));
  const stops = viewer.dataset.stops.split(" ");
  const choices = [...document.querySelectorAll("input[name=view]")];
  const planes = [...document.querySelectorAll(".plane")].map((figure) => {
    const canvas = figure.querySelector("canvas"), sheets = {};
    figure.querySelectorAll(".sheet").forEach((img) => { sheets[img.dataset.layer] = img; });
    const reader = document.createElement("canvas");
    reader.width = canvas.width; reader.height = canvas.height;
    return { canvas, sheets, width: canvas.width, height: canvas.height, pixel: Number(figure.dataset.pixel),
      offsets: figure.dataset.offsets.split(" ").map(Number), slider: figure.querySelector(".slice"), place: figure.querySelector(".place"),
      target: canvas.getContext("2d"), reader: reader.getContext("2d", { willReadFrequently: true }), kept: {} };
  });

  // The grey numbers of one slice of one layer, 0..255; remembered until another slice is asked for.
  function layer(plane, name, slice) {
    const key = name + slice;
    if (!(key in plane.kept)) {
      plane.reader.drawImage(plane.sheets[name], 0, slice * plane.height, plane.width, plane.height, 0, 0, plane.width, plane.height);
      const pixels = plane.reader.getImageData(0, 0, plane.width, plane.height).data, grey = new Uint8Array(plane.width * plane.height);
      for (let n = 0; n < grey.length; n++) grey[n] = pixels[4 * n];
      plane.kept[key] = grey;
    }
    return plane.kept[key];
  }

  // The moving image at the slider: before, after, or a mixture of two neighbouring stops.
  function moving(plane, slice) {
    const at = Number(stopSlider.value), low = Math.min(Math.floor(at), stops.length - 1), part = at - low;
    const first = layer(plane, stops[low], slice);
    if (part < 0.01) return first;
    const second = layer(plane, stops[low + 1], slice), mixed = new Uint8Array(first.length);
    for (let n = 0; n < mixed.length; n++) mixed[n] = first[n] + (second[n] - first[n]) * part;
    return mixed;
  }

  const painters = {
    fixed: (s, n) => [s.fixed[n], s.fixed[n], s.fixed[n]],
    moving: (s, n) => [s.moving[n], s.moving[n], s.moving[n]],
    colours: (s, n) => [s.fixed[n], s.moving[n], s.fixed[n]],
    blend: (s, n) => { const v = s.fixed[n] + (s.moving[n] - s.fixed[n]) * s.mix; return [v, v, v]; },
    edges: (s, n) => s.edges[n] > 127 ? [255, 192, 77] : [0.85 * s.moving[n], 0.85 * s.moving[n], 0.85 * s.moving[n]],
    checkerboard: (s, n) => {
      const odd = (Math.floor(n / s.width / s.square) + Math.floor((n % s.width) / s.square)) % 2, v = odd ? s.moving[n] : s.fixed[n];
      return [v, v, v];
    },
    grid: (s, n) => {
      const a = s.lines[n] / 255, v = 0.65 * s.moving[n];
      return [v + (255 - v) * a, v + (192 - v) * a, v + (77 - v) * a];
    },
    // Darker where the fixed image shows nothing, so that the body is seen.
    logj: (s, n) => {
      const t = s.logj[n] / 127.5 - 1, a = Math.abs(t), far = t > 0 ? [178, 24, 43] : [33, 102, 172], dim = 0.55 + 0.45 * s.fixed[n] / 255;
      return far.map((c) => (245 + (c - 245) * a) * dim);
    },
  };
  const needs = { edges: ["edges"], grid: ["lines"], logj: ["logj"] };

  function draw(plane) {
    const view = choices.find((choice) => choice.checked).value, slice = Number(plane.slider.value);
    if (plane.slice !== slice) { plane.kept = {}; plane.slice = slice; }
    const source = { fixed: layer(plane, "fixed", slice), moving: moving(plane, slice), mix: Number(mixSlider.value), width: plane.width,
      square: Math.max(2, Math.round(30 / plane.pixel)) };
    for (const name of needs[view] || []) source[name] = layer(plane, name, slice);
    const image = plane.target.createImageData(plane.width, plane.height), paint = painters[view];
    for (let n = 0; n < plane.width * plane.height; n++) {
      const colour = paint(source, n);
      image.data[4 * n] = colour[0]; image.data[4 * n + 1] = colour[1]; image.data[4 * n + 2] = colour[2]; image.data[4 * n + 3] = 255;
    }
    plane.target.putImageData(image, 0, 0);
    const offset = plane.offsets[slice];
    plane.place.textContent = `${slice + 1} of ${plane.offsets.length}, ${offset < 0 ? "\u2212" : "+"}${Math.abs(offset).toFixed(0)} mm`;
  }

  function drawAll() {
    const chosen = choices.find((choice) => choice.checked);
    mixing.hidden = chosen.value !== "blend";
    saying.textContent = chosen.parentElement.title + (chosen.value === "logj" ? ": " + saying.dataset.logj : "");
    planes.forEach(draw);
  }

  planes.forEach((plane) => plane.slider.addEventListener("input", () => draw(plane)));
  [stopSlider, mixSlider, ...choices].forEach((input) => input.addEventListener("input", drawAll));
  drawAll();
  viewer.dataset.ready = "yes";
});
