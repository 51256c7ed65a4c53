// Asks, shows, and orders.

const BEAT = 1000;
const PATIENCE = 5000;
const TOKEN = 'redhold-token';

let status = null;
let seen = null;
let looking = false;
let token = sessionStorage.getItem(TOKEN);

async function look() {
  if (looking) return;
  looking = true;
  let answer;
  try {
    const response = await fetch('/api/status', {headers: bearer(), cache: 'no-store', signal: AbortSignal.timeout(PATIENCE)});
    if (!response.ok) throw new Error(`it answered ${response.status}`);
    answer = await response.json();
  } catch (fault) {
    missed(fault);
    return;
  } finally {
    looking = false;
  }
  [status, seen] = [answer, Date.now()];
  at('stale').hidden = true;
  at('main').classList.remove('stale');
  at('main').hidden = false;
  render();
}

const bearer = () => token ? {Authorization: `Bearer ${token}`} : {};

function missed(fault) {
  show('stale-text', 'This proxy does not answer.');
  show('stale-age', seen === null ? `Nothing is known yet (${fault.message}).`
    : `What stands here is ${millis(Date.now() - seen)} old (${fault.message}).`);
  at('stale').hidden = false;
  at('main').classList.add('stale');
}

// What was drawn of which data; the same is not drawn again, so that selections, focus and what is unfolded stay.
const known = new Map();

function section(id, data, build) {
  const text = JSON.stringify(data);
  if (known.get(id) === text) return;
  known.set(id, text);
  at(id).replaceChildren(...[build(data)].flat());
}

function render() {
  headline();
  topology(status);
  plots();
  section('nodes', status.nodes.map(nodeRow), rows => table('Nodes', NODE_COLUMNS, rows));
  list('parity', status.nodes.flatMap(node => node.out_of_parity.map(fault => `${node.address} is out of parity: ${fault}`)));
  list('advice', status.advice);
  section('episodes', [status.episodes, status.primary], () => episodes());
  lost();
  settings();
  details();
  orders();
}

function headline() {
  show('version', status.version);
  show('at', moment(status.at));
  show('primary', status.primary ?? 'none yet');
  show('epoch', String(status.epoch));
  show('state', status.writable ? 'writable' : status.held ? 'writes held' : 'not writable');
  at('state').classList.toggle('bad', !status.writable);
  at('held').hidden = !status.held;
  show('held', status.held ? `For ${millis(status.held.for_ms)}: ${status.held.reason}` : '');
  document.title = `${status.primary ?? 'no primary'}${status.writable ? '' : ' (not writable)'} · Redhold`;
  list('notices', [
    status.degraded && 'Degraded: writes wait for no replica until enough are back.',
    status.paused && 'Paused: requests wait by order.',
    status.read_only && 'Read-only: writes are refused by order.',
    status.draining && 'This proxy is draining.',
    status.record_unwritten && `The record can not be written: ${status.record_unwritten}`,
    ...status.other_brains.map(brain => `Only observing: another brain was heard: ${brain}`),
  ].filter(Boolean));
  const facts = [
    ['phase', status.phase], ['clients', count(status.clients)], ['requests held', count(status.held_requests)],
    ['failovers allowed at once', count(status.failovers_left)],
  ];
  section('facts', facts, () => facts.map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value))));
}

function list(id, texts) {
  at(id).hidden = texts.length === 0;
  section(id, texts, () => texts.map(text => make('li', {}, text)));
}

const NODE_COLUMNS = [
  {name: 'node', code: true}, {name: 'role'}, {name: 'state'}, {name: 'follows', code: true}, {name: 'lag', number: true},
  {name: 'staleness', number: true}, {name: 'ping', number: true}, {name: 'version'}, {name: 'keys', number: true}, {name: 'remark'},
];

function nodeRow(node) {
  const remarks = [node.works_on, node.remark, node.error, node.ineligible && `not to be promoted: ${node.ineligible}`];
  return [
    node.address, role(node, status), node.up ? 'up' : `down for ${millis(node.silent_for_ms)}`, node.follows ?? '',
    unless(node.lag_bytes, bytes), unless(node.staleness_ms, millis), unless(node.ping_us, micros), node.version ?? '',
    unless(node.keys, count), remarks.filter(Boolean).join('; '),
  ];
}

