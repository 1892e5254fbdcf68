"use strict";
// Sends a canvas with numbered pictures through a media service and reads what comes back. The block code and the
// patches are read here, by code that shares nothing with the Python reader; only the geometry comes from the server.

const canvas = document.getElementById("camera");
const video = document.getElementById("returned");
const context = canvas.getContext("2d", { alpha: false });
const seen = { numbers: [], unreadable: 0, delays: [], patches: [] };
const drawnAt = new Map();
let drawn = 0;

function checkSum(number) {
  let crc = 0xa5;
  for (const byte of [number >> 8, number & 0xff]) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : crc << 1;
  }
  return crc;
}

function cellBox(layout, column, row) {
  const u = layout.unit;
  return [(layout.origin[0] + column) * u, (layout.origin[1] + row) * u, u, u];
}

// The still parts (patches, ground) are a picture from the server; code, digits and a moving ball are drawn here.
function drawPicture(layout, ground, number) {
  const word = number * 256 + checkSum(number);
  context.drawImage(ground, 0, 0);
  layout.dataCells.forEach(([column, row], index) => {
    const bit = Math.floor(word / 2 ** (layout.dataCells.length - 1 - index)) % 2;
    context.fillStyle = bit ? "rgb(235,235,235)" : "rgb(16,16,16)";
    context.fillRect(...cellBox(layout, column, row));
  });
  const u = layout.unit;
  context.fillStyle = "rgb(235,235,235)";
  context.font = `bold ${2.4 * u}px monospace`;
  context.fillText(String(number).padStart(5, "0"), u, 8.2 * u);
  context.fillStyle = "rgb(230,190,60)";
  context.beginPath();
  context.arc(u + ((Math.sin(number / 6) + 1) / 2) * (layout.width - 2 * u), 10.8 * u, 0.8 * u, 0, 2 * Math.PI);
  context.fill();
  drawnAt.set(number, performance.now());
  drawnAt.delete(number - 1000);
}

function mean(image, [x, y, width, height], share, dx, dy) {
  const left = Math.round(x + (width * (1 - share)) / 2) + dx, right = Math.round(x + (width * (1 + share)) / 2) + dx;
  const top = Math.round(y + (height * (1 - share)) / 2) + dy, bottom = Math.round(y + (height * (1 + share)) / 2) + dy;
  if (left < 0 || top < 0 || right > image.width || bottom > image.height) return null;
  const sum = [0, 0, 0, 0];
  let squares = 0;
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      const at = (row * image.width + column) * 4;
      const gray = 0.299 * image.data[at] + 0.587 * image.data[at + 1] + 0.114 * image.data[at + 2];
      for (let channel = 0; channel < 3; channel++) sum[channel] += image.data[at + channel];
      sum[3] += gray;
      squares += gray * gray;
    }
  }
  const count = (right - left) * (bottom - top);
  const [red, green, blue, gray] = sum.map((value) => value / count);
  return { rgb: [red, green, blue], gray, deviation: Math.sqrt(Math.max(0, squares / count - gray * gray)) };
}

function readAt(layout, image, dx, dy) {
  const gray = (column, row) => mean(image, cellBox(layout, column, row), 0.5, dx, dy)?.gray;
  const sync = layout.syncCells.map(([column, row, bit]) => [gray(column, row), bit]);
  if (sync.some(([level]) => level === undefined)) return null;
  const average = (wanted) => sync.filter(([, bit]) => bit === wanted).reduce((sum, [level]) => sum + level, 0) / 4;
  const white = average(1), black = average(0);
  if (Math.abs(white - black) < 12) return null;
  const level = (value) => (value - black) / (white - black);
  if (sync.some(([value, bit]) => Math.abs(level(value) - bit) > 0.3)) return null;
  let word = 0;
  for (const [column, row] of layout.dataCells) {
    const value = level(gray(column, row));
    if (Math.abs(value - 0.5) < 0.2) return null;
    word = word * 2 + (value > 0.5 ? 1 : 0);
  }
  const number = Math.floor(word / 256);
  return checkSum(number) === word % 256 ? { number, dx, dy, black, white } : null;
}

function read(layout, image) {
  const steps = [0];
  for (let units = 0.4; units <= 3; units += 0.4) {
    steps.push(Math.round(units * layout.unit));
    if (units <= 1) steps.push(-Math.round(units * layout.unit));
  }
  for (const dy of steps) for (const dx of steps) {
    const found = readAt(layout, image, dx, dy);
    if (found) return found;
  }
  return null;
}

