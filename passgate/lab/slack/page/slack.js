// Shows the workspace that the server streams, and lets whoever looks act as any of its people.
// Everything that people or apps wrote enters the page as text nodes: nothing of it is ever parsed as HTML.
"use strict";

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
let state = null;
let me = query.get("as") || localStorage.getItem("lab-slack-me") || "U0ALICE";
let thread = query.get("thread");
let atHome = query.has("home");
const SHORTCUT = { callback_id: "passgate_request", name: "Request a change" };
const linked = location.pathname.match(/^\/archives\/\w+\/p(\d+)(\d{6})$/);
if (linked) thread = `${linked[1]}.${linked[2]}`;
const dismissed = new Set();
const busy = new Set();

// ---- small builders

function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node || typeof value === "function") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const person = (id) => state.people.find((one) => one.id === id) || { id, real_name: id };
const channel = () => state.channels[0];
const clock = (ts) => new Date(ts * 1000).toLocaleTimeString("en-US", { hour: "numeric", minute: "2-digit" });
const groupsOf = (id) => state.groups.filter((group) => group.users.includes(id));

function dayOf(ts) {
  const day = new Date(ts * 1000);
  const today = new Date();
  if (day.toDateString() === today.toDateString()) return "Today";
  today.setDate(today.getDate() - 1);
  if (day.toDateString() === today.toDateString()) return "Yesterday";
  return day.toLocaleDateString("en-US", { weekday: "long", month: "long", day: "numeric" });
}

const COLOURS = ["#c2570c", "#1264a3", "#7c3aed", "#0f7b6c", "#b4276b", "#5b6b00", "#334e8c"];

const botFace = () => drawing("svg", { viewBox: "0 0 36 36" }, [
  ["rect", { width: 36, height: 36, fill: "#0b3b46" }],
  ["path", { d: "M9 28V15.5a9 9 0 0 1 18 0V28", fill: "none", stroke: "#5ee0c0", "stroke-width": 3, "stroke-linecap": "round" }],
  ["path", {
    d: "M18 28V16m-3.6 4.6L18 17l3.6 3.6", fill: "none", stroke: "#fff", "stroke-width": 2.6, "stroke-linecap": "round",
    "stroke-linejoin": "round",
  }],
]);

function face(id, size = "", presence = null) {
  const one = person(id);
  const names = one.real_name.split(" ");
  const initials = (names[0][0] + (names.length > 1 ? names[names.length - 1][0] : "")).toUpperCase();
  const node = h("span", { className: `avatar ${size}`, "aria-hidden": "true" }, one.is_bot ? botFace() : initials);
  const place = state.people.indexOf(one);
  if (!one.is_bot) node.style.background = COLOURS[(place < 0 ? 0 : place) % COLOURS.length];
  if (presence !== null) node.append(h("i", { className: presence ? "on" : "off" }));
  return node;
}

// ---- mrkdwn

const plain = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

const SPLIT = new RegExp(`(:[a-z0-9_+-]+:|(?:${Object.keys(DRAWN).join("|")})\\uFE0F?)`, "u");

function emojis(text) {
  return text.split(SPLIT).map((part, place) => {
    const found = place % 2 ? EMOJI[part.slice(1, -1)] || part.replace("\uFE0F", "") : "";
    return found in DRAWN ? emoji(found) : plain(part);
  });
}