function plots() {
  const {requests, p50_us: half, p99_us: most, age_ms: ages} = status.history;
  const now = Date.parse(status.at);
  const begun = status.episodes.map(episode => ({age: now - Date.parse(episode.began), text: title(episode)}));
  const last = values => values.length ? values[values.length - 1] : null;
  const top = rounded(Math.max(10, ...requests));
  const scale = [0, top / 2, top].map(value => ({at: value, text: short(value)}));
  plot('requests', [{values: requests, area: true}], ages, begun, scale, value => value / top,
    `Requests a second: ${short(last(requests) ?? 0)} now, ${short(Math.max(0, ...requests))} at most`);
  section('requests-now', last(requests), value => value === null ? '' : [make('b', {}, short(value)), ' now']);
  // From 10 µs up, a decade a step, since a hold is ten thousand times a request.
  const decades = Math.max(2, Math.ceil(Math.log10(Math.max(10, ...most) / 10)));
  const steps = Array.from({length: decades + 1}, (_, power) => ({at: 10 ** (power + 1), text: micros(10 ** (power + 1))}));
  const height = value => Math.min(1, Math.max(0, Math.log10(value / 10) / decades));
  const text = value => value === null ? 'none' : micros(value);
  plot('latency', [{values: half}, {values: most, second: true}], ages, begun, steps, height,
    `Latency: half of the requests within ${text(last(half))}, 99 of 100 within ${text(last(most))}`);
  section('latency-now', [last(half), last(most)], ([p50, p99]) => [
    make('span', {class: 'swatch'}), 'p50 ', make('b', {}, text(p50)),
    make('span', {class: 'swatch second'}), 'p99 ', make('b', {}, text(p99)),
  ]);
}

function title(episode) {
  const names = {start: 'first primary found', ordered: 'switchover', failover: 'failover', false_alarm: 'false alarm'};
  return names[episode.kind] ?? episode.kind;
}

// Those that were unfolded, or folded, by hand.
const folded = new Map();

function episodes() {
  if (status.episodes.length === 0) return make('p', {class: 'quiet'}, 'None since the proxy started.');
  return [...status.episodes].reverse().map((episode, index) => {
    const change = episode.primary_before === episode.primary_after ? `${episode.primary_after ?? 'nobody'} leads`
      : `${episode.primary_before ?? 'nobody'} → ${episode.primary_after ?? 'nobody'}`;
    const took = `${episode.ended ? 'took' : 'going on for'} ${millis(episode.duration_ms)}, writes held ${millis(episode.held_ms)}`;
    const epochs = `epoch ${episode.epoch_before} → ${episode.epoch_after}`;
    const notes = episode.notes.map(note => [`+${millis(note.after_ms)}`, note.phase, note.text]);
    const columns = [{name: 'after', number: true}, {name: 'phase'}, {name: 'what happened'}];
    const block = make('details', {class: 'timeline'},
      make('summary', {}, make('b', {}, title(episode)), ` ${change}, ${epochs}, ${took} `,
        make('span', {class: 'quiet'}, moment(episode.began))),
      timeline(episode), make('p', {class: 'quiet'}, toll(episode.toll)), table('Timeline', columns, notes));
    block.lastChild.classList.add('tight');
    block.open = folded.get(episode.began) ?? index === 0;
    block.firstChild.addEventListener('click', () => folded.set(episode.began, !block.open));
    return block;
  });
}

// How long it stayed in each phase, from left to right.
function timeline(episode) {
  const phases = [];
  for (const note of episode.notes) {
    if (phases.at(-1)?.name !== note.phase) phases.push({name: note.phase, from: note.after_ms});
  }
  const total = Math.max(episode.duration_ms, 1);
  const place = ms => 1000 * Math.min(ms / total, 1);
  const spans = phases.map(({name, from}, index) => {
    const until = phases[index + 1]?.from ?? total;
    // Each phase is drawn stronger than the one before.
    const opacity = .25 + .75 * (index + 1) / phases.length;
    const width = Math.max(3, place(until) - place(from));
    return draw('rect', {class: 'span', x: place(from), y: 0, width, height: 8, opacity},
      draw('title', {}, `${name}: ${millis(until - from)}`));
  });
  return draw('svg', {viewBox: '0 0 1000 8', height: 8, preserveAspectRatio: 'none', 'aria-hidden': 'true'}, spans);
}

