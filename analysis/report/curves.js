/* Mean curves with interval bands, and the curves of single images. */
'use strict';

/* model.curves: {metric, fraction, xlabel, ylabel, methods: [{n, mean, low, high} or null]} */

R.curveChart = function (curve, index, hidden, single) {
	return R.chart((width) => {
		const series = [];
		curve.methods.forEach((c, m) => {
			if (!c || hidden.has(m)) return;
			const mine = single.curves && single.curves[index] && single.curves[index][m];
			series.push({ method: m, name: R.model.methods[m].label, x: curve.fraction, y: c.mean, low: c.low, high: c.high });
			if (mine) series.push({ method: m, name: `${R.model.methods[m].label}, image ${single.image}`, x: curve.fraction, y: mine, thin: true });
		});
		return R.lines(width, series, curve.xlabel, curve.ylabel);
	});
};

/* Curves of one image whose files were written: [metric][method] -> list or null. */
R.curvesOf = async function (row) {
	const images = await R.images();
	if (images.tile[row] < 0) return null;
	return (await R.load(`${R.model.id}/full/${row}`)).curves;
};

R.sections.push({ id: 'curves', draw(body) {
	const model = R.model, hidden = new Set(), single = { image: null, curves: null };
	if (!model.curves.length) {
		body.append(R.h('p', {}, 'No metric of these files has curves.'));
		return;
	}
	const charts = model.curves.map((c, i) => R.curveChart(c, i, hidden, single));
	const redraw = () => charts.forEach((c) => c.redraw());
	const said = R.h('span', { class: 'said', id: 'curve-said' });
	const input = R.h('input', { type: 'number', id: 'curve-image', min: 0, step: 1, placeholder: 'none', onchange: async () => {
		single.image = input.value;
		single.curves = null;
		said.textContent = '';
		if (input.value !== '') {
			const images = await R.images(), row = Number(input.value);
			if (row < 0 || row >= images.count) said.textContent = `images are 0 to ${images.count - 1}`;
			else if (images.tile[row] < 0) said.textContent = `image ${row} is not among those that were written`;
			else {
				single.curves = await R.curvesOf(row);
				said.textContent = images.path[row];
			}
		}
		redraw();
	} });
	R.showCurves = (row) => {
		input.value = row;
		input.dispatchEvent(new Event('change'));
		document.getElementById('curves').scrollIntoView();
	};
	const used = model.methods.map((_, m) => m).filter((m) => model.curves.some((c) => c.methods[m]));
	body.append(R.h('p', { class: 'lead' }, 'Mean over images with a 95 % interval at each point. A click in the legend hides a method; '
		+ 'dotted: the random control.'), R.h('div', { class: 'tools' }, R.legend(used, hidden, redraw), R.labelled('one image, thin', input), said),
	R.h('div', { class: 'charts' }, charts.map((c, i) => R.h('figure', {}, R.h('figcaption', {}, model.curves[i].metric), c))));
} });
