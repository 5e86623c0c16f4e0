/* Distributions of figures, and figures against confidence, object size and Monte-Carlo error. */
'use strict';

/* ---- distributions: model.spread[figure] = {edges, methods: [{counts, quartiles: [min, q1, median, q3, max]} or null]} ---- */

R.violins = function (k) {
	const spread = R.model.spread[k], f = R.model.figures[k];
	const shown = spread.methods.map((d, m) => [d, m]).filter((p) => p[0]);
	return R.chart((width) => {
		const s = R.svg, row = 46, left = Math.min(170, width * 0.3), height = row * shown.length + 58;
		const edges = spread.edges;
		const g = R.frame({ width, height, left, x: [edges[0], edges[edges.length - 1]], y: null, xlabel: `${R.figureName(f)} ${R.better(f)}` });
		shown.forEach(([d, m], i) => {
			const middle = 10 + row * (i + 0.5), top = Math.max(...d.counts), half = row * 0.42;
			const first = d.counts.findIndex((c) => c), last = d.counts.findLastIndex((c) => c) + 1, counts = d.counts.slice(first, last);
			const mid = counts.map((_, b) => (edges[first + b] + edges[first + b + 1]) / 2);
			const up = counts.map((c) => middle - (half * c) / top), down = counts.map((c) => middle + (half * c) / top);
			const id = (v) => v, outline = R.path(mid, up, g.x, id) + R.path([...mid].reverse(), [...down].reverse(), g.x, id).replace('M', 'L');
			const [, q1, median, q3] = d.quartiles;
			g.svg.append(s('path', { class: 'violin', d: `${outline}Z`, style: `fill:${R.colour(m)};stroke:${R.colour(m)}` },
				s('title', {}, `${R.model.methods[m].label}: median ${R.number(median)}, middle half ${R.number(q1)} to ${R.number(q3)}`)),
			s('line', { class: 'quartiles', x1: g.x(q1), x2: g.x(q3), y1: middle, y2: middle }),
			s('circle', { class: 'median', cx: g.x(median), cy: middle, r: 4 }),
			s('text', { class: 'name', x: left - 8, y: middle + 4, 'text-anchor': 'end' }, R.model.methods[m].label));
		});
		return g.svg;
	});
};

R.sections.push({ id: 'distributions', draw(body) {
	const options = R.model.figures.map((f, k) => k).filter((k) => R.model.spread[k] && R.model.figures[k].main);
	if (!options.length) {
		body.append(R.h('p', {}, 'There are no figures yet.'));
		return;
	}
	body.append(R.h('p', { class: 'lead' }, 'Every image is in the outline (40 bins); the bar is the middle half, the dot the median.'),
		R.h('div', { class: 'charts' }, options.map((k) => R.h('figure', { 'data-figure': k },
			R.h('figcaption', {}, R.figureName(R.model.figures[k])), R.violins(k)))));
} });

/* ---- relations: model.relations[abscissa] = {name, label, rho: [figure][method]} ---- */

R.abscissa = function (images, name, m) {
	if (name !== 'mc_error') return images[name];
	const k = R.model.figures.findIndex((f) => f.metric === '' && f.figure === 'mc_error');
	return k < 0 ? null : images.figures[k][m];
};

/* Every step-th image: 1,200 points a method show as much as 50,000. */
R.points = function (images, name, k, m) {
	const xs = R.abscissa(images, name, m), ys = images.figures[k][m], out = [];
	if (!xs || !ys) return out;
	const step = Math.max(1, Math.ceil(images.count / 1200));
	for (let i = 0; i < images.count; i += step) if (Number.isFinite(xs[i]) && Number.isFinite(ys[i])) out.push([xs[i], ys[i], i]);
	return out;
};

R.scatter = function (images, relation, k, hidden) {
	return R.chart((width) => {
		const s = R.svg, f = R.model.figures[k], height = Math.min(420, Math.max(280, width * 0.6));
		const sets = R.model.methods.map((_, m) => (hidden.has(m) ? [] : R.points(images, relation.name, k, m)));
		const g = R.frame({ width, height, x: R.range(sets.flat().map((p) => p[0])), y: R.range(sets.flat().map((p) => p[1])),
			xlabel: relation.label, ylabel: R.figureName(f) });
		sets.forEach((points, m) => {
			const dots = s('g', { style: `fill:${R.colour(m)};color:${R.colour(m)}`, class: R.ring(m) ? 'dots ring' : 'dots' });
			for (const p of points) {
				dots.append(s('circle', { cx: g.x(p[0]).toFixed(1), cy: g.y(p[1]).toFixed(1), r: points.length > 400 ? 2 : 3, 'data-image': p[2] },
					s('title', {}, `${R.model.methods[m].label}, image ${p[2]}: ${R.number(p[0])}, ${R.number(p[1])}`)));
			}
			g.svg.append(dots);
		});
		g.svg.addEventListener('click', (e) => {
			if (e.target.dataset && e.target.dataset.image) R.showDetail(Number(e.target.dataset.image), null);
		});
		return g.svg;
	});
};

R.rhoTable = function (relation, k) {
	return R.h('table', { class: 'rho' }, R.h('thead', {}, R.h('tr', {}, R.h('th', {}, 'method'), R.h('th', {}, 'Spearman’s ρ'))),
		R.h('tbody', {}, R.model.methods.map((m, i) => R.h('tr', {}, R.h('td', {}, R.swatch(i), m.label),
			R.h('td', { class: 'num', 'data-value': relation.rho[k][i] }, R.number(relation.rho[k][i], 2))))));
};

R.sections.push({ id: 'relations', draw(body) {
	const model = R.model, options = R.figureOptions((f) => f.main && f.metric !== '');
	if (!options.length || !model.relations.length) {
		body.append(R.h('p', {}, 'There are no figures yet.'));
		return;
	}
	const chosen = { k: Number(options[0][0]), r: 0 }, hidden = new Set();
	const place = R.h('div', { class: 'charts wide' });
	let chart = null;
	const draw = async () => {
		const images = await R.images();
		if (R.model !== model) return;
		const relation = model.relations[chosen.r];
		chart = R.scatter(images, relation, chosen.k, hidden);
		place.replaceChildren(R.h('figure', {}, chart), R.rhoTable(relation, chosen.k));
	};
	const redraw = () => chart && chart.redraw();
	body.append(R.h('p', { class: 'lead' }, 'One dot per image and method'
		+ (model.images > 1200 ? ', of which some 1,200 a method are drawn; ρ is that of all images. ' : '. ') + 'A click on a dot opens its image.'),
	R.h('div', { class: 'tools' }, R.labelled('figure', R.select('relation-figure', options, (k) => {
		chosen.k = Number(k);
		draw();
	})), R.labelled('against', R.select('relation-x', model.relations.map((r, i) => [i, r.label]), (i) => {
		chosen.r = Number(i);
		draw();
	})), R.legend(model.methods.map((_, m) => m), hidden, redraw)), place);
	new IntersectionObserver((entries, me) => {
		if (entries.some((e) => e.isIntersecting)) {
			me.disconnect();
			draw();
		}
	}, { rootMargin: '300px' }).observe(place);
} });
