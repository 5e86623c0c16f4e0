/* Images beside the maps of every method. Cards are added as one scrolls, and pictures loaded as they come into view. */
'use strict';

R.CARDS = 48; /* added at a time */

/* Quantities by which one can sort and filter: {key, label, of(row)} */
R.quantities = function (images) {
	const model = R.model, out = [];
	const add = (group, key, label, values) => values && out.push({ group, key, label, of: (i) => values[i] });
	out.push({ group: 'image', key: 'id', label: 'image number', of: (i) => i });
	add('image', 'confidence', 'confidence of the prediction', images.confidence);
	add('image', 'probability', 'probability of the target', images.probability);
	add('image', 'region_share', 'share of the picture that the object covers', images.region_share);
	add('disagreement', 'disagreement', 'disagreement of the maps', images.disagreement);
	model.figures.forEach((f, k) => {
		if (!f.main || f.metric === '' || model.methods.length < 2) return;
		out.push({ group: 'disagreement', key: `spread:${k}`, label: `spread of ${R.figureName(f)}`, of: (i) => R.spreadOf(images.figures[k], i) });
	});
	model.figures.forEach((f, k) => model.methods.forEach((m, j) => {
		if (f.main) add(R.figureName(f), `${k}:${j}`, `${R.figureName(f)}, ${m.label}`, images.figures[k][j]);
	}));
	return out;
};

/* Largest minus smallest over the methods whose maps are compared (not the random control, but where there is nothing else). */
R.spreadOf = function (columns, i) {
	let low = Infinity, high = -Infinity;
	columns.forEach((c, m) => {
		if (!c || !R.model.compared.includes(m) || !Number.isFinite(c[i])) return;
		low = Math.min(low, c[i]);
		high = Math.max(high, c[i]);
	});
	return high >= low ? high - low : NaN;
};

R.statusNames = ['pending', 'done', 'failed'];

/* filter: {status, cls, text, key, low, high, shown, sort, down} -> rows in order */
R.filterRows = function (images, quantities, filter) {
	const by = (key) => quantities.find((q) => q.key === key) || quantities[0];
	const value = by(filter.key), order = by(filter.sort), text = filter.text.toLowerCase(), rows = [];
	for (let i = 0; i < images.count; i++) {
		const status = images.status[i], right = images.prediction[i] === images.label[i];
		if (filter.shown && images.tile[i] < 0 && status === 1) continue;
		if (filter.status === 'right' ? status !== 1 || !right : filter.status === 'wrong' ? status !== 1 || right
			: filter.status !== '' && R.statusNames[status] !== filter.status) continue;
		if (filter.cls !== '' && images.label[i] !== Number(filter.cls)) continue;
		if (text && !images.path[i].toLowerCase().includes(text)) continue;
		if (filter.low !== null && !(value.of(i) >= filter.low) || filter.high !== null && !(value.of(i) <= filter.high)) continue;
		rows.push(i);
	}
	const at = new Float64Array(images.count);
	for (const i of rows) at[i] = order.of(i);
	const sign = filter.down ? -1 : 1;
	return rows.sort((a, b) => {
		const p = Number.isNaN(at[a]), q = Number.isNaN(at[b]);
		return p || q ? p - q || a - b : sign * (at[a] - at[b]) || a - b; /* what has no value comes last */
	});
};

/* ---- cards ---- */

R.boxLines = (boxes) => boxes.map((b) => R.h('i', { class: 'box',
	style: `left:${100 * b[0]}%;top:${100 * b[1]}%;width:${100 * (b[2] - b[0])}%;height:${100 * (b[3] - b[1])}%` }));

/* The picture, and over it a map of opacity --overlay where there is one. */
R.tile = function (picture, map, boxes, label, swatch) {
	return R.h('figure', { class: map ? 'tile map' : 'tile' }, R.h('div', { class: picture ? 'stack' : 'stack bare' },
		picture ? R.h('img', { src: picture, alt: label, decoding: 'async' }) : null,
		map ? R.h('img', { class: 'over', src: map, alt: label, decoding: 'async' }) : null, R.boxLines(boxes)),
	R.h('figcaption', {}, swatch || null, label));
};