function reference(inner) {
  const [target, label] = inner.split("|");
  if (target.startsWith("@")) {
    const id = target.slice(1);
    return h("span", { className: `at ${id === me ? "me" : ""}` }, `@${person(id).real_name}`);
  }
  if (target.startsWith("!subteam^")) {
    const group = state.groups.find((one) => one.id === target.slice(9));
    const mine = group && group.users.includes(me);
    return h("span", { className: `at ${mine ? "me" : ""}` }, group ? `@${group.handle}` : plain(label || target));
  }
  if (target.startsWith("!date^")) {
    const [, seconds, format] = target.split("^");
    const then = new Date(seconds * 1000);
    if (isNaN(then)) return plain(label || "");
    const words = {
      "{time}": clock(seconds), "{time_secs}": then.toLocaleTimeString("en-US"), "{date_num}": then.toLocaleDateString("sv-SE"),
      "{date}": then.toLocaleDateString("en-US", { month: "long", day: "numeric", year: "numeric" }),
      "{date_short}": then.toLocaleDateString("en-US", { month: "short", day: "numeric", year: "numeric" }),
      "{date_pretty}": dayOf(seconds).toLowerCase(), "{date_short_pretty}": dayOf(seconds).toLowerCase(),
    };
    return (format || "").replace(/\{\w+\}/g, (name) => words[name] || name);
  }
  if (target.startsWith("!")) return h("span", { className: "at me" }, `@${target.slice(1)}`);
  if (target.startsWith("#")) {
    const found = state.channels.find((one) => one.id === target.slice(1));
    return h("span", { className: "at" }, `#${found ? found.name : plain(label || target.slice(1))}`);
  }
  // Only addresses that a browser may open safely become links; all else stays text.
  if (/^(https?:|mailto:)/.test(target)) return h("a", { href: plain(target), target: "_blank", rel: "noreferrer" }, plain(label || target));
  return plain(`<${inner}>`);
}

const STYLES = { "*": "b", _: "i", "~": "s" };

