// The emoji that chat uses, drawn here, so that they look the same on a machine that has no emoji font.
// Each is a list of [tag, attributes] in a 24 by 24 box; `EMOJI` maps Slack's shortcodes to the characters.
"use strict";

const DRAWN = (() => {
  const disc = (fill) => ["circle", { cx: 12, cy: 12, r: 10, fill }];
  const tile = (fill) => ["rect", { x: 2, y: 2, width: 20, height: 20, rx: 4.5, fill }];
  const line = (d, stroke = "#fff", width = 2.6) => ["path", { d, fill: "none", stroke, "stroke-width": width, "stroke-linecap": "round", "stroke-linejoin": "round" }];
  const shape = (d, fill) => ["path", { d, fill }];
  const glass = (top) => [
    shape("M6 3h12v3.2c0 3-3.4 4.4-3.4 5.8s3.4 2.8 3.4 5.8V21H6v-3.2c0-3 3.4-4.4 3.4-5.8S6 9.2 6 6.2z", "#cfe8f5"),
    shape(top ? "M8 6.4h8c-.5 2-3 3.3-3.4 4.6h-1.2C11 9.7 8.5 8.4 8 6.4z M8 19.5c.5-1.5 2.5-2.3 4-2.3s3.5.8 4 2.3z" : "M7.5 19.5c.3-2.8 3-4 4.5-4s4.2 1.2 4.5 4z", "#e0a33b"),
    line("M5 3h14M5 21h14", "#8a5a2b", 2.4),
  ];
  const lens = [["circle", { cx: 10, cy: 10, r: 6.2, fill: "#d6ecf8", stroke: "#51606b", "stroke-width": 2.4 }], line("M14.8 14.8 20.5 20.5", "#8a5a2b", 3.2)];
  const lock = (shackle) => [line(shackle, "#8b95a1", 2.6), ["rect", { x: 4.5, y: 10.5, width: 15, height: 11, rx: 2.5, fill: "#f0b429" }], ["circle", { cx: 12, cy: 15.5, r: 1.8, fill: "#7a5200" }]];
  const sheet = (...more) => [["rect", { x: 4.5, y: 2, width: 15, height: 20, rx: 2, fill: "#f4f6f8", stroke: "#9aa5b1", "stroke-width": 1.4 }], line("M8 7h8M8 11h8M8 15h5", "#9aa5b1", 1.5), ...more];
  const thumb = [shape("M9 10.5 12.3 3.6c1.9-.5 3 .8 2.7 2.7L14.5 9.3h4.2c1.6 0 2.5 1.3 2.1 2.8l-1.8 6.4c-.4 1.3-1.3 2-2.6 2H9z", "#f7c948"), ["rect", { x: 3, y: 10, width: 5, height: 11, rx: 1.4, fill: "#e0a33b" }]];
  return {
    "✅": [tile("#2bac76"), line("m7 12.5 3.4 3.4L17.2 8.6")],
    "✔": [line("m4.5 13 4.8 4.8L19.5 6.5", "#2b2b2b", 3)],
    "❌": [line("M5.5 5.5 18.5 18.5M18.5 5.5 5.5 18.5", "#dd2e44", 4)],
    "⛔": [disc("#dd2e44"), ["rect", { x: 5.5, y: 10, width: 13, height: 4, rx: 1, fill: "#fff" }]],
    "🚫": [["circle", { cx: 12, cy: 12, r: 8.5, fill: "none", stroke: "#dd2e44", "stroke-width": 3 }], line("M6.2 6.2 17.8 17.8", "#dd2e44", 3)],
    "🛑": [shape("M8 2h8l6 6v8l-6 6H8l-6-6V8z", "#dd2e44"), line("M8 12h8", "#fff", 3.4)],
    "⚠": [shape("M12 2.5c.8 0 1.4.4 1.8 1.1l8.4 15c.8 1.4-.2 3-1.8 3H3.6c-1.6 0-2.6-1.6-1.8-3l8.4-15c.4-.7 1-1.1 1.8-1.1z", "#ffcc4d"), line("M12 9v5", "#231f20", 2.4), ["circle", { cx: 12, cy: 17.8, r: 1.5, fill: "#231f20" }]],
    "⏳": glass(true),
    "⌛": glass(false),
    "🔧": [line("M5 19 13 11", "#7b8794", 4.4), ["path", { d: "M19.8 4.2a5.5 5.5 0 1 0 0 7.6l-4.3-.1-1.6-3.7z", fill: "#7b8794" }]],
    "📝": sheet(shape("m12 18.5.8-3.2 7.2-7.2 2.4 2.4-7.2 7.2z", "#f0b429")),
    "📄": sheet(),
    "📋": [["rect", { x: 4, y: 3.5, width: 16, height: 18.5, rx: 2.5, fill: "#a9743f" }], ["rect", { x: 6.5, y: 6, width: 11, height: 13.5, fill: "#f4f6f8" }], ["rect", { x: 8.5, y: 1.8, width: 7, height: 4.2, rx: 1.5, fill: "#8b95a1" }], line("M9 10.5h6M9 14h6", "#9aa5b1", 1.5)],
    "🗂": [shape("M2.5 5.5h7l2 2.2h10v12.8h-19z", "#e0a33b"), shape("M2.5 9.8h19v10.7h-19z", "#f7c948")],
    "🗓": [tile("#f4f6f8"), ["rect", { x: 2, y: 2, width: 20, height: 6.5, rx: 3, fill: "#dd2e44" }], line("M7 12.5h.01M12 12.5h.01M17 12.5h.01M7 17h.01M12 17h.01", "#51606b", 2.8)],
    "👍": thumb,
    "👎": [["g", { transform: "rotate(180 12 12)" }, thumb]],
    "↩": [tile("#3b88c3"), line("M9.5 7.5 6 11l3.5 3.5M6.5 11h7.5a3.5 3.5 0 0 1 0 7")],
    "⏪": [tile("#3b88c3"), shape("M11.5 7v10L4.8 12zM19 7v10l-6.7-5z", "#fff")],
    "⏭": [tile("#3b88c3"), shape("M5 7v10l6.2-5zM11.2 7v10l6.2-5z", "#fff"), line("M18.6 7.8v8.4", "#fff", 2)],
    "▶": [tile("#3b88c3"), shape("M8.5 6.5v11l9-5.5z", "#fff")],
    "⏸": [tile("#3b88c3"), line("M9 8v8M15 8v8", "#fff", 3.2)],
    "⏹": [tile("#3b88c3"), ["rect", { x: 7.5, y: 7.5, width: 9, height: 9, rx: 1, fill: "#fff" }]],
    "➡": [tile("#3b88c3"), line("M6.5 12h10.5M13 8l4 4-4 4")],
    "🔁": [tile("#3b88c3"), line("M6.5 11.5V9.5h10.5l-2-2.5M17.5 12.5v2H7l2 2.5", "#fff", 2)],
    "🔄": [tile("#3b88c3"), line("M17 10.5a5.3 5.3 0 0 0-9.7-1M7 13.5a5.3 5.3 0 0 0 9.7 1M7 6.5v3.2h3.2M17 17.5v-3.2h-3.2", "#fff", 2)],
    "➖": [line("M5 12h14", "#51606b", 4)],
    "❓": [line("M8 8a4.2 4.2 0 1 1 6.4 3.5c-1.6 1-2.4 1.7-2.4 3.5", "#dd2e44", 3.2), ["circle", { cx: 12, cy: 20, r: 2, fill: "#dd2e44" }]],
    "❗": [line("M12 4v10", "#dd2e44", 4), ["circle", { cx: 12, cy: 20, r: 2.2, fill: "#dd2e44" }]],
    "ℹ": [tile("#3b88c3"), line("M12 11v6", "#fff", 3), ["circle", { cx: 12, cy: 7, r: 1.7, fill: "#fff" }]],
    "🛡": [shape("M12 2c2.5 2 5.5 2.9 8.5 3v6.5c0 5-3.6 8.6-8.5 10.5-4.9-1.9-8.5-5.5-8.5-10.5V5C6.5 4.9 9.5 4 12 2z", "#3b88c3"), line("m8 12 3 3 5.2-5.8")],
    "🔒": lock("M8 11V8a4 4 0 0 1 8 0v3"),
    "🔓": lock("M8 11V7a4 4 0 0 1 7.8-1"),
    "🔑": [["circle", { cx: 7.5, cy: 16.5, r: 4, fill: "none", stroke: "#e0a33b", "stroke-width": 3 }], line("M10.5 13.5 20 4M16 8l3 3", "#e0a33b", 2.8)],
    "🔍": lens,
    "🔎": lens,
    "🔌": [line("M8.5 2.5V7M15.5 2.5V7", "#51606b", 2.6), shape("M5 7h14v4.5a7 7 0 0 1-14 0z", "#51606b"), line("M12 18v4", "#51606b", 2.6)],
    "🔗": [line("M10 14 14 10M8.5 10.5 6 13a3.5 3.5 0 0 0 5 5l2.5-2.5M15.5 13.5 18 11a3.5 3.5 0 0 0-5-5l-2.5 2.5", "#51606b", 2.2)],
    "🎉": [shape("M3 21 8.5 8.5l7 7z", "#f0b429"), line("M14 9c1.5-1.5 1.5-3.5.5-5.5M16 11c2-.8 3.5-.5 5 .5M18 6.5l.01-.01M20.5 15.5l.01-.01", "#dd2e44", 2.2)],
    "👀": [["ellipse", { cx: 7, cy: 12, rx: 4.6, ry: 6.5, fill: "#fff", stroke: "#51606b", "stroke-width": 1.2 }], ["ellipse", { cx: 17, cy: 12, rx: 4.6, ry: 6.5, fill: "#fff", stroke: "#51606b", "stroke-width": 1.2 }], ["circle", { cx: 6, cy: 13, r: 2.3, fill: "#231f20" }], ["circle", { cx: 16, cy: 13, r: 2.3, fill: "#231f20" }]],
    "👁": [["path", { d: "M1.5 12S5.5 5 12 5s10.5 7 10.5 7-4 7-10.5 7S1.5 12 1.5 12z", fill: "none", stroke: "#616061", "stroke-width": 2 }], ["circle", { cx: 12, cy: 12, r: 3.2, fill: "#616061" }]],
    "💬": [shape("M4 3.5h16a2 2 0 0 1 2 2V15a2 2 0 0 1-2 2h-8l-5 4.5V17H4a2 2 0 0 1-2-2V5.5a2 2 0 0 1 2-2z", "#616061"), line("M7 8.5h10M7 12h6", "#fff", 1.8)],
    "🚨": [shape("M5.5 18v-5.5a6.5 6.5 0 0 1 13 0V18z", "#dd2e44"), ["rect", { x: 3.5, y: 18, width: 17, height: 3.5, rx: 1, fill: "#51606b" }], line("M12 2v1.5M4 5l1 1M20 5l-1 1", "#dd2e44", 1.8)],
    "💡": [["circle", { cx: 12, cy: 9.5, r: 7, fill: "#ffcc4d" }], line("M9.5 19h5M10.5 22h3", "#8b95a1", 2.2)],
    "🟢": [disc("#2bac76")], "🟡": [disc("#fdcb58")], "🟠": [disc("#f4900c")], "🔴": [disc("#dd2e44")], "🔵": [disc("#3b88c3")],
    "⚪": [["circle", { cx: 12, cy: 12, r: 9.5, fill: "#f4f6f8", stroke: "#c3ccd5", "stroke-width": 1 }]], "⚫": [disc("#31373d")],
  };
})();

