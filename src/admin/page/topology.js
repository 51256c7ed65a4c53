// Who follows whom, as the nodes say it, and what the proxy makes of it.

const CARD = {height: 78, gap: 16, between: 56, inset: 12};

// The proxy, then nodes by how far they stand from whom they follow; where there is no room, below each other.
function topology(status) {
  const svg = at('topology');
  const width = Math.max(svg.clientWidth, 240);
  const cards = [proxyCard(status), ...status.nodes.map(node => nodeCard(node, status))];
  const depths = new Map([[null, 0]]);
  const depth = (address, seen) => {
    if (address === status.primary) return 1;
    const node = status.nodes.find(other => other.address === address);
    const known = node && node.up && status.nodes.some(other => other.address === node.follows);
    // Nodes that follow each other in a circle stand beside the primary.
    return known && !seen.includes(address) ? Math.min(depth(node.follows, [...seen, address]) + 1, 3) : 2;
  };
  status.nodes.forEach(node => depths.set(node.address, depth(node.address, [])));
  const place = width >= 640 ? inColumns : inRows;
  const height = place(cards, depths, status, width);
  const arrows = cards.flatMap(card => card.from === undefined ? [] : arrow(cards.find(other => other.address === card.from), card));
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('height', height);
  svg.setAttribute('aria-label', cards.map(card => [card.name, card.label, ...card.lines].join(', ')).join('; '));
  svg.replaceChildren(...arrows, ...cards.map(drawn));
  svg.querySelectorAll('text[data-room]').forEach(text => fit(text, Number(text.dataset.room)));
}

function proxyCard(status) {
  const writes = status.held ? `writes held for ${millis(status.held.for_ms)}` : status.writable ? 'writes go on' : 'not writable';
  return {
    address: null, name: 'Redhold', label: `epoch ${status.epoch}`, style: '', trouble: !status.writable,
    lines: [writes, `${several(status.clients, 'client')}, ${several(status.held_requests, 'request')} held`],
  };
}

function nodeCard(node, status) {
  const leads = node.address === status.primary;
  const facts = leads ? [] : [
    unless(node.lag_bytes, lag => `${bytes(lag)} behind`), unless(node.staleness_ms, age => `${millis(age)} old`),
  ];
  facts.push(unless(node.ping_us, ping => `ping ${micros(ping)}`));
  const about = [unless(node.version, version => version), unless(node.keys, keys => several(keys, 'key')), node.zone];
  const trouble = node.up ? node.remark || node.works_on : node.error || 'down';
  const followed = node.follows && node.follows !== status.primary ? `follows ${node.follows}` : '';
  const known = status.nodes.some(other => other.address === node.follows);
  return {
    address: node.address, name: node.address, label: role(node, status), style: node.up ? (leads ? 'leads' : '') : 'down',
    lines: [facts.filter(Boolean).join(' · '), trouble || followed || about.filter(Boolean).join(' · ')],
    trouble: Boolean(trouble),
    from: leads ? null : node.up && known ? node.follows : undefined,
    broken: leads ? !status.writable : node.link_up === false,
  };
}

function role(node, status) {
  if (!node.up) return `was ${node.role}`;
  return node.address === status.primary && node.role !== 'primary' ? 'primary by decision' : node.role;
}

function inColumns(cards, depths, status, width) {
  const columns = Math.max(3, Math.max(...depths.values()) + 1);
  const wide = Math.min(320, (width - CARD.between * (columns - 1)) / columns);
  const left = (width - wide * columns - CARD.between * (columns - 1)) / 2;
  const heights = Array(columns).fill(0);
  for (const card of cards) {
    const column = depths.get(card.address);
    Object.assign(card, {column, x: left + column * (wide + CARD.between), y: heights[column], width: wide});
    heights[column] += CARD.height + CARD.gap;
  }
  const height = Math.max(...heights) - CARD.gap;
  for (const card of cards) card.y += 2 + (height - heights[card.column] + CARD.gap) / 2;
  return height + 4;
}

function inRows(cards, depths, status, width) {
  const order = [...cards].sort((a, b) => depths.get(a.address) - depths.get(b.address));
  order.forEach((card, row) => {
    const indent = 2 + depths.get(card.address) * 18;
    Object.assign(card, {x: indent, y: 2 + row * (CARD.height + CARD.gap), width: width - indent - 2, below: true});
  });
  return order.length * (CARD.height + CARD.gap) - CARD.gap + 4;
}

function arrow(from, to) {
  const end = {x: to.x - 1, y: to.y + CARD.height / 2};
  let path;
  if (to.below) {
    const x = from.x + 8;
    path = `M${x} ${from.y + CARD.height}V${end.y}H${end.x - 6}`;
  } else {
    const start = {x: from.x + from.width, y: from.y + CARD.height / 2};
    const bend = Math.max((end.x - start.x) / 2, 30);
    path = `M${start.x} ${start.y}C${start.x + bend} ${start.y} ${end.x - bend} ${end.y} ${end.x - 6} ${end.y}`;
  }
  const kind = to.broken ? 'broken' : 'live';
  const head = `M${end.x} ${end.y}l-8 -4.5v9z`;
  return [draw('path', {class: `arrow ${kind}`, d: path}), draw('path', {class: `head ${kind}`, d: head})];
}

function drawn(card) {
  const x = card.x + CARD.inset;
  const room = card.width - 2 * CARD.inset;
  const line = (text, index) => draw('text', {
    x, y: card.y + 44 + index * 20, class: index === card.lines.length - 1 && card.trouble ? 'trouble' : 'soft', 'data-room': room,
  }, text);
  // Some 7 units a letter: what is left of the line is the name's.
  return draw('g', {},
    draw('rect', {class: `card ${card.style}`, x: card.x, y: card.y, width: card.width, height: CARD.height, rx: 9}),
    draw('text', {class: 'name', x, y: card.y + 23, 'data-room': room - card.label.length * 7}, card.name),
    draw('text', {class: 'soft', x: x + room, y: card.y + 23, 'text-anchor': 'end'}, card.label),
    card.lines.map(line));
}
