// Pages of other sites, opened by a person who is signed in at the shop.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addToCart, before, launch, serve, session, shops, signIn, visit } from './support.js';

const browser = await launch();

for (const store of ['memory', 'cookie']) {
  test(`a form of another site does not carry the session and is refused: ${store}`, async () => {
    const ada = await signedIn(store, '127.0.0.1');
    for (const button of ['Win a lamp', 'Win a boat']) {
      const headers = await clicked(ada, button);
      assert.equal(headers['sec-fetch-site'], 'cross-site');
      assert.equal(headers.cookie, undefined);
    }
    await ada.page.context().close();
  });

  test(`a form of a neighbour, which carries the session, is refused: ${store}`, async () => {
    const ada = await signedIn(store, 'localhost');
    const headers = await clicked(ada, 'Win a lamp');
    assert.equal(headers['sec-fetch-site'], 'same-site');
    assert.match(headers.cookie, /sid=/);
    await ada.page.context().close();
  });

  test(`scripts and frames of another site carry no session: ${store}`, async () => {
    const { page, shop, lure, arrived } = await signedIn(store, '127.0.0.1');
    const tab = await page.context().newPage();
    await tab.goto(lure);
    arrived.length = 0;
    await tab.evaluate(async (shop) => {
      const asked = ['GET', 'POST'].map((method) =>
        fetch(`${shop}/api/session`, { method, mode: 'no-cors', credentials: 'include' }).catch(() => {}),
      );
      const frame = document.createElement('iframe');
      frame.src = `${shop}/devices`;
      const framed = new Promise((loaded) => frame.addEventListener('load', loaded));
      document.body.append(frame);
      await Promise.all([...asked, framed]);
    }, shop);
    assert.equal(arrived.length, 3);
    for (const { headers, method, url } of arrived) assert.equal(headers.cookie, undefined, `${method} ${url}`);
    const [, frame] = tab.frames();
    assert.ok(!frame.url().startsWith(shop), `in the frame is ${frame.url()}`);
    await page.context().close();
  });

  test(`a link from another site finds the person signed in: ${store}`, async () => {
    const { page, lure } = await signedIn(store, '127.0.0.1');
    const tab = await page.context().newPage();
    await tab.goto(lure);
    await tab.getByRole('link').click();
    await tab.getByRole('banner').getByText('Ada').waitFor();
    await page.context().close();
  });
}

/** Returns a person who is signed in, has a mug in the cart, and knows a page at `host` that lures them. */
async function signedIn(store, host) {
  // What arrives at the shop is noted on the way.
  const arrived = [];
  const shop = `http://localhost:${await before(shops[store], { seen: (request) => arrived.push(request) })}`;
  const port = await serve((request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end(
      `<!doctype html><title>Lucky you</title><a href="${shop}/devices">Look at this</a>
      <form method="post" action="${shop}/cart/add"><input name="sku" value="lamp"><input name="quantity" value="9">
      <button>Win a lamp</button></form>
      <form method="post" action="${shop}/sign-in"><input name="name" value="Eve"><button>Win a boat</button></form>`,
    );
  });
  const page = await visit(browser, shop);
  await addToCart(page, 'Harbour mug');
  await signIn(page, 'Ada');
  return { page, shop, arrived, lure: `http://${host}:${port}/` };
}

/** Clicks the lure in another tab, sees it come to nothing, and returns the headers that it came with. */
async function clicked({ page, lure, arrived }, button) {
  const held = await page.context().cookies();
  const tab = await page.context().newPage();
  await tab.goto(lure);
  arrived.length = 0;
  await tab.getByRole('button', { name: button }).click();
  await tab.getByRole('heading', { name: 'Not from here' }).waitFor();
  const posted = arrived.filter(({ method }) => method === 'POST');
  assert.equal(posted.length, 1);
  const { owner, values } = await session(page);
  assert.deepEqual({ owner, values }, { owner: 'Ada', values: { cart: { mug: 1 } } });
  assert.deepEqual(await page.context().cookies(), held, 'the cookie stays as it was');
  return posted[0].headers;
}
