/* What all sections share: arriving data, the chosen model, small helpers. Plain scripts in one namespace, since a page that is
 * opened from disk may load neither modules nor JSON. */
'use strict';

const R = {
	core: null,     /* data/core.js */
	model: null,    /* the chosen entry of core.models */
	sections: [],   /* {id, draw(body)}, drawn anew for each model */
	waiting: {},
	loaded: {},
};

/* ---- data that arrives later: data/NAME.js calls R.arrive(NAME, value) ---- */

R.load = function (name) {
	if (!R.loaded[name]) {
		R.loaded[name] = new Promise((resolve, reject) => {
			const script = document.createElement('script');
			R.waiting[name] = resolve;
			script.src = `data/${name}.js`;
			script.onerror = () => reject(new Error(`data/${name}.js is missing`));
			document.head.append(script);
		});
	}
	return R.loaded[name];
};

R.arrive = function (name, value) {
	R.waiting[name](value);
};

/* Little-endian numbers in base64, as typed array. */
R.numbers = function (text, Type) {
	const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
	return new Type(bytes.buffer);
};

/* The per-image columns of the chosen model; decoded once. */
R.images = async function () {
	const model = R.model;
	if (!model.decoded) {
		model.decoded = R.load(`${model.id}/images`).then((raw) => {
			const floats = (t) => (t === null ? null : R.numbers(t, Float32Array));
			const out = { count: raw.path.length, path: raw.path, error: raw.error };
			for (const k of ['label', 'target', 'prediction', 'tile']) out[k] = R.numbers(raw[k], Int32Array);
			out.status = R.numbers(raw.status, Uint8Array);
			for (const k of ['confidence', 'probability', 'region_share', 'disagreement']) out[k] = floats(raw[k]);
			out.figures = raw.figures.map((columns) => columns.map(floats));
			return out;
		});
	}
	return model.decoded;
};

/* ---- DOM ---- */

/* h('td', {class: 'x', onclick: f}, 'text', element, ...) */
R.h = function (tag, attributes, ...children) {
	const e = document.createElement(tag);
	for (const [k, v] of Object.entries(attributes || {})) {
		if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
		else if (v === true) e.setAttribute(k, '');
		else if (v !== false && v !== null && v !== undefined) e.setAttribute(k, v);
	}
	e.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined));
	return e;
};

/* options: [value, text] or {group, options} */
R.select = function (id, options, change) {
	const one = (o) => (o.group ? R.h('optgroup', { label: o.group }, o.options.map(one)) : R.h('option', { value: o[0] }, o[1]));
	return R.h('select', { id, onchange: (e) => change(e.target.value) }, options.map(one));
};

R.labelled = function (text, control) {
	return R.h('label', { class: 'control' }, R.h('span', {}, text), control);
};

/* ---- numbers as text ---- */

R.number = function (v, digits = 3) {
	if (v === null || v === undefined || Number.isNaN(v)) return '–';
	const a = Math.abs(v);
	if (a !== 0 && (a < 1e-3 || a >= 1e5)) return v.toExponential(2).replace('-', '−').replace('e−', 'e−');
	return (a >= 1000 ? v.toFixed(0) : a >= 100 ? v.toFixed(1) : v.toFixed(digits)).replace('-', '−');
};

R.pvalue = function (p) {
	if (p === null || p === undefined) return '–';
	return p < 1e-4 ? '< 0.0001' : p.toFixed(4);
};

R.count = (n) => n.toLocaleString('en');

/* Arrows for a figure's good direction. */
R.better = (f) => (f.direction > 0 ? '↑' : f.direction < 0 ? '↓' : '');

R.figureName = (f) => f.label;

R.className = function (label) {
	const name = R.model.classes[label];
	return name === undefined ? `class ${label}` : `${name} (${label})`;
};

/* ---- colours of methods: colour-blind safe, and a dash pattern for print in grey ---- */

R.place = (m) => R.model.methods.slice(0, m).filter((x) => !x.control).length; /* among those that have a colour of their own */
R.colour = (m) => (R.model.methods[m].control ? 'var(--control)' : `var(--c${R.place(m) % 8})`);
R.dash = (m) => (R.model.methods[m].control ? '2 4' : ['', '7 3', '2 2', '9 3 2 3'][Math.floor(R.place(m) / 8) % 4]);

/* Colours come again after eight methods: rings, then. */
R.ring = (m) => !R.model.methods[m].control && Math.floor(R.place(m) / 8) % 2 === 1;
R.swatch = (m) => R.h('i', { class: R.ring(m) ? 'swatch ring' : 'swatch', style: `color:${R.colour(m)}` });

/* ---- start ---- */

R.choose = function (index) {
	R.model = R.core.models[index];
	for (const s of R.sections) {
		const body = document.querySelector(`#${s.id} .body`);
		body.replaceChildren();
		s.draw(body);
	}
};

R.start = function () {
	const box = document.getElementById('model');

	if (!R.core) {
		document.querySelector('#overview .body').append(R.h('p', { class: 'notice' }, 'data/core.js is missing: this report was not finished.'));
		return;
	}
	document.title = R.core.title;
	box.append(...R.core.models.map((m, i) => R.h('option', { value: i }, m.name)));
	box.addEventListener('change', () => R.choose(Number(box.value)));
	box.parentElement.hidden = R.core.models.length < 2;
	R.choose(0);
	const links = [...document.querySelectorAll('nav a')];
	const seen = new IntersectionObserver((entries) => {
		for (const e of entries) {
			if (e.isIntersecting) links.forEach((a) => a.classList.toggle('here', a.hash === `#${e.target.id}`));
		}
	}, { rootMargin: '-30% 0px -65% 0px' });
	document.querySelectorAll('main section').forEach((s) => seen.observe(s));
	R.opened = performance.now(); /* milliseconds since navigation began; the tests report it */
};
