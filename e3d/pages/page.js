'use strict';
// Plays all sequences of the page together. Values are colored and subtracted here: a sprite holds
// them in 8 bits, frames side by side, a row for each channel, see e3d/pages/sprites.py.
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const gray = [160, 165, 172];
  const tables = {};
  for (const [name, text] of Object.entries(data.tables)) {
    tables[name] = Array.from({length: text.length / 6}, (_, i) => [0, 2, 4].map((k) => parseInt(text.substr(6 * i + k, 2), 16)));
  }

  function element(name, parent, text, kind) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (kind) made.className = kind;
    parent.append(made);
    return made;
  }

  async function decode(sprite) {
    const image = new Image();
    await new Promise((loaded, failed) => {
      image.onload = loaded;
      image.onerror = () => failed(new Error('A picture of the page cannot be decoded.'));
      image.src = 'data:image/png;base64,' + sprite.png;
    });
    const canvas = document.createElement('canvas');
    canvas.width = image.width;
    canvas.height = image.height;
    const context = canvas.getContext('2d', {willReadFrequently: true});
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, image.width, image.height).data;
    return {pixels, width: image.width, low: sprite.low, range: (sprite.high - sprite.low) / 255};
  }

  // Calls back with the place of each pixel in the picture and in the sprite.
  function eachPixel(sequence, sprite, frame, channel, draw) {
    const [height, width] = sequence.size;
    for (let row = 0; row < height; row++) {
      let source = 4 * ((channel * height + row) * sprite.width + frame * width);
      let target = 4 * row * width;
      for (let column = 0; column < width; column++, source += 4, target += 4) draw(target, source);
    }
  }

  function put(canvas, sequence, fill) {
    const [height, width] = sequence.size;
    const context = canvas.getContext('2d');
    const picture = context.createImageData(width, height);
    for (let i = 3; i < picture.data.length; i += 4) picture.data[i] = 255;
    fill(picture.data);
    context.putImageData(picture, 0, 0);
  }

  // Pages of earlier versions do not tell whether three channels are colors.
  function isColored(sequence) {
    return sequence.rgb ?? sequence.channels === 3;
  }

  function paint(canvas, sequence, sprite, frame, channel) {
    const colors = tables[data.colored || sequence.channels > 1 ? 'values' : 'gray'];
    const {pixels, low, range} = sprite;
    const black = data.black ?? 0;  // which pages of earlier versions do not tell
    put(canvas, sequence, (out) => eachPixel(sequence, sprite, frame, channel, (target, source) => {
      let color = gray;
      if (pixels[source + 3] > 127) {
        if (isColored(sequence)) color = [pixels[source], pixels[source + 1], pixels[source + 2]];
        else {
          const value = (low + range * pixels[source] - black) / (data.white - black);
          color = colors[Math.max(0, Math.min(255, Math.round(255 * value)))];
        }
      }
      for (let k = 0; k < 3; k++) out[target + k] = color[k];
    }));
  }

  function subtract(canvas, sequence, forecast, frame, truth, time, channel) {
    const count = isColored(sequence) ? 3 : 1;
    put(canvas, sequence, (out) => {
      const places = [];
      eachPixel(sequence, truth, time, channel, (_, source) => places.push(source));
      let n = 0;
      eachPixel(sequence, forecast, frame, channel, (target, source) => {
        const other = places[n++];
        let color = gray;
        if (truth.pixels[other + 3] > 127) {
          let difference = 0;
          for (let k = 0; k < count; k++) {
            difference += forecast.low + forecast.range * forecast.pixels[source + k];
            difference -= truth.low + truth.range * truth.pixels[other + k];
          }
          const share = (difference / count / data.limit + 1) / 2;
          color = tables.signs[Math.max(0, Math.min(254, Math.round(254 * share)))];
        }
        for (let k = 0; k < 3; k++) out[target + k] = color[k];
      });
    });
  }

  function panel(parent, sequence, name) {
    const figure = element('figure', parent);
    const canvas = element('canvas', figure);
    [canvas.height, canvas.width] = sequence.size;
    element('figcaption', figure, name);
    return {figure, canvas};
  }

  function mark(figure, kind, off) {
    figure.className = kind + (off ? ' off' : '');
  }

  // Each returns a function that draws the moment of a place in `times`.
  function forecastPanels(box, sequence, sprites) {
    const drawn = [];
    const rows = isColored(sequence) ? 1 : sequence.channels;
    const seen = sequence.observed.map((state) => state === 'seen');
    const ahead = sequence.observed.indexOf('forecast');
    for (let channel = 0; channel < rows; channel++) {
      const name = rows > 1 ? ', ' + (data.channels[channel] || 'channel ' + (channel + 1)) : '';
      const panels = element('div', box, '', 'panels');
      const input = panel(panels, sequence, 'input' + name);
      const truth = panel(panels, sequence, 'truth' + name);
      const others = sequence.forecasts.map((one) => [
        panel(panels, sequence, (one.label || 'forecast') + name),
        panel(panels, sequence, 'difference' + (one.label ? ', ' + one.label : '') + name),
      ]);
      drawn.push((place) => {
        const last = seen.lastIndexOf(true, Math.min(place, ahead - 1));
        if (last >= 0) paint(input.canvas, sequence, sprites.truth, last, channel);
        mark(input.figure, 'seen', last !== place);
        const later = Math.max(place, ahead);
        paint(truth.canvas, sequence, sprites.truth, later, channel);
        mark(truth.figure, 'forecast', place < ahead);
        others.forEach(([forecast, difference], number) => {
          const sprite = sprites.forecasts[number];
          paint(forecast.canvas, sequence, sprite, later - ahead, channel);
          subtract(difference.canvas, sequence, sprite, later - ahead, sprites.truth, later, channel);
          mark(forecast.figure, 'forecast', place < ahead);
          mark(difference.figure, 'forecast', place < ahead);
        });
      });
    }
    return (place) => drawn.forEach((draw) => draw(place));
  }

  function clipPanels(box, sequence, sprites) {
    const panels = element('div', box, '', 'panels');
    const clip = panel(panels, sequence, 'clip');
    const lists = sequence.forecasts.map((one) => {
      const figure = element('figure', panels, '', 'bars');
      const bars = element('div', figure, '', 'chances');
      const caption = element('figcaption', figure);
      return {bars, caption, one};
    });
    return (place) => {
      paint(clip.canvas, sequence, sprites.truth, place, 0);
      mark(clip.figure, 'seen', false);
      for (const {bars, caption, one} of lists) {
        let part = one.lengths.findLastIndex((count) => count <= sequence.times[place]);
        const first = part < 0;
        if (first) part = 0;
        const name = one.label ? one.label + ', ' : '';
        caption.textContent = first
          ? name + 'from ' + one.lengths[0] + ' frames on'
          : name + 'after ' + one.lengths[part] + ' frames';
        const chances = first ? [] : one.chances[part];
        const order = chances.map((_, index) => index).sort((a, b) => chances[b] - chances[a]);
        const shown = order.slice(0, 3);
        if (!first && !shown.includes(one.true)) shown.push(one.true);
        bars.replaceChildren();
        for (const index of shown) {
          const right = index === one.true;
          element('span', bars, data.classes[index] + (right ? ' (true)' : ''), right ? 'true' : '');
          const bar = element('i', element('span', bars), '', right ? 'true' : '');
          bar.style.width = 100 * chances[index] + '%';
          element('span', bars, (100 * chances[index]).toFixed(0) + ' %');
        }
      }
    };
  }

  async function build(sequence) {
    const place = document.getElementById('sequences');
    if (sequence.forecasts.length > 1) place.className = 'several';
    const box = element('section', place, '', 'sequence');
    element('h3', box, sequence.title);
    const sprites = {
      truth: await decode(sequence.truth),
      forecasts: await Promise.all(sequence.forecasts.filter((f) => f.png).map(decode)),
    };
    const make = sprites.forecasts.length ? forecastPanels : clipPanels;
    return {sequence, draw: make(box, sequence, sprites)};
  }

  async function start() {
    const control = (name) => document.getElementById(name);
    if (!data.sequences.length) return;
    const built = [];
    for (const sequence of data.sequences) built.push(await build(sequence));
    const most = Math.max(...built.map((one) => one.sequence.times.length));
    let place = 0;
    let playing = !matchMedia('(prefers-reduced-motion: reduce)').matches;
    let timer = 0;
    control('place').max = most - 1;

    function show() {
      const first = built[0].sequence;
      for (const {sequence, draw} of built) draw(Math.min(place, sequence.times.length - 1));
      const at = Math.min(place, first.times.length - 1);
      control('place').value = place;
      control('time').textContent = 't = ' + first.times[at] + ' of ' + first.length + ', ' + first.observed[at];
      control('play').textContent = playing ? 'Pause' : 'Play';
    }
    function wait() {
      clearTimeout(timer);
      if (!playing) return;
      const long = place === most - 1 ? 6 : 1;
      timer = setTimeout(() => { move(1); wait(); }, long * 200 / control('speed').value);
    }
    function move(by) {
      place = (place + by + most) % most;
      show();
    }
    function toggle() {
      playing = !playing;
      show();
      wait();
    }
    function step(by) {
      playing = false;
      clearTimeout(timer);
      move(by);
    }
    control('play').onclick = toggle;
    control('back').onclick = () => step(-1);
    control('next').onclick = () => step(1);
    control('speed').onchange = wait;
    control('place').oninput = (event) => { playing = false; place = Number(event.target.value); show(); };
    document.addEventListener('keydown', (event) => {
      if (/^(INPUT|SELECT|BUTTON|SUMMARY)$/.test(event.target.tagName)) return;
      const action = {' ': toggle, ArrowLeft: () => step(-1), ArrowRight: () => step(1)}[event.key];
      if (action) { event.preventDefault(); action(); }
    });
    show();
    wait();
  }
  start().then(() => { document.documentElement.dataset.ready = 'yes'; });
})();
