"use strict";
{
  const find = (id) => document.getElementById(id);
  const stage = find("stage");
  const sections = [...stage.querySelectorAll("section")];
  const names = [...sections[0].querySelectorAll("figure")].map((figure) => figure.dataset.name);
  const first = stage.querySelector("img");
  const size = { width: Number(first.getAttribute("width")), height: Number(first.getAttribute("height")) };
  const largest = 16;

  const state = { frame: 0, left: 0, right: names.length - 1, split: 50, zoom: 1, x: 0, y: 0, fitted: true };

  const line = document.createElement("div");
  line.id = "line";
  document.documentElement.classList.add("live");
  stage.append(line);
  for (const element of document.querySelectorAll(".tools, .divider, .keys")) element.hidden = false;

  const options = (select, texts) => {
    texts.forEach((text, index) => select.add(new Option(text, String(index))));
    return select;
  };
  options(find("frame"), sections.map((section) => section.dataset.title));
  options(find("left"), names);
  options(find("right"), names);
  find("frame").parentElement.hidden = sections.length === 1;

  const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
  const fitting = () => Math.min(stage.clientWidth / size.width, stage.clientHeight / size.height);

  // A picture smaller than the stage is in the middle of it, a larger one leaves no gap.
  const placed = (offset, room, length) => (length <= room ? (room - length) / 2 : clamp(offset, room - length, 0));

  function draw() {
    if (state.fitted) state.zoom = fitting();
    const { width, height } = { width: size.width * state.zoom, height: size.height * state.zoom };
    state.x = placed(state.x, stage.clientWidth, width);
    state.y = placed(state.y, stage.clientHeight, height);
    const place = (state.split / 100) * stage.clientWidth;
    const cut = clamp((place - state.x) / state.zoom, 0, size.width);
    stage.classList.toggle("large", state.zoom * devicePixelRatio >= 2);
    sections.forEach((section, index) => section.classList.toggle("now", index === state.frame));
    [...sections[state.frame].querySelectorAll("figure")].forEach((figure, index) => {
      figure.classList.toggle("left", index === state.left);
      figure.classList.toggle("right", index === state.right);
      const image = figure.querySelector("img");
      image.style.transform = `translate(${state.x}px, ${state.y}px) scale(${state.zoom})`;
      image.style.clipPath = index === state.left && index !== state.right ? `inset(0 ${size.width - cut}px 0 0)` : "";
    });
    line.style.left = `${place}px`;
    find("split").value = String(state.split);
    find("frame").value = String(state.frame);
    find("left").value = String(state.left);
    find("right").value = String(state.right);
    find("split").setAttribute(
      "aria-valuetext", `${Math.round(state.split)} % ${names[state.left]}, the rest ${names[state.right]}`,
    );
    find("zoom").value = `${Math.round(state.zoom * 100)} %`;
  }

  function change(values) {
    Object.assign(state, values);
    draw();
  }

  /** Zoom so that what is at this place of the stage stays there. */
  function zoomTo(wanted, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
    const zoom = clamp(wanted, Math.min(fitting(), 1), Math.max(fitting(), largest));
    const factor = zoom / state.zoom;
    change({ fitted: false, zoom, x: x - (x - state.x) * factor, y: y - (y - state.y) * factor });
  }

  const fit = () => change({ fitted: true });
  const actual = () => zoomTo(1 / devicePixelRatio);
  const swap = () => change({ left: state.right, right: state.left });
  const step = (frames) => change({ frame: clamp(state.frame + frames, 0, sections.length - 1) });
  const slide = (percent) => change({ split: clamp(state.split + percent, 0, 100) });
  const move = (x, y) => change({ x: state.x + x, y: state.y + y });

  for (const id of ["frame", "left", "right"]) {
    find(id).addEventListener("change", (event) => change({ [id]: Number(event.target.value) }));
  }
  find("split").addEventListener("input", (event) => change({ split: Number(event.target.value) }));
  find("swap").addEventListener("click", swap);
  find("in").addEventListener("click", () => zoomTo(state.zoom * 1.5));
  find("out").addEventListener("click", () => zoomTo(state.zoom / 1.5));
  find("fit").addEventListener("click", fit);
  find("actual").addEventListener("click", actual);
  addEventListener("resize", draw);

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const dividing = event.target === line;
    stage.setPointerCapture(event.pointerId);
    stage.classList.toggle("moving", !dividing);
    const follow = (moved) => {
      if (moved.pointerId !== event.pointerId) return;
      if (dividing) {
        const place = moved.clientX - stage.getBoundingClientRect().left - stage.clientLeft;
        change({ split: clamp((place / stage.clientWidth) * 100, 0, 100) });
      } else {
        move(moved.movementX, moved.movementY);
      }
    };
    const release = () => {
      stage.classList.remove("moving");
      stage.removeEventListener("pointermove", follow);
    };
    stage.addEventListener("pointermove", follow);
    stage.addEventListener("lostpointercapture", release, { once: true });
    event.preventDefault();
  });
  stage.addEventListener("wheel", (event) => {
    const box = stage.getBoundingClientRect();
    const factor = Math.exp(-clamp(event.deltaY, -100, 100) / 250);
    zoomTo(state.zoom * factor, event.clientX - box.left, event.clientY - box.top);
    event.preventDefault();
  }, { passive: false });

  const keys = {
    ArrowLeft: () => slide(-1), ArrowRight: () => slide(1), ArrowUp: () => step(-1), ArrowDown: () => step(1),
    "+": () => zoomTo(state.zoom * 1.5), "=": () => zoomTo(state.zoom * 1.5), "-": () => zoomTo(state.zoom / 1.5),
    0: fit, p: actual, x: swap,
  };
  const shifted = {
    ArrowLeft: () => move(40, 0), ArrowRight: () => move(-40, 0), ArrowUp: () => move(0, 40), ArrowDown: () => move(0, -40),
    "+": keys["+"],
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
    const digit = /^Digit([1-9])$/.exec(event.code);
    let act = (event.shiftKey ? shifted : keys)[event.key];
    if (digit && Number(digit[1]) <= names.length) {
      act = () => change({ [event.shiftKey ? "left" : "right"]: Number(digit[1]) - 1 });
    }
    if (!act) return;
    event.preventDefault();
    act();
  });

  draw();
}
