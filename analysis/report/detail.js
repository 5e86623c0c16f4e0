/* One image at full size: its maps, its figures, its curves. */
'use strict';

R.detailFigures = function (images, row) {
	const model = R.model, keep = model.figures.map((f, k) => k).filter((k) => model.figures[k].main);
	return R.h('div', { class: 'scroll' }, R.h('table', { class: 'figures' },
		R.h('thead', {}, R.h('tr', {}, R.h('th', {}, 'method'), keep.map((k) => R.h('th', { title: model.figures[k].help },
			`${R.figureName(model.figures[k])} ${R.better(model.figures[k])}`)))),
		R.h('tbody', {}, model.methods.map((m, j) => R.h('tr', {}, R.h('td', {}, R.swatch(j), m.label), keep.map((k) => {
			const column = images.figures[k][j];
			return R.h('td', { class: 'num' }, column ? R.number(column[row]) : '–');
		}))))));
};

R.detailCurves = function (curves) {
	const charts = R.model.curves.map((c, i) => {
		const series = R.model.methods.map((m, j) => [curves[i] && curves[i][j], j]).filter((p) => p[0])
			.map(([y, j]) => ({ method: j, name: R.model.methods[j].label, x: c.fraction, y }));
		return series.length ? R.h('figure', {}, R.h('figcaption', {}, c.metric), R.chart((w) => R.lines(w, series, c.xlabel, c.ylabel))) : null;
	}).filter(Boolean);
	return R.h('div', { class: 'charts' }, charts);
};

R.detailFacts = function (images, row) {
	const value = (name) => (images[name] ? R.number(images[name][row]) : null);
	return R.definitions([['path', images.path[row]], ['class', R.className(images.label[row])],
		['prediction', images.status[row] === 1 ? `${R.className(images.prediction[row])}, ${value('confidence')}` : ''],
		['explained', images.status[row] === 1 ? `${R.className(images.target[row])}, ${value('probability')}` : ''],
		['object covers', value('region_share')], ['disagreement of the maps', value('disagreement')],
		['status', images.status[row] === 2 ? `failed: ${images.error[row]}` : R.statusNames[images.status[row]]]]);
};

/* Opens image `row`; step: -1 or 1 to go on from it in the order of the gallery. */
R.showDetail = async function (row, step) {
	const dialog = document.getElementById('detail'), images = await R.images(), order = R.galleryRows || [];
	if (step) {
		const at = order.indexOf(row) + step;
		if (at < 0 || at >= order.length) return;
		row = order[at];
	}
	const tiles = R.h('div', { class: 'tiles big', 'data-state': 'waiting',
		style: `--across:${Math.max(3, Math.min(5, R.model.methods.length + 1))}` }), curves = R.h('div', {});
	const button = (text, title, f) => R.h('button', { type: 'button', title, onclick: f }, text);
	dialog.dataset.row = row;
	dialog.replaceChildren(R.h('header', {}, R.h('h3', {}, `Image ${row}`), button('←', 'previous', () => R.showDetail(row, -1)),
		button('→', 'next', () => R.showDetail(row, 1)),
		R.labelled('overlay', R.range01('d-overlay', 100 * Number(document.body.style.getPropertyValue('--overlay') || 0.75), (v) => {
			document.body.style.setProperty('--overlay', v / 100);
			const other = document.getElementById('g-overlay');
			if (other) other.value = v;
		})), button('✕', 'close', () => dialog.close())),
	tiles, R.detailFacts(images, row), R.detailFigures(images, row), curves);
	if (!dialog.open) dialog.showModal();
	dialog.scrollTop = 0;
	if (images.tile[row] < 0) {
		tiles.replaceChildren(R.h('p', { class: 'none' }, images.status[row] === 1 ? 'The maps of this image were not written: it is not in the sample.' : 'No maps.'));
		return;
	}
	const full = await R.load(`${R.model.id}/full/${row}`);
	if (dialog.dataset.row !== String(row)) return; /* gone on already */
	R.fillTiles(tiles, full);
	curves.replaceChildren(R.detailCurves(full.curves));
};

document.getElementById('detail').addEventListener('keydown', (e) => {
	if (e.target.tagName === 'INPUT' || (e.key !== 'ArrowLeft' && e.key !== 'ArrowRight')) return;
	R.showDetail(Number(e.currentTarget.dataset.row), e.key === 'ArrowLeft' ? -1 : 1);
});
document.getElementById('detail').addEventListener('click', (e) => e.target === e.currentTarget && e.target.close());
