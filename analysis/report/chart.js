/* Charts as inline SVG, drawn at the width of their place and again when that changes. */
'use strict';

R.svg = function (tag, attributes, ...children) {
	const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
	for (const [k, v] of Object.entries(attributes || {})) if (v !== null && v !== undefined) e.setAttribute(k, v);
	e.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined));
	return e;
};

/* A place for a chart; draw(width) gives its SVG. redraw() after its data have changed. */
R.chart = function (draw, attributes) {
	const place = R.h('div', { class: 'chart', ...attributes });
	let width = 0;
	place.redraw = () => {
		if (width > 0) place.replaceChildren(draw(width));
	};
	new ResizeObserver(() => {
		const now = Math.round(place.clientWidth);
		if (now > 0 && now !== width) {
			width = now;
			place.redraw();
		}
	}).observe(place);
	return place;
};

/* Round numbers that cover [low, high], about `wanted` of them. */
R.ticks = function (low, high, wanted = 5) {
	if (!(high > low)) return [low];
	const raw = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(raw));
	const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw * 0.999);
	const out = [];
	for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) out.push(Number((i * step).toPrecision(12)));
	return out;
};

R.scale = (d0, d1, r0, r1) => (v) => r0 + ((v - d0) / (d1 - d0 || 1)) * (r1 - r0);

/* Frame with axes: {svg, x, y, plot}; x and y map data to pixels. box: {width, height, left, x: [lo, hi], y: [lo, hi] or null, ...} */
R.frame = function (box) {
	const left = box.left || 52, right = 12, top = 10, bottom = 44, s = R.svg;
	const svg = s('svg', { width: box.width, height: box.height, viewBox: `0 0 ${box.width} ${box.height}`, role: 'img',
		'aria-label': box.label || box.ylabel || box.xlabel });
	const x = R.scale(box.x[0], box.x[1], left, box.width - right);
	const y = box.y ? R.scale(box.y[0], box.y[1], box.height - bottom, top) : null;
	for (const t of R.ticks(box.x[0], box.x[1], box.width < 420 ? 4 : 6)) {
		svg.append(s('line', { class: 'grid', x1: x(t), x2: x(t), y1: top, y2: box.height - bottom }),
			s('text', { class: 'tick', x: x(t), y: box.height - bottom + 16, 'text-anchor': 'middle' }, R.tick(t)));
	}
	for (const t of box.y ? R.ticks(box.y[0], box.y[1], 5) : []) {
		svg.append(s('line', { class: 'grid', x1: left, x2: box.width - right, y1: y(t), y2: y(t) }),
			s('text', { class: 'tick', x: left - 6, y: y(t) + 4, 'text-anchor': 'end' }, R.tick(t)));
	}
	svg.append(s('text', { class: 'axis', x: (left + box.width - right) / 2, y: box.height - 6, 'text-anchor': 'middle' }, box.xlabel));
	if (box.ylabel) {
		const cy = (top + box.height - bottom) / 2;
		svg.append(s('text', { class: 'axis', x: 13, y: cy, 'text-anchor': 'middle', transform: `rotate(-90 13 ${cy})` }, box.ylabel));
	}
	return { svg, x, y, left, right: box.width - right, top, bottom: box.height - bottom };
};

R.tick = (t) => (t !== 0 && (Math.abs(t) < 1e-3 || Math.abs(t) >= 1e5) ? t.toExponential(0) : String(t)).replace('-', '−');

R.path = function (xs, ys, fx, fy) {
	let d = '', pen = 'M';
	for (let i = 0; i < xs.length; i++) {
		if (ys[i] === null || Number.isNaN(ys[i])) {
			pen = 'M';
			continue;
		}
		d += `${pen}${fx(xs[i]).toFixed(1)} ${fy(ys[i]).toFixed(1)}`;
		pen = 'L';
	}
	return d;
};