R.fillTiles = function (place, tile) {
	const tiles = R.model.methods.map((m, j) => (tile.maps[j] ? R.tile(tile.picture, tile.maps[j], tile.boxes, m.label, R.swatch(j)) : null));
	place.replaceChildren(...[tile.picture ? R.tile(tile.picture, null, tile.boxes, 'picture') : null, ...tiles].filter(Boolean));
	place.dataset.state = 'loaded';
};

R.loadTiles = async function (place, model, position) {
	const size = model.chunk, chunk = await R.load(`${model.id}/thumbs/${Math.floor(position / size)}`);
	R.fillTiles(place, chunk[position % size]);
};

R.card = function (images, row, order, seen) {
	const status = images.status[row], right = images.prediction[row] === images.label[row], model = R.model;
	const place = R.h('div', { class: 'tiles', 'data-state': images.tile[row] < 0 ? 'none' : 'waiting' });
	const value = order.key === 'id' ? null : R.h('span', { class: 'value' }, `${order.label} `, R.h('b', {}, R.number(order.of(row))));
	const head = R.h('header', {}, R.h('b', {}, `#${row}`), ' ', R.className(images.label[row]),
		status === 1 && !right ? R.h('span', { class: 'tag wrong' }, `predicted ${R.className(images.prediction[row])}`) : null,
		status !== 1 ? R.h('span', { class: `tag ${R.statusNames[status]}` }, R.statusNames[status]) : null);
	if (images.tile[row] >= 0) seen.observe(place);
	else place.append(R.h('p', { class: 'none' }, status === 2 ? images.error[row] : status === 0 ? 'not yet done' : 'maps not written: not in the sample'));
	place.load = () => R.loadTiles(place, model, images.tile[row]);
	return R.h('article', { class: 'card', 'data-row': row, tabindex: 0, onclick: () => R.showDetail(row, null),
		onkeydown: (e) => e.key === 'Enter' && R.showDetail(row, null) }, head, place,
	R.h('footer', {}, value, R.h('span', { class: 'path', title: images.path[row] }, R.h('bdi', { dir: 'ltr' }, images.path[row]))));
};

/* ---- the section ---- */

R.colourBars = function () {
	const bars = R.core.scales, signed = R.model.methods.some((m) => m.signed), plain = R.model.methods.some((m) => m.signed === false);
	const bar = (name, low, high) => R.h('span', { class: 'colourbar' }, low,
		R.h('i', { style: `background:linear-gradient(90deg,${bars[name].join(',')})` }), high);
	return R.h('div', { class: 'bars' }, plain ? bar('sequential', '0', '1') : null, signed ? bar('diverging', '−1', '+1') : null,
		R.h('span', { class: 'small' }, R.core.scale_rule));
};

R.range01 = function (id, value, change) {
	return R.h('input', { type: 'range', id, min: 0, max: 100, value, oninput: (e) => change(Number(e.target.value)) });
};

R.galleryTools = function (images, quantities, filter, update) {
	const set = (key, convert = (v) => v) => (v) => {
		filter[key] = convert(v);
		update();
	};
	const groups = new Map();
	for (const q of quantities) groups.set(q.group, [...(groups.get(q.group) || []), [q.key, q.label]]);
	const list = [...groups].map(([group, options]) => ({ group, options }));
	const limit = (id, key) => R.h('input', { type: 'number', id, step: 'any', placeholder: key === 'low' ? 'from' : 'to',
		oninput: (e) => set(key, (v) => (v === '' ? null : Number(v)))(e.target.value) });
	const labels = [...new Set(images.label)].sort((a, b) => a - b);
	const down = R.h('button', { type: 'button', id: 'g-down', title: 'turn the order round', onclick: () => {
		filter.down = !filter.down;
		down.textContent = filter.down ? '↓ largest first' : '↑ smallest first';
		update();
	} }, '↑ smallest first');
	const boxes = R.h('input', { type: 'checkbox', id: 'g-boxes', checked: true,
		onchange: () => document.body.classList.toggle('no-boxes', !boxes.checked) });
	const shown = R.h('input', { type: 'checkbox', id: 'g-shown', checked: true, onchange: () => set('shown')(shown.checked) });
	return [R.h('div', { class: 'tools' },
		R.labelled('sort by', R.select('g-sort', list, set('sort'))), down,
		R.labelled('status', R.select('g-status', [['', 'any'], ['done', 'done'], ['right', 'classified right'], ['wrong', 'classified wrong'],
			['failed', 'failed'], ['pending', 'pending']], set('status'))),
		R.labelled('class', R.select('g-class', [['', 'any'], ...labels.map((l) => [l, R.className(l)])], set('cls'))),
		R.labelled('path contains', R.h('input', { type: 'search', id: 'g-text', oninput: (e) => set('text')(e.target.value) })),
		R.labelled('value of', R.select('g-key', list, set('key'))), limit('g-low', 'low'), limit('g-high', 'high')),
	R.h('div', { class: 'tools' },
		R.labelled('overlay', R.range01('g-overlay', 75, (v) => document.body.style.setProperty('--overlay', v / 100))),
		R.model.has_boxes ? R.h('label', { class: 'check' }, boxes, ' boxes') : null,
		R.model.sampled ? R.h('label', { class: 'check' }, shown, ' only images whose maps were written') : null, R.colourBars())];
};