function inline(text) {
  // Code first, then references, then styles: what is inside code is never looked at again.
  return text.split(/(`[^`\n]+`|<[^<>\n]+>)/).map((part) => {
    if (part.length > 2 && part.startsWith("`") && part.endsWith("`")) return h("code", {}, plain(part.slice(1, -1)));
    if (part.length > 2 && part.startsWith("<") && part.endsWith(">")) return reference(part.slice(1, -1));
    return styled(part);
  });
}

function styled(text) {
  const found = text.match(/(^|[\s([{"'.,:;!?>|/-])([*_~])(?=\S)([^\n]*?\S)\2(?=$|[\s)\]}"'.,:;!?<|/-])/);
  if (!found) return emojis(text);
  const start = found.index + found[1].length;
  return [
    emojis(text.slice(0, start)),
    h(STYLES[found[2]], {}, styled(found[3])),
    styled(text.slice(start + found[3].length + 2)),
  ];
}

// A style may reach over references and code (`*Host <@U1>*`), so those are set aside, and put back into the leaves.
function rich(text) {
  const aside = [];
  const kept = text.replace(/`[^`\n]+`|<[^<>\n]+>/g, (part) => `\u0000${aside.push(part) - 1}\u0000`);
  const restore = (nodes) => [nodes].flat(9).flatMap((node) => {
    if (typeof node !== "string") {
      node.replaceChildren(...restore([...node.childNodes].map((child) => (child.nodeType === 3 ? child.data : child))));
      return [node];
    }
    return node.split(/\u0000(\d+)\u0000/).map((part, place) => (place % 2 ? inline(aside[part]) : part)).flat(9);
  });
  return restore(styled(kept.replace(/(^|\s)\u0000/g, "$1\u0000")));
}

function mrkdwn(text) {
  const node = h("div", { className: "text" });
  text.split(/(```[\s\S]*?```)/).forEach((part) => {
    if (part.length > 6 && part.startsWith("```")) {
      node.append(h("pre", {}, plain(part.slice(3, -3).replace(/^\n|\n$/g, ""))));
      return;
    }
    let quoted = [];
    const flush = () => { if (quoted.length) node.append(h("blockquote", {}, rich(quoted.join("\n")))); quoted = []; };
    const lines = part.replace(/^\n|\n$/g, "").split("\n");
    lines.forEach((line, place) => {
      const quote = line.match(/^(?:&gt;|>) ?(.*)$/);
      if (quote) { quoted.push(quote[1]); return; }
      const after = quoted.length;
      flush();
      if (part) node.append(place && !after ? "\n" : "", ...rich(line));
    });
    flush();
  });
  return node;
}

const textOf = (part) => (part.type === "mrkdwn" ? mrkdwn(part.text) : h("div", { className: "text" }, emojis(part.text)));

// ---- Block Kit

function element(part, block, message) {
  const place = message.home ? { home: true, block_id: block.block_id } : { message_ts: message.ts };
  const act = (extra) => press(part, { ...place, action_id: part.action_id, value: part.value, ...extra });
  if (part.type === "button" && part.url) {
    return h("a", { className: `button ${part.style || ""}`, href: part.url, target: "_blank", rel: "noreferrer", onclick: () => act({}) }, emojis(part.text.text));
  }
  if (part.type === "button") {
    const key = (message.home ? block.block_id : message.ts) + part.action_id;
    return h("button", {
      type: "button", className: `button ${part.style || ""} ${busy.has(key) ? "busy" : ""}`, disabled: busy.has(key), onclick: () => act({}),
      "data-action": part.action_id,
    }, emojis(part.text.text));
  }
  if (part.options) {
    return h("select", { onchange: (event) => act({ selected: event.target.value }), "aria-label": part.action_id },
      h("option", { value: "", disabled: true, selected: !part.initial_option }, part.placeholder ? part.placeholder.text : "Choose…"),
      part.options.map((option) => h("option", { value: option.value, selected: part.initial_option && part.initial_option.value === option.value }, option.text.text)));
  }
  return h("span", { className: "dim" }, part.alt_text || part.type);
}

const RENDER = {
  header: (block) => h("div", { className: "block header" }, emojis(block.text.text)),
  divider: () => h("div", { className: "block divider" }),
  section: (block, message) => h("div", { className: "block section" },
    h("div", {}, block.text && textOf(block.text), block.fields && h("div", { className: "fields" }, block.fields.map(textOf))),
    block.accessory && h("div", {}, element(block.accessory, block, message))),
  context: (block) => h("div", { className: "block context" }, block.elements.map((part) => (part.text ? textOf(part) : h("span", {}, part.alt_text)))),
  actions: (block, message) => h("div", { className: "block actions" }, block.elements.map((part) => element(part, block, message))),
  markdown: (block) => h("div", { className: "block" }, mrkdwn(block.text.replace(/\*\*/g, "*"))),
  image: (block) => h("div", { className: "block dim" }, block.alt_text),
  input: (block) => field(block),
  rich_text: (block) => h("div", { className: "block text" }, richText(block)),
};

const richText = (part) => (part.elements ? part.elements.map(richText) : emojis(part.text || ""));
const blocksOf = (blocks, message) => blocks.map((block) => (RENDER[block.type] || (() => null))(block, message));

// ---- messages

function size(bytes) {
  return bytes < 1024 ? `${bytes} B` : bytes < 1048576 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / 1048576).toFixed(1)} MB`;
}

function fileCard(file) {
  const kind = file.name.includes(".") ? file.name.split(".").pop().slice(0, 4).toUpperCase() : "FILE";
  return h("a", { className: "file", href: `/files/${file.id}/${encodeURIComponent(file.name)}`, target: "_blank" },
    h("i", {}, kind), h("span", {}, h("b", {}, file.title || file.name), h("span", { className: "dim" }, `${kind} · ${size(file.size)}`)));
}

function messageNode(message, before, inThread) {
  const author = person(message.user);
  const hidden = message.to;
  const more = before && before.user === message.user && !before.to === !hidden && message.ts - before.ts < 300 && !message.blocks
    && !(before.reply_count && !inThread) && dayOf(before.ts) === dayOf(message.ts);
  const edited = message.edited && h("span", { className: "edited" }, "(edited)");
  const content = message.blocks ? h("div", { className: "blocks" }, blocksOf(message.blocks, message)) : mrkdwn(message.text);
  if (edited) content.append(message.blocks ? edited : h("span", {}, " ", edited));
  const trouble = state.warnings.filter((one) => one.user === me && one.message_ts === message.ts && Date.now() / 1000 - one.ts < 60).pop();
  return h("article", { className: `message ${more ? "more" : ""} ${hidden ? "private" : ""}`, "data-ts": message.ts },
    more ? h("div", { className: "gutter" }, h("time", {}, clock(message.ts).replace(/ .M/, ""))) : face(message.user),
    h("div", { className: "body" },
      hidden && h("div", { className: "only" }, emoji("👁"), "Only visible to you"),
      !more && h("div", { className: "by" }, h("b", {}, author.real_name), author.is_bot && h("span", { className: "badge" }, "APP"),
        h("time", { dateTime: new Date(message.ts * 1000).toISOString(), title: new Date(message.ts * 1000).toLocaleString("en-US") }, clock(message.ts))),
      content,
      (message.files || []).map(fileCard),
      message.reactions && h("div", { className: "reactions" }, message.reactions.map((one) => h("span", {}, emojis(`:${one.name}:`), ` ${one.count}`))),
      trouble && h("div", { className: "trouble", role: "alert" }, emoji("⚠"), h("span", {}, trouble.text)),
      hidden && h("button", { type: "button", className: "link", onclick: () => { dismissed.add(message.ts); draw(); } }, "Dismiss message"),
      message.reply_count && !inThread && h("button", { type: "button", className: "replies", onclick: () => openThread(message.ts) },
        message.reply_users.map((id) => face(id, "mini")), h("b", {}, `${message.reply_count} ${message.reply_count === 1 ? "reply" : "replies"}`),
        h("span", { className: "dim" }, `Last reply ${dayOf(message.latest_reply).toLowerCase()} at ${clock(message.latest_reply)}`))),
    !hidden && !inThread && h("div", { className: "tools" }, h("button", { type: "button", onclick: () => openThread(message.ts) }, emoji("💬"), "Reply in thread")));
}

// Replaces only what changed, so that what a person reads, selects or is about to press stays where it is.
function fill(container, wanted) {
  const old = new Map([...container.children].map((node) => [node.dataset.key, node]));
  const nodes = wanted.map(({ key, sign, make, edit }) => {
    const kept = old.get(key);
    if (kept && kept.dataset.sign === sign) return kept;
    const node = make();
    node.dataset.key = key;
    node.dataset.sign = sign;
    node.dataset.edit = edit || "";
    if (kept && kept.dataset.edit !== node.dataset.edit) node.classList.add("flash");
    return node;
  });
  nodes.forEach((node, place) => { if (container.children[place] !== node) container.insertBefore(node, container.children[place] || null); });
  while (container.children.length > nodes.length) container.lastChild.remove();
}

function stream(container, messages, inThread, first) {
  const scroller = container.parentElement;
  const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
  const notes = state.ephemerals.filter((note) => note.to === me && !dismissed.has(note.ts) && (inThread ? note.thread_ts === thread : !note.thread_ts));
  const all = [...messages, ...notes].sort((one, other) => one.ts - other.ts);
  const wanted = first ? [first] : [];
  let before = null;
  all.forEach((message, place) => {
    if (!inThread && (!before || dayOf(before.ts) !== dayOf(message.ts))) {
      const day = dayOf(message.ts);
      wanted.push({ key: `day ${day}`, sign: "", make: () => h("div", { className: "day" }, h("span", {}, day)) });
    }
    const previous = inThread && place === 1 ? null : before;
    const pressed = [...busy].filter((key) => key.startsWith(message.ts)).join();
    const sign = JSON.stringify([me, previous && [previous.user, previous.ts, previous.reply_count], message, pressed,
      state.warnings.filter((one) => one.message_ts === message.ts).length]);
    wanted.push({ key: message.ts, sign, edit: message.edited && message.edited.ts, make: () => messageNode(message, previous, inThread) });
    if (inThread && place === 0) {
      const count = all.length - 1;
      wanted.push({ key: "count", sign: String(count), make: () => h("div", { className: "count" }, `${count} ${count === 1 ? "reply" : "replies"}`) });
    }
    before = message;
  });
  fill(container, wanted);
  if (atEnd) scroller.scrollTop = scroller.scrollHeight;
}

function openThread(ts) {
  thread = ts;
  $("thread").replaceChildren();
  draw();
  $("thread-scroll").scrollTop = $("thread-scroll").scrollHeight;
}

// ---- acting

async function act(kind, what) {
  try {
    const answer = await fetch(`/page/act/${kind}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ user: me, ...what }),
    });
    const result = await answer.json();
    if (!result.ok) notice(result.error);
    return result;
  } catch (error) {
    notice("The lab's Slack can't be reached.");
    return { ok: false };
  }
}