function patches(layout, image, found) {
  const box = (units) => units.map((value) => value * layout.unit);
  const look = (units, share) => mean(image, box(units), share, found.dx, found.dy);
  const checker = look(layout.checker, 0.6);
  const colours = {};
  for (const [name, units] of Object.entries(layout.patches)) colours[name] = look(units, 0.4)?.rgb;
  if (!checker || Object.values(colours).some((rgb) => !rgb)) return null;
  return { checkerContrast: checker.deviation / 127.5, colours, black: found.black, white: found.white, dx: found.dx, dy: found.dy };
}

function imageOf(layout, source) {
  const copy = new OffscreenCanvas(layout.width, layout.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(source, 0, 0, layout.width, layout.height);
  return copy.getImageData(0, 0, layout.width, layout.height);
}

function lookAtReturned(layout) {
  const now = performance.now();
  const image = imageOf(layout, video);
  const found = read(layout, image);
  if (!found) {
    seen.unreadable++;
    return;
  }
  seen.numbers.push(found.number);
  if (drawnAt.has(found.number)) seen.delays.push(now - drawnAt.get(found.number));
  if (seen.numbers.length % 10 === 0) {
    const reading = patches(layout, image, found);
    if (reading) seen.patches.push(reading);
  }
}

function watch(layout) {
  const each = () => {
    lookAtReturned(layout);
    video.requestVideoFrameCallback(each);
  };
  video.requestVideoFrameCallback(each);
}

async function gathered(peer) {
  if (peer.iceGatheringState === "complete") return;
  await Promise.race([
    new Promise((done) => peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && done())),
    new Promise((done) => setTimeout(done, 3000)),
  ]);
}

function preferCodec(transceiver, mimeType) {
  const codecs = RTCRtpSender.getCapabilities("video").codecs;
  const wanted = codecs.filter((codec) => codec.mimeType === mimeType);
  if (!wanted.length) throw new Error(`this browser has no ${mimeType}`);
  transceiver.setCodecPreferences([...wanted, ...codecs.filter((codec) => codec.mimeType === "video/rtx")]);
}

async function connect(settings) {
  const peer = new RTCPeerConnection({ iceServers: settings.iceServers });
  const [track] = canvas.captureStream(settings.framesPerSecond).getVideoTracks();
  preferCodec(peer.addTransceiver(track, { direction: "sendrecv" }), settings.mimeType);
  peer.addEventListener("track", (event) => { video.srcObject = new MediaStream([event.track]); });
  await peer.setLocalDescription(await peer.createOffer());
  await gathered(peer);
  const response = await fetch("webrtc/offer", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ sdp: peer.localDescription.sdp, type: "offer" }),
  });
  if (!response.ok) throw new Error(`the offer was answered ${response.status}: ${await response.text()}`);
  const { sdp, type } = await response.json();
  await peer.setRemoteDescription({ sdp, type });
  return peer;
}

// After the given seconds, or as soon as enough pictures were read.
function over(settings) {
  const end = performance.now() + settings.seconds * 1000;
  return new Promise((done) => {
    const look = setInterval(() => {
      if (performance.now() < end && seen.numbers.length < (settings.enoughPictures || Infinity)) return;
      clearInterval(look);
      done();
    }, 100);
  });
}

async function report(content) {
  await fetch("result", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });
}

async function run() {
  const settings = await (await fetch("settings")).json();
  if (settings.problem) throw new Error(settings.problem);
  const { layout } = settings;
  canvas.width = layout.width;
  canvas.height = layout.height;
  const ground = new Image();
  ground.src = "ground.png";
  await ground.decode();
  drawPicture(layout, ground, drawn++);
  const own = imageOf(layout, canvas);
  const reference = patches(layout, own, read(layout, own));
  const clock = setInterval(() => drawPicture(layout, ground, drawn++ % 65536), 1000 / settings.framesPerSecond);
  const peer = await connect(settings);
  watch(layout);
  await over(settings);
  clearInterval(clock);
  const state = peer.connectionState;
  peer.close();
  await report({ ...seen, reference, drawn, state, userAgent: navigator.userAgent });
}

run().catch((error) => report({ error: String(error?.stack ?? error) }));