/* Best, median and worst of each figure and method, as buttons that open the image. */
R.picks = function () {
	const model = R.model;
	const rows = model.picks.map((p) => R.h('tr', {}, R.h('td', {}, R.figureName(model.figures[p.figure])),
		R.h('td', {}, R.swatch(p.method), model.methods[p.method].label),
		['best', 'median', 'worst'].map((k) => R.h('td', {}, p[k] === null ? '–' : R.h('button', { type: 'button', class: 'link', 'data-pick': k,
			onclick: () => R.showDetail(p[k][0], null) }, `#${p[k][0]}`, R.h('span', { class: 'n' }, R.number(p[k][1])))))));
	return R.h('details', { class: 'picks' }, R.h('summary', {}, 'Best, median and worst image of each figure'), R.h('div', { class: 'scroll' },
		R.h('table', {}, R.h('thead', {}, R.h('tr', {}, ['figure', 'method', 'best', 'median', 'worst'].map((t) => R.h('th', {}, t)))),
			R.h('tbody', {}, rows))));
};

R.drawGallery = function (images, body) {
	const model = R.model, quantities = R.quantities(images), across = model.methods.length + 1;
	const filter = { status: '', cls: '', text: '', key: 'id', low: null, high: null, shown: true, sort: 'id', down: false };
	const cards = R.h('div', { class: 'cards', style: `--tiles:${across > 5 ? Math.ceil(across / 2) : across}` }), end = R.h('div', { id: 'g-end' });
	const said = R.h('p', { id: 'g-count', class: 'said', role: 'status' });
	let rows = [], at = 0;
	const seen = new IntersectionObserver((entries) => {
		for (const e of entries) {
			if (!e.isIntersecting || e.target.dataset.state !== 'waiting') continue;
			e.target.dataset.state = 'loading';
			seen.unobserve(e.target);
			e.target.load();
		}
	}, { rootMargin: '400px' });
	const more = () => {
		const order = quantities.find((q) => q.key === filter.sort), next = rows.slice(at, at + R.CARDS);
		cards.append(...next.map((row) => R.card(images, row, order, seen)));
		at += next.length;
		return next.length > 0;
	};
	const bottom = new IntersectionObserver((entries) => {
		if (entries.some((e) => e.isIntersecting) && more()) { /* ask again: the end may still be in sight */
			bottom.unobserve(end);
			bottom.observe(end);
		}
	}, { rootMargin: '800px' });
	const update = () => {
		seen.disconnect();
		rows = R.filterRows(images, quantities, filter);
		R.galleryRows = rows;
		at = 0;
		cards.replaceChildren();
		said.textContent = `${R.count(rows.length)} of ${R.count(images.count)} images`;
		bottom.unobserve(end);
		bottom.observe(end);
	};
	body.append(R.h('p', { class: 'lead' }, model.shown), R.picks(), ...R.galleryTools(images, quantities, filter, update), said, cards, end);
	update();
};

R.sections.push({ id: 'gallery', draw(body) {
	const model = R.model;
	document.body.style.setProperty('--overlay', 0.75);
	new IntersectionObserver(async (entries, me) => { /* the columns of all images are not needed before */
		if (!entries.some((e) => e.isIntersecting)) return;
		me.disconnect();
		const images = await R.images();
		if (R.model === model) R.drawGallery(images, body);
	}, { rootMargin: '300px' }).observe(body);
} });