function notice(words) {
  $("note").textContent = words;
  $("note").hidden = !words;
}

async function press(part, what) {
  if (part.confirm && !(await confirmed(part.confirm))) return;
  const key = (what.home ? what.block_id : what.message_ts) + part.action_id;
  busy.add(key);
  draw();
  await act("click", { ...what, confirm: true });
  busy.delete(key);
  draw();
}

function confirmed(dialog) {
  return new Promise((answer) => {
    const end = (yes) => { veil.remove(); answer(yes); };
    const veil = h("div", { className: "veil", leave: () => end(false) },
      h("div", { className: "modal confirm", role: "alertdialog", "aria-modal": "true", "aria-label": dialog.title.text },
        h("header", {}, dialog.title.text, h("button", { type: "button", className: "icon", "aria-label": "Close", onclick: () => end(false) }, "✕")),
        h("div", { className: "inside" }, textOf(dialog.text)),
        h("footer", {}, h("button", { type: "button", className: "button", onclick: () => end(false) }, dialog.deny.text),
          h("button", { type: "button", className: `button ${dialog.style || "primary"}`, onclick: () => end(true) }, dialog.confirm.text))));
    document.body.append(veil);
    veil.querySelector("footer .button:last-child").focus();
  });
}

// ---- modals

function control(part, name) {
  if (part.type === "plain_text_input") {
    const props = { name, value: part.initial_value || "", placeholder: part.placeholder ? part.placeholder.text : "" };
    return part.multiline ? h("textarea", props) : h("input", { type: "text", ...props });
  }
  if (part.type === "radio_buttons" || part.type === "checkboxes") {
    const picked = part.initial_options || (part.initial_option ? [part.initial_option] : []);
    return h("div", {}, part.options.map((option) => h("label", { className: "choice" },
      h("input", { type: part.type === "checkboxes" ? "checkbox" : "radio", name, value: option.value, checked: picked.some((one) => one.value === option.value) }),
      h("span", {}, textOf(option.text), option.description && h("small", {}, option.description.text)))));
  }
  if (part.type === "number_input") {
    return h("input", { type: "text", inputMode: "decimal", name, value: part.initial_value || "", placeholder: part.placeholder ? part.placeholder.text : "" });
  }
  if (part.type === "datetimepicker") return h("input", { type: "datetime-local", name, value: localTime(part.initial_date_time) });
  if (part.type === "datepicker") return h("input", { type: "date", name, value: part.initial_date || "" });
  if (part.type === "timepicker") return h("input", { type: "time", name, value: part.initial_time || "" });
  const options = part.options || state.people.filter((one) => !one.is_bot).map((one) => ({ value: one.id, text: { text: one.real_name } }));
  const initial = part.initial_user || (part.initial_option && part.initial_option.value) || "";
  return h("select", { name }, h("option", { value: "" }, part.placeholder ? part.placeholder.text : "Choose an option"),
    options.map((option) => h("option", { value: option.value, selected: option.value === initial }, option.text.text)));
}