function toll(toll) {
  const parts = [
    [toll.held_requests, n => `${several(n, 'request')} held, the longest for ${millis(toll.longest_hold_ms)}`],
    [toll.ambiguous_writes, n => `${several(n, 'write')} answered AMBIGUOUS`],
    [toll.reissued_requests, n => `${several(n, 'request')} sent again`],
    [toll.quarantined_bytes, n => `${bytes(n)} that only the old primary had are kept in a file`],
    [toll.given_up_bytes, n => `${bytes(n)} that only the old primary had are given up`],
  ];
  return parts.filter(([n]) => n > 0).map(([n, text]) => text(n)).join(', ') || 'It cost clients nothing that is counted.';
}

function lost() {
  at('lost-section').hidden = status.lost.length === 0;
  const rows = status.lost.flatMap(lost => lost.requests.map(one => [
    lost.node, moment(lost.at), one.request, `${millis(one.waited_ms)}${one.sent_twice ? ', sent twice' : ''}`,
  ]));
  const columns = [{name: 'node', code: true}, {name: 'when'}, {name: 'request', code: true}, {name: 'waited', number: true}];
  section('lost', rows, () => table('Unanswered requests', columns, rows));
}

function settings() {
  at('settings-section').hidden = status.settings_changed.length === 0;
  const columns = [{name: 'node', code: true}, {name: 'setting', code: true}, {name: 'now', code: true}, {name: 'before', code: true}];
  const rows = status.settings_changed.map(setting => [setting.node, setting.name, setting.value, setting.before]);
  section('settings', rows, () => table('Settings changed on nodes', columns, rows));
}

function details() {
  const found = status.details;
  at('details').hidden = !found;
  at('refused-section').hidden = Boolean(found);
  show('refused', found ? '' : `Not shown: ${status.details_refused ?? 'this proxy does not tell them'}.`);
  at('token-section').hidden = !status.token_needed;
  at('forget').hidden = !token;
  if (!found) {
    // What was shown to who had the token is not left in the page.
    ['slow', 'hot', 'big', 'clients'].forEach(id => section(id, null, () => []));
    return;
  }
  const none = text => make('p', {class: 'quiet'}, text);
  const slow = found.slow.map(one => [moment(one.at), micros(one.took_us), micros(one.held_us), one.server_us === null || one.server_us === undefined ? '–' : micros(one.server_us), one.request, `${one.client} ${one.client_name}`.trim(), one.node ?? 'proxy']);
  const slowColumns = [{name: 'when'}, {name: 'took', number: true}, {name: 'held', number: true}, {name: 'in Redis', number: true}, {name: 'request', code: true}, {name: 'client', code: true}, {name: 'where', code: true}];
  section('slow', slow, () => slow.length ? table('Slow requests', slowColumns, slow) : none('None took as long as log.slowlog.'));
  hot(found.hot_keys, none);
  big(found.big_keys, none);
  const clients = found.clients.map(one => [
    `${one.address} ${one.name}`.trim(), one.user, one.command, count(one.requests_per_second), count(one.requests), bytes(one.memory_bytes),
  ]);
  const columns = [
    {name: 'client', code: true}, {name: 'user', code: true}, {name: 'last command'}, {name: 'a second', number: true},
    {name: 'requests', number: true}, {name: 'holds', number: true},
  ];
  section('clients', clients, () => clients.length ? table('Top clients', columns, clients) : none('There are none.'));
}

function hot(found, none) {
  show('hot-note', found.one_in === 0 ? 'None are counted, since log.hotkeys_one_in is 0.'
    : `By a sample of one in ${count(found.one_in)} requests over ${millis(1000 * found.seconds)}: ${count(found.sampled)} keys.`);
  const share = key => `${(100 * key.at_least / Math.max(found.sampled, 1)).toFixed(1)} %`;
  const rows = found.keys.map(key => [key.key, String(key.db), share(key), `${count(key.at_least)} to ${count(key.at_most)}`]);
  const columns = [{name: 'key', code: true}, {name: 'database', number: true}, {name: 'share', number: true}, {name: 'sampled', number: true}];
  section('hot', rows, () => rows.length ? table('Hot keys', columns, rows) : none('None stands out.'));
}

