// The engine through dockerode. DOCKER_HOST=unix://SOCKET says which; it has the image `busybox`.
'use strict';
const assert = require('node:assert');
const { test } = require('node:test');
const { PassThrough } = require('node:stream');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const Docker = require('dockerode');

const docker = new Docker({ socketPath: process.env.DOCKER_HOST.replace('unix://', '') });
const IMAGE = 'busybox';

async function text(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces).toString();
}

function collector() {
  const stream = new PassThrough();
  stream.text = '';
  stream.on('data', (piece) => { stream.text += piece; });
  return stream;
}

async function started(t, options) {
  const container = await docker.createContainer({ Image: IMAGE, ...options });
  t.after(() => container.remove({ force: true, v: true }).catch((e) => assert.strictEqual(e.statusCode, 404)));
  await container.start();
  return container;
}

const limit = { timeout: 60000 };

test('run with a terminal and without', limit, async () => {
  const one = collector();
  const [ended, first] = await docker.run(IMAGE, ['sh', '-c', 'echo hi; exit 3'], one);
  assert.deepStrictEqual([ended.StatusCode, one.text], [3, 'hi\r\n']);
  await first.remove();
  const [out, err] = [collector(), collector()];
  const [, second] = await docker.run(IMAGE, ['sh', '-c', 'echo out; echo err >&2'], [out, err], { Tty: false });
  assert.deepStrictEqual([out.text, err.text], ['out\n', 'err\n']);
  await second.remove();
});

test('input through attach ends with the client', limit, async (t) => {
  const options = { Image: IMAGE, Cmd: ['cat'], OpenStdin: true, StdinOnce: true };
  const container = await docker.createContainer(options);
  t.after(() => container.remove({ force: true }));
  const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
  const out = collector();
  docker.modem.demuxStream(stream, out, out);
  await container.start();
  stream.write('abc');
  stream.end();
  assert.strictEqual((await container.wait()).StatusCode, 0);
  assert.strictEqual(out.text, 'abc');
});

test('exec with and without an upgraded connection', limit, async (t) => {
  const container = await started(t, { Cmd: ['sleep', '1000'] });
  const cat = await container.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
  const stream = await cat.start({ hijack: true, stdin: true });
  const out = collector();
  docker.modem.demuxStream(stream, out, out);
  stream.write('hello\n');
  stream.end();
  await new Promise((resolve) => stream.on('end', resolve));
  assert.strictEqual(out.text, 'hello\n');
  assert.strictEqual((await cat.inspect()).ExitCode, 0);
  const echo = await container.exec({ Cmd: ['echo', 'plain'], AttachStdout: true });
  assert.match(await text(await echo.start({})), /plain\n$/);
});

test('logs, stats, top, archive, export', limit, async (t) => {
  const loop = 'i=0; while :; do echo tick-$i; i=$((i+1)); sleep 0.05; done';
  const container = await started(t, { Cmd: ['sh', '-c', loop] });
  const followed = await container.logs({ follow: true, stdout: true });
  await new Promise((resolve) => {
    let pieces = 0;
    followed.on('data', () => { pieces += 1; if (pieces === 5) { followed.destroy(); resolve(); } });
  });
  assert.match((await container.logs({ stdout: true, tail: 2 })).toString(), /tick-\d+\n[^]*tick-\d+\n$/);
  const stats = await container.stats({ stream: false });
  // Docker reads no memory on a host with cgroups of both versions.
  assert.ok(process.env.WHARF_CLIENTS_HOST || stats.memory_stats.usage > 0);
  assert.ok((await container.top({ ps_args: 'aux' })).Titles.includes('COMMAND'));
  assert.match(await text(await container.getArchive({ path: '/etc/hostname' })), /hostname/);
  assert.ok((await text(await container.export())).length > 100000);
});

test('life and errors', limit, async (t) => {
  const container = await started(t, { Cmd: ['sleep', '1000'], Labels: { zone: 'dockerode' } });
  await container.pause();
  await container.unpause();
  await container.update({ Memory: 64 << 20, MemorySwap: 128 << 20 });
  assert.strictEqual((await container.inspect()).HostConfig.Memory, 64 << 20);
  const found = await docker.listContainers({ filters: { label: ['zone=dockerode'] } });
  assert.deepStrictEqual(found.map((c) => c.Id), [container.id]);
  const removed = container.wait({ condition: 'removed' });
  await container.remove({ force: true });
  assert.strictEqual((await removed).StatusCode, 137);
  await assert.rejects(container.inspect(), { statusCode: 404, reason: 'no such container' });
  const events = await text(await docker.getEvents({ since: 0, until: Math.floor(Date.now() / 1000) + 1 }));
  assert.ok(events.split('\n').filter(Boolean).map(JSON.parse).some((e) => e.Action === 'destroy'));
});

test('build, tag, save, load', limit, async () => {
  const context = fs.mkdtempSync(path.join(os.tmpdir(), 'wharf-dockerode-'));
  fs.writeFileSync(path.join(context, 'Dockerfile'), `FROM ${IMAGE}\nRUN echo built > /built\nCMD ["cat", "/built"]\n`);
  const stream = await docker.buildImage({ context, src: ['Dockerfile'] }, { t: 'dockerode-built' });
  const said = await new Promise((resolve, reject) => {
    docker.modem.followProgress(stream, (error, all) => (error ? reject(error) : resolve(all)));
  });
  fs.rmSync(context, { recursive: true });
  assert.ok(said.some((line) => /^Successfully built/.test(line.stream ?? '')), JSON.stringify(said));
  const image = docker.getImage('dockerode-built');
  assert.ok((await image.history()).length > 0);
  const loaded = await docker.loadImage(await image.get());
  assert.match(await text(loaded), /Loaded image/);
  await image.remove();
});

test('networks and volumes', limit, async (t) => {
  const container = await started(t, { Cmd: ['sleep', '1000'] });
  const network = await docker.createNetwork({ Name: 'dockerode-net', IPAM: { Config: [{ Subnet: '172.31.98.0/24' }] } });
  await network.connect({ Container: container.id });
  assert.deepStrictEqual(Object.keys((await network.inspect()).Containers), [container.id]);
  await network.disconnect({ Container: container.id });
  await network.remove();
  const volume = await docker.createVolume({ Name: 'dockerode-volume' });
  assert.strictEqual((await volume.inspect()).Driver, 'local');
  await volume.remove();
});