// What <input type=datetime-local> reads: local time without a zone.
function localTime(seconds) {
  if (!seconds) return "";
  const then = new Date(seconds * 1000);
  return new Date(then - then.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

function field(block) {
  const group = ["radio_buttons", "checkboxes"].includes(block.element.type);
  return h(group ? "fieldset" : "label", { className: "field", "data-block": block.block_id, "data-kind": block.element.type },
    h("span", { className: "label" }, emojis(block.label.text), block.optional && h("span", {}, "(optional)")),
    control(block.element, block.block_id), block.hint && h("span", { className: "hint" }, block.hint.text));
}

function filled(form) {
  const fields = {};
  for (const node of form.querySelectorAll("[data-block]")) {
    const picked = [...node.querySelectorAll("input:checked")].map((one) => one.value);
    const kind = node.dataset.kind;
    const moment = kind === "datetimepicker" && node.querySelector("input").value;
    fields[node.dataset.block] = moment ? Math.floor(new Date(moment) / 1000) : kind === "checkboxes" ? picked : kind === "radio_buttons" ? picked[0] : node.querySelector("input, textarea, select").value;
  }
  return fields;
}

function modalNode(view) {
  const leave = () => act("close", { view_id: view.id });
  const send = async (event) => {
    event.preventDefault();
    const submit = form.querySelector("[type=submit]");
    submit.disabled = true;
    const result = await act("submit", { view_id: view.id, fields: filled(form) });
    submit.disabled = false;
    for (const node of form.querySelectorAll(".error, .trouble")) node.remove();
    for (const node of form.querySelectorAll(".field")) {
      const words = (result.errors || {})[node.dataset.block];
      node.classList.toggle("wrong", Boolean(words));
      if (words) node.append(h("span", { className: "error", role: "alert" }, "⚠", h("span", {}, words)));
    }
    const wrong = form.querySelector(".field.wrong");
    if (wrong) wrong.scrollIntoView({ block: "center" });
    if (result.warning) form.querySelector("footer").before(h("div", { className: "trouble", role: "alert" }, emoji("⚠"), h("span", {}, result.warning)));
  };
  const form = h("form", { className: "modal", role: "dialog", "aria-modal": "true", "aria-label": view.title.text, noValidate: true, onsubmit: send },
    h("header", {}, face(state.bot, "mini"), h("span", {}, view.title.text), h("button", { type: "button", className: "icon", "aria-label": "Close", onclick: leave }, "✕")),
    h("div", { className: "inside" }, blocksOf(view.blocks, { ts: "" })),
    h("footer", {}, h("button", { type: "button", className: "button", onclick: leave }, view.close ? view.close.text : "Cancel"),
      view.submit && h("button", { type: "submit", className: "button primary" }, view.submit.text)));
  return h("div", { className: "veil", leave }, form);
}

function modals() {
  const view = (state.modals[me] || []).slice(-1)[0];
  const wanted = view ? [{ key: view.id, sign: view.hash, make: () => modalNode(view) }] : [];
  const had = $("dialogs").firstChild;
  fill($("dialogs"), wanted);
  const now = $("dialogs").firstChild;
  if (now && now !== had) (now.querySelector("textarea, input, select") || now.querySelector(".button")).focus();
}

// ---- the frame

function side() {
  const row = (...children) => h("div", { className: "row" }, children);
  const people = state.people.filter((one) => !one.is_bot && !one.deleted);
  $("side").replaceChildren(
    h("h1", {}, state.team.name, h("i", {}, "▾")),
    h("h2", {}, "Channels"),
    ...state.channels.map((one) => goes(row(h("span", { className: "hash" }, "#"), one.name), !atHome, () => show(false))),
    h("h2", {}, "People"),
    ...people.map((one) => row(face(one.id, "small", !one.is_restricted), one.real_name, one.id === me ? h("small", {}, "you") : one.is_restricted && h("small", {}, "guest"))),
    h("h2", {}, "Apps"),
    goes(row(face(state.bot, "small", state.connected > 0), person(state.bot).real_name,
      h("small", {}, state.connected > 0 ? "" : "not connected")), atHome, () => show(true)),
    h("h2", {}, "User groups"),
    ...state.groups.map((group) => row(h("span", { className: "hash" }, "@"), group.handle, h("small", {}, String(group.users.length)))),
    h("footer", {}, "A simulated workspace of Passgate's lab. Not Slack, and not affiliated with it."));
}

function goes(node, here, onclick) {
  node.classList.toggle("here", here);
  node.setAttribute("role", "button");
  node.tabIndex = 0;
  node.addEventListener("click", onclick);
  return node;
}

function show(home) {
  atHome = home;
  draw();
  if (home) act("home", {});
}

function appHome() {
  const view = state.homes[me];
  const empty = { key: "none", sign: me, make: () => h("div", { className: "dim" }, "Passgate has shown nothing here yet.") };
  fill($("home"), [view ? { key: view.id, sign: JSON.stringify([me, view.hash, [...busy]]),
    make: () => h("div", { className: "blocks" }, blocksOf(view.blocks, { ts: "", home: true })) } : empty]);
}

function head() {
  const people = state.people.filter((one) => !one.is_bot && !one.deleted);
  if (atHome) $("channel-head").replaceChildren(h("div", {}, h("b", {}, person(state.bot).real_name), h("span", { className: "topic" }, "Home")));
  else $("channel-head").replaceChildren(
    h("div", {}, h("b", {}, `# ${channel().name}`), h("span", { className: "topic" }, "Changes to USB and PCI passthrough: asked, decided, reported")),
    h("div", { className: "faces" }, people.slice(0, 3).map((one) => face(one.id, "mini")), String(people.length)));
  $("thread-where").textContent = `# ${channel().name}`;
  const roles = (one) => (one.is_restricted ? "guest" : groupsOf(one.id).map((group) => `@${group.handle}`).join(" "));
  $("who").replaceChildren(face(me, "mini"), h("span", {}, "You are: ", h("b", {}, person(me).real_name)), "▾");
  $("who-menu").replaceChildren(h("small", {}, "In the lab you may act as anybody in the workspace."),
    ...people.map((one) => h("button", { type: "button", role: "menuitem", onclick: () => become(one.id) },
      face(one.id, "mini"), h("span", {}, one.real_name), h("span", { className: "dim" }, one.id === me ? "✓" : roles(one)))));
}

function become(id) {
  me = id;
  localStorage.setItem("lab-slack-me", id);
  toggleMenu(false);
  show(atHome);
}

function toggleMenu(open) {
  $("who-menu").hidden = !open;
  $("who").setAttribute("aria-expanded", String(open));
}

function composer(form, placeholder, thread_of) {
  const box = h("textarea", { rows: 1, placeholder, "aria-label": placeholder });
  const send = async () => {
    const text = box.value.trim();
    if (!text) return;
    box.value = "";
    form.classList.remove("ready");
    await act("say", { text, thread_ts: thread_of() || undefined });
  };
  box.addEventListener("input", () => form.classList.toggle("ready", Boolean(box.value.trim())));
  box.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); send(); } });
  form.addEventListener("submit", (event) => { event.preventDefault(); send(); });
  form.append(box, h("div", {}, h("b", {}, "B"), h("i", {}, "I"), h("s", {}, "S"), h("span", {}, "@"),
    h("span", { role: "button", tabIndex: 0, title: "Slash command", onclick: () => { box.value = "/passgate "; box.focus(); form.classList.add("ready"); } }, "/"),
    form.id === "composer" && h("span", { role: "button", tabIndex: 0, title: SHORTCUT.name, onclick: () => act("shortcut", { callback_id: SHORTCUT.callback_id }) }, `⚡ ${SHORTCUT.name}`),
    h("button", { type: "submit", "aria-label": "Send" }, "➤")));
}

