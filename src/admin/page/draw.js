// What everything is drawn with. Texts of nodes and clients become text nodes and attributes, never markup.

const at = id => document.getElementById(id);
const SVG = at('topology').namespaceURI;

function add(element, children) {
  element.append(...children.flat().filter(child => child !== null && child !== undefined));
  return element;
}

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return add(element, children);
}

function draw(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return add(element, children);
}

function show(id, text) {
  // An unchanged text is left alone, so that nothing is read out twice and a selection stays.
  if (at(id).textContent !== text) at(id).textContent = text;
}

const whole = new Intl.NumberFormat('en-GB');
const count = n => whole.format(n);
const several = (n, what) => `${count(n)} ${what}${n === 1 ? '' : 's'}`;

function short(n) {
  if (n < 10000) return count(n);
  return n < 1e6 ? `${+(n / 1e3).toPrecision(3)}k` : `${+(n / 1e6).toPrecision(3)}M`;
}

function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024;
  return `${unit ? n.toFixed(1) : n} ${units[unit]}`;
}

function micros(us) {
  if (us < 1000) return `${us} µs`;
  return us < 1e6 ? `${+(us / 1e3).toPrecision(3)} ms` : `${+(us / 1e6).toPrecision(3)} s`;
}

function millis(ms) {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 120e3) return `${(ms / 1e3).toFixed(1)} s`;
  return ms < 7200e3 ? `${Math.floor(ms / 60e3)} min` : `${Math.floor(ms / 3600e3)} h`;
}

const moment = rfc3339 => `${rfc3339.slice(0, 10)} ${rfc3339.slice(11, 19)} UTC`;
const unless = (value, format) => value === null || value === undefined ? '' : format(value);

// Columns are {name, code, number}; cells are texts.
function table(label, columns, rows) {
  const head = columns.map(column => make('th', {scope: 'col', role: 'columnheader', class: column.number ? 'n' : ''}, column.name));
  const cell = (text, column) => make('td', {
    role: 'cell', 'data-label': column.name, class: (column.number ? 'n' : '') + (text === '' ? ' empty' : ''),
  }, column.code ? make('code', {}, text) : text);
  const body = rows.map(row => make('tr', {role: 'row'}, row.map((text, index) => cell(text, columns[index]))));
  // On a phone rows are drawn as blocks, and what is no table for the eye would be none for a reader without its roles.
  return make('table', {'aria-label': label, role: 'table'},
    make('thead', {role: 'rowgroup'}, make('tr', {role: 'row'}, head)), make('tbody', {role: 'rowgroup'}, body));
}

// Cuts a text that is drawn until it fits, and leaves the whole of it to be read.
function fit(text, width) {
  const all = text.textContent;
  if (text.getComputedTextLength() <= width) return;
  let fits = 0;
  for (let most = all.length; fits < most - 1;) {
    const half = Math.floor((fits + most) / 2);
    text.textContent = `${all.slice(0, half)}…`;
    if (text.getComputedTextLength() <= width) fits = half; else most = half;
  }
  text.textContent = `${all.slice(0, fits)}…`;
  text.append(draw('title', {}, all));
}

const PLOT = {height: 150, left: 54, right: 6, top: 8, bottom: 20, span: 300e3};

// Lines are {values, second}; `place` maps a value to 0 (bottom) … 1 (top); ticks are {at, text}.
function plot(id, lines, ages, episodes, ticks, place, told) {
  const svg = at(id);
  const width = Math.max(svg.clientWidth, 200);
  const x = age => PLOT.left + (width - PLOT.left - PLOT.right) * (1 - Math.min(age / PLOT.span, 1));
  const y = value => PLOT.top + (PLOT.height - PLOT.top - PLOT.bottom) * (1 - place(value));
  const point = (value, index) => `${x(ages[index]).toFixed(1)} ${y(value).toFixed(1)}`;
  // A line of no length is drawn as a dot, so that one second between two quiet ones is seen.
  const path = values => values.map((value, index) => value === null ? '' :
    index && values[index - 1] !== null ? `L${point(value, index)}` : `M${point(value, index)}h0`).join('');
  const parts = ticks.map(tick => [
    draw('line', {class: 'grid', x1: PLOT.left, x2: width - PLOT.right, y1: y(tick.at), y2: y(tick.at)}),
    draw('text', {class: 'soft', x: PLOT.left - 8, y: y(tick.at) + 4, 'text-anchor': 'end'}, tick.text),
  ]);
  const seen = episodes.filter(episode => episode.age < PLOT.span);
  parts.push(seen.map(episode => draw('line', {
    class: 'episode', x1: x(episode.age), x2: x(episode.age), y1: PLOT.top, y2: PLOT.height - PLOT.bottom,
  }, draw('title', {}, episode.text))));
  const [first] = lines;
  if (first.area && ages.length > 1) {
    const floor = PLOT.height - PLOT.bottom;
    const outline = `${path(first.values)}L${x(ages[ages.length - 1])} ${floor}L${x(ages[0])} ${floor}Z`;
    parts.push(draw('path', {class: 'area', d: outline}));
  }
  parts.push(lines.map(line => draw('path', {class: line.second ? 'line second' : 'line', d: path(line.values)})));
  parts.push(draw('text', {class: 'soft', x: PLOT.left, y: PLOT.height - 4}, '5 min ago'));
  parts.push(draw('text', {class: 'soft', x: width - PLOT.right, y: PLOT.height - 4, 'text-anchor': 'end'}, 'now'));
  svg.setAttribute('viewBox', `0 0 ${width} ${PLOT.height}`);
  svg.setAttribute('height', PLOT.height);
  svg.setAttribute('aria-label', told);
  svg.replaceChildren(...parts.flat(Infinity));
}

// The least of 1, 2, 5, 10, 20 … that is not below `n`.
function rounded(n) {
  const power = 10 ** Math.floor(Math.log10(Math.max(n, 1)));
  return [1, 2, 5, 10].map(factor => factor * power).find(step => step >= n);
}
