// The session cookie, as the browser holds it, and what a page can do with it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COOKIE, addToCart, cookies, launch, session, shops, signIn, visit } from './support.js';

const browser = await launch();
const DAY = 24 * 60 * 60;
const TOKEN = 'A'.repeat(32);

for (const [store, shop, name] of [
  ['memory', shops.memory, COOKIE],
  ['cookie', shops.cookie, COOKIE],
  // Chromium trusts the machine itself, by name or by number, like a site with TLS.
  ['memory, by number', shops.memory.replace('localhost', '127.0.0.1'), COOKIE],
  ['memory, --insecure-cookies', shops.insecure, 'sid'],
]) {
  test(`the cookie has the attributes that it should: ${store}`, async () => {
    const page = await visit(browser, shop);
    await addToCart(page, 'Harbour mug');
    const held = await page.context().cookies();
    assert.equal(held.length, 1);
    const [{ expires, value, ...cookie }] = held;
    const secure = name === COOKIE;
    const { hostname } = new URL(shop);
    assert.deepEqual(cookie, { name, domain: hostname, path: '/', httpOnly: true, secure, sameSite: 'Lax' });
    // The server alone moves the deadline of its sessions; a sealed one has its own.
    const life = (store === 'cookie' ? 7 : 30) * DAY;
    assert.ok(Math.abs(expires - Date.now() / 1000 - life) < 60, `expires at ${expires}`);
    assert.match(value, /^[\w-]{32,}$/);
    assert.equal(await page.evaluate(() => document.cookie), '', 'hidden from scripts');
    await page.context().close();
  });

  test(`a token that the page makes up is not adopted: ${store}`, async () => {
    const page = await visit(browser, shop);
    await plant(page, name, TOKEN);
    assert.equal((await cookies(page, name))[0].value, TOKEN, 'the browser took it');
    await page.reload();
    assert.equal((await session(page)).new, true);
    await addToCart(page, 'Harbour mug');
    const [first, ...more] = await cookies(page, name);
    assert.deepEqual(more, []);
    assert.notEqual(first.value, TOKEN);
    await signIn(page, 'Ada');
    const [second] = await cookies(page, name);
    assert.ok(second.httpOnly && second.value !== first.value, 'signing in brings another token');

    // A page cannot replace it either.
    await plant(page, name, TOKEN);
    assert.deepEqual(await cookies(page, name), [second]);
    assert.equal((await session(page)).owner, 'Ada');
    await page.context().close();
  });

  test(`a live token of somebody else, planted before the sign-in, gives them nothing: ${store}`, async () => {
    const eve = await visit(browser, shop);
    await addToCart(eve, 'Porch lamp');
    const [{ value: planted }] = await cookies(eve, name);
    const ada = await visit(browser, shop);
    await plant(ada, name, planted);
    await ada.reload();
    await signIn(ada, 'Ada');
    assert.notEqual((await cookies(ada, name))[0].value, planted);
    await eve.reload();
    assert.equal((await session(eve)).owner, null);
    assert.equal(await eve.getByText(/\bAda\b/).count(), 0);
    await Promise.all([eve, ada].map((page) => page.context().close()));
  });
}

test('a planted cookie of a longer path hides neither session nor cart', async () => {
  const page = await visit(browser, shops.insecure);
  await addToCart(page, 'Harbour mug');
  await signIn(page, 'Ada');
  await plant(page, 'sid', TOKEN, '/cart');
  assert.equal((await cookies(page, 'sid')).length, 2, 'the browser took it, and sends it first');
  await page.getByRole('link', { name: 'Cart' }).click();
  await page.getByRole('link', { name: 'Harbour mug' }).waitFor();
  await page.getByRole('banner').getByText('Ada').waitFor();
  await page.context().close();
});

test('with the prefix __Host- no cookie of a longer path can be planted', async () => {
  const page = await visit(browser, shops.memory);
  await plant(page, COOKIE, TOKEN, '/cart');
  assert.deepEqual(await cookies(page), []);
  await page.context().close();
});

/** Does what a script on the page, or on a neighbour of it, could do. */
async function plant(page, name, value, path = '/') {
  const secure = name.startsWith('__Host-') ? '; Secure' : '';
  await page.evaluate((text) => (document.cookie = text), `${name}=${value}; Path=${path}${secure}`);
}