function big(found, none) {
  show('big-note', !found || found.min_bytes === null ? 'None are remembered, since log.bigkeys_min is 0.'
    : `Requests and replies of ${bytes(found.min_bytes)} and more, over ${millis(1000 * found.seconds)}.`);
  const row = kind => one => [one.key, kind, one.command, bytes(one.bytes), count(one.times), String(one.db), moment(one.at), `${one.client} ${one.client_name}`.trim(), one.node];
  const rows = found ? [...found.requests.map(row('request')), ...found.replies.map(row('reply'))] : [];
  const columns = [{name: 'key', code: true}, {name: 'what'}, {name: 'command'}, {name: 'largest', number: true}, {name: 'times', number: true},
    {name: 'database', number: true}, {name: 'when'}, {name: 'client', code: true}, {name: 'node', code: true}];
  section('big', rows, () => rows.length ? table('Big keys', columns, rows) : none('None was as large.'));
}

// What the dialog was opened for: a primary that changes meanwhile is not the one that somebody agreed to replace.
let agreed = null;
let ordering = false;

function orders() {
  at('switch').hidden = !status.may_order;
  if (at('dialog').open) proposal();
}

function proposal() {
  const changed = status.primary !== agreed;
  const target = at('target').value;
  show('confirm', target ? `Switch over to ${target}` : 'Switch over to the best');
  at('confirm').disabled = ordering || changed || !status.may_order;
  if (changed && !ordering && !at('result').textContent) {
    show('result', `The primary has changed meanwhile: ${status.primary ?? 'none'} leads.`);
  }
}

function open() {
  agreed = status.primary;
  show('dialog-primary', agreed ?? 'not known');
  show('result', '');
  show('cancel', 'Cancel');
  const others = status.nodes.filter(node => node.address !== agreed);
  const about = node => node.ineligible ? `${node.address} (now: ${node.ineligible})` : node.address;
  at('target').replaceChildren(
    make('option', {value: ''}, 'The best of the replicas'),
    ...others.map(node => make('option', {value: node.address}, about(node))));
  at('dialog').showModal();
  at('cancel').focus();
  proposal();
}

async function order() {
  const target = at('target').value;
  ordering = true;
  proposal();
  show('result', `${agreed ?? 'The primary'} is being replaced …`);
  let told;
  try {
    const path = `/api/switchover${target ? `?to=${encodeURIComponent(target)}` : ''}`;
    const response = await fetch(path, {method: 'POST', headers: {'X-Redhold': '1', ...bearer()}});
    const text = await response.text();
    told = response.headers.get('Content-Type') === 'application/json' ? JSON.parse(text) : {ok: false, answer: text.trim(), episode: null};
  } catch (fault) {
    told = {ok: false, answer: `no answer came (${fault.message}); it may have been carried out`, episode: null};
  }
  ordering = false;
  const took = told.episode ? ` It took ${millis(told.episode.duration_ms)}; writes were held for ${millis(told.episode.held_ms)}.` : '';
  show('result', told.ok ? `Done: ${told.answer}.${took}` : `Not done: ${told.answer}.`);
  show('cancel', 'Close');
  if (told.ok) agreed = null;
  at('cancel').focus();
  proposal();
  look();
}

at('switch').addEventListener('click', open);
at('cancel').addEventListener('click', () => at('dialog').close());
at('confirm').addEventListener('click', order);
at('target').addEventListener('change', proposal);
at('token-form').addEventListener('submit', event => {
  event.preventDefault();
  keep(at('token').value);
});
at('forget').addEventListener('click', () => keep(null));

function keep(value) {
  token = value;
  at('token').value = '';
  if (value) sessionStorage.setItem(TOKEN, value); else sessionStorage.removeItem(TOKEN);
  look();
}

// Lines are as long as there is room.
addEventListener('resize', () => status && render());
setInterval(look, BEAT);
look();