/* Range of values, a little wider, or [0, 1]. */
R.range = function (values) {
	let low = Infinity, high = -Infinity;
	for (const v of values) {
		if (v === null || !Number.isFinite(v)) continue;
		if (v < low) low = v;
		if (v > high) high = v;
	}
	if (low > high) return [0, 1];
	if (low === high) return [low - 0.5, high + 0.5];
	const pad = (high - low) * 0.04;
	return [low >= 0 && low < (high - low) * 0.2 ? 0 : low - pad, high + pad];
};

/* Lines with bands. series: {method, name, x, y, low, high, thin}; a pointer over the chart reads the values. */
R.lines = function (width, series, xlabel, ylabel) {
	const s = R.svg, height = Math.min(380, Math.max(260, width * 0.6));
	const all = series.flatMap((l) => [l.y, l.low || [], l.high || []].flat());
	const xs = series.length ? series[0].x : [0, 1], many = series.filter((l) => l.low).length > 6;
	const f = R.frame({ width, height, x: [Math.min(0, xs[0]), xs[xs.length - 1]], y: R.range(all), xlabel, ylabel });
	for (const l of series) {
		if (!l.low) continue;
		const back = [...l.x].reverse(), up = R.path(l.x, l.high, f.x, f.y);
		f.svg.append(s('path', { class: many ? 'band many' : 'band', d: `${up}${R.path(back, [...l.low].reverse(), f.x, f.y).replace('M', 'L')}Z`,
			style: `fill:${R.colour(l.method)}` }));
	}
	for (const l of series) {
		f.svg.append(s('path', { class: l.thin ? 'line thin' : 'line', d: R.path(l.x, l.y, f.x, f.y), 'data-name': l.name,
			style: `stroke:${R.colour(l.method)}`, 'stroke-dasharray': l.thin ? '' : R.dash(l.method) }));
	}
	if (series.length) R.readout(f, series);
	return f.svg;
};

/* A vertical line at the nearest abscissa, and the values there. */
R.readout = function (f, series) {
	const s = R.svg, cursor = s('line', { class: 'cursor', y1: f.top, y2: f.bottom, visibility: 'hidden' });
	const box = s('g', { class: 'readout', visibility: 'hidden' });
	f.svg.append(cursor, box);
	f.svg.addEventListener('pointermove', (e) => {
		const r = f.svg.getBoundingClientRect(), px = e.clientX - r.left, xs = series[0].x;
		let k = 0;
		for (let i = 1; i < xs.length; i++) if (Math.abs(f.x(xs[i]) - px) < Math.abs(f.x(xs[k]) - px)) k = i;
		const at = f.x(xs[k]), lines = series.map((l) => [l, `${l.name} ${R.number(l.y[k])}`]);
		const w = 14 + 6.6 * Math.max(...lines.map((l) => l[1].length), 12), left = at + w + 14 > f.right ? at - w - 8 : at + 8;
		cursor.setAttribute('x1', at);
		cursor.setAttribute('x2', at);
		box.replaceChildren(s('rect', { x: left, y: f.top + 4, width: w, height: 22 + 16 * lines.length, rx: 5 }),
			s('text', { x: left + 8, y: f.top + 20 }, `at ${R.number(xs[k])}`),
			...lines.map((l, i) => s('text', { x: left + 8, y: f.top + 37 + 16 * i, style: `fill:${R.colour(l[0].method)}` }, l[1])));
		cursor.setAttribute('visibility', 'visible');
		box.setAttribute('visibility', 'visible');
	});
	f.svg.addEventListener('pointerleave', () => {
		cursor.setAttribute('visibility', 'hidden');
		box.setAttribute('visibility', 'hidden');
	});
};

/* Legend of methods; a click toggles one. hidden: Set of method indices that is changed. */
R.legend = function (methods, hidden, change) {
	return R.h('div', { class: 'legend' }, methods.map((m) => {
		const b = R.h('button', { type: 'button', 'aria-pressed': String(!hidden.has(m)), 'data-method': m, onclick: () => {
			if (hidden.has(m)) hidden.delete(m);
			else hidden.add(m);
			b.setAttribute('aria-pressed', String(!hidden.has(m)));
			change();
		} }, R.swatch(m), R.model.methods[m].label);
		return b;
	}));
};