function draw() {
  if (!state) return;
  if (!state.people.some((one) => one.id === me)) me = state.people[0].id;
  side();
  head();
  const here = channel().id;
  const top = state.messages[here].filter((one) => !one.thread_ts || one.thread_ts === one.ts);
  stream($("channel"), top, false, { key: "intro", sign: "", make: () => h("div", { className: "intro" }, h("h2", {}, `# ${channel().name}`),
    h("span", { className: "dim" }, "This is the very beginning of the channel. Passgate files each change here and reports in its thread.")) });
  const parent = state.messages[here].find((one) => one.ts === thread);
  for (const id of ["channel-scroll", "composer"]) $(id).hidden = atHome;
  $("home-scroll").hidden = !atHome;
  $("thread-pane").hidden = !parent || atHome;
  appHome();
  if (parent) stream($("thread"), [parent, ...state.messages[here].filter((one) => one.thread_ts === thread && one.ts !== thread)], true);
  modals();
}

composer($("composer"), "Message #passgate", () => "");
composer($("reply"), "Reply…", () => thread);
$("who").addEventListener("click", () => toggleMenu($("who-menu").hidden));
$("thread-close").addEventListener("click", () => { thread = null; draw(); });
document.addEventListener("keydown", (event) => {
  const top = [...document.querySelectorAll(".veil")].pop();
  if (event.key === "Escape" && top) top.leave();
});
document.addEventListener("click", (event) => { if (!event.target.closest(".who")) toggleMenu(false); });

const news = new EventSource("/page/events");
if (atHome) act("home", {});
news.onmessage = (event) => {
  state = JSON.parse(event.data);
  notice(state.down ? "Slack is down just now: the lab was told to refuse everything for a while." : "");
  draw();
};
news.onerror = () => notice("Connection lost. Trying to reconnect…");