const EMOJI = {
  white_check_mark: "✅", heavy_check_mark: "✔", x: "❌", no_entry: "⛔", no_entry_sign: "🚫", octagonal_sign: "🛑", stop_sign: "🛑",
  warning: "⚠", hourglass: "⌛", hourglass_flowing_sand: "⏳", wrench: "🔧", memo: "📝", page_facing_up: "📄", clipboard: "📋",
  card_index_dividers: "🗂", spiral_calendar_pad: "🗓", calendar: "🗓", thumbsup: "👍", "+1": "👍", thumbsdown: "👎", "-1": "👎",
  leftwards_arrow_with_hook: "↩", rewind: "⏪", arrow_forward: "▶", black_right_pointing_double_triangle_with_vertical_bar: "⏭", pause_button: "⏸", double_vertical_bar: "⏸",
  black_square_for_stop: "⏹", arrow_right: "➡", repeat: "🔁", arrows_counterclockwise: "🔄", heavy_minus_sign: "➖", question: "❓",
  exclamation: "❗", heavy_exclamation_mark: "❗", information_source: "ℹ", shield: "🛡", lock: "🔒", unlock: "🔓", key: "🔑",
  mag: "🔍", mag_right: "🔎", electric_plug: "🔌", link: "🔗", tada: "🎉", eyes: "👀", eye: "👁", speech_balloon: "💬",
  rotating_light: "🚨", bulb: "💡", large_green_circle: "🟢", large_yellow_circle: "🟡", large_orange_circle: "🟠", red_circle: "🔴",
  large_blue_circle: "🔵", white_circle: "⚪", black_circle: "⚫",
};

const SVG = "http://www.w3.org/2000/svg";

function drawing(tag, attributes, inner = []) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...inner.map((part) => drawing(...part)));
  return node;
}

function emoji(character) {
  const picture = drawing("svg", { viewBox: "0 0 24 24", class: "emoji", role: "img", "aria-label": character }, DRAWN[character]);
  picture.append(drawing("title", {}));
  picture.lastChild.textContent = character;
  return picture;
}
